//! The only reader of time: what an instant is here, and how to wait for one.

use std::pin::Pin;
#[cfg(not(shuttle))]
use std::sync::LazyLock;
use std::time::Duration;

#[cfg(not(shuttle))]
use tokio::time::Instant;

/// A wait for a [`Moment`], which can be held and polled beside other futures.
pub(crate) type Alarm = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An instant, as nanoseconds since an hour before this program first asked for the time.
///
/// Half the size of an `Instant`, so that a slot can afford to remember when its phase began. It
/// follows tokio's clock, which tests hold still; nothing about ownership across nodes rests on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    #[cfg(any(test, shuttle))]
    pub(crate) const ZERO: Moment = Moment(0);

    pub(crate) fn after(self, wait: Duration) -> Moment {
        Moment(self.0.saturating_add(nanos(wait)))
    }

    pub(crate) fn before(self, wait: Duration) -> Moment {
        Moment(self.0.saturating_sub(nanos(wait)))
    }

    pub(crate) fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }
}

fn nanos(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)
}

/// The instant that moments count from: an hour before the first question, by the machine's own
/// clock. Runtimes may hold or move theirs, each for itself, and only forward.
#[cfg(not(shuttle))]
static EPOCH: LazyLock<Instant> = LazyLock::new(|| {
    #[allow(clippy::disallowed_methods)]
    let now = std::time::Instant::now();
    Instant::from_std(now.checked_sub(Duration::from_secs(3600)).unwrap_or(now))
});

#[cfg(not(shuttle))]
#[allow(clippy::disallowed_methods)]
fn read() -> Instant {
    Instant::now()
}

#[cfg(not(shuttle))]
pub(crate) fn now() -> Moment {
    let epoch = *EPOCH;
    Moment(nanos(read().saturating_duration_since(epoch)))
}

/// How long it is until an instant of tokio's timers.
#[cfg(not(shuttle))]
pub(crate) fn until(then: Instant) -> Duration {
    then.saturating_duration_since(read())
}

/// An alarm that goes off at `then`. Cancel safe.
#[cfg(not(shuttle))]
pub(crate) fn alarm(then: Moment) -> Alarm {
    // A moment past the far end of tokio's timers is as good as never.
    let far = Duration::from_secs(86_400 * 365 * 30);
    let wait = Duration::from_nanos(then.0).min(far);
    Box::pin(tokio::time::sleep_until(*EPOCH + wait))
}

// Under the schedule explorer time stands still. An alarm goes off as soon as the schedule lets it,
// so that every race with a deadline is run; save one that is far away, which never does, so that a
// wait without an end shows as a deadlock.
#[cfg(shuttle)]
const FAR: Duration = crate::limits::CALL_TIMEOUT;

#[cfg(shuttle)]
pub(crate) fn now() -> Moment {
    Moment::ZERO
}

#[cfg(shuttle)]
pub(crate) fn alarm(then: Moment) -> Alarm {
    if then >= Moment::ZERO.after(FAR) {
        return Box::pin(std::future::pending());
    }
    Box::pin(shuttle::future::yield_now())
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_moved_in_one_runtime_moves_no_alarm_of_another() {
        let build = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().start_paused(true).build().unwrap()
        };
        // Built first, so that its clock stands before the first question.
        let (still, moved) = (build(), build());
        moved.block_on(async {
            tokio::time::advance(Duration::from_secs(86_400)).await;
            let _first = now();
        });
        still.block_on(async {
            let began = read();
            let soon = Duration::from_secs(1);
            alarm(now().after(soon)).await;
            assert_eq!(began.elapsed().as_secs(), 1);
            assert_ne!(now(), Moment::default());
        });
    }
}
