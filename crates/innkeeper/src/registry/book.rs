//! What both kinds of registries are made of: entries by key, and by the process that has them.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use foldhash::quality::RandomState;
use tokio::sync::broadcast;

use crate::exit::ExitReason;
use crate::guard::contained;
use crate::incarnation::Incarnation;
use crate::keyed::Key;
use crate::limits;
use crate::monitor::MonitorId;
use crate::node::Watcher;
use crate::process::Message;
use crate::process_ref::ProcessRef;
use crate::registry::entry::Entry;
use crate::registry::index::{Index, Keys};
use crate::registry::table::{Entered, Refused, Row, Table};
use crate::registry::{RegisterError, RegistryEvent};
use crate::seam::Mutex;
use crate::seam::atomic::{AtomicU64, Ordering};

/// The entries of one registry.
pub(crate) struct Book<K: Key, M: Message, V: Clone + Send + 'static, Q: Keys> {
    pub(crate) index: Q::Index<K, M, V>,
    holders: Table<Holder<K, M, V>>,
    hasher: RandomState,
    next: AtomicU64,
    /// Made for the first listener.
    events: OnceLock<broadcast::Sender<RegistryEvent<K, M, V>>>,
}

/// A process that has entries, and the one hook on it for all of them.
struct Holder<K, M: Message, V> {
    incarnation: Incarnation,
    watch: MonitorId,
    held: Held<K, M, V>,
}

type HolderRow<K, M, V> = Arc<Holder<K, M, V>>;

/// By the hash of the key and the number; none once there are none and none will come.
type Held<K, M, V> = Mutex<Option<BTreeMap<(u64, u64), Arc<Entry<K, M, V>>>>>;

impl<K, M: Message, V> Row for Holder<K, M, V> {
    fn hash(&self) -> u64 {
        hash(self.incarnation)
    }
}

/// Spreads numbers that follow each other: Fibonacci hashing.
fn hash(incarnation: Incarnation) -> u64 {
    incarnation.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl<K: Key, M: Message, V: Clone + Send + 'static, Q: Keys> Book<K, M, V, Q> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Book {
            index: Index::new(),
            holders: Table::new(),
            hasher: RandomState::default(),
            next: AtomicU64::new(0),
            events: OnceLock::new(),
        })
    }

    pub(crate) fn of_key(&self, key: &K) -> Vec<Arc<Entry<K, M, V>>> {
        self.index.of_key(self.hasher.hash_one(key), key)
    }

    /// The entries that a process has; of one key, or all.
    pub(crate) fn of_process(
        &self,
        process: &ProcessRef<M>,
        key: Option<&K>,
    ) -> Vec<Arc<Entry<K, M, V>>> {
        let Some(holder) = self.find(process.incarnation) else { return Vec::new() };
        let Some(key) = key else { return holder.range(0..=u64::MAX) };
        let hash = self.hasher.hash_one(key);
        // Keys are compared without a lock: that is user code.
        let same_hash = holder.range(hash..=hash).into_iter();
        same_hash.filter(|entry| entry.key == *key).collect()
    }

    /// Puts an entry in, for as long as its process lives.
    pub(crate) fn register(
        self: &Arc<Self>,
        key: K,
        process: &ProcessRef<M>,
        value: V,
    ) -> Result<(), RegisterError<ProcessRef<M>>> {
        let hash = self.hasher.hash_one(&key);
        let event = self.listeners().map(|events| {
            let (key, value) = (key.clone(), value.clone());
            (events, RegistryEvent::Registered { key, process: process.clone(), value })
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry::new(key, hash, number, process.clone(), value);
        loop {
            let holder = self.holder(process)?;
            let mut guard = holder.held.lock();
            let Some(held) = &mut *guard else {
                // It lost its last entry, or its process, since it was found.
                drop(guard);
                self.holders.remove(&holder);
                continue;
            };
            match self.index.enter(&entry) {
                Ok(displaced) => {
                    held.insert((hash, number), entry);
                    // Under the lock of the process, so that the events of one are in order.
                    if let Some((events, event)) = event {
                        let _ = events.send(event);
                    }
                    drop(guard);
                    drop(displaced);
                    return Ok(());
                }
                Err(refused) => {
                    let unused = held.is_empty();
                    if unused {
                        *guard = None;
                    }
                    drop(guard);
                    if unused {
                        self.forget(&holder, process);
                    }
                    return Err(refused);
                }
            }
        }
    }

    /// Takes an entry from its process. `false` if it has not got it any more.
    pub(crate) fn unregister(&self, entry: &Arc<Entry<K, M, V>>) -> bool {
        let process = &entry.process;
        let Some(holder) = self.find(process.incarnation) else { return false };
        let event = self.unregistered(entry, None);
        let mut guard = holder.held.lock();
        let Some(held) = &mut *guard else { return false };
        let Some(removed) = held.remove(&(entry.hash, entry.number)) else { return false };
        self.index.remove(entry);
        self.send(event);
        let emptied = held.is_empty();
        if emptied {
            *guard = None;
        }
        drop(guard);
        drop(removed);
        if emptied {
            self.forget(&holder, process);
        }
        true
    }

    /// The events from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<RegistryEvent<K, M, V>> {
        self.events.get_or_init(|| broadcast::Sender::new(limits::EVENTS)).subscribe()
    }

    fn find(&self, incarnation: Incarnation) -> Option<Arc<Holder<K, M, V>>> {
        self.holders.find(hash(incarnation), |holder| holder.incarnation == incarnation)
    }

    /// What is held by a process, with a hook on its end.
    fn holder(
        self: &Arc<Self>,
        process: &ProcessRef<M>,
    ) -> Result<HolderRow<K, M, V>, RegisterError<ProcessRef<M>>> {
        let incarnation = process.incarnation;
        let make = || {
            let (watch, held) = (MonitorId::next(), Mutex::new(Some(BTreeMap::new())));
            Ok::<_, Refused>(Arc::new(Holder { incarnation, watch, held }))
        };
        let is = |holder: &Holder<K, M, V>| holder.incarnation == incarnation;
        let entered = self.holders.enter(hash(incarnation), usize::MAX, is, |_| false, make);
        let holder = match entered? {
            Entered::Existing(holder) => return Ok(holder),
            Entered::New(holder, _) => holder,
        };
        let (book, row) = (Arc::downgrade(self), Arc::downgrade(&holder));
        let release = move |reason: &ExitReason| {
            if let (Some(book), Some(holder)) = (book.upgrade(), row.upgrade()) {
                book.release(&holder, reason);
            }
        };
        let watcher = Watcher::Hook { id: holder.watch, tell: Box::new(release) };
        match process.port.watch(incarnation, watcher) {
            Ok(()) => Ok(holder),
            Err(reason) => {
                self.release(&holder, &reason);
                Err(RegisterError::NoProcess)
            }
        }
    }

    /// A process has ended: it holds nothing any more.
    fn release(&self, holder: &Arc<Holder<K, M, V>>, reason: &ExitReason) {
        let entries = holder.held.lock().take();
        self.holders.remove(holder);
        let entries = entries.unwrap_or_default();
        for entry in entries.values() {
            self.index.remove(entry);
        }
        for entry in entries.into_values() {
            // Of user data: a panic in its clone or drop is not to cost others their events.
            drop(contained(|| {
                self.send(self.unregistered(&entry, Some(reason)));
                drop(entry);
            }));
        }
    }

    /// Takes the hook off a process that holds nothing any more.
    fn forget(&self, holder: &Arc<Holder<K, M, V>>, process: &ProcessRef<M>) {
        self.holders.remove(holder);
        process.port.unwatch(holder.incarnation, holder.watch);
    }

    fn listeners(&self) -> Option<&broadcast::Sender<RegistryEvent<K, M, V>>> {
        self.events.get().filter(|events| events.receiver_count() > 0)
    }

    fn unregistered(
        &self,
        entry: &Entry<K, M, V>,
        reason: Option<&ExitReason>,
    ) -> Option<RegistryEvent<K, M, V>> {
        self.listeners().map(|_| RegistryEvent::Unregistered {
            key: entry.key.clone(),
            process: entry.process.clone(),
            ended: reason.cloned(),
        })
    }

    fn send(&self, event: Option<RegistryEvent<K, M, V>>) {
        if let (Some(events), Some(event)) = (self.events.get(), event) {
            let _ = events.send(event);
        }
    }
}

impl<K, M: Message, V> Holder<K, M, V> {
    fn range(&self, hashes: std::ops::RangeInclusive<u64>) -> Vec<Arc<Entry<K, M, V>>> {
        let (first, last) = hashes.into_inner();
        let held = self.held.lock();
        let there = held.iter().flat_map(|held| held.range((first, 0)..=(last, u64::MAX)));
        there.map(|(_, entry)| entry.clone()).collect()
    }
}
