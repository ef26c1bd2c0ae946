//! Doing something for everybody who has a name: here, or in several tasks at once.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::keyed::Key;
use crate::process::Message;
use crate::process_ref::ProcessRef;
use crate::registry::{Keys, Registry};

impl<K: Key, M: Message, V: Clone + Send + Sync + 'static, Q: Keys> Registry<K, M, V, Q> {
    /// Calls `each` with every live process of a name and its value (OTP's `Registry.dispatch/3`),
    /// in the caller. Answers how often. A panic in it is the caller's.
    pub fn dispatch(&self, key: &K, mut each: impl FnMut(&ProcessRef<M>, &V)) -> usize {
        let all = self.matching(key, |_| true);
        all.iter().for_each(|(process, value)| each(process, value));
        all.len()
    }

    /// As [`dispatch`](Self::dispatch), in up to so many tasks at once (OTP's `parallel: true`,
    /// which makes one for each partition). Returns when all are done.
    ///
    /// # Panics
    /// With a panic of `each`; the other tasks are ended then.
    ///
    /// # Cancel safety
    /// Dropping the future ends the tasks that have not begun.
    pub async fn dispatch_parallel(
        &self,
        key: &K,
        tasks_max: NonZeroUsize,
        each: impl Fn(&ProcessRef<M>, &V) + Send + Sync + 'static,
    ) -> usize {
        let mut all = self.matching(key, |_| true);
        let count = all.len();
        let each = Arc::new(each);
        let mut tasks = JoinSet::new();
        while !all.is_empty() {
            let left = tasks_max.get().saturating_sub(tasks.len()).max(1);
            let part = all.split_off(all.len() - all.len().div_ceil(left));
            let each = each.clone();
            tasks.spawn(
                async move { part.iter().for_each(|(process, value)| each(process, value)) },
            );
        }
        while let Some(done) = tasks.join_next().await {
            if let Err(panic) = done.map_err(tokio::task::JoinError::try_into_panic)
                && let Ok(payload) = panic
            {
                resume_unwind(payload);
            }
        }
        count
    }
}
