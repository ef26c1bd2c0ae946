//! What nodes ask of each other's processes, and what they answer, as it is written down.

mod write;

use std::time::Duration;

use innkeeper::placement::Failed;
use innkeeper::{Away, Cycle, ExitReason, GetError, NotDelivered, StopError, Unknown};
use serde::{Deserialize, Serialize};

use super::seen::Seen;
use crate::frame::Lost;
use crate::links;
use crate::ownership::record::Shard;

pub(crate) use write::{read, shard_of, trace_of, write, write_asked, write_reply, write_said};

/// Something that is asked, and of what kind of process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked<'a> {
    pub(crate) kind: &'a str,
    pub(crate) version: u32,
    #[serde(borrow)]
    pub(crate) ask: Ask<'a>,
}

/// What is asked of the process of a key. An incarnation of 0 is whichever there is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask<'a> {
    Get {
        starts: bool,
    },
    Call {
        to: u64,
        message: &'a [u8],
    },
    Cast {
        to: u64,
        message: &'a [u8],
    },
    Stop {
        reason: Exit,
    },
    Exit {
        to: u64,
        reason: Option<Exit>,
    },
    Watch {
        to: u64,
    },
    /// A call that brings a subscriber: its answer comes among what that is told.
    Feed {
        to: u64,
        within_ms: u32,
        message: &'a [u8],
    },
    /// A snapshot of it.
    Info,
    /// Of no key: to be told what happens to all processes.
    Events,
    /// Of no key, but of all in these shards: a `Look`, written down.
    Look {
        of: Vec<Shard>,
        look: &'a [u8],
    },
}

/// How what a subscriber is told begins, if it is the answer to the message that brought it.
pub(crate) const TAG_ANSWER: u8 = 0;

/// What a subscriber is told besides.
#[derive(Debug, Serialize)]
pub(crate) enum Fed<E> {
    /// Never made here: it holds the place of [`TAG_ANSWER`].
    _Answer,
    Event(E),
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answered<'a> {
    Got {
        incarnation: u64,
        epoch: u64,
        started: bool,
    },
    Ignored,
    NotGot(NoProcess),
    Reply(&'a [u8]),
    /// It is in the mailbox.
    Taken,
    NotDelivered(Undelivered),
    Unknown(Doubt),
    Stopped,
    NotStopped(NotStopped),
    Info(Option<Seen>),
    /// The part of an answer about all keys, written down.
    Shown(&'a [u8]),
}

/// [`ExitReason`], written down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Exit {
    Normal,
    Idle,
    Shutdown,
    ShutdownWith(String),
    Killed,
    Panicked(String),
    Failed(String),
    StartTimeout,
    NoProcess,
    Unreachable,
    NotAdmitted,
}

/// [`Away`], written down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Elsewhere {
    NotOwner,
    Frozen,
    Unreachable,
    Overloaded,
    Incompatible,
}

/// [`GetError`], written down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum NoProcess {
    InitFailed(Exit),
    StartTimeout,
    Timeout { waited: Duration },
    Parked(Exit),
    MaxChildren { max: u64 },
    RateLimited { retry_after: Duration },
    ShuttingDown,
    Cycle(Vec<String>),
    Declined,
    NotFound,
    Away(Elsewhere),
    NotAdmitted,
}

/// [`NotDelivered`], written down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Undelivered {
    Full { capacity: u32 },
    Ended,
    Stopping,
    Timeout,
    Cycle(Vec<String>),
    NoProcess(NoProcess),
    Away(Elsewhere),
}

/// [`Unknown`], written down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Doubt {
    Timeout,
    Crashed,
    NoReply,
    Lost,
    Unreachable,
}

/// [`StopError`], written down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum NotStopped {
    NotFound,
    StillStopping { age: Duration },
    Cycle(Vec<String>),
    Away(Elsewhere),
    Unknown,
}

impl From<ExitReason> for Exit {
    fn from(reason: ExitReason) -> Self {
        match reason {
            ExitReason::Normal => Exit::Normal,
            ExitReason::Idle => Exit::Idle,
            ExitReason::Shutdown => Exit::Shutdown,
            ExitReason::ShutdownWith(why) => Exit::ShutdownWith((*why).to_owned()),
            ExitReason::Killed => Exit::Killed,
            ExitReason::Panicked(why) => Exit::Panicked((*why).to_owned()),
            ExitReason::Failed(why) => Exit::Failed((*why).to_owned()),
            ExitReason::StartTimeout => Exit::StartTimeout,
            ExitReason::NotAdmitted => Exit::NotAdmitted,
            ExitReason::NoProcess => Exit::NoProcess,
            ExitReason::Unreachable => Exit::Unreachable,
            other => Exit::Failed(other.to_string()),
        }
    }
}

impl From<Exit> for ExitReason {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Normal => ExitReason::Normal,
            Exit::Idle => ExitReason::Idle,
            Exit::Shutdown => ExitReason::Shutdown,
            Exit::ShutdownWith(why) => ExitReason::shutdown_with(why),
            Exit::Killed => ExitReason::Killed,
            Exit::Panicked(why) => ExitReason::Panicked(why.into()),
            Exit::Failed(why) => ExitReason::failed(why),
            Exit::StartTimeout => ExitReason::StartTimeout,
            Exit::NotAdmitted => ExitReason::NotAdmitted,
            Exit::NoProcess => ExitReason::NoProcess,
            Exit::Unreachable => ExitReason::Unreachable,
        }
    }
}

impl From<Away> for Elsewhere {
    fn from(away: Away) -> Self {
        match away {
            Away::Frozen => Elsewhere::Frozen,
            Away::Unreachable => Elsewhere::Unreachable,
            Away::Overloaded => Elsewhere::Overloaded,
            Away::Incompatible => Elsewhere::Incompatible,
            // Whatever else there will be is not this node's to answer either.
            Away::NotOwner | _ => Elsewhere::NotOwner,
        }
    }
}

impl From<Elsewhere> for Away {
    fn from(away: Elsewhere) -> Self {
        match away {
            Elsewhere::NotOwner => Away::NotOwner,
            Elsewhere::Frozen => Away::Frozen,
            Elsewhere::Unreachable => Away::Unreachable,
            Elsewhere::Overloaded => Away::Overloaded,
            Elsewhere::Incompatible => Away::Incompatible,
        }
    }
}

impl From<GetError> for NoProcess {
    fn from(error: GetError) -> Self {
        match error {
            GetError::InitFailed(reason) => NoProcess::InitFailed(reason.into()),
            GetError::StartTimeout => NoProcess::StartTimeout,
            GetError::NotAdmitted => NoProcess::NotAdmitted,
            GetError::Timeout { waited } => NoProcess::Timeout { waited },
            GetError::Parked(reason) => NoProcess::Parked(reason.into()),
            GetError::MaxChildren { max } => NoProcess::MaxChildren { max: max as u64 },
            GetError::RateLimited { retry_after } => NoProcess::RateLimited { retry_after },
            GetError::ShuttingDown => NoProcess::ShuttingDown,
            GetError::Cycle(cycle) => NoProcess::Cycle(cycle.chain),
            GetError::Declined => NoProcess::Declined,
            GetError::NotFound => NoProcess::NotFound,
            GetError::Away(away) => NoProcess::Away(away.into()),
            other => NoProcess::InitFailed(Exit::Failed(other.to_string())),
        }
    }
}

impl From<NoProcess> for GetError {
    fn from(error: NoProcess) -> Self {
        match error {
            NoProcess::InitFailed(exit) => GetError::InitFailed(exit.into()),
            NoProcess::StartTimeout => GetError::StartTimeout,
            NoProcess::NotAdmitted => GetError::NotAdmitted,
            NoProcess::Timeout { waited } => GetError::Timeout { waited },
            NoProcess::Parked(exit) => GetError::Parked(exit.into()),
            NoProcess::MaxChildren { max } => {
                GetError::MaxChildren { max: usize::try_from(max).unwrap_or(usize::MAX) }
            }
            NoProcess::RateLimited { retry_after } => GetError::RateLimited { retry_after },
            NoProcess::ShuttingDown => GetError::ShuttingDown,
            NoProcess::Cycle(chain) => GetError::Cycle(Cycle { chain }),
            NoProcess::Declined => GetError::Declined,
            NoProcess::NotFound => GetError::NotFound,
            NoProcess::Away(away) => GetError::Away(away.into()),
        }
    }
}

impl From<NotDelivered> for Undelivered {
    fn from(why: NotDelivered) -> Self {
        match why {
            NotDelivered::Full { capacity } => Undelivered::Full { capacity },
            NotDelivered::Ended => Undelivered::Ended,
            NotDelivered::Stopping => Undelivered::Stopping,
            NotDelivered::Timeout => Undelivered::Timeout,
            NotDelivered::Cycle(cycle) => Undelivered::Cycle(cycle.chain),
            NotDelivered::NoProcess(error) => Undelivered::NoProcess(error.into()),
            NotDelivered::Away(away) => Undelivered::Away(away.into()),
            other => Undelivered::NoProcess(NoProcess::InitFailed(Exit::Failed(other.to_string()))),
        }
    }
}

impl From<Undelivered> for NotDelivered {
    fn from(why: Undelivered) -> Self {
        match why {
            Undelivered::Full { capacity } => NotDelivered::Full { capacity },
            Undelivered::Ended => NotDelivered::Ended,
            Undelivered::Stopping => NotDelivered::Stopping,
            Undelivered::Timeout => NotDelivered::Timeout,
            Undelivered::Cycle(chain) => NotDelivered::Cycle(Cycle { chain }),
            Undelivered::NoProcess(error) => NotDelivered::NoProcess(error.into()),
            Undelivered::Away(away) => NotDelivered::Away(away.into()),
        }
    }
}

impl From<Unknown> for Doubt {
    fn from(why: Unknown) -> Self {
        match why {
            Unknown::Timeout => Doubt::Timeout,
            Unknown::Crashed => Doubt::Crashed,
            Unknown::Lost => Doubt::Lost,
            Unknown::Unreachable => Doubt::Unreachable,
            Unknown::NoReply | _ => Doubt::NoReply,
        }
    }
}

impl From<Doubt> for Unknown {
    fn from(why: Doubt) -> Self {
        match why {
            Doubt::Timeout => Unknown::Timeout,
            Doubt::Crashed => Unknown::Crashed,
            Doubt::NoReply => Unknown::NoReply,
            Doubt::Lost => Unknown::Lost,
            Doubt::Unreachable => Unknown::Unreachable,
        }
    }
}

impl From<StopError> for NotStopped {
    fn from(error: StopError) -> Self {
        match error {
            StopError::NotFound => NotStopped::NotFound,
            StopError::StillStopping { age } => NotStopped::StillStopping { age },
            StopError::Cycle(cycle) => NotStopped::Cycle(cycle.chain),
            StopError::Away(away) => NotStopped::Away(away.into()),
            StopError::Unknown | _ => NotStopped::Unknown,
        }
    }
}

impl From<NotStopped> for StopError {
    fn from(error: NotStopped) -> Self {
        match error {
            NotStopped::NotFound => StopError::NotFound,
            NotStopped::StillStopping { age } => StopError::StillStopping { age },
            NotStopped::Cycle(chain) => StopError::Cycle(Cycle { chain }),
            NotStopped::Away(away) => StopError::Away(away.into()),
            NotStopped::Unknown => StopError::Unknown,
        }
    }
}

/// What it means for whoever asked that a link did not bring it there.
pub(crate) fn undelivered(why: links::NotExecuted) -> NotDelivered {
    use links::NotExecuted as Why;
    match why {
        Why::Full | Why::Busy => NotDelivered::Away(Away::Overloaded),
        Why::TooLarge { bytes, max } => NotDelivered::TooLarge { bytes, max },
        Why::Late => NotDelivered::Timeout,
        Why::Unreachable { .. } | Why::Closed | Why::Unproven => {
            NotDelivered::Away(Away::Unreachable)
        }
        Why::Refused(_) | Why::Declined(_) => NotDelivered::Away(Away::Incompatible),
        Why::Gone | Why::Disowned => NotDelivered::Away(Away::NotOwner),
    }
}

/// The same for a request.
pub(crate) fn failed(failed: links::Failed) -> Failed {
    use links::Unknown as Why;
    match failed {
        links::Failed::NotExecuted(why) => Failed::NotDelivered(undelivered(why)),
        links::Failed::Unknown(Why::Late) => Failed::Unknown(Unknown::Timeout),
        links::Failed::Unknown(Why::Lost(Lost::Disowned)) => Failed::Unknown(Unknown::Lost),
        links::Failed::Unknown(Why::Lost(_)) => Failed::Unknown(Unknown::NoReply),
        links::Failed::Unknown(_) => Failed::Unknown(Unknown::Unreachable),
    }
}
