//! What the runner does with its own cell: take work, notice orders, report the end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::SetOnce;

use super::{Cell, Effects, MessageOf, Orders, Taken};
use crate::call::Answer;
use crate::clock::{self, Moment};
use crate::error::NotDelivered;
use crate::exit::ExitReason;
use crate::guard::contained;
use crate::incarnation::Incarnation;
use crate::mailbox::Envelope;
use crate::monitor::MonitorId;
use crate::node::{Notice, Watcher};
use crate::owner::Owner;
use crate::placement::Placed;
use crate::process::Message;
use crate::registry::slot::{Event, Next, Ruling};
use crate::seam::atomic::Ordering;

/// A stop is ordered.
pub(crate) const STOP: u8 = 1;
/// A kill is ordered.
pub(crate) const KILL: u8 = 2;
/// A notice waits.
pub(crate) const NOTICE: u8 = 4;
/// Nothing has come for a while: the runner may go to rest.
pub(crate) const REST: u8 = 8;

/// What a runner does next that is not to handle a message of its mailbox. Small, for each of those
/// passes by the same way.
pub(crate) enum Work<M: Message> {
    /// A timer has gone off.
    Due(Box<M>),
    Notice(Box<Notice>),
    /// There are orders to look at.
    Orders,
    /// Nothing, and for a while now.
    Rest,
    /// A task of the process panicked.
    Crash(Box<ExitReason>),
    /// This node no longer acts for its key.
    Lost,
}

/// What a runner does next.
pub(crate) type Turn<O> = Result<Envelope<MessageOf<O>>, Work<MessageOf<O>>>;

/// The end of an incarnation, for whoever reported it to carry out.
#[must_use = "an end has to be carried out"]
pub(crate) struct Ended<M: Message> {
    pub(crate) incarnation: Incarnation,
    pub(crate) at: Moment,
    pub(crate) next: Option<Next>,
    pub(crate) effects: Effects<M>,
    pub(crate) watchers: Option<Watchers>,
}

/// Those who are to be told of an end.
#[must_use = "watchers have to be told"]
pub(crate) struct Watchers {
    watchers: HashMap<MonitorId, Watcher>,
    end: Option<Arc<SetOnce<ExitReason>>>,
}

impl Watchers {
    /// First the records of the runtime, so that whoever hears of the end finds nothing left of it.
    pub(crate) fn tell(self, ended: Incarnation, reason: &ExitReason) {
        let (hooks, others): (Vec<_>, Vec<_>) = self
            .watchers
            .into_values()
            .partition(|watcher| matches!(watcher, Watcher::Hook { .. }));
        for hook in hooks {
            hook.tell(ended, reason);
        }
        if let Some(end) = self.end {
            // Whoever took it out of the cell sets it, so it is set once.
            let _ = end.set(reason.clone());
        }
        for watcher in others {
            watcher.tell(ended, reason);
        }
    }
}

impl<O: Owner> Cell<O> {
    /// The next message, or what comes before it: orders before notices before messages.
    #[inline]
    pub(crate) fn poll_work(&self, taken: &mut Taken<'_, O>, cx: &Context<'_>) -> Poll<Turn<O>> {
        let mut core = self.core.lock();
        let signal = self.signal.load(Ordering::Acquire);
        if signal & (STOP | KILL) != 0 {
            return Poll::Ready(Err(Work::Orders));
        }
        if signal & NOTICE != 0
            && let Some(extras) = &mut core.extras
            && let Some(notice) = extras.notices.pop_front()
        {
            if extras.notices.is_empty() {
                self.signal.fetch_and(!NOTICE, Ordering::Release);
            }
            return Poll::Ready(Err(Work::Notice(Box::new(notice))));
        }
        if let Some(envelope) = taken.oldest().or_else(|| taken.refill(&mut core.inbox)) {
            return Poll::Ready(Ok(envelope));
        }
        if signal & REST != 0 {
            self.signal.fetch_and(!REST, Ordering::Release);
            return Poll::Ready(Err(Work::Rest));
        }
        core.inbox.shrink(false);
        taken.shrink();
        core.sleep(cx);
        core.idle = true;
        Poll::Pending
    }

    /// Whether the next thing may be begun, as far as its placement is concerned.
    #[inline]
    pub(crate) fn may_begin(&self) -> bool {
        self.owner.placed().is_none_or(Placed::may_begin)
    }

    /// Where the process answers a call: on the way to its caller, if that is guarded.
    #[inline]
    pub(crate) fn outward(
        &self,
        answer: Option<Arc<Answer<MessageOf<O>>>>,
    ) -> Option<Arc<Answer<MessageOf<O>>>> {
        match self.owner.placed() {
            None => answer,
            Some(placed) => answer.map(|answer| placed.relay(answer)),
        }
    }

    /// Waits until the next thing may be begun, and comes back then. Orders are to wake it,
    /// messages are not.
    #[cold]
    pub(crate) fn poll_begin(&self, cx: &Context<'_>) -> Poll<Work<MessageOf<O>>> {
        self.busy(cx);
        if self.is_ordered(STOP | KILL) {
            return Poll::Ready(Work::Orders);
        }
        match self.owner.placed().map_or(Poll::Ready(true), |placed| placed.poll_begin(cx)) {
            Poll::Ready(false) => Poll::Ready(Work::Lost),
            Poll::Ready(true) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits, at rest, until there is something to do.
    pub(crate) fn poll_rest(&self, cx: &Context<'_>) -> Poll<()> {
        let mut core = self.core.lock();
        if self.is_ordered(REST) {
            self.signal.fetch_and(!REST, Ordering::Release);
        }
        let work = self.signal.load(Ordering::Acquire) != 0 || core.inbox.len() > 0;
        core.awake = work;
        if work {
            return Poll::Ready(());
        }
        core.inbox.shrink(true);
        core.sleep(cx);
        core.idle = true;
        Poll::Pending
    }

    /// The process is ready, unless it was told to end before. The casts that came along with its
    /// key wait before all others then. Answers when that was.
    pub(crate) fn ready(&self) -> Moment {
        let now = clock::now();
        let mut core = self.core.lock();
        let step = core.slot.apply(Event::Ready, now);
        let is_live = core.slot.live().is_some();
        let effects = self.note(&mut core, step, now);
        drop(core);
        if is_live && self.owner.placed().is_some() {
            // They are read by user code.
            let casts = contained(|| self.owner.settled()).unwrap_or_default();
            let casts = casts.into_iter().map(|message| Envelope { message, answer: None });
            self.put_back(casts.collect());
        }
        self.carry_out(effects);
        now
    }

    /// Puts casts before all that waits: nothing that the runner has taken is left.
    pub(super) fn put_back(&self, casts: VecDeque<Envelope<MessageOf<O>>>) {
        let mut core = self.core.lock();
        self.taken.store(0, Ordering::Relaxed);
        if core.slot.takes_mail_by_key() {
            core.inbox.put_back(casts);
        } else {
            // What waited with them was handed back before.
            drop(core);
            self.hand_back(casts, &NotDelivered::Stopping);
        }
    }

    /// Notes that the runner is in the midst of user code that is pending: orders are to wake it,
    /// messages are not.
    pub(crate) fn busy(&self, cx: &Context<'_>) {
        let mut core = self.core.lock();
        core.sleep(cx);
        core.idle = false;
    }

    /// Waits, between two incarnations, until its supervisor no longer holds it.
    pub(crate) fn poll_held(&self, cx: &Context<'_>) -> Poll<()> {
        let mut core = self.core.lock();
        if !core.slot.is_held() {
            return Poll::Ready(());
        }
        core.sleep(cx);
        Poll::Pending
    }

    /// How long the next incarnation is to wait at most; `None` if none is due now: it is held, or
    /// told to stop.
    pub(crate) fn poll_backoff(&self, cx: &Context<'_>) -> Option<Duration> {
        let mut core = self.core.lock();
        core.sleep(cx);
        core.slot.backoff()
    }

    pub(crate) fn is_ordered(&self, bit: u8) -> bool {
        self.signal.load(Ordering::Acquire) & bit != 0
    }

    pub(crate) fn orders(&self) -> Orders {
        self.core
            .lock()
            .extras
            .as_ref()
            .map_or_else(Orders::default, |extras| extras.orders.clone())
    }

    /// What follows an exit now. Its owner is asked only where that makes a difference: the answer
    /// counts against a budget.
    pub(crate) fn ruling(&self, reason: &ExitReason) -> Ruling<'_> {
        if !self.awaits_ruling() {
            return Ruling::Free;
        }
        self.owner.ruling(reason, clock::now())
    }

    fn awaits_ruling(&self) -> bool {
        self.core.lock().slot.awaits_ruling()
    }

    /// Reports that the user code of a live incarnation is over. Where that was ordered, what
    /// follows was decided with the order.
    pub(crate) fn exited(&self, reason: &ExitReason) {
        if !self.awaits_ruling() {
            return;
        }
        let now = clock::now();
        let ruling = self.owner.ruling(reason, now);
        let (_, effects) = self.apply(Event::Exited(reason.clone(), ruling), now);
        self.carry_out(effects);
    }

    /// Closes the mailbox if nothing waits in it; in the same instant no message is accepted any
    /// more, so that one which raced is handled by this incarnation or by the next.
    pub(crate) fn close_if_idle(&self) -> bool {
        let mut core = self.core.lock();
        let busy = core.inbox.len() + self.taken() > 0
            || core.extras.as_ref().is_some_and(|extras| !extras.notices.is_empty());
        if busy {
            return false;
        }
        let now = clock::now();
        let step = core.slot.apply(Event::Idle, now);
        let effects = self.note(&mut core, step, now);
        drop(core);
        self.carry_out(effects);
        true
    }

    /// Reports that the incarnation has ended: what follows, and who is to be told.
    pub(crate) fn ended(&self) -> Ended<MessageOf<O>> {
        let mut core = self.core.lock();
        let incarnation = core.slot.incarnation();
        // Of the last end nobody asks when it was.
        let at = if core.slot.ends_for_good() { core.slot.since() } else { clock::now() };
        let step = core.slot.apply(Event::Ended, at);
        let next = step.next.clone();
        let effects = self.note(&mut core, step, at);
        // What concerned this incarnation ends with it; whom the key waits for does not.
        let extras = core.extras.take();
        self.signal.store(0, Ordering::Release);
        (core.waker, core.idle) = (None, false);
        let Some(extras) = extras else {
            return Ended { incarnation, at, next, effects, watchers: None };
        };
        let super::Extras { watchers, end, wait_node, notices, exposed, .. } = *extras;
        if wait_node.is_some() {
            core.extras().wait_node = wait_node;
        }
        drop(core);
        drop((notices, exposed));
        let watchers = Some(Watchers { watchers, end });
        Ended { incarnation, at, next, effects, watchers }
    }
}
