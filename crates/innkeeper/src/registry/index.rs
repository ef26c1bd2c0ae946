//! How the entries of a registry are found by key: at most one for each, or any number.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::keyed::Key;
use crate::limits;
use crate::process::Message;
use crate::process_ref::ProcessRef;
use crate::registry::RegisterError;
use crate::registry::entry::Entry;
use crate::registry::table::{Entered, Refused, Row, Table};
use crate::seam::Mutex;
use crate::seam::atomic::{AtomicUsize, Ordering};

/// Whether a key of a registry names one process or any number: [`Unique`] or [`Duplicate`].
///
/// Nobody else can implement it.
pub trait Keys: Send + Sync + 'static {
    /// How entries are found.
    #[doc(hidden)]
    type Index<K: Key, M: Message, V: Clone + Send + 'static>: Index<K, M, V>;
}

/// Each key names at most one process (OTP's `keys: :unique`).
#[derive(Clone, Copy, Debug)]
pub struct Unique;

/// Each key names any number of processes, the same one more than once too (OTP's
/// `keys: :duplicate`).
#[derive(Clone, Copy, Debug)]
pub struct Duplicate;

impl Keys for Unique {
    type Index<K: Key, M: Message, V: Clone + Send + 'static> = OneEach<K, M, V>;
}

impl Keys for Duplicate {
    type Index<K: Key, M: Message, V: Clone + Send + 'static> = Many<K, M, V>;
}

/// An entry that another one took the place of: for the caller to drop without a lock.
pub(crate) type Displaced<K, M, V> = Option<Arc<Entry<K, M, V>>>;

/// The entries of a registry by key.
pub trait Index<K: Key, M: Message, V>: Send + Sync + 'static {
    fn new() -> Self;

    /// How many entries there are.
    fn len(&self) -> usize;

    /// Puts one in.
    ///
    /// # Errors
    /// What [`RegisterError`] says; nothing was put in.
    fn enter(
        &self,
        entry: &Arc<Entry<K, M, V>>,
    ) -> Result<Displaced<K, M, V>, RegisterError<ProcessRef<M>>>;

    /// Takes this very entry out, if it is still in.
    fn remove(&self, entry: &Arc<Entry<K, M, V>>);

    /// Those of one key, in the order in which they came.
    fn of_key(&self, hash: u64, key: &K) -> Vec<Arc<Entry<K, M, V>>>;

    /// A part of all entries, for each number below `parts`.
    fn part(&self, part: usize) -> Vec<Arc<Entry<K, M, V>>>;

    fn parts(&self) -> usize;
}

/// At most one entry for each key.
#[derive(Debug)]
pub struct OneEach<K: Key, M: Message, V: Clone + Send + 'static>(Table<Entry<K, M, V>>);

impl<K: Key, M: Message, V: Clone + Send + 'static> Index<K, M, V> for OneEach<K, M, V> {
    fn new() -> Self {
        OneEach(Table::new())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn enter(
        &self,
        entry: &Arc<Entry<K, M, V>>,
    ) -> Result<Displaced<K, M, V>, RegisterError<ProcessRef<M>>> {
        let entered = self.0.enter(
            entry.hash,
            limits::CHILDREN_MAX,
            |other| other.key == entry.key,
            Entry::has_ended,
            || Ok::<_, RegisterError<ProcessRef<M>>>(entry.clone()),
        )?;
        match entered {
            Entered::New(_, displaced) => Ok(displaced),
            Entered::Existing(other) => {
                Err(RegisterError::AlreadyRegistered(other.process.clone()))
            }
        }
    }

    fn remove(&self, entry: &Arc<Entry<K, M, V>>) {
        self.0.remove(entry);
    }

    fn of_key(&self, hash: u64, key: &K) -> Vec<Arc<Entry<K, M, V>>> {
        self.0.find(hash, |entry| entry.key == *key).into_iter().collect()
    }

    fn part(&self, part: usize) -> Vec<Arc<Entry<K, M, V>>> {
        self.0.rows(part)
    }

    fn parts(&self) -> usize {
        self.0.shards()
    }
}

/// Any number of entries for each key.
#[derive(Debug)]
pub struct Many<K: Key, M: Message, V: Clone + Send + 'static> {
    groups: Table<Group<K, M, V>>,
    len: AtomicUsize,
}

/// The entries of one key.
#[derive(Debug)]
struct Group<K: Key, M: Message, V> {
    key: K,
    hash: u64,
    members: Members<K, M, V>,
}

/// By number; none once it has been emptied and is to be forgotten.
type Members<K, M, V> = Mutex<Option<BTreeMap<u64, Arc<Entry<K, M, V>>>>>;

impl<K: Key, M: Message, V> Row for Group<K, M, V> {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static> Index<K, M, V> for Many<K, M, V> {
    fn new() -> Self {
        Many { groups: Table::new(), len: AtomicUsize::new(0) }
    }

    fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    fn enter(
        &self,
        entry: &Arc<Entry<K, M, V>>,
    ) -> Result<Displaced<K, M, V>, RegisterError<ProcessRef<M>>> {
        let max = limits::CHILDREN_MAX;
        let one_more = |len| (len < max).then_some(len + 1);
        let reserved = self.len.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        reserved.map_err(|_| RegisterError::Full { max })?;
        loop {
            let Some(group) = self.group(entry) else {
                self.len.fetch_sub(1, Ordering::AcqRel);
                return Err(RegisterError::Full { max });
            };
            if let Some(members) = &mut *group.members.lock() {
                members.insert(entry.number, entry.clone());
                return Ok(None);
            }
            // Emptied since it was found: out with it, whoever is first.
            self.groups.remove(&group);
        }
    }

    fn remove(&self, entry: &Arc<Entry<K, M, V>>) {
        let Some(group) = self.groups.find(entry.hash, |group| group.key == entry.key) else {
            return;
        };
        let mut members = group.members.lock();
        let Some(there) = &mut *members else { return };
        let Some(removed) = there.remove(&entry.number) else { return };
        let emptied = there.is_empty();
        if emptied {
            *members = None;
        }
        drop(members);
        drop(removed);
        self.len.fetch_sub(1, Ordering::AcqRel);
        if emptied {
            self.groups.remove(&group);
        }
    }

    fn of_key(&self, hash: u64, key: &K) -> Vec<Arc<Entry<K, M, V>>> {
        let group = self.groups.find(hash, |group| group.key == *key);
        group.map_or_else(Vec::new, |group| group.all())
    }

    fn part(&self, part: usize) -> Vec<Arc<Entry<K, M, V>>> {
        self.groups.rows(part).iter().flat_map(|group| group.all()).collect()
    }

    fn parts(&self) -> usize {
        self.groups.shards()
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static> Many<K, M, V> {
    /// The group of an entry's key, made if there is none.
    fn group(&self, entry: &Entry<K, M, V>) -> Option<Arc<Group<K, M, V>>> {
        let is = |group: &Group<K, M, V>| group.key == entry.key;
        if let Some(group) = self.groups.find(entry.hash, is) {
            return Some(group);
        }
        // Its key is cloned before the lock.
        let members = Mutex::new(Some(BTreeMap::new()));
        let new = Arc::new(Group { key: entry.key.clone(), hash: entry.hash, members });
        let make = || Ok::<_, Refused>(new.clone());
        let max = limits::CHILDREN_MAX;
        match self.groups.enter(entry.hash, max, is, |_| false, make).ok()? {
            Entered::New(group, _) | Entered::Existing(group) => Some(group),
        }
    }
}

impl<K: Key, M: Message, V> Group<K, M, V> {
    fn all(&self) -> Vec<Arc<Entry<K, M, V>>> {
        let members = self.members.lock();
        members.iter().flat_map(BTreeMap::values).cloned().collect()
    }
}
