//! Runs a piece of user code so that nothing it does escapes: not a panic, not a kill that it does
//! not notice, not a wait past its deadline.

use std::cell::Cell as Flag;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cell::{self, Cell};
use crate::clock::{self, Alarm, Moment};
use crate::exit::ExitReason;
use crate::owner::Owner;
use crate::seam::thread_local;

/// Why user code did not finish.
#[derive(Debug)]
pub(crate) enum Interrupt {
    Panicked(ExitReason),
    Killed(ExitReason),
    /// It did not finish by its deadline.
    Late,
}

/// By when user code has to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// The start timeout of the child spec; also for an `init` that is told to stop meanwhile.
    Init(Moment),
    /// None, until a stop is ordered.
    Handler,
    /// This one, or that of an ordered stop if it is earlier.
    Terminate(Option<Moment>),
}

pin_project_lite::pin_project! {
    /// User code under guard.
    pub(crate) struct Guarded<'a, F, O: Owner> {
        #[pin]
        code: Option<F>,
        cell: &'a Cell<O>,
        limit: Limit,
        alarm: Option<(Moment, Alarm)>,
    }
}

/// Runs `code` for the process of `cell`.
pub(crate) fn guarded<F: Future, O: Owner>(
    cell: &Cell<O>,
    limit: Limit,
    code: F,
) -> Guarded<'_, F, O> {
    Guarded { code: Some(code), cell, limit, alarm: None }
}

/// Runs user code that is not a future.
pub(crate) fn contained<T>(code: impl FnOnce() -> T) -> Result<T, ExitReason> {
    // The code's data is not looked at again by anybody who relies on it, except by a `terminate`
    // that is told of the panic.
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| ExitReason::panicked(&*payload))
}

thread_local! {
    /// Whether this thread is dropping user code that did not finish.
    // Not `const`: the schedule explorer's has no such form.
    #[allow(clippy::missing_const_for_thread_local)]
    static CUT: Flag<bool> = Flag::new(false);
}

/// Whether what is being dropped is dropped because its process crashed or was killed in its midst.
pub(crate) fn is_cut_short() -> bool {
    std::thread::panicking() || CUT.with(Flag::get)
}

/// For as long as user code that did not finish is being dropped.
struct Cut;

impl Cut {
    fn begin() -> Cut {
        CUT.with(|cut| cut.set(true));
        Cut
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        CUT.with(|cut| cut.set(false));
    }
}

impl<F: Future, O: Owner> Future for Guarded<'_, F, O> {
    type Output = Result<F::Output, Interrupt>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut result = if this.cell.is_ordered(cell::KILL) {
            Poll::Ready(Err(killed(this.cell)))
        } else {
            let code = this.code.as_mut().as_pin_mut();
            let Some(code) = code else {
                return Poll::Pending;
            };
            match contained(|| code.poll(cx)) {
                Ok(polled) => polled.map(Ok),
                Err(reason) => Poll::Ready(Err(Interrupt::Panicked(reason))),
            }
        };
        if result.is_pending() {
            this.cell.busy(cx);
            if this.cell.is_ordered(cell::KILL) {
                result = Poll::Ready(Err(killed(this.cell)));
            } else if is_late(this.cell, *this.limit, this.alarm, cx) {
                result = Poll::Ready(Err(Interrupt::Late));
            }
        }
        if result.is_ready() {
            // What the code held is user data too: dropping it may panic.
            let dropped = contained(|| {
                let _cut = matches!(result, Poll::Ready(Err(_))).then(Cut::begin);
                this.code.set(None);
            });
            if let (Err(reason), Poll::Ready(Ok(_))) = (dropped, &result) {
                result = Poll::Ready(Err(Interrupt::Panicked(reason)));
            }
        }
        result
    }
}

fn killed<O: Owner>(cell: &Cell<O>) -> Interrupt {
    Interrupt::Killed(cell.orders().kill.unwrap_or(ExitReason::Killed))
}

fn is_late<O: Owner>(
    cell: &Cell<O>,
    limit: Limit,
    alarm: &mut Option<(Moment, Alarm)>,
    cx: &mut Context<'_>,
) -> bool {
    let ordered = || {
        let stop = cell.is_ordered(cell::STOP);
        stop.then(|| cell.orders().deadline).flatten()
    };
    let deadline = match limit {
        Limit::Init(deadline) => Some(deadline),
        Limit::Handler => ordered(),
        Limit::Terminate(limit) => match (limit, ordered()) {
            (Some(limit), Some(ordered)) => Some(limit.min(ordered)),
            (limit, ordered) => limit.or(ordered),
        },
    };
    let Some(deadline) = deadline else {
        return false;
    };
    if alarm.as_ref().is_none_or(|(at, _)| *at != deadline) {
        *alarm = Some((deadline, clock::alarm(deadline)));
    }
    alarm.as_mut().is_some_and(|(_, alarm)| alarm.as_mut().poll(cx).is_ready())
}
