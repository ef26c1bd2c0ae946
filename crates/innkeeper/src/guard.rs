//! Runs a piece of user code so that nothing it does escapes: not a panic, not a kill that it does
//! not notice, not a wait past its deadline.

use std::cell::Cell as Flag;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::cell::{self, Cell};
use crate::clock::{self, Alarm, Moment};
use crate::exit::ExitReason;
use crate::owner::Owner;
use crate::seam::thread_local;

/// Why user code did not finish. Small, for it is looked for after each message.
#[derive(Debug)]
pub(crate) enum Interrupt {
    Panicked(Box<ExitReason>),
    Killed(Box<ExitReason>),
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
    /// As long as this from its first await point on, as with `Terminate`: user code cannot be cut
    /// short before, and most has none.
    Within(Duration),
}

/// User code under guard. What is left of it when it is done is dropped under guard too.
pub(crate) struct Guarded<'a, F, O: Owner> {
    code: Pin<&'a mut Option<F>>,
    cell: &'a Cell<O>,
    limit: Limit,
    alarm: Option<Box<(Moment, Alarm)>>,
}

/// Runs `code`, which is there, for the process of `cell`.
#[inline]
pub(crate) fn guarded<'a, F: Future, O: Owner>(
    cell: &'a Cell<O>,
    limit: Limit,
    code: Pin<&'a mut Option<F>>,
) -> Guarded<'a, F, O> {
    Guarded { code, cell, limit, alarm: None }
}

/// Runs user code that is not a future.
pub(crate) fn contained<T>(code: impl FnOnce() -> T) -> Result<T, Box<ExitReason>> {
    // The code's data is not looked at again by anybody who relies on it, except by a `terminate`
    // that is told of the panic.
    catch_unwind(AssertUnwindSafe(code))
        .map_err(|payload| Box::new(ExitReason::panicked(&*payload)))
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

    // Always: where messages are handled it is a part of the loop, whatever else it is used for.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.cell.is_ordered(cell::KILL) {
            return this.cut_short(killed(this.cell));
        }
        match poll_contained(this.code.as_mut(), cx) {
            Ok(Some(Poll::Ready(output))) => Poll::Ready(Ok(output)),
            Ok(Some(Poll::Pending)) => this.pending(cx),
            Ok(None) => Poll::Pending,
            Err(reason) => this.cut_short(Interrupt::Panicked(reason)),
        }
    }
}

/// Polls user code, and drops it when it is done; `None` if it was done before.
// A function of its own: a panic looks for who catches it in a table of each function on its way,
// and that of the runner, with all that is inlined there, is long.
#[inline(never)]
fn poll_contained<F: Future>(
    mut code: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Result<Option<Poll<F::Output>>, Box<ExitReason>> {
    contained(|| {
        let polled = code.as_mut().as_pin_mut()?.poll(cx);
        if polled.is_ready() {
            // What the code held is user data too: dropping it may panic.
            code.set(None);
        }
        Some(polled)
    })
}

impl<F: Future, O: Owner> Guarded<'_, F, O> {
    fn pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<F::Output, Interrupt>> {
        self.cell.busy(cx);
        if let Limit::Within(time) = self.limit {
            self.limit = Limit::Terminate(Some(clock::now().after(time)));
        }
        if self.cell.is_ordered(cell::KILL) {
            self.cut_short(killed(self.cell))
        } else if is_late(self.cell, self.limit, &mut self.alarm, cx) {
            self.cut_short(Interrupt::Late)
        } else {
            Poll::Pending
        }
    }

    fn cut_short(&mut self, why: Interrupt) -> Poll<Result<F::Output, Interrupt>> {
        // A panic in this is of no more news.
        drop(contained(|| {
            let _cut = Cut::begin();
            self.code.set(None);
        }));
        Poll::Ready(Err(why))
    }
}

fn killed<O: Owner>(cell: &Cell<O>) -> Interrupt {
    Interrupt::Killed(Box::new(cell.orders().kill.unwrap_or(ExitReason::Killed)))
}

fn is_late<O: Owner>(
    cell: &Cell<O>,
    limit: Limit,
    alarm: &mut Option<Box<(Moment, Alarm)>>,
    cx: &mut Context<'_>,
) -> bool {
    let ordered = || {
        let stop = cell.is_ordered(cell::STOP);
        stop.then(|| cell.orders().deadline).flatten()
    };
    let deadline = match limit {
        Limit::Init(deadline) => Some(deadline),
        Limit::Handler | Limit::Within(_) => ordered(),
        Limit::Terminate(limit) => match (limit, ordered()) {
            (Some(limit), Some(ordered)) => Some(limit.min(ordered)),
            (limit, ordered) => limit.or(ordered),
        },
    };
    let Some(deadline) = deadline else {
        return false;
    };
    if alarm.as_ref().is_none_or(|alarm| alarm.0 != deadline) {
        *alarm = Some(Box::new((deadline, clock::alarm(deadline))));
    }
    alarm.as_mut().is_some_and(|alarm| alarm.1.as_mut().poll(cx).is_ready())
}
