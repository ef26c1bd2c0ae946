//! The errors of talking to processes: each says whether the thing ran.

use std::fmt;
use std::time::Duration;

use crate::exit::ExitReason;

/// Whether what failed has had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ran {
    /// It has not run and will not: safe to retry.
    No,
    /// It has run.
    Yes,
    /// It may have run: check before a retry.
    Unknown,
}

impl Ran {
    /// `no`, `yes` or `unknown`.
    pub fn word(self) -> &'static str {
        match self {
            Ran::No => "no",
            Ran::Yes => "yes",
            Ran::Unknown => "unknown",
        }
    }
}

/// Why nobody could be asked who may act for a key, on many nodes. Nothing has run, and nothing
/// will; it is tried again within the caller's time, so this is what it was up to then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Away {
    /// No node is known to act for the key: its owner is gone, or it is changing hands.
    NotOwner,
    /// Its owner cannot prove now that it still is the owner. It may again.
    Frozen,
    /// Its owner cannot be reached.
    Unreachable,
    /// More is asked of its owner than it takes.
    Overloaded,
    /// Its owner does not understand what was said: it runs another version of the process.
    Incompatible,
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Away::NotOwner => "no node acts for the key now; ask again",
            Away::Frozen => "the node that acts for the key cannot prove that it may; ask again",
            Away::Unreachable => "the node that acts for the key cannot be reached; ask again",
            Away::Overloaded => "the node that acts for the key takes no more; ask again later",
            Away::Incompatible => {
                "the node that acts for the key runs another version; bring all nodes to one"
            }
        })
    }
}

/// Why a message was not handled and will not be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotDelivered {
    /// As many messages wait as the mailbox takes. Try again later.
    Full {
        /// The capacity of the mailbox.
        capacity: u32,
    },
    /// The incarnation that the reference names has ended. Ask for the key again.
    Ended,
    /// The process was told to stop before it came to this message.
    Stopping,
    /// It was not begun before the caller's deadline, and was withdrawn.
    Timeout,
    /// The caller, a process, would wait for itself.
    Cycle(Cycle),
    /// There is no process for the key, and none could be started.
    NoProcess(GetError),
    /// Nobody could be asked who may act for the key.
    Away(Away),
    /// It is longer than what is sent from node to node at once.
    TooLarge {
        /// In bytes.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
}

impl fmt::Display for NotDelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotDelivered::Full { capacity } => {
                write!(f, "mailbox full: {capacity} messages wait already")
            }
            NotDelivered::Ended => f.write_str("the process has ended"),
            NotDelivered::Stopping => f.write_str("the process is stopping"),
            NotDelivered::Timeout => f.write_str("not begun before the deadline"),
            NotDelivered::Cycle(cycle) => cycle.fmt(f),
            NotDelivered::NoProcess(error) => error.fmt(f),
            NotDelivered::Away(away) => away.fmt(f),
            NotDelivered::TooLarge { bytes, max } => {
                write!(f, "expected at most {max} bytes for another node, got {bytes}")
            }
        }
    }
}

/// Why nobody knows whether a call ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// It was begun, and not answered before the caller's deadline.
    Timeout,
    /// The process crashed or was killed while it handled the call.
    Crashed,
    /// The process let go of the call without an answer.
    NoReply,
    /// Its node lost the right to act for the key before the answer could leave.
    Lost,
    /// The link to its node broke after the call was sent.
    Unreachable,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unknown::Timeout => "begun, but not answered before the deadline",
            Unknown::Crashed => "the process crashed while it handled the call",
            Unknown::NoReply => "the process did not answer",
            Unknown::Lost => "its node may no longer act for the key",
            Unknown::Unreachable => "the link to its node broke",
        })
    }
}

/// Why a call has no reply: the two outcomes besides a reply.
#[non_exhaustive]
pub enum CallError<M> {
    /// It did not run and will not; the message is handed back.
    NotDelivered {
        /// What was to be said.
        message: M,
        /// Why it was not.
        why: NotDelivered,
    },
    /// It may have run.
    Unknown(Unknown),
}

impl<M> CallError<M> {
    /// Whether the call ran.
    pub fn ran(&self) -> Ran {
        match self {
            CallError::NotDelivered { .. } => Ran::No,
            CallError::Unknown(_) => Ran::Unknown,
        }
    }
}

impl<M> fmt::Debug for CallError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NotDelivered { why, .. } => {
                f.debug_tuple("NotDelivered").field(why).finish()
            }
            CallError::Unknown(why) => f.debug_tuple("Unknown").field(why).finish(),
        }
    }
}

impl<M> fmt::Display for CallError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NotDelivered { why, .. } => write!(f, "not delivered: {why}"),
            CallError::Unknown(why) => write!(f, "outcome unknown: {why}"),
        }
    }
}

impl<M> std::error::Error for CallError<M> {}

/// Why a cast was not accepted. The message is handed back.
pub struct CastError<M> {
    /// What was to be said.
    pub message: M,
    /// Why it was not.
    pub why: NotDelivered,
}

impl<M> fmt::Debug for CastError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CastError").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<M> fmt::Display for CastError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not delivered: {}", self.why)
    }
}

impl<M> std::error::Error for CastError<M> {}

/// A process would wait for itself, directly or through others: refused at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The names of those who would wait, the asker first and last.
    pub chain: Vec<String>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a process would wait for itself: {}", self.chain.join(" -> "))
    }
}

impl std::error::Error for Cycle {}

/// Why there is no process for a key. Nothing was started by the call that failed, except where
/// [`Timeout`](Self::Timeout) says that a start goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetError {
    /// `init` failed. Every caller who waited for this start gets the same error; the key is free.
    InitFailed(ExitReason),
    /// `init` was not done within the start timeout of the spec. The key is taken until it has
    /// ended.
    StartTimeout,
    /// As many processes as may were beginning on its node, and its turn did not come within the
    /// start timeout of the spec: `init` never ran, and the key is free.
    NotAdmitted,
    /// The caller's deadline passed. A start or stop under way goes on; asking again joins it.
    Timeout {
        /// How long the caller waited.
        waited: Duration,
    },
    /// The key used up its restart budget and is parked, with its last exit.
    Parked(ExitReason),
    /// A new process would be one too many.
    MaxChildren {
        /// The most there may be.
        max: usize,
    },
    /// Too many starts lately.
    RateLimited {
        /// When a start will be possible again.
        retry_after: Duration,
    },
    /// The scope is shutting down: nothing is started any more.
    ShuttingDown,
    /// The caller, a process, would wait for itself.
    Cycle(Cycle),
    /// The process that runs was started with other arguments, and the scope refuses that.
    ArgsDiffer,
    /// `init` declined, where a process was needed.
    Declined,
    /// There is no process, and none was to be started.
    NotFound,
    /// Nobody could be asked who may act for the key.
    Away(Away),
    /// A scope that is placed by a cluster starts its processes with their keys alone, for each may
    /// have to start on another node.
    ArgsStayHere,
}

impl GetError {
    /// Of a start that failed for this reason.
    pub(crate) fn not_started(reason: ExitReason) -> Self {
        match reason {
            ExitReason::StartTimeout => GetError::StartTimeout,
            ExitReason::NotAdmitted => GetError::NotAdmitted,
            reason => GetError::InitFailed(reason),
        }
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GetError::InitFailed(reason) => write!(f, "the start failed: {reason}"),
            GetError::StartTimeout => f.write_str("init was not done within the start timeout"),
            GetError::NotAdmitted => {
                f.write_str("its turn to start did not come within the start timeout; ask again")
            }
            GetError::Timeout { waited } => {
                write!(f, "not ready after {} ms; it may still start", waited.as_millis())
            }
            GetError::Parked(reason) => write!(f, "parked after too many restarts: {reason}"),
            GetError::MaxChildren { max } => write!(f, "{max} processes run already"),
            GetError::RateLimited { retry_after } => {
                write!(f, "too many starts; try again in {} ms", retry_after.as_millis())
            }
            GetError::ShuttingDown => f.write_str("shutting down, nothing is started any more"),
            GetError::Cycle(cycle) => cycle.fmt(f),
            GetError::ArgsDiffer => f.write_str("it runs with other arguments"),
            GetError::Declined => f.write_str("init declined to start"),
            GetError::NotFound => f.write_str("there is no such process"),
            GetError::Away(away) => away.fmt(f),
            GetError::ArgsStayHere => {
                f.write_str("a placed process is started with its key alone; use `with_args`")
            }
        }
    }
}

impl std::error::Error for GetError {}

/// Why a process is not known to have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopError {
    /// There is no such process.
    NotFound,
    /// It was told to stop and has not ended by the caller's deadline. Its key stays taken.
    StillStopping {
        /// How long ago it was told.
        age: Duration,
    },
    /// The caller, a process, would wait for its own end.
    Cycle(Cycle),
    /// Nobody could be asked who may act for the key.
    Away(Away),
    /// Its node was told, and could not be heard of again: it may have ended.
    Unknown,
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopError::NotFound => f.write_str("no such process"),
            StopError::StillStopping { age } => {
                write!(f, "still stopping after {} ms", age.as_millis())
            }
            StopError::Cycle(cycle) => cycle.fmt(f),
            StopError::Away(away) => away.fmt(f),
            StopError::Unknown => f.write_str("nobody knows whether it has ended"),
        }
    }
}

impl std::error::Error for StopError {}
