//! A coordinator within one process: what the others have to behave like, and what tests run on.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Change, Committed, Comparison, Coordinator, CoordinatorError, Entry, Later, Listing, Revision,
    Transaction, Watch,
};
use crate::limits;

/// A coordinator within one process. Clones are the same one.
#[derive(Clone)]
pub struct Memory {
    store: Arc<Mutex<Store>>,
    /// Wakes those who watch, in the order in which they began to wait: a run can be repeated.
    changed: Arc<Notify>,
}

struct Store {
    revision: Revision,
    entries: BTreeMap<String, Entry>,
    /// The last changes, oldest first.
    history: VecDeque<Entry>,
    /// Changes up to this revision are forgotten.
    forgotten: Revision,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Memory {
        let store =
            Store { revision: 1, entries: BTreeMap::new(), history: VecDeque::new(), forgotten: 0 };
        Memory { store: Arc::new(Mutex::new(store)), changed: Arc::default() }
    }

    /// Forgets all changes so far, as etcd does when it is compacted.
    pub fn compact(&self) {
        let mut store = self.store.lock();
        store.forgotten = store.revision;
        store.history.clear();
    }

    fn carry_out(&self, transaction: &Transaction) -> Committed {
        let mut store = self.store.lock();
        let done = transaction.compares.iter().all(|compare| store.holds(compare));
        if done && !transaction.writes.is_empty() {
            store.revision += 1;
            transaction.writes.iter().for_each(|change| store.change(change));
            self.changed.notify_waiters();
        }
        Committed { done, revision: store.revision }
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Store {
    fn holds(&self, comparison: &Comparison) -> bool {
        match comparison {
            Comparison::Created(key, at) => {
                self.entries.get(key).map_or(0, |entry| entry.created) == *at
            }
            Comparison::Modified(key, at) => {
                self.entries.get(key).map_or(0, |entry| entry.modified) == *at
            }
            Comparison::Value(key, value) => {
                self.entries.get(key).is_some_and(|entry| entry.value.as_ref() == Some(value))
            }
        }
    }

    fn change(&mut self, change: &Change) {
        let modified = self.revision;
        let entry = match change {
            Change::Put(key, value) => {
                let created = self.entries.get(key).map_or(modified, |entry| entry.created);
                let value = Some(value.clone());
                let entry = Entry { key: key.clone(), value, created, modified };
                self.entries.insert(key.clone(), entry.clone());
                entry
            }
            Change::Delete(key) => {
                if self.entries.remove(key).is_none() {
                    return;
                }
                Entry { key: key.clone(), value: None, created: 0, modified }
            }
        };
        if self.history.len() == limits::HISTORY_MAX
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.modified;
        }
        self.history.push_back(entry);
    }
}

impl Coordinator for Memory {
    fn commit(
        &self,
        transaction: Transaction,
        _: Duration,
    ) -> Later<'_, Result<Committed, CoordinatorError>> {
        Box::pin(async move { Ok(self.carry_out(&transaction)) })
    }

    fn list(&self, prefix: String, _: Duration) -> Later<'_, Result<Listing, CoordinatorError>> {
        let store = self.store.lock();
        let entries = store.entries.range(prefix.clone()..);
        let entries = entries.take_while(|(key, _)| key.starts_with(&prefix));
        let entries = entries.map(|(_, entry)| entry.clone()).collect();
        Box::pin(ready(Ok(Listing { revision: store.revision, entries })))
    }

    fn watch(
        &self,
        prefix: String,
        after: Revision,
        _: Duration,
    ) -> Later<'_, Result<Box<dyn Watch>, CoordinatorError>> {
        let changes = Changes { memory: self.clone(), prefix, after };
        Box::pin(async move {
            changes.seen()?;
            Ok(Box::new(changes) as Box<dyn Watch>)
        })
    }
}

struct Changes {
    memory: Memory,
    prefix: String,
    after: Revision,
}

impl Changes {
    /// What has changed since, so far.
    fn seen(&self) -> Result<Vec<Entry>, CoordinatorError> {
        let store = self.memory.store.lock();
        if self.after < store.forgotten {
            return Err(CoordinatorError::Compacted { oldest: store.forgotten });
        }
        let news = store.history.iter().filter(|entry| entry.modified > self.after);
        Ok(news.filter(|entry| entry.key.starts_with(&self.prefix)).cloned().collect())
    }
}

impl Watch for Changes {
    fn next(&mut self) -> Later<'_, Result<Vec<Entry>, CoordinatorError>> {
        Box::pin(async {
            loop {
                // Waits from before the look on, so that no change falls in between.
                let mut changed = pin!(self.memory.changed.notified());
                changed.as_mut().enable();
                let news = self.seen()?;
                if let Some(last) = news.last() {
                    self.after = last.modified;
                    return Ok(news);
                }
                changed.await;
            }
        })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.store.lock().revision;
        f.debug_struct("Memory").field("revision", &revision).finish_non_exhaustive()
    }
}
