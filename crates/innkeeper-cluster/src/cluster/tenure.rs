//! The right of this node to act for one shard, as the processes that run there ask for it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use innkeeper::placement::{Standing, Tenure};

use crate::frame::Under;
use crate::node::Node;
use crate::ownership::{Gate, Release};

/// The right of a node to act for one shard, under one epoch.
pub(crate) struct Owning {
    node: Node,
    pub(crate) under: Under,
    /// Under which epoch something of the shard may be begun here.
    open: Arc<AtomicU64>,
}

impl Owning {
    pub(crate) fn new(node: Node, under: Under, open: Arc<AtomicU64>) -> Self {
        Owning { node, under, open }
    }

    /// Whether it is a right of this node, in this cluster.
    pub(crate) fn is_of(&self, node: &Node) -> bool {
        self.node.is(node)
    }

    /// Waits until something may be begun under it; `false` if nothing ever may.
    pub(crate) async fn begins(&self) -> bool {
        poll_fn(|cx| {
            // Before it is asked: it may change in between.
            self.wake_on_change(cx.waker());
            match self.begin() {
                Standing::Yes => Poll::Ready(true),
                Standing::NotNow => Poll::Pending,
                Standing::Never => Poll::Ready(false),
            }
        })
        .await
    }
}

impl Tenure for Owning {
    fn shard(&self) -> u64 {
        u64::from(self.under.shard)
    }

    fn epoch(&self) -> u64 {
        self.under.epoch
    }

    fn node(&self) -> Option<&str> {
        Some(self.node.name())
    }

    fn begin(&self) -> Standing {
        match self.node.gate(self.under.shard) {
            Gate::Open(epoch) if epoch == self.under.epoch => {
                // Else something is being packed, or is still to be unpacked.
                match self.open.load(Ordering::Acquire) == epoch {
                    true => Standing::Yes,
                    false => Standing::NotNow,
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
