//! Decides who owns a key on this node: one slot is one key's identity, state, liveness and restart
//! budget.
//!
//! Pure: events in, commands out, without clock, lock or I/O. [`Cell`](crate::cell::Cell) keeps it
//! under its lock and carries out what it says.
//!
//! # Why at most one incarnation is alive
//! 1. An incarnation begins only in [`Slot::begin`] (a fresh slot, `Starting`) and on
//!    [`Event::BackoffOver`] (`Backoff` -> `Starting`).
//! 2. `Backoff` and `Held` are entered only on [`Event::Ended`], which the runner reports after the
//!    state of the incarnation was dropped and every task of its context has ended; or from each
//!    other, also by way of `Ending`, with nothing alive in between.
//! 3. A slot is `Free` or `Parked` only after [`Event::Ended`] too, or from `Backoff`, `Held` and
//!    `Parked`, where nothing is alive; and the table puts a fresh slot only where there is none or
//!    a free one.
//!
//! Hence between the first instruction of one incarnation's `init` and the next one's lies the end
//! of the first.
//!
//! ```text
//!             Ready            Exited, Stop, Idle              Ended
//!  Starting ---------> Live -----------------------> Ending --> Free | Parked | Held | Backoff
//!     |  InitFailed, Declined, StartDeadline, Stop     ^  ^                    Resume |  ^ Hold
//!     +------------------------------------------------+  +-- Stop -- Held, Backoff <-+--+  |
//!     ^                                                                                     |
//!     +------------------------------- BackoffOver --------------------------------- Backoff
//! ```

mod step;

use std::collections::VecDeque;
use std::time::Duration;

use crate::child_spec::Shutdown;
use crate::clock::Moment;
use crate::error::NotDelivered;
use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::limits;
use crate::supervisor::intensity::Intensity;

pub(crate) use step::{Ask, Event, Next, Outcome, Policy, Ruling, Signal, Step};
pub use step::{Exit, State};

/// What follows once the present incarnation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Free,
    Restart,
    Hold,
    Park,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `init` is running; `again` after a crash.
    Starting {
        again: bool,
    },
    Live,
    /// User code is told to end, or has; the state may still exist.
    Ending(Then),
    /// Nothing is alive; the next incarnation is due.
    Backoff,
    /// Nothing is alive; the next incarnation is due once the supervisor says so.
    Held,
    /// Nothing is alive and nothing is due, for the park time of the history.
    Parked,
    /// Nothing is alive and the slot is of no more use.
    Free,
}

/// What only a slot that has had a failure needs to remember.
#[derive(Debug, Default)]
struct History {
    intensity: Intensity,
    restarts: u64,
    exits: VecDeque<Exit>,
    /// What those who wait are told at the end, if it is not a plain `Ended`.
    outcome: Option<Outcome>,
    /// The longest wait before the next incarnation.
    backoff: Duration,
    park_time: Duration,
}

/// The identity, state, liveness and restart budget of one key.
#[derive(Debug)]
pub(crate) struct Slot {
    incarnation: Incarnation,
    phase: Phase,
    /// Whether the next incarnation gets what waits at a crash.
    keeps_mail: bool,
    since: Moment,
    history: Option<Box<History>>,
}

impl Slot {
    /// A slot whose first incarnation begins now.
    pub(crate) fn begin(incarnation: Incarnation, keeps_mail: bool, now: Moment) -> Slot {
        let phase = Phase::Starting { again: false };
        Slot { incarnation, phase, keeps_mail, since: now, history: None }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// When the present phase began.
    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    /// `None` once it is free.
    pub(crate) fn state(&self) -> Option<State> {
        match self.phase {
            Phase::Starting { again: false } => Some(State::Starting),
            Phase::Live => Some(State::Live),
            Phase::Starting { again: true }
            | Phase::Ending(Then::Restart | Then::Hold)
            | Phase::Backoff
            | Phase::Held => Some(State::Restarting),
            Phase::Ending(Then::Free | Then::Park) => Some(State::Stopping),
            Phase::Parked => Some(State::Parked),
            Phase::Free => None,
        }
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.history.as_ref().map_or(0, |history| history.restarts)
    }

    /// The last exits, oldest first.
    pub(crate) fn exits(&self) -> Vec<Exit> {
        self.history.iter().flat_map(|history| &history.exits).cloned().collect()
    }

    /// Whether `init` is running.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. })
    }

    /// Whether the exit of the present incarnation is still to be ruled on. Not that of a first
    /// start: it is not restarted, so it costs nobody's budget.
    pub(crate) fn awaits_ruling(&self) -> bool {
        matches!(self.phase, Phase::Starting { again: true } | Phase::Live)
    }

    /// Whether nothing of the present incarnation is left.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Backoff | Phase::Held | Phase::Parked | Phase::Free)
    }

    /// Whether none follows once the present incarnation has ended.
    pub(crate) fn ends_for_good(&self) -> bool {
        self.phase == Phase::Ending(Then::Free)
    }

    /// Whether its supervisor has the next incarnation wait.
    pub(crate) fn is_held(&self) -> bool {
        self.phase == Phase::Held
    }

    /// The longest wait before the next incarnation, where one is due.
    pub(crate) fn backoff(&self) -> Option<Duration> {
        let history = self.history.as_ref().filter(|_| self.phase == Phase::Backoff);
        history.map(|history| history.backoff)
    }

    /// Why an incarnation that is no more has ended, if that is remembered.
    pub(crate) fn reason_of(&self, ended: Incarnation) -> ExitReason {
        let mut exits = self.history.iter().flat_map(|history| &history.exits);
        let exit = exits.find(|exit| exit.incarnation == ended);
        exit.map_or(ExitReason::NoProcess, |exit| exit.reason.clone())
    }

    /// The incarnation that those who ask are given.
    pub(crate) fn live(&self) -> Option<Incarnation> {
        (self.phase == Phase::Live).then_some(self.incarnation)
    }

    /// Whether a message may wait in the mailbox: for one incarnation, or, for
    /// [`Incarnation::NONE`], for whichever is next.
    pub(crate) fn takes_mail(&self, to: Incarnation) -> bool {
        self.takes_mail_for(to) || (to == Incarnation::NONE && self.takes_mail_by_key())
    }

    /// Whether a message for one incarnation may wait in the mailbox. While it starts, only the
    /// process itself has its address.
    pub(crate) fn takes_mail_for(&self, incarnation: Incarnation) -> bool {
        let runs = matches!(self.phase, Phase::Starting { .. } | Phase::Live);
        self.incarnation == incarnation && runs
    }

    /// Whether a message for the key, whatever the incarnation, may wait in the mailbox.
    pub(crate) fn takes_mail_by_key(&self) -> bool {
        matches!(
            self.phase,
            Phase::Starting { .. }
                | Phase::Live
                | Phase::Backoff
                | Phase::Held
                | Phase::Ending(Then::Restart | Then::Hold)
        )
    }

    pub(crate) fn ask(&self, now: Moment) -> Ask {
        match self.phase {
            Phase::Live => Ask::Found(self.incarnation),
            Phase::Starting { .. }
            | Phase::Backoff
            | Phase::Held
            | Phase::Ending(Then::Restart | Then::Hold) => Ask::Wait,
            Phase::Ending(Then::Free | Then::Park) => Ask::WaitForEnd,
            Phase::Parked if now < self.parked_until() => Ask::Parked(self.last_reason()),
            Phase::Parked | Phase::Free => Ask::Vacant,
        }
    }

    /// Takes one event and answers what is to be done about it.
    ///
    /// An event that comes too late to matter, say the failure of an `init` that was told to stop,
    /// changes nothing.
    pub(crate) fn apply(&mut self, event: Event<'_>, now: Moment) -> Step {
        match event {
            Event::Ready => self.ready(now),
            Event::Declined => self.declined(now),
            Event::InitFailed(reason, ruling) => self.init_failed(reason, ruling, now),
            Event::StartDeadline(reason, ruling) => self.start_deadline(reason, ruling, now),
            Event::Exited(reason, ruling) => self.exited(reason, ruling, now),
            Event::Idle => self.idle(now),
            Event::Stop { reason, shutdown } => self.stop(reason, shutdown, now),
            Event::Hold { reason, shutdown } => self.hold(reason, shutdown, now),
            Event::Resume { after } => self.resume(after, now),
            Event::Ended => self.ended(now),
            Event::BackoffOver(incarnation) => self.backoff_over(incarnation, now),
        }
    }

    fn ready(&mut self, now: Moment) -> Step {
        let Phase::Starting { .. } = self.phase else {
            return Step::default();
        };
        self.enter(Phase::Live, now);
        Step { settle: Some(Outcome::Ready(self.incarnation)), ..Step::default() }
    }

    fn declined(&mut self, now: Moment) -> Step {
        let Phase::Starting { .. } = self.phase else {
            return Step::default();
        };
        self.history().outcome = Some(Outcome::Declined);
        self.end(Then::Free, now)
    }

    fn init_failed(&mut self, reason: ExitReason, ruling: Ruling<'_>, now: Moment) -> Step {
        let Phase::Starting { again } = self.phase else {
            return Step::default();
        };
        let then = self.after_failed_start(again, reason, ruling, now);
        self.end(then, now)
    }

    fn start_deadline(&mut self, reason: ExitReason, ruling: Ruling<'_>, now: Moment) -> Step {
        let Phase::Starting { again } = self.phase else {
            return Step::default();
        };
        let then = self.after_failed_start(again, reason.clone(), ruling, now);
        Step {
            settle: Some(Outcome::Failed(reason.clone())),
            signal: Some(Signal::Kill(reason)),
            ..self.end(then, now)
        }
    }

    fn exited(&mut self, reason: ExitReason, ruling: Ruling<'_>, now: Moment) -> Step {
        let Phase::Live = self.phase else {
            return Step::default();
        };
        let then = self.after_exit(reason, ruling, now);
        self.end(then, now)
    }

    fn idle(&mut self, now: Moment) -> Step {
        let Phase::Live = self.phase else {
            return Step::default();
        };
        self.end(Then::Free, now)
    }

    fn stop(&mut self, reason: ExitReason, shutdown: Shutdown, now: Moment) -> Step {
        let brutal = shutdown == Shutdown::BrutalKill;
        let signal = self.order(reason, shutdown);
        match self.phase {
            Phase::Starting { .. }
            | Phase::Live
            | Phase::Backoff
            | Phase::Held
            | Phase::Ending(Then::Restart | Then::Hold | Then::Park) => {
                Step { signal: Some(signal), ..self.end(Then::Free, now) }
            }
            Phase::Ending(Then::Free) if brutal => Step { signal: Some(signal), ..Step::default() },
            Phase::Ending(Then::Free) | Phase::Free => Step::default(),
            Phase::Parked => {
                self.enter(Phase::Free, now);
                Step { next: Some(Next::Free), ..Step::default() }
            }
        }
    }

    /// What a process that somebody wants gone is told.
    fn order(&self, reason: ExitReason, shutdown: Shutdown) -> Signal {
        match self.phase {
            // An init is torn down, not waited for: it may hang, and nothing depends on it yet.
            // Save where the spec says that the process is never killed: a supervisor has children.
            Phase::Starting { .. } if shutdown != Shutdown::Infinity => Signal::Kill(reason),
            _ if shutdown == Shutdown::BrutalKill => Signal::Kill(ExitReason::Killed),
            _ => Signal::Stop(reason),
        }
    }

    fn hold(&mut self, reason: ExitReason, shutdown: Shutdown, now: Moment) -> Step {
        match self.phase {
            Phase::Starting { .. } | Phase::Live => {
                let signal = Some(self.order(reason.clone(), shutdown));
                self.note_exit(reason);
                self.history().restarts += 1;
                Step { signal, ..self.end(Then::Hold, now) }
            }
            Phase::Ending(Then::Restart) => self.end(Then::Hold, now),
            // Nothing is alive, but its runner may not have looked since it was resumed: it is to
            // report once more that it is held.
            Phase::Backoff => Step { signal: Some(Signal::Look), ..self.end(Then::Hold, now) },
            // It is held already, or nothing is to follow.
            Phase::Ending(Then::Free | Then::Hold | Then::Park)
            | Phase::Held
            | Phase::Parked
            | Phase::Free => Step::default(),
        }
    }

    fn resume(&mut self, after: Duration, now: Moment) -> Step {
        let Phase::Held = self.phase else {
            return Step::default();
        };
        self.history().backoff = after;
        self.enter(Phase::Backoff, now);
        Step { signal: Some(Signal::Look), ..Step::default() }
    }

    fn ended(&mut self, now: Moment) -> Step {
        let Phase::Ending(then) = self.phase else {
            return Step::default();
        };
        match then {
            Then::Free => {
                self.enter(Phase::Free, now);
                let outcome = self.history.as_mut().and_then(|history| history.outcome.take());
                let settle = Some(outcome.unwrap_or(Outcome::Ended));
                Step { settle, next: Some(Next::Free), ..Step::default() }
            }
            Then::Restart => {
                self.enter(Phase::Backoff, now);
                let after = self.history().backoff;
                Step { next: Some(Next::Restart { after }), ..Step::default() }
            }
            Then::Hold => {
                self.enter(Phase::Held, now);
                Step { next: Some(Next::Hold), ..Step::default() }
            }
            Then::Park => {
                self.enter(Phase::Parked, now);
                let settle = Some(Outcome::Parked(self.last_reason()));
                Step { settle, next: Some(Next::Park), ..Step::default() }
            }
        }
    }

    fn backoff_over(&mut self, incarnation: Incarnation, now: Moment) -> Step {
        match self.phase {
            Phase::Backoff => {
                debug_assert!(incarnation > self.incarnation, "incarnations only grow");
                self.incarnation = incarnation;
                self.enter(Phase::Starting { again: true }, now);
                Step::default()
            }
            Phase::Held => Step { next: Some(Next::Hold), ..Step::default() },
            // It was stopped while it waited: nothing is alive, so this is the end.
            Phase::Ending(_) => self.ended(now),
            Phase::Starting { .. } | Phase::Live | Phase::Parked | Phase::Free => Step::default(),
        }
    }

    /// A failed first start frees the key; a failed restart is one more crash.
    fn after_failed_start(
        &mut self,
        again: bool,
        reason: ExitReason,
        ruling: Ruling<'_>,
        now: Moment,
    ) -> Then {
        if again {
            return self.after_exit(reason, ruling, now);
        }
        self.history().outcome = Some(Outcome::Failed(reason));
        Then::Free
    }

    fn after_exit(&mut self, reason: ExitReason, ruling: Ruling<'_>, now: Moment) -> Then {
        let then = match ruling {
            Ruling::Free => Then::Free,
            Ruling::Restart { after } => {
                self.history().backoff = after;
                Then::Restart
            }
            Ruling::Hold => Then::Hold,
            Ruling::Own { policy, group } => self.rule(&reason, policy, group, now),
        };
        if then != Then::Free {
            self.note_exit(reason);
            self.history().restarts += u64::from(then != Then::Park);
        }
        then
    }

    fn note_exit(&mut self, reason: ExitReason) {
        let exit = Exit { incarnation: self.incarnation, reason };
        let exits = &mut self.history().exits;
        if exits.len() == limits::EXITS_REMEMBERED {
            exits.pop_front();
        }
        exits.push_back(exit);
    }

    fn rule(&mut self, reason: &ExitReason, policy: &Policy, group: bool, now: Moment) -> Then {
        if !policy.restart.follows(reason) {
            return Then::Free;
        }
        let budget = &policy.budget;
        let history = self.history();
        match history.intensity.allow(now, budget.max(), budget.window()) {
            Some(nth) if group => {
                history.backoff = budget.backoff_before(nth);
                Then::Restart
            }
            Some(_) | None => {
                history.park_time = policy.park_time;
                Then::Park
            }
        }
    }

    fn end(&mut self, then: Then, now: Moment) -> Step {
        self.enter(Phase::Ending(then), now);
        let hand_back = match then {
            Then::Restart | Then::Hold => (!self.keeps_mail).then_some(NotDelivered::Ended),
            Then::Park => Some(Outcome::Parked(self.last_reason()).undelivered()),
            Then::Free => {
                let outcome = self.history.as_ref().and_then(|history| history.outcome.clone());
                Some(outcome.unwrap_or(Outcome::Ended).undelivered())
            }
        };
        Step { hand_back, ..Step::default() }
    }

    fn enter(&mut self, phase: Phase, now: Moment) {
        self.phase = phase;
        self.since = now;
    }

    fn history(&mut self) -> &mut History {
        self.history.get_or_insert_default()
    }

    fn parked_until(&self) -> Moment {
        self.since.after(self.history.as_ref().map_or(Duration::ZERO, |history| history.park_time))
    }

    fn last_reason(&self) -> ExitReason {
        let last = self.history.as_ref().and_then(|history| history.exits.back());
        last.map_or(ExitReason::NoProcess, |exit| exit.reason.clone())
    }
}

#[cfg(test)]
mod tests;
