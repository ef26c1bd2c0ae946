//! The task of one process: runs its incarnations one after the other and reports how each ended.

mod serve;

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::cell::Cell;
use crate::child_spec::Shutdown;
use crate::clock;
use crate::context::Context;
use crate::exit::ExitReason;
use crate::guard::{Interrupt, Limit, contained, guarded};
use crate::incarnation::Incarnation;
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
                let (_, effects) = self.cell.apply(event);
                self.cell.carry_out(effects);
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
        let mut again = false;
        loop {
            let mut ctx = Context::new(life.cell.clone(), life.cell.incarnation());
            let reason = match Box::pin(start(&life.cell, &mut ctx, again)).await {
                Err(reason) => reason,
                Ok(mut state) => {
                    let end = loop {
                        if ctx.is_at_rest() {
                            poll_fn(|cx| life.cell.poll_rest(cx)).await;
                        }
                        if let Some(end) = ordered(&life.cell) {
                            break end;
                        }
                        let served = Box::pin(serve(&life.cell, &mut state, &mut ctx)).await;
                        if let Some(end) = served {
                            break end;
                        }
                    };
                    Box::pin(finish(&life.cell, state, &mut ctx, end)).await
                }
            };
            drop(ctx);
            match end(&life.cell, &reason) {
                Some(next @ (Next::Restart { .. } | Next::Hold)) => {
                    if !Box::pin(begins_again(&life.cell, &reason, next)).await {
                        break;
                    }
                }
                _ => break,
            }
            again = true;
        }
        life.over();
    }
}

/// What comes between two incarnations: being held, a wait. `false` if it was the last one.
async fn begins_again<O: Owner>(cell: &Arc<Cell<O>>, reason: &ExitReason, next: Next) -> bool {
    let mut next = Some(next);
    while let Some(Next::Restart { .. } | Next::Hold) = next {
        if next == Some(Next::Hold) {
            O::held(cell);
            poll_fn(|cx| cell.poll_held(cx)).await;
        }
        back_off(cell).await;
        next = begin_again(cell, reason);
    }
    next.is_none()
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

/// The start of an incarnation: its state, or why there is none, with nothing left of it.
async fn start<O: Owner>(
    cell: &Arc<Cell<O>>,
    ctx: &mut Context<O::Process>,
    again: bool,
) -> Result<O::Process, ExitReason> {
    let incarnation = ctx.incarnation();
    let began = cell.since();
    cell.owner.observe(incarnation, What::Starting { again });
    let deadline = began.after(cell.owner.spec().start_timeout);
    let started = {
        let init = async {
            if let Some(placed) = cell.owner.placed()
                && !placed.begins().await
            {
                return Err(StartError { failure: Some(ExitReason::Killed) });
            }
            // The arguments too are made by user code, which belongs to the start.
            O::Process::init(&cell.owner.args(), ctx).await
        };
        guarded(cell, Limit::Init(deadline), pin!(Some(init))).await
    };
    let failure = match started {
        Ok(Ok(state)) => {
            let (_, effects) = cell.apply(Event::Ready);
            cell.carry_out(effects);
            let took = cell.since().since(began);
            cell.owner.observe(incarnation, What::Ready { again, took });
            return Ok(state);
        }
        Ok(Err(error)) => error.failure,
        Err(Interrupt::Panicked(reason) | Interrupt::Killed(reason)) => Some(*reason),
        Err(Interrupt::Late) => {
            cell.check_start_deadline();
            Some(ExitReason::StartTimeout)
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

/// The end of a live incarnation: drops its state, and waits until its tasks have ended.
async fn finish<O: Owner>(
    cell: &Arc<Cell<O>>,
    mut state: O::Process,
    ctx: &mut Context<O::Process>,
    end: End,
) -> ExitReason {
    let (End::Terminate(reason) | End::Dead(reason)) = &end;
    let (_, effects) = cell.apply(Event::Exited(reason.clone(), cell.ruling(reason)));
    cell.carry_out(effects);
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
    let deadline = match cell.owner.spec().shutdown {
        Shutdown::BrutalKill => return reason,
        Shutdown::Timeout(time) => Some(clock::now().after(time)),
        Shutdown::Infinity => None,
    };
    let done = {
        let code = async { state.terminate(&reason, ctx).await };
        guarded(cell, Limit::Terminate(deadline), pin!(Some(code))).await
    };
    match done {
        Ok(()) => reason,
        Err(Interrupt::Panicked(reason) | Interrupt::Killed(reason)) => *reason,
        Err(Interrupt::Late) => ExitReason::Killed,
    }
}
