//! The one allocation that a process is to everybody else: slot, mailbox and owner, under one lock.
//!
//! It decides nothing: it hands events to the slot and carries out the commands. User code, wakers
//! and drops of user data run only after the lock is released.

mod port;
mod taken;
mod turn;

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::SetOnce;

use crate::child_spec::Shutdown;
use crate::clock::{self, Moment};
use crate::error::{CallError, NotDelivered};
use crate::exit::ExitReason;
use crate::guard::contained;
use crate::incarnation::Incarnation;
use crate::limits;
use crate::mailbox::{Envelope, Inbox};
use crate::monitor::MonitorId;
use crate::node::{Node, Notice, Watcher};
use crate::observe::{ProcessInfo, What};
use crate::owner::Owner;
use crate::placement::Placed;
use crate::process::{Message, Process};
use crate::registry::slot::{Ask, Event, Next, Outcome, Signal, Slot, State, Step};
use crate::seam::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::seam::{Mutex, yield_now};
use crate::wait_for::WaitNode;

pub(crate) use taken::Taken;
pub(crate) use turn::{Ended, KILL, STOP, Turn, Work};

/// What can be said to the process of an owner.
pub(crate) type MessageOf<O> = <<O as Owner>::Process as Process>::Message;

/// What a start, a restart or an end under way will be answered with, for all who wait for it.
pub(crate) type Flight = SetOnce<Outcome>;

/// One process, from its first start to its last end.
// In this order: what senders write for each message, the lock first of all, is more than a cache
// line away from what the runner reads and writes for each.
#[repr(C)]
pub(crate) struct Cell<O: Owner> {
    /// The number of the live incarnation, or 0: the slot's answer for those who only look, so that
    /// finding a live process takes no lock. Written under the lock.
    live: AtomicU64,
    core: Mutex<Core<MessageOf<O>>>,
    pub(crate) owner: O,
    /// Which orders wait for the runner. Written under the lock.
    signal: AtomicU8,
    /// How many messages the runner has taken and not begun. Written by the runner.
    taken: AtomicU32,
}

struct Core<M: Message> {
    slot: Slot,
    inbox: Inbox<M>,
    /// Wakes the runner. There whenever the runner is pending.
    waker: Option<Waker>,
    /// The runner waits for a message, not for user code, and has not been woken.
    idle: bool,
    /// The runner is not at rest: it keeps memory to serve with.
    awake: bool,
    /// Passes of the sweeper since the last message; 255 and more count as 255.
    quiet: u8,
    flight: Option<Arc<Flight>>,
    /// What few processes need.
    extras: Option<Box<Extras>>,
}

#[derive(Default)]
struct Extras {
    orders: Orders,
    notices: VecDeque<Notice>,
    watchers: HashMap<MonitorId, Watcher>,
    /// How many of them are links.
    links: usize,
    traps_exits: bool,
    exposed: Option<Arc<dyn Any + Send + Sync>>,
    end: Option<Arc<SetOnce<ExitReason>>>,
    wait_node: Option<Arc<WaitNode>>,
}

/// What the runner has been told and has not done yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    pub(crate) stop: Option<ExitReason>,
    pub(crate) kill: Option<ExitReason>,
    /// When a stop turns into a kill.
    pub(crate) deadline: Option<Moment>,
    /// When the first of them came.
    told: Option<Moment>,
}

/// The commands of one event that touch others: for after the lock.
#[must_use = "the commands of an event have to be carried out"]
pub(crate) struct Effects<M: Message> {
    settle: Option<(Arc<Flight>, Outcome)>,
    wake: Option<Waker>,
    /// Boxed, for mostly nothing waits.
    returned: Option<Box<(VecDeque<Envelope<M>>, NotDelivered)>>,
}

/// What somebody who asks a cell finds.
pub(crate) enum Asked {
    Found(Incarnation),
    /// An incarnation is on its way; its `init`, if it runs, has until then.
    Wait(Arc<Flight>, Option<Moment>),
    /// The present one is ending.
    WaitForEnd(Arc<Flight>),
    Parked(ExitReason),
    Vacant,
}

/// A stop under way.
pub(crate) enum Stopping {
    /// Nothing was there to stop, any more.
    NotFound,
    /// A parked slot, free now: its owner is to forget it.
    Unparked,
    /// The end will be told there; it was told to stop then.
    Wait { flight: Arc<Flight>, told: Moment, now: Moment },
}

impl<O: Owner> Cell<O> {
    /// A cell whose first incarnation is starting now; the caller runs it.
    pub(crate) fn new(owner: O, now: Moment) -> Arc<Self> {
        let keeps_mail = owner.spec().keeps_mail;
        Arc::new(Cell {
            live: AtomicU64::new(0),
            signal: AtomicU8::new(0),
            taken: AtomicU32::new(0),
            owner,
            core: Mutex::new(Core {
                slot: Slot::begin(Incarnation::next(), keeps_mail, now),
                inbox: Inbox::new(),
                waker: None,
                idle: false,
                awake: false,
                quiet: 0,
                flight: None,
                extras: None,
            }),
        })
    }

    /// The live incarnation, without a lock.
    pub(crate) fn live(&self) -> Option<Incarnation> {
        match self.live.load(Ordering::Acquire) {
            0 => None,
            number => Some(Incarnation::from_bits(number)),
        }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.begun().0
    }

    /// The present incarnation, and when its present phase began.
    pub(crate) fn begun(&self) -> (Incarnation, Moment) {
        let core = self.core.lock();
        (core.slot.incarnation(), core.slot.since())
    }

    /// Whether nothing is alive here, or ever will be again.
    pub(crate) fn is_vacant(&self) -> bool {
        self.core.lock().present() == Ask::Vacant
    }

    /// What is here for somebody who wants the process.
    pub(crate) fn ask(&self) -> Asked {
        let mut core = self.core.lock();
        match core.present() {
            Ask::Found(incarnation) => Asked::Found(incarnation),
            Ask::Wait => Asked::Wait(core.flight(), self.start_deadline(&core)),
            Ask::WaitForEnd => Asked::WaitForEnd(core.flight()),
            Ask::Parked(reason) => Asked::Parked(reason),
            Ask::Vacant => Asked::Vacant,
        }
    }

    fn start_deadline(&self, core: &Core<MessageOf<O>>) -> Option<Moment> {
        let starting = core.slot.is_starting();
        starting.then(|| core.slot.since().after(self.owner.spec().start_timeout))
    }

    /// Ends a start that has taken too long; does nothing if it is over or still has time.
    ///
    /// Called by whoever notices first, the runner or a waiter: an `init` that never yields does
    /// not let its runner notice anything.
    pub(crate) fn check_start_deadline(&self) {
        let late = {
            let core = self.core.lock();
            self.start_deadline(&core).is_some_and(|deadline| deadline <= clock::now())
        };
        if late {
            let reason = self.late();
            let ruling = self.ruling(&reason);
            self.tell(Event::StartDeadline(reason, ruling));
        }
    }

    /// Why a start failed whose time is over.
    pub(crate) fn late(&self) -> ExitReason {
        match self.owner.placed().is_some_and(Placed::gives_up) {
            true => ExitReason::NotAdmitted,
            false => ExitReason::StartTimeout,
        }
    }

    /// Waits for an outcome until the caller's deadline; `None` if that passes first.
    ///
    /// Whoever waits also sees to the deadline of the start itself.
    pub(crate) async fn settled(
        &self,
        flight: &Flight,
        mut start_deadline: Option<Moment>,
        deadline: Moment,
    ) -> Option<Outcome> {
        // Most come within a turn of the others: no timer for those.
        tokio::select! {
            biased;
            outcome = flight.wait() => return Some(outcome.clone()),
            () = yield_now() => {}
        }
        loop {
            let first = start_deadline.map_or(deadline, |start| start.min(deadline));
            tokio::select! {
                biased;
                outcome = flight.wait() => return Some(outcome.clone()),
                () = clock::alarm(first) => {}
            }
            if first == deadline {
                return None;
            }
            self.check_start_deadline();
            start_deadline = None;
        }
    }

    /// Sends a process for which nothing has come in a while to rest, and asks one for which
    /// nothing has come in so many passes whether it may go.
    pub(crate) fn sweep(&self, passes: Option<u8>) {
        let Some(incarnation) = self.live() else {
            return;
        };
        let mut core = self.core.lock();
        // In the midst of something it is not idle, however long that takes.
        core.quiet = if core.idle { core.quiet.saturating_add(1) } else { 0 };
        let rest = core.awake && core.quiet > 1;
        let asked = passes.is_some_and(|passes| core.quiet > passes);
        if asked {
            core.quiet = 0;
        }
        let wake = if rest { self.raise(&mut core, turn::REST) } else { None };
        drop(core);
        if let Some(waker) = wake {
            waker.wake();
        }
        if asked {
            self.notify(incarnation, Notice::Idle);
        }
    }

    /// Tells the process to end for good.
    pub(crate) fn stop(&self, reason: ExitReason) -> Stopping {
        self.stop_by(reason, self.owner.spec().shutdown)
    }

    /// As [`stop`](Self::stop), in this way and not in that of its spec.
    pub(crate) fn stop_by(&self, reason: ExitReason, shutdown: Shutdown) -> Stopping {
        let mut core = self.core.lock();
        if core.slot.state().is_none() {
            return Stopping::NotFound;
        }
        let now = clock::now();
        let step = core.slot.apply(Event::Stop { reason, shutdown }, now);
        let next = step.next.clone();
        let effects = self.note(&mut core, step, now);
        let stopping = match next {
            Some(Next::Free) => Stopping::Unparked,
            _ => Stopping::Wait { flight: core.flight(), told: core.slot.since(), now },
        };
        drop(core);
        self.carry_out(effects);
        stopping
    }

    /// Tells the process to end, and to wait then until it is resumed.
    pub(crate) fn hold(&self, reason: ExitReason) {
        let shutdown = self.owner.spec().shutdown;
        self.tell(Event::Hold { reason, shutdown });
    }

    /// Lets a process that was held begin anew.
    pub(crate) fn resume(&self, after: Duration) {
        self.tell(Event::Resume { after });
    }

    /// Gives the slot an event, and carries out its commands. Answers when that was.
    pub(crate) fn tell(&self, event: Event<'_>) -> Moment {
        let now = clock::now();
        let (_, effects) = self.apply(event, now);
        self.carry_out(effects);
        now
    }

    /// Gives the slot an event and notes its commands; the runner and the owner carry them out.
    pub(crate) fn apply(
        &self,
        event: Event<'_>,
        now: Moment,
    ) -> (Option<Next>, Effects<MessageOf<O>>) {
        let mut core = self.core.lock();
        let step = core.slot.apply(event, now);
        let next = step.next.clone();
        (next, self.note(&mut core, step, now))
    }

    /// Does what has to be done under the lock, and collects what must not be.
    fn note(
        &self,
        core: &mut Core<MessageOf<O>>,
        step: Step,
        now: Moment,
    ) -> Effects<MessageOf<O>> {
        let live = core.slot.live().map_or(0, Incarnation::to_bits);
        self.live.store(live, Ordering::Release);
        let wake = step.signal.and_then(|signal| self.order(core, signal, now));
        let settle = step.settle.and_then(|outcome| Some((core.flight.take()?, outcome)));
        let waiting = step.hand_back.filter(|_| core.inbox.len() > 0);
        let returned = waiting.map(|why| Box::new((core.inbox.drain(), why)));
        Effects { settle, wake, returned }
    }

    /// Puts an order where the runner finds it.
    fn order(&self, core: &mut Core<MessageOf<O>>, signal: Signal, now: Moment) -> Option<Waker> {
        let bit = match signal {
            Signal::Look => return core.waker.take(),
            Signal::Stop(reason) => {
                let orders = core.orders(now);
                orders.stop.get_or_insert(reason);
                orders.deadline = match self.owner.spec().shutdown {
                    Shutdown::BrutalKill => Some(now),
                    Shutdown::Timeout(time) => Some(now.after(time)),
                    Shutdown::Infinity => None,
                };
                turn::STOP
            }
            Signal::Kill(reason) => {
                let orders = core.orders(now);
                orders.kill.get_or_insert(reason);
                orders.deadline = Some(now);
                turn::KILL
            }
        };
        self.raise(core, bit)
    }

    fn capacity(&self) -> u32 {
        self.owner.spec().mailbox_capacity
    }

    /// How many messages the runner has taken and not begun.
    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed) as usize
    }

    fn raise(&self, core: &mut Core<MessageOf<O>>, bit: u8) -> Option<Waker> {
        self.signal.fetch_or(bit, Ordering::Release);
        core.idle = false;
        core.waker.take()
    }

    /// Carries out what an event brought about. Without the lock.
    pub(crate) fn carry_out(&self, effects: Effects<MessageOf<O>>) {
        let Effects { settle, wake, returned } = effects;
        if let Some((flight, outcome)) = settle {
            // Whoever took the flight out of the cell sets it, so it is set once.
            let _ = flight.set(outcome);
        }
        if let Some(waker) = wake {
            waker.wake();
        }
        if let Some(returned) = returned {
            let (returned, why) = *returned;
            self.hand_back(returned, &why);
        }
    }

    fn hand_back(&self, returned: VecDeque<Envelope<MessageOf<O>>>, why: &NotDelivered) {
        let mut casts = VecDeque::new();
        for Envelope { message, answer } in returned {
            match answer {
                // A panic in what nobody waits for is not to cost the others their answers.
                Some(answer) => drop(contained(|| {
                    let why = why.clone();
                    answer.fail(CallError::NotDelivered { message, why });
                })),
                None => casts.push_back(message),
            }
        }
        if casts.is_empty() {
            return;
        }
        let lost = self.owner.pack_casts(casts);
        let waiting = lost.len();
        for message in lost {
            drop(contained(|| drop(message)));
        }
        if waiting > 0 {
            self.owner.observe(self.incarnation(), What::CastsLost { waiting, begun: false });
        }
    }

    /// A snapshot, for whoever asks.
    pub(crate) fn snapshot(&self) -> ProcessInfo {
        let now = clock::now();
        let core = self.core.lock();
        let slot = &core.slot;
        let extras = core.extras.as_deref();
        let kill_at = extras.and_then(|extras| extras.orders.deadline);
        // What follows the end of a live process is ruled on when its code is over; that it is told
        // to end is to be seen before, for it may never be.
        let told = extras.and_then(|extras| extras.orders.told);
        let told = told.filter(|_| slot.state() == Some(State::Live));
        ProcessInfo {
            name: String::new(),
            incarnation: slot.incarnation(),
            epoch: self.owner.placed().map_or(0, |placed| placed.tenure().epoch()),
            node: None,
            state: told.map_or(slot.state(), |_| Some(State::Stopping)),
            age: now.since(told.unwrap_or(slot.since())),
            stuck: kill_at.is_some_and(|at| at.after(limits::STUCK_AFTER) < now),
            mailbox_len: core.inbox.len() + self.taken(),
            restarts: slot.restarts(),
            exits: slot.exits(),
            watchers: extras.map_or(0, |extras| extras.watchers.len()),
            links: extras.map_or(0, |extras| extras.links),
            exposed: extras.and_then(|extras| extras.exposed.clone()),
        }
    }
}

impl<M: Message> Core<M> {
    /// What is here. Only a parked slot has to know the time, which is not for nothing.
    fn present(&self) -> Ask {
        let parked = self.slot.state() == Some(State::Parked);
        self.slot.ask(if parked { clock::now() } else { self.slot.since() })
    }

    /// Notes that the runner is pending.
    fn sleep(&mut self, cx: &Context<'_>) {
        self.waker.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
    }

    fn flight(&mut self) -> Arc<Flight> {
        self.flight.get_or_insert_default().clone()
    }

    /// The orders, the first of which came now or before.
    fn orders(&mut self, now: Moment) -> &mut Orders {
        let orders = &mut self.extras().orders;
        orders.told.get_or_insert(now);
        orders
    }

    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }
}

impl<O: Owner> fmt::Debug for Cell<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("slot", &self.core.lock().slot).finish_non_exhaustive()
    }
}
