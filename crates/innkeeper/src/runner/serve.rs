//! The live part of an incarnation: handles what comes, in order, until something ends it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{self, Poll};

use tracing::{Instrument, Span};

use crate::call::ReplyTo;
use crate::cell::{self, Cell, MessageOf, Taken, Turn, Work};
use crate::context::{Context, Wish};
use crate::exit::ExitReason;
use crate::guard::{Interrupt, Limit, contained, guarded};
use crate::limits;
use crate::mailbox::Envelope;
use crate::node::Notice;
use crate::observe::What;
use crate::owner::Owner;
use crate::process::Process;
use crate::seam::yield_now;
use crate::trace;

/// How the messages of a live incarnation came to an end.
pub(super) enum End {
    /// In order, or by a panic: `terminate` runs.
    Terminate(ExitReason),
    /// By a kill.
    Dead(ExitReason),
}

impl From<Interrupt> for End {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Panicked(reason) => End::Terminate(*reason),
            Interrupt::Killed(reason) => End::Dead(*reason),
            Interrupt::Late => End::Dead(ExitReason::Killed),
        }
    }
}

/// The end that is ordered, if one is.
pub(super) fn ordered<O: Owner>(cell: &Cell<O>) -> Option<End> {
    if !cell.is_ordered(cell::STOP | cell::KILL) {
        return None;
    }
    let orders = cell.orders();
    Some(match (orders.kill, orders.stop) {
        (Some(reason), _) => End::Dead(reason),
        (None, stop) => End::Terminate(stop.unwrap_or(ExitReason::Shutdown)),
    })
}

/// Handles what comes. Ends without an [`End`] when nothing has come for a while: the process goes
/// back to rest, and the memory of serving is free.
pub(super) async fn serve<O: Owner>(
    cell: &Cell<O>,
    state: &mut O::Process,
    ctx: &mut Context<O::Process>,
) -> Option<End> {
    let mut taken = Taken::new(cell);
    loop {
        // A turn. Timers and tasks come first: a process that never runs out of messages is to hear
        // them too.
        let mut extras_first = true;
        for _ in 0..limits::MESSAGES_PER_TURN {
            // First, for `init` is a callback too and may have wished for the end.
            match ctx.take_wish() {
                Some(Wish::Stop(reason)) => return Some(End::Terminate(reason)),
                Some(Wish::StopIfIdle) if cell.close_if_idle() => {
                    return Some(End::Terminate(ExitReason::Idle));
                }
                Some(Wish::StopIfIdle) | None => {}
            }
            let mut begun = Begun { is_cast: true, panicked: None, span: None };
            // Made where it stays: moved, it would be waited for.
            let code = pin!(if !extras_first && let Some(envelope) = taken.pop() {
                begun.code_of(cell, state, envelope, ctx)
            } else {
                match poll_fn(|cx| next(cell, &mut taken, ctx, extras_first, cx)).await {
                    Ok(envelope) => begun.code_of(cell, state, envelope, ctx),
                    Err(Work::Due(message)) => {
                        let envelope = Envelope { message: *message, answer: None };
                        begun.code_of(cell, state, envelope, ctx)
                    }
                    Err(Work::Orders) => return ordered(cell),
                    Err(Work::Rest) => return None,
                    Err(Work::Crash(reason)) => return Some(End::Terminate(*reason)),
                    Err(Work::Lost) => return Some(End::Dead(ExitReason::Killed)),
                    // Boxed: rare, and not to size the task of a process that hears none.
                    Err(Work::Notice(notice)) => {
                        match Box::pin(hear(cell, state, notice, ctx)).await {
                            Ok(()) => continue,
                            Err(interrupt) => return Some(interrupt.into()),
                        }
                    }
                }
            });
            extras_first = false;
            let Begun { is_cast, panicked, span } = begun;
            let done = match (panicked, span) {
                (None, None) => guarded(cell, Limit::Handler, code).await,
                (None, Some(span)) => traced(cell, code, *span).await,
                (Some(reason), _) => Err(Interrupt::Panicked(reason)),
            };
            if let Err(interrupt) = done {
                if is_cast {
                    let what = What::CastsLost { waiting: 0, begun: true };
                    cell.owner.observe(cell.incarnation(), what);
                }
                return Some(interrupt.into());
            }
        }
        yield_now().await;
    }
}

/// Runs the code of a message in a span. Boxed, and apart, for mostly nobody wants one.
#[cold]
fn traced<'a, F: Future<Output = ()> + Send, O: Owner>(
    cell: &'a Cell<O>,
    code: Pin<&'a mut Option<F>>,
    span: Span,
) -> Pin<Box<dyn Future<Output = Result<(), Interrupt>> + Send + 'a>> {
    Box::pin(guarded(cell, Limit::Handler, code).instrument(span))
}

/// What is known of a message once its code is made.
struct Begun {
    is_cast: bool,
    panicked: Option<Box<ExitReason>>,
    span: Option<Box<Span>>,
}

impl Begun {
    /// The code that handles a message, unless making it panicked.
    #[inline(always)]
    fn code_of<'a, O: Owner>(
        &mut self,
        cell: &Cell<O>,
        state: &'a mut O::Process,
        Envelope { message, answer }: Envelope<MessageOf<O>>,
        ctx: &'a mut Context<O::Process>,
    ) -> Option<impl Future<Output = ()> + Send + use<'a, O>> {
        self.is_cast = answer.is_none();
        if trace::is_wanted() {
            self.span = trace::handling(cell, answer.as_ref().and_then(|answer| answer.caller()));
        }
        let reply = ReplyTo::new(cell.outward(answer));
        let code = contained(|| state.handle(message, reply, ctx));
        code.map_err(|reason| self.panicked = Some(reason)).ok()
    }
}

/// The next thing to do: what waits in the cell, then what timers and tasks bring; or the other way
/// round.
#[inline]
fn next<O: Owner>(
    cell: &Cell<O>,
    taken: &mut Taken<'_, O>,
    ctx: &mut Context<O::Process>,
    extras_first: bool,
    cx: &mut task::Context<'_>,
) -> Poll<Turn<O>> {
    if !cell.may_begin() {
        return cell.poll_begin(cx).map(Err);
    }
    let has_extras = ctx.has_extras();
    if has_extras && extras_first && !cell.is_ordered(cell::STOP | cell::KILL) {
        let extra = poll_extras(ctx, cx);
        if extra.is_ready() {
            return extra.map(Err);
        }
    }
    match cell.poll_work(taken, cx) {
        Poll::Pending if has_extras => poll_extras(ctx, cx).map(Err),
        work => work,
    }
}

/// What timers and tasks bring.
fn poll_extras<P: Process>(
    ctx: &mut Context<P>,
    cx: &mut task::Context<'_>,
) -> Poll<Work<P::Message>> {
    // A timer that repeats makes its message by user code.
    match contained(|| ctx.poll_extras(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(Ok(message))) => Poll::Ready(Work::Due(Box::new(message))),
        Ok(Poll::Ready(Err(reason))) => Poll::Ready(Work::Crash(Box::new(reason))),
        Err(reason) => Poll::Ready(Work::Crash(reason)),
    }
}

/// Hears a notice of the runtime.
async fn hear<O: Owner>(
    cell: &Cell<O>,
    state: &mut O::Process,
    notice: Box<Notice>,
    ctx: &mut Context<O::Process>,
) -> Result<(), Interrupt> {
    let code = async {
        match *notice {
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
    };
    guarded(cell, Limit::Handler, pin!(Some(code))).await
}
