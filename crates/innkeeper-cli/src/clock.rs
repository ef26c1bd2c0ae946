//! The only reader of time of the program: a stopwatch, by which nothing is decided.

use std::time::Instant;

/// An instant to measure from.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
