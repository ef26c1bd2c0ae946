//! The task of one process: runs its incarnations one after the other and reports how each ended.

mod serve;

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::cell::{Cell, Ended};
use crate::child_spec::Shutdown;
use crate::clock::{self, Moment};
use crate::context::Context;
use crate::exit::ExitReason;
use crate::guard::{Interrupt, Limit, contained, guarded};
use crate::incarnation::Incarnation;
use crate::limits;
use crate::node::Node;
use crate::observe::What;
use crate::owner::Owner;
use crate::process::{Process, StartError};
use crate::registry::slot::{Event, Next, Ruling};
use crate::runner::serve::{End, ordered, serve};
use crate::seam::Spawner;
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

impl<O: Owner> Life<O> {
    /// The process has ended, and everybody knows.
    fn over(mut self) {
        self.over = true;
    }
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
                self.cell.tell(event);
            }
            let _ = end(&self.cell, &killed);
        }
    }
}

#[allow(clippy::manual_async_fn)] // An `async fn` keeps its arguments twice.
fn run<O: Owner>(life: Life<O>) -> impl Future<Output = ()> + Send {
    // What is kept of this while a process rests is what its task costs: whatever comes and goes is
    // in a box of its own.
    async move {
        let (incarnation, began) = life.cell.begun();
        let mut ctx = Context::new(life.cell.clone(), incarnation);
        let mut begun = Box::pin(begin(&life.cell, &mut ctx, began)).await;
        while let Some(mut state) = begun {
            let end = loop {
                if ctx.is_at_rest() {
                    poll_fn(|cx| life.cell.poll_rest(cx)).await;
                }
                if let Some(end) = ordered(&life.cell) {
                    break end;
                }
                if let Some(end) = Box::pin(serve(&life.cell, &mut state, &mut ctx)).await {
                    break end;
                }
            };
            begun = Box::pin(end_and_begin(&life.cell, state, &mut ctx, end)).await;
        }
        life.over();
    }
}

/// The first incarnation that starts: its state, or `None` if there will be none.
async fn begin<O: Owner>(
    cell: &Arc<Cell<O>>,
    ctx: &mut Context<O::Process>,
    began: Moment,
) -> Option<O::Process> {
    match start(cell, ctx, began, false).await {
        Ok(state) => Some(state),
        Err(reason) => begin_again(cell, ctx, reason).await,
    }
}

/// Ends a live incarnation: the state of the next one that starts, or `None` if it was the last.
async fn end_and_begin<O: Owner>(
    cell: &Arc<Cell<O>>,
    state: O::Process,
    ctx: &mut Context<O::Process>,
    end: End,
) -> Option<O::Process> {
    let reason = finish(cell, state, ctx, end).await;
    begin_again(cell, ctx, reason).await
}

/// From the end of one incarnation to the next one that starts; `None` if none is to follow.
async fn begin_again<O: Owner>(
    cell: &Arc<Cell<O>>,
    ctx: &mut Context<O::Process>,
    mut reason: ExitReason,
) -> Option<O::Process> {
    loop {
        // What the incarnation had at hand goes before its end is reported.
        *ctx = Context::new(cell.clone(), ctx.incarnation());
        let (next, at) = end(cell, &reason);
        let (incarnation, began) = between(cell, &reason, next, at).await?;
        *ctx = Context::new(cell.clone(), incarnation);
        match start(cell, ctx, began, true).await {
            Ok(state) => return Some(state),
            Err(failure) => reason = failure,
        }
    }
}

/// What comes between two incarnations: being held, a wait. Answers with the next one, and when it
/// began; `None` if it was the last.
async fn between<O: Owner>(
    cell: &Arc<Cell<O>>,
    reason: &ExitReason,
    mut next: Option<Next>,
    mut now: Moment,
) -> Option<(Incarnation, Moment)> {
    while let Some(Next::Restart { .. } | Next::Hold) = next {
        if next == Some(Next::Hold) {
            O::held(cell);
            poll_fn(|cx| cell.poll_held(cx)).await;
        }
        if next != (Some(Next::Restart { after: Duration::ZERO })) {
            back_off(cell).await;
            now = clock::now();
        }
        let incarnation = Incarnation::next();
        next = over(cell, reason, incarnation, now);
        if next.is_none() {
            return Some((incarnation, now));
        }
    }
    None
}

/// Begins the next incarnation, unless it was held or stopped while it waited.
fn over<O: Owner>(
    cell: &Arc<Cell<O>>,
    reason: &ExitReason,
    incarnation: Incarnation,
    now: Moment,
) -> Option<Next> {
    let (next, effects) = cell.apply(Event::BackoffOver(incarnation), now);
    if next == Some(Next::Free) {
        // Whatever its last incarnation ended of, it was not this order.
        O::released(cell, &ExitReason::Shutdown);
        cell.owner.observe(cell.incarnation(), What::Stopped(reason.clone()));
    }
    cell.carry_out(effects);
    next
}

/// Reports the end of an incarnation: first its owner forgets it, then everybody is told. Answers
/// what follows, and when that was.
fn end<O: Owner>(cell: &Arc<Cell<O>>, reason: &ExitReason) -> (Option<Next>, Moment) {
    let Ended { incarnation, at, next, effects, watchers } = cell.ended();
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
    if let Some(watchers) = watchers {
        watchers.tell(incarnation, reason);
    }
    cell.carry_out(effects);
    (next, at)
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

/// The start of an incarnation: its state, or why there is none, with nothing left of it.
async fn start<O: Owner>(
    cell: &Arc<Cell<O>>,
    ctx: &mut Context<O::Process>,
    began: Moment,
    again: bool,
) -> Result<O::Process, ExitReason> {
    let incarnation = ctx.incarnation();
    cell.owner.observe(incarnation, What::Starting { again });
    let deadline = began.after(cell.owner.spec().start_timeout);
    let started = {
        let init = async {
            // Let go of when this is over, however it ends.
            let _seat = match cell.owner.placed() {
                None => None,
                Some(placed) => match placed.begins().await {
                    Some(seat) => Some(seat),
                    None => return Err(StartError { failure: Some(ExitReason::Killed) }),
                },
            };
            // The arguments too are made by user code, which belongs to the start.
            O::Process::init(&cell.owner.args(), ctx).await
        };
        guarded(cell, Limit::Init(deadline), pin!(Some(init))).await
    };
    let failure = match started {
        Ok(Ok(state)) => {
            let took = cell.ready().since(began);
            cell.owner.observe(incarnation, What::Ready { again, took });
            return Ok(state);
        }
        Ok(Err(error)) => error.failure,
        Err(Interrupt::Panicked(reason) | Interrupt::Killed(reason)) => Some(*reason),
        Err(Interrupt::Late) => {
            cell.check_start_deadline();
            Some(cell.late())
        }
    };
    not_started(cell, incarnation, again, failure.as_ref());
    ctx.end_tasks().await;
    Err(failure.unwrap_or(ExitReason::Normal))
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
    cell.tell(event);
    match failure {
        None => cell.owner.observe(incarnation, What::Declined),
        Some(reason) if !again => {
            cell.owner.observe(incarnation, What::StartFailed(reason.clone()));
        }
        Some(_) => {}
    }
}

/// The end of a live incarnation: drops its state, and waits until its tasks have ended.
async fn finish<O: Owner>(
    cell: &Arc<Cell<O>>,
    mut state: O::Process,
    ctx: &mut Context<O::Process>,
    end: End,
) -> ExitReason {
    let (End::Terminate(reason) | End::Dead(reason)) = &end;
    cell.exited(reason);
    let mut reason = match end {
        End::Dead(reason) => reason,
        End::Terminate(reason) => terminate(cell, &mut state, reason, ctx).await,
    };
    if let Err(panicked) = contained(|| drop(state)) {
        reason = *panicked;
    }
    ctx.end_tasks().await;
    reason
}

async fn terminate<O: Owner>(
    cell: &Cell<O>,
    state: &mut O::Process,
    reason: ExitReason,
    ctx: &mut Context<O::Process>,
) -> ExitReason {
    let limit = match cell.owner.spec().shutdown {
        Shutdown::BrutalKill => return reason,
        Shutdown::Timeout(time) => Limit::Within(time),
        Shutdown::Infinity => Limit::Terminate(None),
    };
    let done = {
        let code = async {
            if cell.owner.is_packing()
                && reason == ExitReason::Shutdown
                && let Some(packed) = state.on_handoff(ctx).await
            {
                let bytes = packed.len();
                if bytes <= limits::HANDOFF_BYTES_MAX {
                    return cell.owner.pack_state(packed);
                }
                cell.owner.observe(cell.incarnation(), What::StateTooLarge { bytes });
            }
            state.terminate(&reason, ctx).await;
        };
        guarded(cell, limit, pin!(Some(code))).await
    };
    match done {
        Ok(()) => reason,
        Err(Interrupt::Panicked(reason) | Interrupt::Killed(reason)) => *reason,
        Err(Interrupt::Late) => ExitReason::Killed,
    }
}
