//! Names for processes, apart from their supervision: OTP's `Registry`.

mod book;
mod dispatch;
mod entry;
mod index;
mod lock;
pub(crate) mod slot;
pub(crate) mod table;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::exit::ExitReason;
use crate::keyed::Key;
use crate::limits;
use crate::process::Message;
use crate::process_ref::ProcessRef;
use crate::registry::book::Book;
use crate::registry::entry::Entry;
use crate::registry::index::Index;
use crate::registry::lock::Locks;
use crate::registry::table::Refused;
use crate::seam::RwLock;

pub use index::{Duplicate, Keys, Unique};
pub use lock::{KeyLock, LockError};

/// Names for processes that take messages `M`, each with a value (OTP's `Registry`).
///
/// Naming only: it starts and restarts nothing. A restarted process is a new incarnation and
/// registers itself anew, best in `init`. Where names and supervision belong together, as for
/// rooms, use [`Keyed`](crate::Keyed), which cannot come apart.
///
/// [`Registry::new`] makes one in which a key names at most one process, [`Registry::duplicate`]
/// one in which it names any number. What makes sense for one kind only, such as
/// [`update_value`](Registry::update_value), the other kind has not got.
///
/// # Guarantees
/// With unique keys at most one live process has a name. An entry goes when its process ends:
/// before anybody can have observed that end, by a monitor or by [`ProcessRef::ended`]; and a
/// process that is not alive is not found even in the instant before that. A process that has ended
/// never blocks its name. Every operation on one entry takes a time that does not grow with the
/// number of entries, or with its logarithm.
///
/// # Differences from OTP
/// Anybody who has a process's address may name it, not only the process itself
/// (`Registry.register/3` names its caller). A lookup never returns a process that is not alive,
/// nor one that is still in its `init`. Losing the registry ends no process, and so makes no two
/// of one name. Partitions are an inner matter: there is nothing to choose.
///
/// # Examples
/// ```
/// # use innkeeper::{Context, Message, Process, Registry, ReplyTo, StartError};
/// # struct Room;
/// # struct Hello;
/// # impl Message for Hello { type Reply = (); }
/// # impl Process for Room {
/// #     type Args = ();
/// #     type Message = Hello;
/// #     async fn init(_: &(), _: &mut Context<Self>) -> Result<Self, StartError> { Ok(Room) }
/// #     async fn handle(&mut self, _: Hello, _: ReplyTo<Hello>, _: &mut Context<Self>) {}
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let room = innkeeper::start::<Room>((), Default::default()).await?;
///
/// let names = Registry::new();
/// names.register("lobby", &room, 12)?;
/// assert_eq!(names.lookup(&"lobby"), Some((room.clone(), 12)));
///
/// let floors = Registry::duplicate();
/// floors.register(1, &room, "left")?;
/// floors.register(1, &room, "right")?;
/// assert_eq!(floors.values(&1, &room), ["left", "right"]);
/// # Ok(())
/// # }
/// ```
pub struct Registry<K: Key, M: Message, V: Clone + Send + 'static = (), Q: Keys = Unique> {
    shared: Arc<Shared<K, M, V, Q>>,
}

struct Shared<K: Key, M: Message, V: Clone + Send + 'static, Q: Keys> {
    book: Arc<Book<K, M, V, Q>>,
    locks: Arc<Locks<K>>,
    meta: RwLock<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// Why a name was not given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError<R> {
    /// A live process has it: here it is.
    AlreadyRegistered(R),
    /// The process to be named has ended.
    NoProcess,
    /// As many names are given as may be.
    Full {
        /// The most there may be.
        max: usize,
    },
}

impl<R: fmt::Debug> fmt::Display for RegisterError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegisterError::AlreadyRegistered(process) => {
                write!(f, "the name belongs to {process:?}")
            }
            RegisterError::NoProcess => f.write_str("the process has ended"),
            RegisterError::Full { max } => write!(f, "{max} names are given already"),
        }
    }
}

impl<R: fmt::Debug> std::error::Error for RegisterError<R> {}

impl<R> From<Refused> for RegisterError<R> {
    fn from(_: Refused) -> Self {
        // A registry is never closed, so it is full.
        RegisterError::Full { max: limits::CHILDREN_MAX }
    }
}

/// What happened to an entry of a registry (what OTP's listeners are sent).
#[non_exhaustive]
pub enum RegistryEvent<K, M: Message, V> {
    /// A process was given a name.
    Registered {
        /// The name.
        key: K,
        /// Whose.
        process: ProcessRef<M>,
        /// The value it came with.
        value: V,
    },
    /// An entry is no more.
    Unregistered {
        /// The name.
        key: K,
        /// Whose it was.
        process: ProcessRef<M>,
        /// Why the process ended, if that is why. OTP's listeners are not told of that.
        ended: Option<ExitReason>,
    },
}

impl<K: Clone, M: Message, V: Clone> Clone for RegistryEvent<K, M, V> {
    fn clone(&self) -> Self {
        match self {
            RegistryEvent::Registered { key, process, value } => {
                let (key, process, value) = (key.clone(), process.clone(), value.clone());
                RegistryEvent::Registered { key, process, value }
            }
            RegistryEvent::Unregistered { key, process, ended } => {
                let (key, process, ended) = (key.clone(), process.clone(), ended.clone());
                RegistryEvent::Unregistered { key, process, ended }
            }
        }
    }
}

impl<K: fmt::Debug, M: Message, V> fmt::Debug for RegistryEvent<K, M, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistryEvent::Registered { key, process, .. } => {
                f.debug_tuple("Registered").field(key).field(process).finish_non_exhaustive()
            }
            RegistryEvent::Unregistered { key, process, ended } => {
                f.debug_tuple("Unregistered").field(key).field(process).field(ended).finish()
            }
        }
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static> Registry<K, M, V> {
    /// A registry without names, in which each names at most one process.
    pub fn new() -> Self {
        Registry::empty()
    }

    /// The live process of a name, and the value (OTP's `Registry.lookup/2` and `whereis_name/1`).
    pub fn lookup(&self, key: &K) -> Option<(ProcessRef<M>, V)> {
        let mut found = self.shared.book.of_key(key).into_iter();
        found.find(|entry| entry.process.is_alive()).map(|entry| entry.pair())
    }

    /// Changes the value of a name that `process` has (OTP's `Registry.update_value/3`), and
    /// answers the new and the old one. `None`, and `change` is not called, if it has not got it.
    ///
    /// No lock is held while `change` runs; it is called again if the value was changed meanwhile.
    pub fn update_value(
        &self,
        key: &K,
        process: &ProcessRef<M>,
        change: impl FnMut(V) -> V,
    ) -> Option<(V, V)> {
        let mut held = self.shared.book.of_process(process, Some(key)).into_iter();
        held.next().map(|entry| entry.update(change))
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static> Registry<K, M, V, Duplicate> {
    /// A registry without names, in which each names any number of processes.
    pub fn duplicate() -> Self {
        Registry::empty()
    }

    /// The live processes of a name, in the order in which they were given it, each with its value
    /// (OTP's `Registry.lookup/2`). One that was given it twice is there twice.
    pub fn lookup(&self, key: &K) -> Vec<(ProcessRef<M>, V)> {
        self.matching(key, |_| true)
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static, Q: Keys> Registry<K, M, V, Q> {
    fn empty() -> Self {
        let (book, locks, meta) = (Book::new(), Locks::new(), RwLock::default());
        Registry { shared: Arc::new(Shared { book, locks, meta }) }
    }

    /// Names a process (OTP's `Registry.register/3`), until it ends.
    ///
    /// # Errors
    /// What is refused leaves nothing behind.
    /// - [`RegisterError::AlreadyRegistered`], where keys are unique, with the process that has the
    ///   name; also if it is the same one.
    /// - [`RegisterError::NoProcess`]: it has ended.
    /// - [`RegisterError::Full`] at [`limits::CHILDREN_MAX`] entries.
    pub fn register(
        &self,
        key: K,
        process: &ProcessRef<M>,
        value: V,
    ) -> Result<(), RegisterError<ProcessRef<M>>> {
        self.shared.book.register(key, process, value)
    }

    /// Takes a name from a process, each time that it was given it (OTP's `Registry.unregister/2`).
    /// Answers how often that was.
    pub fn unregister(&self, key: &K, process: &ProcessRef<M>) -> usize {
        self.unregister_match(key, process, |_| true)
    }

    /// Takes a name from a process where the value is one that `wanted` says (OTP's
    /// `Registry.unregister_match/4`, whose patterns and guards are code here). Answers how often
    /// that was.
    pub fn unregister_match(
        &self,
        key: &K,
        process: &ProcessRef<M>,
        mut wanted: impl FnMut(&V) -> bool,
    ) -> usize {
        let book = &self.shared.book;
        let held = book.of_process(process, Some(key)).into_iter();
        held.filter(|entry| wanted(&entry.value()) && book.unregister(entry)).count()
    }

    /// The live processes of a name whose value is one that `wanted` says, each with its value
    /// (OTP's `Registry.match/4`, whose patterns and guards are code here).
    pub fn matching(&self, key: &K, mut wanted: impl FnMut(&V) -> bool) -> Vec<(ProcessRef<M>, V)> {
        let found = self.shared.book.of_key(key).into_iter();
        let alive = found.filter(|entry| entry.process.is_alive()).map(|entry| entry.pair());
        alive.filter(|(_, value)| wanted(value)).collect()
    }

    /// What `shape` makes of the entries, in no order; those of which it makes `None` are left out
    /// (OTP's `Registry.select/2`, whose match specification is code here). Looks at every entry.
    pub fn select<T>(&self, mut shape: impl FnMut(&K, &ProcessRef<M>, &V) -> Option<T>) -> Vec<T> {
        let index = &self.shared.book.index;
        let entries = (0..index.parts()).flat_map(|part| index.part(part));
        let alive = entries.filter(|entry| entry.process.is_alive());
        alive.filter_map(|entry| shape(&entry.key, &entry.process, &entry.value())).collect()
    }

    /// The names of a process, in no order (OTP's `Registry.keys/2`). One that it was given twice
    /// is there twice.
    pub fn keys(&self, process: &ProcessRef<M>) -> Vec<K> {
        let held = self.shared.book.of_process(process, None).into_iter();
        held.filter(|entry| !entry.has_ended()).map(|entry| entry.key.clone()).collect()
    }

    /// The values with which a process has a name, in the order in which they were given (OTP's
    /// `Registry.values/3`). None, if it has not got it.
    pub fn values(&self, key: &K, process: &ProcessRef<M>) -> Vec<V> {
        let held = self.shared.book.of_process(process, Some(key)).into_iter();
        held.filter(|entry| !entry.has_ended()).map(|entry| entry.value()).collect()
    }

    /// The entries of a name, those of processes that are in their `init` too.
    pub(crate) fn entries(&self, key: &K) -> Vec<Arc<Entry<K, M, V>>> {
        self.shared.book.of_key(key)
    }

    /// Takes one entry out. `false` if somebody else was faster.
    pub(crate) fn remove(&self, entry: &Arc<Entry<K, M, V>>) -> bool {
        self.shared.book.unregister(entry)
    }

    /// How many entries there are (OTP's `Registry.count/1`). May count one whose process is just
    /// ending.
    pub fn count(&self) -> usize {
        self.shared.book.index.len()
    }

    /// The events from now on (OTP's `:listeners`). Those of one process are in order. Bounded: a
    /// listener that falls behind is told how many it missed, and nobody waits for it.
    pub fn events(&self) -> broadcast::Receiver<RegistryEvent<K, M, V>> {
        self.shared.book.listen()
    }

    /// Takes the lock of a key, waiting in turn (OTP's `Registry.lock/3`). It has nothing to
    /// do with who has that name.
    ///
    /// What is to be done under it is done by the caller, before it drops what is returned; OTP
    /// runs a function instead.
    ///
    /// # Guarantees
    /// Different keys do not wait for each other. The lock is free when its holder has dropped it
    /// or has ended, however it did. Whoever gives up waiting is in no queue any more, and is not
    /// granted it later, as it may be in OTP.
    ///
    /// # Errors
    /// - [`LockError::Timeout`]: not within `timeout`. Also for who has it already.
    /// - [`LockError::Full`] at [`limits::LOCK_USERS_MAX`] who wait.
    ///
    /// # Cancel safety
    /// Dropping the future gives the place in the queue up.
    pub async fn lock(&self, key: K, timeout: Duration) -> Result<KeyLock<K>, LockError> {
        self.shared.locks.lock(key, timeout).await
    }

    /// How many locks are held or waited for.
    pub fn locks(&self) -> usize {
        self.shared.locks.len()
    }

    /// What was put there by [`put_meta`](Self::put_meta) (OTP's `Registry.meta/2`). Found by its
    /// type, where OTP has a key: it cannot be of another type than who looks expects.
    pub fn meta<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let found = self.shared.meta.read().get(&TypeId::of::<T>()).cloned();
        found?.downcast().ok()
    }

    /// Keeps something about the registry as a whole, for all who have it (OTP's
    /// `Registry.put_meta/3`). Answers what was there.
    pub fn put_meta<T: Any + Send + Sync>(&self, meta: T) -> Option<Arc<T>> {
        let old = self.shared.meta.write().insert(TypeId::of::<T>(), Arc::new(meta));
        old?.downcast().ok()
    }

    /// Forgets it (OTP's `Registry.delete_meta/2`). Answers what was there.
    pub fn delete_meta<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let old = self.shared.meta.write().remove(&TypeId::of::<T>());
        old?.downcast().ok()
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static> Default for Registry<K, M, V> {
    fn default() -> Self {
        Registry::new()
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static, Q: Keys> Clone for Registry<K, M, V, Q> {
    fn clone(&self) -> Self {
        Registry { shared: self.shared.clone() }
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static, Q: Keys> fmt::Debug for Registry<K, M, V, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("count", &self.count()).finish_non_exhaustive()
    }
}
