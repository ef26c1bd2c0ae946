//! The only reader of time of the server: time stamps for people, and how long things have been.

use std::time::Instant;

use jiff::Timestamp;

/// Now, in RFC 3339 with milliseconds. For people only: nothing is decided by it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn stamp() -> String {
    format!("{:.3}", Timestamp::now())
}

/// An instant to measure from.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
