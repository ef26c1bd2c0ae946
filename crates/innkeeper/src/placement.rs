//! The port to whoever decides where the process of a key runs, where that is not simply here.
//!
//! A scope that is set up with [`placed_by`](crate::KeyedBuilder::placed_by) asks a [`Placement`]
//! before it starts a process or hands out its address, and each of its processes runs under a
//! [`Tenure`]: it is asked before a message is begun, and again before anything that a handler has
//! brought about gets out. What a network is, and how keys are written down, is not known here.

mod admission;
mod brought;
mod distant;
mod hosted;
mod look;
mod outlet;

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::watch;

use crate::error::{CallError, GetError, NotDelivered, StopError, Unknown};
use crate::exit::ExitReason;
use crate::gathered::{Gathered, NoAnswer};
use crate::keyed::{Hearing, Key, KeyRange, NodeCount, Outcome, Page};
use crate::observe::ProcessInfo;
use crate::process::{Message, Process};
use crate::process_ref::ProcessRef;
use crate::wait_for;

pub use admission::Admission;
pub(crate) use admission::{Seat, Turn};
pub use brought::{Brought, bring};
pub use distant::{Distant, Pending, distant};
pub use hosted::{Hosted, Packed};
pub use look::Ending;
pub(crate) use outlet::Placed;

/// Something that is awaited.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whether what was handed over for the process of a key is still there. Short, and without the
/// key's own code: it is asked under a lock.
pub type Kept = Box<dyn Fn() -> bool + Send>;

/// Whether something may be done under a tenure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Yes.
    Yes,
    /// Not now; perhaps again.
    NotNow,
    /// Never again.
    Never,
}

/// The right to act for some keys, under one epoch. It ends, and does not come back.
///
/// # Guarantees
/// Owed by whoever implements it: of two tenures for a key, wherever they are held, the one with
/// the lower epoch never answers [`Standing::Yes`] after the other has.
pub trait Tenure: Any + Send + Sync {
    /// Which keys it is for, by a number: all tenures for a key have the same.
    fn shard(&self) -> u64;

    /// The fencing token: each tenure of a key has a higher one than the last.
    fn epoch(&self) -> u64;

    /// What the node is called that has it, for logs and traces.
    fn node(&self) -> Option<&str> {
        None
    }

    /// How many processes may begin at once on the node that has it. `None`: any number.
    fn admission(&self) -> Option<&Admission> {
        None
    }

    /// Whether a message may be begun now. Cheap: it is asked before each.
    fn begin(&self) -> Standing;

    /// Whether what a handler has brought about may leave now. Cheap: it is asked for each output.
    fn release(&self) -> Standing;

    /// Wakes this once, when either answer may have changed after this was called.
    fn wake_on_change(&self, waker: &Waker);
}

/// The right under which the process runs whose callback this thread is polling: what it says to
/// others is said under that.
pub fn current() -> Option<Arc<dyn Tenure>> {
    wait_for::current()?.tenure()
}

/// Why something that was said elsewhere brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It has not run and will not.
    NotDelivered(NotDelivered),
    /// It may have run.
    Unknown(Unknown),
}

impl Failed {
    /// The error of a call that said `message`.
    pub(crate) fn of<M>(self, message: M) -> CallError<M> {
        match self {
            Failed::NotDelivered(why) => CallError::NotDelivered { message, why },
            Failed::Unknown(why) => CallError::Unknown(why),
        }
    }
}

/// Makes the placement of a scope: a cluster.
pub trait Placer<K: Key, P: Process> {
    /// For the scope of this name, which is the same wherever it runs. `None`: there is one of that
    /// name here already.
    fn placement(&self, scope: &str) -> Option<Arc<dyn Placement<K, P>>>;
}

/// Decides where the process of a key runs, and talks to those that run elsewhere.
///
/// Each question about a key but [`here`](Self::here) is one try: where nobody can be asked it
/// answers [`Away`](crate::Away), and the scope asks again until the caller's time is over. What is
/// asked about all keys is answered for this node too, and tried for as long as the caller waits.
pub trait Placement<K: Key, P: Process>: Send + Sync + 'static {
    /// These are the processes of the scope that run here. Told once, before anything is asked.
    fn host(self: Arc<Self>, here: Hosted<K, P>);

    /// The tenure under which the process of a key may run here. Cheap: it is asked each time.
    fn here(&self, key: &K) -> Option<Arc<dyn Tenure>>;

    /// Whether something was handed over for the process of a key under this tenure, and none was
    /// ready since. Such a key has come here with its process: whoever looks for that has it begin,
    /// and nothing limits that. Cheap: it is asked wherever a key has no process.
    fn kept(&self, key: &K, tenure: &dyn Tenure) -> Option<Kept>;

    /// What the process of a key had where it comes from, for an `init` under this tenure.
    fn handed(&self, key: &K, tenure: &dyn Tenure) -> Option<Vec<u8>>;

    /// A process of the key is ready under this tenure: what was handed to it is its own now, and
    /// nobody else's. Answers the casts that came along, in order.
    fn settled(&self, key: &K, tenure: &dyn Tenure) -> Vec<P::Message>;

    /// Asks for a process that is elsewhere; started there if `starts`.
    fn get(
        &self,
        key: &K,
        starts: bool,
        within: Duration,
    ) -> Later<'static, Result<Outcome<ProcessRef<P::Message>>, GetError>>;

    /// Says something to whichever process a key has elsewhere, and waits for the reply.
    fn call(
        &self,
        key: &K,
        message: &P::Message,
        within: Duration,
    ) -> Later<'static, Result<<P::Message as Message>::Reply, Failed>>;

    /// As [`call`](Self::call), but waits only until it is in the mailbox.
    fn cast(
        &self,
        key: &K,
        message: &P::Message,
        within: Duration,
    ) -> Later<'static, Result<(), NotDelivered>>;

    /// Ends the process that a key has elsewhere, and waits for its end.
    fn stop(
        &self,
        key: &K,
        reason: ExitReason,
        within: Duration,
    ) -> Later<'static, Result<(), StopError>>;

    /// A snapshot of the process that a key has elsewhere.
    fn info(
        &self,
        key: &K,
        within: Duration,
    ) -> Later<'static, Result<Option<ProcessInfo>, NoAnswer>>;

    /// How many keys are taken, by nodes.
    fn count(&self, within: Duration) -> Later<'static, Gathered<Vec<NodeCount>>>;

    /// The first `limit` keys of a range, of all nodes. Asked only where keys have an order.
    fn page(
        &self,
        range: KeyRange<K>,
        limit: usize,
        within: Duration,
    ) -> Later<'static, Gathered<Page<K>>>;

    /// The tenures that are here now, of all keys.
    fn tenures(&self) -> Vec<Arc<dyn Tenure>>;

    /// Is told whenever there may be one more.
    fn news(&self) -> watch::Receiver<()>;

    /// What happens on all nodes from now on.
    fn events(&self) -> Later<'static, Hearing<K>>;

    /// Ends every process, on all nodes, and answers how many were told to end.
    fn stop_all(&self, within: Duration) -> Later<'static, Gathered<usize>>;

    /// Waits before a question about a key is put once more that was answered `Away` so many times,
    /// until somebody else may answer it. Ends by itself.
    fn pause(&self, key: &K, tries: u32) -> Later<'static, ()>;
}

impl<K: Key, P: Process> fmt::Debug for dyn Placement<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Placement").finish_non_exhaustive()
    }
}
