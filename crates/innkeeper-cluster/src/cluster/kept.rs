//! What was handed over with a shard and waits for processes to begin with it, and how they begin.

use std::sync::Arc;

use super::Inner;
use super::tenure::Owning;
use super::view::together;
use crate::frame::Under;
use crate::limits;

/// A scope and a key, written down.
type Place = (Vec<u8>, Vec<u8>);

impl Inner {
    /// Whether anything waits under this ownership.
    pub(super) fn keeps_any(&self, under: Under) -> bool {
        self.desk(under.shard).is_some_and(|desk| {
            let handed = desk.handed.lock();
            handed.epoch == under.epoch && !handed.is_empty()
        })
    }

    /// Whether anything waits for the process of this key.
    pub(super) fn is_kept(&self, under: Under, scope: &[u8], key: &[u8]) -> bool {
        self.desk(under.shard).is_some_and(|desk| {
            let handed = desk.handed.lock();
            handed.epoch == under.epoch && handed.bag(scope, key).is_some()
        })
    }

    /// The keys of a scope for whose processes something waits.
    pub(super) fn kept(&self, under: Under, scope: &[u8]) -> Vec<Vec<u8>> {
        let Some(desk) = self.desk(under.shard) else { return Vec::new() };
        let handed = desk.handed.lock();
        if handed.epoch != under.epoch {
            return Vec::new();
        }
        handed.keys().into_iter().filter_map(|(of, key)| (of == scope).then_some(key)).collect()
    }

    /// Has every process begin for which something waits, so many at once. Those that do not are
    /// tried again, after a longer pause each time.
    pub(super) async fn revive(&self, right: Arc<Owning>, mut places: Vec<Place>) {
        let mut pause = limits::REVIVE_WAIT;
        for _ in 0..limits::REVIVE_TRIES {
            let tries = places.into_iter().map(|place| self.revive_one(right.clone(), place));
            let tried = together(tries.map(Box::pin), limits::REVIVALS_AT_ONCE).await;
            places = tried.into_iter().flatten().collect();
            if places.is_empty() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = limits::REVIVE_WAIT_MAX.min(2 * pause);
        }
        let (shard, processes) = (right.under.shard, places.len());
        tracing::error!(shard, processes, "what was handed over waits until it is asked for");
    }

    /// Answers what is to be tried again.
    async fn revive_one(&self, right: Arc<Owning>, (scope, key): Place) -> Option<Place> {
        let hosting = self.scope(&scope.clone().into())?;
        let is_done = hosting.revive(right, key.clone()).await;
        (!is_done).then_some((scope, key))
    }
}
