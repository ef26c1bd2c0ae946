//! Waits for a shard that changes hands: for the right to act for it here, and for news of who has
//! it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::tenure::Owning;
use crate::limits;
use crate::ownership::record::{Epoch, Shard};

impl Inner {
    /// The right to act for a shard under this epoch or a later one. While the shard is about to
    /// leave or to arrive, this waits until it has, so that whoever asks need not ask again and
    /// again: for so long at most, and for [`limits::TURN_WAIT`]. `None`: it is not here.
    pub(super) async fn right_in_time(
        &self,
        shard: Shard,
        epoch: Epoch,
        within: Duration,
    ) -> Option<Arc<Owning>> {
        let desk = self.desk(shard)?;
        // Who knows a later epoch knows more than this node, which is to learn it first.
        let right = || self.right(shard).filter(|right| right.under.epoch >= epoch);
        if let Some(right) = right() {
            return Some(right);
        }
        let turned = async {
            loop {
                let mut turned = pin!(desk.turned.notified());
                // Before it is asked: it may change in between.
                turned.as_mut().enable();
                if let Some(right) = right() {
                    return Some(right);
                }
                if !self.is_turning(shard, epoch) {
                    return None;
                }
                turned.await;
            }
        };
        tokio::time::timeout(within.min(limits::TURN_WAIT), turned).await.ok().flatten()
    }

    /// Whether it is to be decided, or to be learned here, who acts for a shard next.
    fn is_turning(&self, shard: Shard, epoch: Epoch) -> bool {
        let (node, owned) = (&self.node, self.node.owner(shard));
        owned.map_or(epoch > 0, |owned| owned.epoch < epoch || owned.owner == node.session())
    }

    /// Waits until somebody else may act for a shard, and no longer than this.
    pub(super) async fn news(&self, shard: Option<Shard>, longest: Duration) {
        let turned = async {
            match shard.and_then(|shard| self.desk(shard)) {
                Some(desk) => desk.turned.notified().await,
                None => std::future::pending().await,
            }
        };
        // Late or not, it is asked again.
        let _ = tokio::time::timeout(longest, turned).await;
    }
}
