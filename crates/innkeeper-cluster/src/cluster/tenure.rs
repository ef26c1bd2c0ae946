//! The right of this node to act for one shard, as the processes that run there ask for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use innkeeper::placement::{Standing, Tenure};

use crate::frame::Under;
use crate::node::Node;
use crate::ownership::{Gate, Release};

/// The right of a node to act for one shard, under one epoch.
pub(crate) struct Owning {
    node: Node,
    pub(crate) under: Under,
    /// Something of the shard is being packed or is still to be unpacked.
    closed: Arc<AtomicBool>,
}

impl Owning {
    pub(crate) fn new(node: Node, under: Under, closed: Arc<AtomicBool>) -> Self {
        Owning { node, under, closed }
    }
}

impl Tenure for Owning {
    fn shard(&self) -> u64 {
        u64::from(self.under.shard)
    }

    fn epoch(&self) -> u64 {
        self.under.epoch
    }

    fn begin(&self) -> Standing {
        match self.node.gate(self.under.shard) {
            Gate::Open(epoch) if epoch == self.under.epoch => {
                match self.closed.load(Ordering::Acquire) {
                    false => Standing::Yes,
                    true => Standing::NotNow,
                }
            }
            // Frozen, on its way to another node, or lost: the last for good.
            Gate::Open(_) | Gate::Frozen(_) | Gate::Shut => match self.release() {
                Standing::Never => Standing::Never,
                Standing::Yes | Standing::NotNow => Standing::NotNow,
            },
        }
    }

    fn release(&self) -> Standing {
        match self.node.release(self.under.shard, self.under.epoch) {
            Release::Now => Standing::Yes,
            Release::Hold => Standing::NotNow,
            Release::Never => Standing::Never,
        }
    }

    fn wake_on_change(&self, waker: &Waker) {
        self.node.wake_on_change(waker);
    }
}
