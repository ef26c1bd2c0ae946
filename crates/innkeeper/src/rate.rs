//! How many starts are too many: one rate, kept in sixteen bytes.
//!
//! The generic cell rate algorithm: the one state is when the next start would be due if all came
//! evenly; a start is let in if that is not too far ahead.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Moment};
use crate::seam::atomic::{AtomicU64, Ordering};

/// A rate of starts, shared by all who hold a clone: by everybody, or by one client.
///
/// Up to one second's worth may come at once.
#[derive(Clone)]
pub struct StartRate {
    shared: Arc<Shared>,
}

struct Shared {
    /// Nanoseconds between two starts that come evenly.
    interval_ns: u64,
    /// When the next start is due, in nanoseconds of the clock.
    due_ns: AtomicU64,
}

const BURST: Duration = Duration::from_secs(1);

impl StartRate {
    /// So many starts a second; `None` for a rate of zero, which would never let anything start.
    pub fn per_second(starts: u32) -> Option<Self> {
        if starts == 0 {
            return None;
        }
        let interval_ns = 1_000_000_000 / u64::from(starts);
        Some(StartRate { shared: Arc::new(Shared { interval_ns, due_ns: AtomicU64::new(0) }) })
    }

    /// Takes one start.
    ///
    /// # Errors
    /// How long until one will be let in; nothing is taken then.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        self.take_at(clock::now())
    }

    /// Puts a start back that was taken and not used.
    pub(crate) fn put_back(&self) {
        self.shared.due_ns.fetch_sub(self.shared.interval_ns, Ordering::AcqRel);
    }

    fn take_at(&self, now: Moment) -> Result<(), Duration> {
        // One burst ahead of zero, so that a clock that has just begun is no special case.
        let now = now.after(BURST).as_nanos();
        let burst = u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX);
        let interval = self.shared.interval_ns;
        let mut due = self.shared.due_ns.load(Ordering::Acquire);
        loop {
            let next = due.max(now.saturating_sub(burst)) + interval;
            if next > now {
                return Err(Duration::from_nanos(next - now));
            }
            match self.shared.due_ns.compare_exchange_weak(
                due,
                next,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(()),
                Err(other) => due = other,
            }
        }
    }

    /// Whether nothing was taken within the last second: a rate that says the same as a new one.
    pub fn is_unused(&self) -> bool {
        self.shared.due_ns.load(Ordering::Acquire) <= clock::now().as_nanos()
    }
}

impl fmt::Debug for StartRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartRate").field("interval_ns", &self.shared.interval_ns).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn a_second_s_worth_comes_at_once_and_then_one_at_a_time() {
        let rate = StartRate::per_second(10).unwrap();
        assert!((0..10).all(|_| rate.take_at(at(0)).is_ok()));
        assert_eq!(rate.take_at(at(0)), Err(Duration::from_millis(100)));
        assert_eq!(rate.take_at(at(60)), Err(Duration::from_millis(40)));
        assert_eq!(rate.take_at(at(100)), Ok(()));
        assert_eq!(rate.take_at(at(100)), Err(Duration::from_millis(100)));
    }

    #[test]
    fn a_long_pause_saves_up_no_more_than_a_burst() {
        let rate = StartRate::per_second(10).unwrap();
        assert_eq!((0..100).filter(|_| rate.take_at(at(3_600_000)).is_ok()).count(), 10);
    }

    #[test]
    fn what_is_put_back_can_be_taken_again() {
        let rate = StartRate::per_second(1).unwrap();
        assert!(rate.take_at(at(0)).is_ok());
        rate.put_back();
        assert!(rate.take_at(at(0)).is_ok());
        assert!(rate.take_at(at(0)).is_err());
    }

    #[test]
    fn a_rate_of_zero_cannot_be_made() {
        assert!(StartRate::per_second(0).is_none());
    }
}
