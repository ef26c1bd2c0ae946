//! How many restarts are too many: OTP's sliding window, as plain data.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

/// The restarts of the recent past.
#[derive(Debug, Default)]
pub(crate) struct Intensity {
    restarts: VecDeque<Moment>,
}

impl Intensity {
    /// Counts a restart at `now`. `Some(n)`: it is the n-th within the window, from 1 on. `None`:
    /// it would be one more than `max`, and is not counted.
    pub(crate) fn allow(&mut self, now: Moment, max: u32, window: Duration) -> Option<u32> {
        let start = now.before(window);
        while self.restarts.front().is_some_and(|at| *at < start) {
            self.restarts.pop_front();
        }
        let seen = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        if seen >= max {
            return None;
        }
        self.restarts.push_back(now);
        Some(seen + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);

    fn at(secs: u64) -> Moment {
        Moment::ZERO.after(Duration::from_secs(100 + secs))
    }

    #[test]
    fn restarts_inside_the_window_add_up_and_the_one_too_many_is_refused() {
        let mut intensity = Intensity::default();
        assert_eq!(intensity.allow(at(0), 3, WINDOW), Some(1));
        assert_eq!(intensity.allow(at(1), 3, WINDOW), Some(2));
        assert_eq!(intensity.allow(at(2), 3, WINDOW), Some(3));
        assert_eq!(intensity.allow(at(3), 3, WINDOW), None);
    }

    #[test]
    fn restarts_that_left_the_window_are_forgotten() {
        let mut intensity = Intensity::default();
        for second in [0, 6, 12, 18, 24] {
            assert_eq!(intensity.allow(at(second), 1, WINDOW), Some(1));
        }
    }

    #[test]
    fn a_restart_exactly_one_window_ago_still_counts() {
        let mut intensity = Intensity::default();
        assert_eq!(intensity.allow(at(0), 1, WINDOW), Some(1));
        assert_eq!(intensity.allow(at(5), 1, WINDOW), None);
        assert_eq!(intensity.allow(at(6), 1, WINDOW), Some(1));
    }

    #[test]
    fn a_budget_of_zero_allows_nothing() {
        assert_eq!(Intensity::default().allow(at(0), 0, WINDOW), None);
    }
}
