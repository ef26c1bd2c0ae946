//! Names for processes, apart from their supervision: OTP's `Registry` with unique keys.

pub(crate) mod slot;
pub(crate) mod table;

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;

use crate::keyed::Key;
use crate::limits;
use crate::monitor::MonitorId;
use crate::node::Watcher;
use crate::process::Message;
use crate::process_ref::ProcessRef;
use crate::registry::table::{Entered, Refused, Row, Table};
use crate::seam::Mutex;

/// Names for processes that take messages `M`, each with a value (OTP's `Registry` with unique
/// keys).
///
/// Naming only: it starts and restarts nothing. A restarted process is a new incarnation and
/// registers itself anew, best in `init`. Where names and supervision belong together, as for
/// rooms, use [`Keyed`](crate::Keyed), which cannot come apart.
///
/// # Guarantees
/// At most one live process has a name. An entry goes when its process ends: before its end can be
/// observed by a monitor, and at the latest when somebody looks. A process that has ended never
/// blocks its name.
///
/// # Differences from OTP
/// Anybody who has a process's address may name it, not only the process itself. A lookup never
/// returns a process that is not alive. Losing the registry ends no process.
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
/// let names = Registry::new();
/// let room = innkeeper::start::<Room>((), Default::default()).await?;
/// names.register("lobby", &room, 12)?;
/// assert_eq!(names.lookup(&"lobby"), Some((room, 12)));
/// # Ok(())
/// # }
/// ```
pub struct Registry<K: Key, M: Message, V: Clone + Send + 'static = ()> {
    names: Arc<Names<K, M, V>>,
}

struct Names<K: Key, M: Message, V: Clone + Send + 'static> {
    table: Table<Entry<K, M, V>>,
    hasher: RandomState,
}

struct Entry<K, M: Message, V> {
    key: K,
    hash: u64,
    process: ProcessRef<M>,
    watch: MonitorId,
    /// With how often it was changed.
    value: Mutex<(u64, V)>,
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

impl<K: Key, M: Message, V: Clone + Send + 'static> Registry<K, M, V> {
    /// A registry without names.
    pub fn new() -> Self {
        let names = Names { table: Table::new(), hasher: RandomState::default() };
        Registry { names: Arc::new(names) }
    }

    /// Names a process (OTP's `Registry.register/3`).
    ///
    /// # Errors
    /// - [`RegisterError::AlreadyRegistered`], with the process that has the name; also if it is
    ///   the same one.
    /// - [`RegisterError::NoProcess`]: it has ended.
    /// - [`RegisterError::Full`] at [`limits::CHILDREN_MAX`] names.
    pub fn register(
        &self,
        key: K,
        process: &ProcessRef<M>,
        value: V,
    ) -> Result<(), RegisterError<ProcessRef<M>>> {
        let hash = self.names.hasher.hash_one(&key);
        let entry = Arc::new(Entry {
            key,
            hash,
            process: process.clone(),
            watch: MonitorId::next(),
            value: Mutex::new((0, value)),
        });
        let entered = self.names.table.enter(
            hash,
            limits::CHILDREN_MAX,
            |other| other.key == entry.key,
            |other| other.has_ended(),
            || Ok::<_, RegisterError<ProcessRef<M>>>(entry.clone()),
        )?;
        if let Entered::Existing(other) = entered {
            return Err(RegisterError::AlreadyRegistered(other.process.clone()));
        }
        let (names, row) = (Arc::downgrade(&self.names), Arc::downgrade(&entry));
        let forget = move |_: &_| {
            if let (Some(names), Some(row)) = (names.upgrade(), row.upgrade()) {
                names.table.remove(&row);
            }
        };
        let watcher = Watcher::Hook { id: entry.watch, tell: Box::new(forget) };
        if process.port.watch(process.incarnation, watcher).is_err() {
            self.names.table.remove(&entry);
            return Err(RegisterError::NoProcess);
        }
        Ok(())
    }

    /// Takes a name from a process; nothing happens if it has not got it (OTP's
    /// `Registry.unregister/2`).
    pub fn unregister(&self, key: &K, process: &ProcessRef<M>) {
        let Some(entry) = self.find(key) else { return };
        if entry.process == *process {
            self.names.table.remove(&entry);
            process.port.unwatch(process.incarnation, entry.watch);
        }
    }

    /// The live process of a name, and the value (OTP's `Registry.lookup/2` and `whereis_name/1`).
    pub fn lookup(&self, key: &K) -> Option<(ProcessRef<M>, V)> {
        let entry = self.find(key).filter(|entry| entry.process.is_alive())?;
        // Not cloned under the lock of the table; under that of the value it has to be.
        let value = entry.value.lock().1.clone();
        Some((entry.process.clone(), value))
    }

    /// Changes the value of a name that `process` has (OTP's `Registry.update_value/3`), and
    /// answers the new one. `None`, and `change` is not called, if it has not got it.
    ///
    /// No lock is held while `change` runs; it is called again if the value was changed meanwhile.
    pub fn update_value(
        &self,
        key: &K,
        process: &ProcessRef<M>,
        mut change: impl FnMut(V) -> V,
    ) -> Option<V> {
        let entry = self.find(key).filter(|entry| entry.process == *process)?;
        loop {
            let (version, old) = entry.value.lock().clone();
            let new = change(old);
            let mut kept = new.clone();
            let mut value = entry.value.lock();
            if value.0 == version {
                value.0 += 1;
                std::mem::swap(&mut value.1, &mut kept);
                // The old one is dropped after the lock.
                drop(value);
                return Some(new);
            }
        }
    }

    /// How many names are given.
    pub fn count(&self) -> usize {
        self.names.table.len()
    }

    fn find(&self, key: &K) -> Option<Arc<Entry<K, M, V>>> {
        self.names.table.find(self.names.hasher.hash_one(key), |entry| entry.key == *key)
    }
}

impl<K, M: Message, V> Entry<K, M, V> {
    /// Whether its process is no more, though nobody has noticed.
    fn has_ended(&self) -> bool {
        self.process.port.end_of(self.process.incarnation).is_err()
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static> Row for Entry<K, M, V> {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static> Default for Registry<K, M, V> {
    fn default() -> Self {
        Registry::new()
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static> Clone for Registry<K, M, V> {
    fn clone(&self) -> Self {
        Registry { names: self.names.clone() }
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static> fmt::Debug for Registry<K, M, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("count", &self.count()).finish_non_exhaustive()
    }
}
