//! One at a time for each key: the queue of those who want a key's lock.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::sync::OwnedMutexGuard;

use crate::clock;
use crate::keyed::Key;
use crate::limits;
use crate::registry::table::{Entered, Refused, Row, Table};
use crate::seam::Mutex;

/// The locks of a registry, there while somebody holds or wants them.
pub(crate) struct Locks<K: Key> {
    turns: Table<Turn<K>>,
    hasher: RandomState,
}

/// The lock of one key.
struct Turn<K> {
    key: K,
    hash: u64,
    /// Who holds it or waits for it; none once it is to be forgotten.
    users: Mutex<Option<usize>>,
    queue: Arc<tokio::sync::Mutex<()>>,
}

/// A place at the lock of one key, given up when it is dropped.
struct Place<K: Key> {
    locks: Arc<Locks<K>>,
    turn: Arc<Turn<K>>,
}

/// The lock of a key, held until this is dropped.
///
/// Whatever ends its holder drops it: a panic, a kill, a future that is given up.
#[must_use = "the lock is free again as soon as this is dropped"]
pub struct KeyLock<K: Key> {
    // Released before the place is given up.
    _held: OwnedMutexGuard<()>,
    place: Place<K>,
}

/// Why a lock was not had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockError {
    /// Others held it for as long as the caller would wait. The caller is in no queue any more.
    Timeout {
        /// How long the caller waited.
        waited: Duration,
    },
    /// As many hold or want the locks of that key as may.
    Full {
        /// The most there may be.
        max: usize,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Timeout { waited } => {
                write!(f, "the lock was not free within {} ms", waited.as_millis())
            }
            LockError::Full { max } => write!(f, "{max} wait for the lock already"),
        }
    }
}

impl std::error::Error for LockError {}

impl<K> Row for Turn<K> {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl<K: Key> Locks<K> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Locks { turns: Table::new(), hasher: RandomState::default() })
    }

    pub(crate) async fn lock(
        self: &Arc<Self>,
        key: K,
        timeout: Duration,
    ) -> Result<KeyLock<K>, LockError> {
        let place = self.place(key)?;
        let began = clock::now();
        tokio::select! {
            biased;
            held = place.turn.queue.clone().lock_owned() => Ok(KeyLock { _held: held, place }),
            () = clock::alarm(began.after(timeout)) => {
                Err(LockError::Timeout { waited: clock::now().since(began) })
            }
        }
    }

    fn place(self: &Arc<Self>, key: K) -> Result<Place<K>, LockError> {
        let hash = self.hasher.hash_one(&key);
        let max = limits::LOCK_USERS_MAX;
        loop {
            let Some(turn) = self.turn(&key, hash) else {
                return Err(LockError::Full { max: limits::CHILDREN_MAX });
            };
            match &mut *turn.users.lock() {
                Some(users) if *users >= max => return Err(LockError::Full { max }),
                Some(users) => *users += 1,
                None => {
                    // Given up by its last user since it was found.
                    self.turns.remove(&turn);
                    continue;
                }
            }
            return Ok(Place { locks: self.clone(), turn });
        }
    }

    fn turn(&self, key: &K, hash: u64) -> Option<Arc<Turn<K>>> {
        let is = |turn: &Turn<K>| turn.key == *key;
        if let Some(turn) = self.turns.find(hash, is) {
            return Some(turn);
        }
        // Its key is cloned before the lock of the table.
        let (users, queue) = (Mutex::new(Some(0)), Arc::default());
        let new = Arc::new(Turn { key: key.clone(), hash, users, queue });
        let make = || Ok::<_, Refused>(new.clone());
        match self.turns.enter(hash, limits::CHILDREN_MAX, is, |_| false, make).ok()? {
            Entered::New(turn, _) | Entered::Existing(turn) => Some(turn),
        }
    }

    /// How many keys are locked, or wanted.
    pub(crate) fn len(&self) -> usize {
        self.turns.len()
    }
}

impl<K: Key> Drop for Place<K> {
    fn drop(&mut self) {
        let mut users = self.turn.users.lock();
        *users = users.and_then(|users| users.checked_sub(1)).filter(|users| *users > 0);
        let last = users.is_none();
        drop(users);
        if last {
            self.locks.turns.remove(&self.turn);
        }
    }
}

impl<K: Key> KeyLock<K> {
    /// Which key it is the lock of.
    pub fn key(&self) -> &K {
        &self.place.turn.key
    }
}

impl<K: Key> fmt::Debug for KeyLock<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyLock").field(self.key()).finish()
    }
}
