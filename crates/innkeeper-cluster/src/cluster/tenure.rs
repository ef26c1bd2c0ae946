//! The right of this node to act for one shard, as the processes that run there ask for it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use innkeeper::placement::{Admission, Standing, Tenure};

use crate::frame::Under;
use crate::node::Node;
use crate::ownership::{Gate, Release};

/// The right of a node to act for one shard, under one epoch.
pub(crate) struct Owning {
    node: Node,
    pub(crate) under: Under,
    /// Under which epoch something of the shard may be begun here.
    open: Arc<AtomicU64>,
    /// That of the node.
    admission: Admission,
}

impl Owning {
    pub(crate) fn new(
        node: Node,
        under: Under,
        open: Arc<AtomicU64>,
        admission: Admission,
    ) -> Self {
        Owning { node, under, open, admission }
    }

    /// Whether it is a right of this node, in this cluster.
    pub(crate) fn is_of(&self, node: &Node) -> bool {
        self.node.is(node)
    }

    /// Waits until something may be begun under it; `false` if nothing ever may.
    pub(crate) async fn begins(&self) -> bool {
        let asked = || match self.begin() {
            Standing::Yes => Poll::Ready(true),
            Standing::NotNow => Poll::Pending,
            Standing::Never => Poll::Ready(false),
        };
        poll_fn(|cx| {
            if let Poll::Ready(begins) = asked() {
                return Poll::Ready(begins);
            }
            self.wake_on_change(cx.waker());
            // Once more: it may have changed in between.
            asked()
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

    fn admission(&self) -> Option<&Admission> {
        Some(&self.admission)
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Wake};
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::coordinator::memory::Memory;
    use crate::join::{Settings, VERSIONS};
    use crate::limits;
    use crate::ownership::timing::{FAIL_OVER_DEFAULT, Now};

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Now {
            Now { raw: 0, slept: 0 }
        }
    }

    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    /// P16
    #[tokio::test(start_paused = true)]
    async fn who_asks_whether_something_may_begin_leaves_nothing_behind_if_it_may() {
        let settings = Settings {
            cluster: "test".to_owned(),
            name: "a".to_owned(),
            address: "a:1".to_owned(),
            weight: 1,
            shards: 1,
            session: Duration::from_secs(5),
            fail_over: FAIL_OVER_DEFAULT,
            versions: VERSIONS,
            starts_at_once: limits::STARTS_AT_ONCE,
        };
        let joined = Node::join(Arc::new(Memory::new()), Arc::new(Still), &settings).await;
        let (node, _orders, mut running) =
            joined.ok().unwrap_or_else(|| panic!("it has not joined"));
        let epoch = loop {
            let tick = tokio::time::sleep(Duration::from_millis(10));
            tokio::select! {
                _ = &mut running => panic!("it is over"),
                () = tick => {}
            }
            if let Gate::Open(epoch) = node.gate(0) {
                break epoch;
            }
        };
        let open = Arc::new(AtomicU64::new(0));
        let under = Under { shard: 0, epoch };
        let admission = Admission::new(limits::STARTS_AT_ONCE);
        let right = Owning::new(node, under, open.clone(), admission);
        let nobody = Arc::new(Nobody);
        let waker = Waker::from(nobody.clone());
        let ask = || Box::pin(right.begins()).as_mut().poll(&mut Context::from_waker(&waker));
        let before = Arc::strong_count(&nobody);
        assert_eq!((ask(), Arc::strong_count(&nobody)), (Poll::Pending, before + 1));
        open.store(epoch, Ordering::Release);
        assert_eq!((ask(), Arc::strong_count(&nobody)), (Poll::Ready(true), before + 1));
    }
}
