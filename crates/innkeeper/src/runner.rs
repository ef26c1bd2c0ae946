//! The task of one process: runs its incarnations one after the other and reports how each ended.

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::task::{self, Poll};

use crate::call::ReplyTo;
use crate::cell::{self, Cell, MessageOf, Work};
use crate::child_spec::Shutdown;
use crate::clock;
use crate::context::{Context, Wish};
use crate::exit::ExitReason;
use crate::guard::{Interrupt, Limit, contained, guarded};
use crate::incarnation::Incarnation;
use crate::limits;
use crate::mailbox::Envelope;
use crate::node::{Node, Notice};
use crate::observe::What;
use crate::owner::Owner;
use crate::process::Process;
use crate::registry::slot::{Event, Next, Ruling};
use crate::seam::{Spawner, yield_now};
use crate::wait_for::As;

/// Runs the process of a cell that was just made.
pub(crate) fn spawn<O: Owner>(spawner: &Spawner, cell: Arc<Cell<O>>) {
    let node: Arc<dyn Node> = cell.clone();
    // Made here and not in the task: a runtime that is gone drops a task without ever polling it.
    let life = Life { cell, over: false };
    spawner.spawn(As::new(node, run(life)));
}

/// Frees the cell if the task goes away before the process has ended: the runtime shuts down.
struct Life<O: Owner> {
    cell: Arc<Cell<O>>,
    over: bool,
}

impl<O: Owner> Drop for Life<O> {
    fn drop(&mut self) {
        if !self.over {
            // The oldest thing of the task, so dropped after all else: the state is gone.
            let killed = ExitReason::Killed;
            // Whoever waits for a start is told that it failed, and does not ask on and on.
            let failed = Event::InitFailed(killed.clone(), Ruling::Free);
            let stop = Event::Stop { reason: killed.clone(), shutdown: Shutdown::BrutalKill };
            for event in [failed, stop] {
                let (_, effects) = self.cell.apply(event);
                self.cell.carry_out(effects);
            }
            let _ = end(&self.cell, &killed);
        }
    }
}

async fn run<O: Owner>(mut life: Life<O>) {
    let mut again = false;
    loop {
        let reason = incarnate(&life.cell, again).await;
        let mut next = end(&life.cell, &reason);
        while let Some(Next::Restart { .. } | Next::Hold) = next {
            if next == Some(Next::Hold) {
                O::held(&life.cell);
                poll_fn(|cx| life.cell.poll_held(cx)).await;
            }
            back_off(&life.cell).await;
            next = begin_again(&life.cell, &reason);
        }
        if next.is_some() {
            break;
        }
        again = true;
    }
    life.over = true;
}

/// Begins the next incarnation, unless it was held or stopped while it waited.
fn begin_again<O: Owner>(cell: &Arc<Cell<O>>, reason: &ExitReason) -> Option<Next> {
    let (next, effects) = cell.apply(Event::BackoffOver(Incarnation::next()));
    if next == Some(Next::Free) {
        // Whatever its last incarnation ended of, it was not this order.
        O::released(cell, &ExitReason::Shutdown);
        cell.owner.observe(cell.incarnation(), What::Stopped(reason.clone()));
    }
    cell.carry_out(effects);
    next
}

/// Reports the end of an incarnation: first its owner forgets it, then everybody is told.
fn end<O: Owner>(cell: &Arc<Cell<O>>, reason: &ExitReason) -> Option<Next> {
    let incarnation = cell.incarnation();
    let (next, effects, watchers) = cell.ended();
    match &next {
        Some(Next::Free) => {
            O::released(cell, reason);
            cell.owner.observe(incarnation, What::Stopped(reason.clone()));
        }
        Some(Next::Park) => cell.owner.observe(incarnation, What::Parked(reason.clone())),
        Some(Next::Restart { after }) => {
            let what = What::Restarting { reason: reason.clone(), within: *after };
            cell.owner.observe(incarnation, what);
        }
        Some(Next::Hold) => {
            cell.owner.observe(incarnation, What::Held(reason.clone()));
        }
        None => {}
    }
    watchers.tell(incarnation, reason);
    cell.carry_out(effects);
    next
}

/// Waits between two incarnations, unless the slot is stopped or held.
async fn back_off<O: Owner>(cell: &Cell<O>) {
    let mut alarm = None;
    poll_fn(|cx| {
        let Some(longest) = cell.poll_backoff(cx).filter(|longest| !longest.is_zero()) else {
            return Poll::Ready(());
        };
        let alarm = alarm.get_or_insert_with(|| {
            let dice = RandomState::new().hash_one(cell.incarnation());
            let part = 0.5 + (dice % 1024) as f64 / 2048.0;
            clock::alarm(clock::now().after(longest.mul_f64(part)))
        });
        alarm.as_mut().poll(cx)
    })
    .await;
}

/// One incarnation, from the first instruction of `init` until its state is dropped and its tasks
/// have ended.
async fn incarnate<O: Owner>(cell: &Arc<Cell<O>>, again: bool) -> ExitReason {
    let incarnation = cell.incarnation();
    let began = clock::now();
    let mut ctx = Context::new(cell.clone(), incarnation);
    cell.owner.observe(incarnation, What::Starting { again });
    let deadline = began.after(cell.owner.spec().start_timeout);
    let started = {
        // Boxed, so that a large init does not size the task for the rest of its life. The
        // arguments too are made by user code, which belongs to the start.
        let init = Box::pin(async { O::Process::init(&cell.owner.args(), &mut ctx).await });
        guarded(cell, Limit::Init(deadline), init).await
    };
    let failure = match started {
        Ok(Ok(state)) => {
            let (_, effects) = cell.apply(Event::Ready);
            cell.carry_out(effects);
            let took = clock::now().since(began);
            cell.owner.observe(incarnation, What::Ready { again, took });
            let reason = live(cell, state, &mut ctx).await;
            ctx.end_tasks().await;
            return reason;
        }
        Ok(Err(error)) => error.failure,
        Err(Interrupt::Panicked(reason) | Interrupt::Killed(reason)) => Some(reason),
        Err(Interrupt::Late) => {
            cell.check_start_deadline();
            Some(ExitReason::StartTimeout)
        }
    };
    not_started(cell, incarnation, again, failure.as_ref());
    ctx.end_tasks().await;
    failure.unwrap_or(ExitReason::Normal)
}

/// Reports that `init` made no state; without a reason, that it declined.
fn not_started<O: Owner>(
    cell: &Cell<O>,
    incarnation: Incarnation,
    again: bool,
    failure: Option<&ExitReason>,
) {
    let event = match failure {
        None => Event::Declined,
        Some(reason) => Event::InitFailed(reason.clone(), cell.ruling(reason)),
    };
    let (_, effects) = cell.apply(event);
    cell.carry_out(effects);
    match failure {
        None => cell.owner.observe(incarnation, What::Declined),
        Some(reason) if !again => {
            cell.owner.observe(incarnation, What::StartFailed(reason.clone()));
        }
        Some(_) => {}
    }
}

/// How the messages of a live incarnation came to an end.
enum End {
    /// In order, or by a panic: `terminate` runs.
    Terminate(ExitReason),
    /// By a kill.
    Dead(ExitReason),
}

/// The live part of an incarnation; drops the state.
async fn live<O: Owner>(
    cell: &Arc<Cell<O>>,
    mut state: O::Process,
    ctx: &mut Context<O::Process>,
) -> ExitReason {
    let end = serve(cell, &mut state, ctx).await;
    let (End::Terminate(reason) | End::Dead(reason)) = &end;
    let (_, effects) = cell.apply(Event::Exited(reason.clone(), cell.ruling(reason)));
    cell.carry_out(effects);
    let mut reason = match end {
        End::Dead(reason) => reason,
        End::Terminate(reason) => terminate(cell, &mut state, reason, ctx).await,
    };
    if let Err(panicked) = contained(|| drop(state)) {
        reason = panicked;
    }
    reason
}

async fn terminate<O: Owner>(
    cell: &Cell<O>,
    state: &mut O::Process,
    reason: ExitReason,
    ctx: &mut Context<O::Process>,
) -> ExitReason {
    let deadline = match cell.owner.spec().shutdown {
        Shutdown::BrutalKill => return reason,
        Shutdown::Timeout(time) => Some(clock::now().after(time)),
        Shutdown::Infinity => None,
    };
    let code = Box::pin(async { state.terminate(&reason, ctx).await });
    match guarded(cell, Limit::Terminate(deadline), code).await {
        Ok(()) => reason,
        Err(Interrupt::Panicked(reason) | Interrupt::Killed(reason)) => reason,
        Err(Interrupt::Late) => ExitReason::Killed,
    }
}

/// Handles what comes, until something ends it.
async fn serve<O: Owner>(
    cell: &Arc<Cell<O>>,
    state: &mut O::Process,
    ctx: &mut Context<O::Process>,
) -> End {
    let mut handled: u32 = 0;
    loop {
        // First, for `init` is a callback too and may have wished for the end.
        match ctx.take_wish() {
            Some(Wish::Stop(reason)) => return End::Terminate(reason),
            Some(Wish::StopIfIdle) if cell.close_if_idle() => {
                return End::Terminate(ExitReason::Idle);
            }
            Some(Wish::StopIfIdle) | None => {}
        }
        // At the start of a turn: a process that never runs out of messages is to hear them too.
        let extras_first = handled.is_multiple_of(limits::MESSAGES_PER_TURN);
        let done = match next(cell, ctx, extras_first).await {
            Err(end) => return end,
            Ok(Work::Orders) => {
                let orders = cell.orders();
                return match (orders.kill, orders.stop) {
                    (Some(reason), _) => End::Dead(reason),
                    (None, stop) => End::Terminate(stop.unwrap_or(ExitReason::Shutdown)),
                };
            }
            Ok(Work::Message(Envelope { message, answer })) => {
                let is_cast = answer.is_none();
                let reply = ReplyTo::new(answer);
                let code = async { state.handle(message, reply, ctx).await };
                let done = guarded(cell, Limit::Handler, code).await;
                if is_cast && done.is_err() {
                    let what = What::CastsLost { waiting: 0, begun: true };
                    cell.owner.observe(ctx.incarnation(), what);
                }
                done
            }
            Ok(Work::Notice(notice)) => hear(cell, state, notice, ctx).await,
        };
        match done {
            Ok(()) => {}
            Err(Interrupt::Panicked(reason)) => return End::Terminate(reason),
            Err(Interrupt::Killed(reason)) => return End::Dead(reason),
            Err(Interrupt::Late) => return End::Dead(ExitReason::Killed),
        }
        handled = handled.wrapping_add(1);
        if handled.is_multiple_of(limits::MESSAGES_PER_TURN) {
            yield_now().await;
        }
    }
}

/// The next thing to do: what waits in the cell, then what timers and tasks bring; or the other way
/// round.
async fn next<O: Owner>(
    cell: &Cell<O>,
    ctx: &mut Context<O::Process>,
    extras_first: bool,
) -> Result<Work<MessageOf<O>>, End> {
    poll_fn(|cx| {
        if extras_first && !cell.is_ordered(cell::STOP | cell::KILL) {
            let extra = poll_extras(ctx, cx);
            if extra.is_ready() {
                return extra;
            }
        }
        match cell.poll_work(cx) {
            Poll::Ready(work) => Poll::Ready(Ok(work)),
            Poll::Pending => poll_extras(ctx, cx),
        }
    })
    .await
}

/// What timers and tasks bring.
fn poll_extras<P: Process>(
    ctx: &mut Context<P>,
    cx: &mut task::Context<'_>,
) -> Poll<Result<Work<P::Message>, End>> {
    // A timer that repeats makes its message by user code.
    match contained(|| ctx.poll_extras(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(Ok(message))) => {
            Poll::Ready(Ok(Work::Message(Envelope { message, answer: None })))
        }
        Ok(Poll::Ready(Err(reason))) | Err(reason) => Poll::Ready(Err(End::Terminate(reason))),
    }
}

/// Hears a notice of the runtime.
async fn hear<O: Owner>(
    cell: &Cell<O>,
    state: &mut O::Process,
    notice: Notice,
    ctx: &mut Context<O::Process>,
) -> Result<(), Interrupt> {
    // Boxed: rare, and not to size the task of a process that hears none.
    let code = Box::pin(async {
        match notice {
            Notice::Down(down) => {
                ctx.forget(down.monitor);
                state.down(down, ctx).await;
            }
            Notice::LinkExit(exit) => state.link_exit(exit, ctx).await,
            Notice::Lagged(lagged) => state.lagged(lagged, ctx).await,
            Notice::Idle => {
                if state.idle(ctx).await {
                    ctx.stop_if_idle();
                }
            }
        }
    });
    guarded(cell, Limit::Handler, code).await
}
