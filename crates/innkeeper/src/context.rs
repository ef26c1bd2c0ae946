//! What a process has at hand while its code runs: itself, timers, tasks, monitors, its own end.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::limits;
use crate::monitor::{Down, LinkExit, MonitorId};
use crate::node::{Node, Notice, Watcher};
use crate::process::{Message, Process};
use crate::process_ref::{Port, ProcessRef};
use crate::seam::{DelayQueue, TimerKey, time_left};
use crate::subscriber::{PushError, Subscriber};

/// What a process has at hand while its code runs.
pub struct Context<P: Process> {
    port: Arc<dyn Port<P::Message>>,
    incarnation: Incarnation,
    /// Boxed, for it is rare.
    wish: Option<Box<Wish>>,
    /// What few processes use.
    extras: Option<Box<Extras<P::Message>>>,
}

/// How a process wants to end after the present callback.
#[derive(Debug)]
pub(crate) enum Wish {
    Stop(ExitReason),
    StopIfIdle,
}

struct Extras<M> {
    timers: DelayQueue<(Timer, Due<M>)>,
    /// Where each timer is in the queue; a repeated one is queued anew at each beat.
    queued: HashMap<Timer, TimerKey>,
    next_timer: u64,
    tasks: JoinSet<()>,
    monitors: Monitors,
}

/// Whom this incarnation monitors; taken off all of them when it ends.
#[derive(Default)]
struct Monitors(HashMap<MonitorId, (Weak<dyn Node>, Incarnation)>);

impl Drop for Monitors {
    fn drop(&mut self) {
        for (id, (of, incarnation)) in self.0.drain() {
            if let Some(of) = of.upgrade() {
                of.unwatch(incarnation, id);
            }
        }
    }
}

enum Due<M> {
    Once(M),
    Every(Duration, Box<dyn FnMut() -> M + Send>),
}

/// A timer of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer(u64);

/// As many timers run as one process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTimers {
    /// The most there may be.
    pub max: usize,
}

impl fmt::Display for TooManyTimers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} timers run already", self.max)
    }
}

impl std::error::Error for TooManyTimers {}

impl<P: Process> Context<P> {
    pub(crate) fn new(port: Arc<dyn Port<P::Message>>, incarnation: Incarnation) -> Self {
        Context { port, incarnation, wish: None, extras: None }
    }

    /// The address of this process.
    pub fn process(&self) -> ProcessRef<P::Message> {
        ProcessRef::new(self.port.clone(), self.incarnation)
    }

    /// Which run of the process this is.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The fencing token of the ownership under which this process runs, for storage that is
    /// written from several nodes: each later owner of the key has a higher one. Always 0 on one
    /// node.
    ///
    /// Raise the fence in the store before the state is read there, and write only where the
    /// store's is not higher: a write that is under way when the ownership ends cannot be stopped
    /// from here.
    pub fn epoch(&self) -> u64 {
        self.port.epoch()
    }

    /// What this key's process had on the node that it comes from, for `init`: what its
    /// [`on_handoff`](Process::on_handoff) answered there. `None` where it starts without a past:
    /// always on one node, after the loss of a node, and after a crash.
    ///
    /// If that `init` fails, the next one is given the same.
    pub fn handed(&self) -> Option<Vec<u8>> {
        self.port.handed()
    }

    /// Does something that others outside of this process can see, such as writing to a socket:
    /// at once on one node. On a cluster it is checked like a reply: done while this node is sure
    /// to act for the key, kept in order while it cannot be sure, and left out if it no longer
    /// does.
    ///
    /// It runs on whatever thread finds that it may, so it is to be short, and not to wait.
    pub fn output(&self, output: impl FnOnce() + Send + 'static) {
        match self.port.placed() {
            None => output(),
            Some(placed) => placed.put(output),
        }
    }

    /// Tells a subscriber something, at once, behind everything that it was told before. On a
    /// cluster it is checked as an [`output`](Self::output) is; what was kept and may never leave
    /// ends the subscription ([`Unsubscribed::Lost`](crate::Unsubscribed::Lost)).
    ///
    /// # Errors
    /// [`PushError`]: the subscription is over, and it is to be dropped. An event that is kept
    /// is `Ok`.
    pub fn push<E: Send + 'static>(&self, to: &Subscriber<E>, event: E) -> Result<(), PushError> {
        match self.port.placed() {
            None => to.sink().push(event),
            Some(placed) => placed.push(to, event),
        }
    }

    /// Ends the process in order once the present callback returns (OTP's
    /// `{:stop, reason, state}`): no further message is handled, then `terminate` runs.
    pub fn stop(&mut self, reason: ExitReason) {
        self.wish = Some(Box::new(Wish::Stop(reason)));
    }

    /// Ends the process once the present callback returns, if nothing waits for it then.
    ///
    /// # Guarantees
    /// Looking and closing are one step: a message that is accepted in the race is handled, by this
    /// incarnation, which then stays, or by the next one.
    pub fn stop_if_idle(&mut self) {
        self.wish.get_or_insert_with(|| Box::new(Wish::StopIfIdle));
    }

    /// Runs a task beside the process, for as long as this incarnation lives.
    ///
    /// It is ended at its next await point when the incarnation ends, which waits for that: no task
    /// outlives its incarnation. A panic in it is a crash of the process, as with OTP's linked
    /// tasks.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.extras().tasks.spawn(task);
    }

    /// Says something to this process later (OTP's `Process.send_after/3`). It does not pass
    /// through the mailbox, so it is never refused; it ends with the incarnation.
    ///
    /// # Errors
    /// [`TooManyTimers`] at [`limits::TIMERS_MAX`].
    pub fn send_after(
        &mut self,
        delay: Duration,
        message: P::Message,
    ) -> Result<Timer, TooManyTimers> {
        self.timer(delay, Due::Once(message))
    }

    /// Says something to this process again and again (OTP's `:timer.send_interval/2`). A beat that
    /// is missed because the process is busy is left out. Periods under a millisecond are taken as
    /// one.
    ///
    /// # Errors
    /// [`TooManyTimers`] at [`limits::TIMERS_MAX`].
    pub fn send_interval(
        &mut self,
        period: Duration,
        message: impl FnMut() -> P::Message + Send + 'static,
    ) -> Result<Timer, TooManyTimers> {
        let period = period.max(Duration::from_millis(1));
        self.timer(period, Due::Every(period, Box::new(message)))
    }

    /// Stops a timer. `false` if it has gone off for the last time.
    pub fn cancel(&mut self, timer: &Timer) -> bool {
        let Some(extras) = &mut self.extras else {
            return false;
        };
        let key = extras.queued.remove(timer);
        key.is_some_and(|key| extras.timers.try_remove(&key).is_some())
    }

    /// How long it is until a timer goes off, for the next time (OTP's `Process.read_timer/1`).
    /// `None` if it has gone off for the last time, or was cancelled.
    pub fn remaining(&self, timer: &Timer) -> Option<Duration> {
        let extras = self.extras.as_ref()?;
        extras.queued.get(timer).map(|key| time_left(&extras.timers, key))
    }

    /// Asks to be told of the end of another process (OTP's `Process.monitor/1`):
    /// [`Process::down`] is called exactly once, at once if it has ended already.
    pub fn monitor<M: Message>(&mut self, process: &ProcessRef<M>) -> MonitorId {
        let id = MonitorId::next();
        let who: Weak<dyn Node> = self.node();
        let watcher = Watcher::Monitor { id, who, incarnation: self.incarnation };
        match process.port.watch(process.incarnation, watcher) {
            Ok(()) => {
                let of: Arc<dyn Node> = process.port.clone();
                let of = (Arc::downgrade(&of), process.incarnation);
                self.extras().monitors.0.insert(id, of);
            }
            Err(reason) => {
                let down = Down { monitor: id, incarnation: process.incarnation, reason };
                self.port.notify(self.incarnation, Notice::Down(down));
            }
        }
        id
    }

    /// Takes a monitor off again. A `down` that is under way already may still come.
    pub fn demonitor<M: Message>(&mut self, process: &ProcessRef<M>, monitor: MonitorId) {
        process.port.unwatch(process.incarnation, monitor);
        self.forget(monitor);
    }

    /// A monitor has done its work.
    pub(crate) fn forget(&mut self, monitor: MonitorId) {
        if let Some(extras) = &mut self.extras {
            extras.monitors.0.remove(&monitor);
        }
    }

    /// Links this process and another (OTP's `Process.link/1`): if one crashes, so does the other,
    /// unless it traps exits. Linking a process that has ended counts as its crash.
    pub fn link<M: Message>(&mut self, process: &ProcessRef<M>) -> MonitorId {
        let id = MonitorId::next();
        let mine = Watcher::Link { id, who: self.node(), incarnation: self.incarnation };
        let other: Arc<dyn Node> = process.port.clone();
        let other = Arc::downgrade(&other);
        let theirs = Watcher::Link { id, who: other, incarnation: process.incarnation };
        // The own half first: the end of the other takes it off again.
        let linked = self
            .port
            .watch(self.incarnation, theirs)
            .and_then(|()| process.port.watch(process.incarnation, mine));
        if let Err(reason) = linked {
            self.port.unwatch(self.incarnation, id);
            let exit = LinkExit { incarnation: process.incarnation, reason };
            self.port.notify(self.incarnation, Notice::LinkExit(exit));
        }
        id
    }

    /// Takes a link off again, on both sides.
    pub fn unlink<M: Message>(&mut self, process: &ProcessRef<M>, link: MonitorId) {
        process.port.unwatch(process.incarnation, link);
        self.port.unwatch(self.incarnation, link);
    }

    /// Whether the crash of a linked process comes as [`Process::link_exit`] (`true`) or ends this
    /// one too (`false`, the default). OTP's `Process.flag(:trap_exit, _)`.
    pub fn trap_exits(&mut self, trap: bool) {
        self.port.trap_exits(trap);
    }

    /// Lets others see something of this process without asking it: it is part of every snapshot,
    /// until this incarnation ends. Meant for a few atomics that the process keeps up to date (what
    /// OTP's `sys:get_status/1` is used for, but without a message).
    pub fn expose<T: Any + Send + Sync>(&mut self, seen: Arc<T>) {
        self.port.expose(seen);
    }

    /// Waits until this process is ordered to stop, in a callback that can do something about it.
    pub(crate) fn told_to_stop(&self) -> impl Future<Output = ()> + Send + use<P> {
        let port = self.port.clone();
        // The order wakes the task, so no waker has to be left anywhere.
        poll_fn(move |_| if port.is_told_to_stop() { Poll::Ready(()) } else { Poll::Pending })
    }

    fn node(&self) -> Weak<dyn Node> {
        let node: Arc<dyn Node> = self.port.clone();
        Arc::downgrade(&node)
    }

    fn timer(&mut self, delay: Duration, due: Due<P::Message>) -> Result<Timer, TooManyTimers> {
        let extras = self.extras();
        if extras.timers.len() >= limits::TIMERS_MAX {
            return Err(TooManyTimers { max: limits::TIMERS_MAX });
        }
        let timer = Timer(extras.next_timer);
        extras.next_timer += 1;
        let key = extras.timers.insert((timer, due), delay.min(limits::TIMER_MAX));
        extras.queued.insert(timer, key);
        Ok(timer)
    }

    fn extras(&mut self) -> &mut Extras<P::Message> {
        self.extras.get_or_insert_with(|| {
            Box::new(Extras {
                timers: DelayQueue::new(),
                queued: HashMap::new(),
                next_timer: 0,
                tasks: JoinSet::new(),
                monitors: Monitors::default(),
            })
        })
    }

    pub(crate) fn take_wish(&mut self) -> Option<Wish> {
        self.wish.take().map(|wish| *wish)
    }

    /// Whether nothing but a message or an order can bring something to do.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.wish.is_none() && !self.has_extras()
    }

    /// Whether there are, or were, timers or tasks.
    pub(crate) fn has_extras(&self) -> bool {
        self.extras.is_some()
    }

    /// The next message of a timer; or why the process has to go, if one of its tasks panicked.
    pub(crate) fn poll_extras(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<P::Message, ExitReason>> {
        let Some(extras) = &mut self.extras else {
            return Poll::Pending;
        };
        while let Poll::Ready(Some(ended)) = extras.tasks.poll_join_next(cx) {
            if let Err(error) = ended
                && let Ok(payload) = error.try_into_panic()
            {
                return Poll::Ready(Err(ExitReason::panicked(&*payload)));
            }
        }
        let Poll::Ready(Some(expired)) = extras.timers.poll_expired(cx) else {
            return Poll::Pending;
        };
        let (timer, due) = expired.into_inner();
        extras.queued.remove(&timer);
        Poll::Ready(Ok(match due {
            Due::Once(message) => message,
            Due::Every(period, mut message) => {
                let next = message();
                let key = extras.timers.insert((timer, Due::Every(period, message)), period);
                extras.queued.insert(timer, key);
                next
            }
        }))
    }

    /// Ends every task of the incarnation and waits until they have ended.
    pub(crate) async fn end_tasks(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.timers.clear();
            extras.queued.clear();
            extras.tasks.shutdown().await;
        }
    }
}

impl<P: Process> fmt::Debug for Context<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("incarnation", &self.incarnation).finish_non_exhaustive()
    }
}
