//! Carries out what this node is told about its shards: ends what it may not run any more.

use std::sync::Arc;

use super::Inner;
use crate::frame::Under;
use crate::node::Orders;
use crate::ownership::record::{Epoch, Shard};
use crate::ownership::{Command, Event};

impl Inner {
    /// Obeys until the session is over.
    pub(super) async fn obey(self: &Arc<Self>, mut orders: Orders) {
        while let Some(order) = orders.next().await {
            match order {
                Command::Shut { shard, epoch } => {
                    let inner = self.clone();
                    self.run(async move { inner.quiet(shard, epoch).await });
                }
                Command::Offer { shard, epoch, .. } => {
                    self.node.report(Event::Accepted { shard, epoch }).await;
                }
                Command::Lost { .. } => {
                    for scope in self.scopes() {
                        self.run(async move { scope.end_lost().await });
                    }
                }
                // Whoever runs the session ends what ran under it.
                Command::End(_)
                | Command::Open { .. }
                | Command::Reopen { .. }
                | Command::Commit { .. }
                | Command::Send { .. }
                | Command::List => {}
            }
        }
    }

    /// Ends the processes of a shard, waits until nothing of them is left or leaving, and reports
    /// that.
    async fn quiet(self: Arc<Self>, shard: Shard, epoch: Epoch) {
        let under = Under { shard, epoch };
        let right = self.rights.get(usize::from(shard)).and_then(|right| right.lock().clone());
        if let Some(right) = right.filter(|right| right.under == under) {
            let tenure = right.clone();
            for scope in self.scopes() {
                scope.end_under(tenure.clone()).await;
            }
        }
        loop {
            let left = self.left.notified();
            if !self.leaving.lock().contains_key(&under) {
                break;
            }
            left.await;
        }
        self.node.report(Event::Quiesced { shard, epoch }).await;
    }
}
