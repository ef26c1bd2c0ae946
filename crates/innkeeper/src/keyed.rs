//! Processes by key: found if they are there, started if they are not, never two for one key.

mod builder;
mod end_all;
mod everywhere;
mod get;
mod guest;
mod hearing;
mod kept;
mod owner;
mod page;
mod placed;
mod remembered;
mod scope;
mod stop;
mod sweep;
mod via;

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use tokio::sync::broadcast;

use crate::error::GetError;
use crate::observe::{Counters, Event, ProcessInfo};
use crate::placement::Standing;
use crate::process::Process;
use crate::process_ref::ProcessRef;
use crate::rate::StartRate;

pub use builder::{ArgsPolicy, KeyedBuilder};
pub use everywhere::{Everywhere, KeyRange, NodeCount};
pub use get::GetOrStart;
pub use hearing::{Heard, Hearing, Tidings};
pub use page::{Page, Row};
pub use stop::Stop;
pub use via::{Via, ViaCall, ViaCast};

pub(crate) use end_all::Ending as Told;
pub(crate) use placed::{away, call_here, cast_here, get_here, info_here, stop_here, unless_over};
pub(crate) use scope::Scope;

/// What a key may be: anything that can be hashed, compared and named.
///
/// Implemented for every type that fits. Its `Hash`, `Eq`, `Clone` and `Drop` are to be short: `Eq`
/// runs under a lock that a few other keys share.
pub trait Key: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static {}

impl<K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static> Key for K {}

/// Processes of one type, each under a key: a dynamic supervisor and a registry in one.
///
/// This is the safe composition of what OTP's users put together from `DynamicSupervisor` and
/// `Registry`: the entry of the registry *is* the record of the child, so neither can lose what the
/// other knows.
///
/// # Guarantees
/// At most one incarnation of a key is alive at any instant, whatever happens meanwhile: from the
/// first instruction of its `init` until its state is dropped and its tasks have ended. No
/// operation on one key waits for another key.
///
/// # Examples
/// ```
/// # use innkeeper::{ChildSpec, Context, Keyed, Message, Process, ReplyTo, StartError, Supervisor};
/// # struct Room;
/// # enum Say { Hello }
/// # impl Message for Say { type Reply = &'static str; }
/// # impl Process for Room {
/// #     type Args = String;
/// #     type Message = Say;
/// #     async fn init(_: &String, _: &mut Context<Self>) -> Result<Self, StartError> { Ok(Room) }
/// #     async fn handle(&mut self, _: Say, reply: ReplyTo<Say>, _: &mut Context<Self>) {
/// #         reply.send("hello");
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = Supervisor::new().start().await?;
/// let rooms = Keyed::<String, Room>::new(ChildSpec::new()).start(&supervisor).await?;
///
/// let room = rooms.get_or_start(&"lobby".to_owned()).await?.process()?;
/// assert_eq!(room.call(Say::Hello).await?, "hello");
/// # Ok(())
/// # }
/// ```
pub struct Keyed<K: Key, P: Process> {
    scope: Arc<Scope<K, P>>,
}

/// What asking for a key brought.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome<R> {
    /// The process was started, and this caller is the one that it was started for.
    Started(R),
    /// It was there, or was started for somebody else who asked at the same time.
    Existing(R),
    /// Its `init` declined: there is none, and that is no failure.
    Ignored,
}

impl<R> Outcome<R> {
    /// The process.
    ///
    /// # Errors
    /// [`GetError::Declined`] if `init` declined.
    #[inline]
    pub fn process(self) -> Result<R, GetError> {
        match self {
            Outcome::Started(process) | Outcome::Existing(process) => Ok(process),
            Outcome::Ignored => Err(GetError::Declined),
        }
    }

    /// Whether the process was started for this caller.
    pub fn is_started(&self) -> bool {
        matches!(self, Outcome::Started(_))
    }
}

/// Why a child was not started under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartKeyError<R> {
    /// There is one already (OTP's `{:already_started, pid}`): here it is.
    AlreadyStarted(R),
    /// It could not be started.
    Failed(GetError),
}

impl<R: fmt::Debug> fmt::Display for StartKeyError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartKeyError::AlreadyStarted(process) => {
                write!(f, "already started as {process:?}")
            }
            StartKeyError::Failed(error) => error.fmt(f),
        }
    }
}

impl<R: fmt::Debug> std::error::Error for StartKeyError<R> {}

impl<K: Key, P: Process> Keyed<K, P> {
    /// Finds the process of a key, or starts it.
    ///
    /// # Guarantees
    /// All who ask at once share one start and its one outcome; at most one of them is told
    /// [`Outcome::Started`]. What is handed out was ready, and was not told to stop, at some
    /// instant between the asking and the answer. During a restart or a stop it waits for what
    /// comes next.
    ///
    /// # Errors
    /// See [`GetError`]; after any of them nothing was started by this call, except that a start
    /// under way goes on after [`GetError::Timeout`].
    ///
    /// # Cancel safety
    /// A start belongs to the key, not to who asked first: dropping the future does not end it.
    pub fn get_or_start<'a>(&'a self, key: &'a K) -> GetOrStart<'a, K, P> {
        GetOrStart::new(&self.scope, key, None)
    }

    /// As [`get_or_start`](Self::get_or_start), with the arguments for `init` should it come to a
    /// start. They are kept for every restart.
    pub fn get_or_start_with<'a>(&'a self, key: &'a K, args: P::Args) -> GetOrStart<'a, K, P> {
        GetOrStart::new(&self.scope, key, Some(args))
    }

    /// Finds the process of a key, and waits for one that is on its way: during a start or restart.
    /// Never starts one.
    ///
    /// # Errors
    /// [`GetError::NotFound`] if there is none; otherwise as for
    /// [`get_or_start`](Self::get_or_start).
    ///
    /// # Cancel safety
    /// Dropping the future does nothing.
    pub fn get<'a>(&'a self, key: &'a K) -> GetOrStart<'a, K, P> {
        GetOrStart::new(&self.scope, key, None).without_start()
    }

    /// Starts the process of a key that has none (OTP's `DynamicSupervisor.start_child/2`).
    ///
    /// # Errors
    /// - [`StartKeyError::AlreadyStarted`], with the process.
    /// - [`StartKeyError::Failed`] as for [`get_or_start`](Self::get_or_start); `Declined` too.
    pub async fn start_child(
        &self,
        key: &K,
    ) -> Result<ProcessRef<P::Message>, StartKeyError<ProcessRef<P::Message>>> {
        match self.get_or_start(key).await.map_err(StartKeyError::Failed)? {
            Outcome::Started(process) => Ok(process),
            Outcome::Existing(process) => Err(StartKeyError::AlreadyStarted(process)),
            Outcome::Ignored => Err(StartKeyError::Failed(GetError::Declined)),
        }
    }

    /// The process of a key, if it is ready now. Never starts one and never waits.
    ///
    /// # Guarantees
    /// Never one that has ended or was told to stop; it may do so before the answer is used.
    ///
    /// On a cluster it looks on this node alone, since to ask another one is to wait: there
    /// [`get`](Self::get) finds a process wherever it is.
    pub fn whereis(&self, key: &K) -> Option<ProcessRef<P::Message>> {
        let tenure = match &self.scope.shared.placement {
            None => None,
            Some(placement) => Some(placement.here(key)?),
        };
        let cell = self.scope.find(key)?;
        let incarnation = cell.live()?;
        let may = tenure
            .is_none_or(|tenure| cell.owner.runs_under(&tenure) && tenure.begin() == Standing::Yes);
        may.then(|| ProcessRef::new(cell, incarnation))
    }

    /// The address of whichever process a key has (OTP's `{:via, Registry, name}`): what is said
    /// starts it if need be, and waits out a restart.
    pub fn via(&self, key: &K) -> Via<K, P> {
        Via::new(self.scope.clone(), key.clone())
    }

    /// Ends the process of a key, and waits until the key is free (OTP's `terminate_child/2`, but
    /// by key). Messages that wait are handed back. A parked key is freed.
    ///
    /// # Errors
    /// - [`StopError::NotFound`](crate::StopError::NotFound): there is none.
    /// - [`StopError::StillStopping`](crate::StopError::StillStopping): it has not ended by the
    ///   caller's deadline; the key stays taken until it has.
    /// - [`StopError::Cycle`](crate::StopError::Cycle): the caller would wait for its own end.
    ///
    /// # Cancel safety
    /// The order stands when the future is dropped after its first poll.
    pub fn stop<'a>(&'a self, key: &'a K) -> Stop<'a, K, P> {
        Stop::new(&self.scope, key)
    }

    /// Ends every process there is now, all at once, and waits until they have ended. Keys that are
    /// asked for meanwhile start anew. Answers how many were told to end. A process that calls this
    /// is told like the others, and not waited for; nor is one that is still in its code a second
    /// after it was killed, which goes on holding its key.
    ///
    /// On a cluster, those on this node; [`everywhere`](Self::everywhere) has all.
    pub async fn stop_all(&self) -> usize {
        let ending = self.scope.end_all(|_| true).await;
        let told = ending.told;
        ending.wait(&self.scope).await;
        told
    }

    /// All processes of the scope, wherever they run: to count, list, look at or stop them.
    ///
    /// The methods of `Keyed` that do not wait, and [`page`](Self::page), [`visit`](Self::visit)
    /// and [`stop_all`](Self::stop_all), are about the processes on this node.
    pub fn everywhere(&self) -> Everywhere<K, P> {
        Everywhere::new(&self.scope)
    }

    /// How many keys are taken on this node, by processes in whatever state.
    pub fn count(&self) -> usize {
        self.scope.table.len()
    }

    /// A snapshot of the process of a key, if it is on this node. Never waits for it.
    pub fn info(&self, key: &K) -> Option<ProcessInfo> {
        self.scope.info(key)
    }

    /// What happens on this node, from now on. Bounded: a subscriber that falls behind is told how
    /// many it missed.
    pub fn events(&self) -> broadcast::Receiver<Event<K>> {
        self.scope.events()
    }

    /// What happened on this node so far, in numbers.
    pub fn counters(&self) -> Counters {
        self.scope.shared.tally.counters()
    }

    /// The rate that all starts of this scope share, if it has one.
    pub fn start_rate(&self) -> Option<&StartRate> {
        self.scope.shared.start_rate.as_ref()
    }
}

impl<K: Key, P: Process> Clone for Keyed<K, P> {
    fn clone(&self) -> Self {
        Keyed { scope: self.scope.clone() }
    }
}

impl<K: Key, P: Process> fmt::Debug for Keyed<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("count", &self.count()).finish_non_exhaustive()
    }
}
