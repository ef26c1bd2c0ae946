//! What a slot is told, and what it answers: events in, commands out.

use std::time::Duration;

use crate::child_spec::{Restart, RestartBudget, Shutdown};
use crate::error::{GetError, NotDelivered};
use crate::exit::ExitReason;
use crate::incarnation::Incarnation;

/// What those who wait for a key are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This incarnation is ready.
    Ready(Incarnation),
    /// `init` declined: nothing runs and the key is free.
    Declined,
    /// The start failed: nothing runs and the key is free, or will be once a late `init` has ended.
    Failed(ExitReason),
    /// The key is over its restart budget.
    Parked(ExitReason),
    /// What was there has ended and the key is free.
    Ended,
}

impl Outcome {
    /// Why messages are handed back, where this is what those who wait for the key are told.
    pub(crate) fn undelivered(self) -> NotDelivered {
        match self {
            Outcome::Ready(_) | Outcome::Ended => NotDelivered::Stopping,
            Outcome::Declined => NotDelivered::NoProcess(GetError::Declined),
            Outcome::Failed(reason) => NotDelivered::NoProcess(GetError::not_started(reason)),
            Outcome::Parked(reason) => NotDelivered::NoProcess(GetError::Parked(reason)),
        }
    }
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// `init` returned a state.
    Ready,
    /// `init` declined.
    Declined,
    /// `init` failed, panicked or was killed.
    InitFailed(ExitReason, Ruling<'a>),
    /// `init` is not done within its time, or was not let in: that is the reason.
    StartDeadline(ExitReason, Ruling<'a>),
    /// The user code of a live incarnation is over; its state still exists.
    Exited(ExitReason, Ruling<'a>),
    /// The process wants to go and nothing waits in its mailbox.
    Idle,
    /// Somebody wants it gone; how is for its child spec to say.
    Stop { reason: ExitReason, shutdown: Shutdown },
    /// Its supervisor wants it to end, and to begin anew once it is resumed.
    Hold { reason: ExitReason, shutdown: Shutdown },
    /// Its supervisor lets a process that was held begin anew.
    Resume { after: Duration },
    /// The state is dropped and every task of the incarnation has ended.
    Ended,
    /// The wait before this next incarnation is over.
    BackoffOver(Incarnation),
}

/// Who decides about a restart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ruling<'a> {
    /// The slot, by its own budget; `group` says whether the budget shared by all keys allows it.
    Own { policy: &'a Policy, group: bool },
    /// A supervisor has ruled that it is restarted.
    Restart { after: Duration },
    /// A supervisor has ruled that it is restarted, with others, when it is resumed.
    Hold,
    /// A supervisor has ruled that it is not restarted.
    Free,
}

/// How a key with a budget of its own is restarted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    pub(crate) budget: RestartBudget,
    pub(crate) park_time: Duration,
}

/// What the runner is told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// End in order: no further message, then `terminate`.
    Stop(ExitReason),
    /// End at the next await point, without `terminate`.
    Kill(ExitReason),
    /// Look at the slot again: what it waits for between two incarnations has changed.
    Look,
}

/// What the runner does after an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait for up to `after`, then begin the next incarnation.
    Restart { after: Duration },
    /// Report that it is held; then wait until it no longer is.
    Hold,
    /// Leave the slot in the table; nothing runs.
    Park,
    /// Take the slot out of the table.
    Free,
}

/// The commands that answer one event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Tell all who wait.
    pub(crate) settle: Option<Outcome>,
    /// Tell the runner.
    pub(crate) signal: Option<Signal>,
    /// No incarnation will handle what waits in the mailbox: hand it back, because of this.
    pub(crate) hand_back: Option<NotDelivered>,
    /// For whoever reported the event.
    pub(crate) next: Option<Next>,
}

/// What somebody who asks for the key finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Found(Incarnation),
    /// An incarnation is on its way.
    Wait,
    /// The present one is ending and none follows by itself.
    WaitForEnd,
    Parked(ExitReason),
    Vacant,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// `init` is running for the first time.
    Starting,
    /// It handles messages.
    Live,
    /// It crashed, and its next incarnation is on its way.
    Restarting,
    /// It is told to end, or is ending; none follows unless this was an exit to be restarted after.
    Stopping,
    /// It used up its restart budget; nothing runs.
    Parked,
}

impl State {
    /// A short stable word for screens and metrics.
    pub fn word(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Live => "live",
            State::Restarting => "restarting",
            State::Stopping => "stopping",
            State::Parked => "parked",
        }
    }
}

/// One exit that a key remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Which incarnation ended.
    pub incarnation: Incarnation,
    /// Why.
    pub reason: ExitReason,
}
