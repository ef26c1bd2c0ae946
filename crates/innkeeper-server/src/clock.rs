//! The only reader of time of the server: time stamps for people, when a token
//! ends, and how long things have been.

use std::time::Instant;

use jiff::Timestamp;

/// Now, in RFC 3339 with milliseconds. For people only: nothing is decided by it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn stamp() -> String {
    format!("{:.3}", Timestamp::now())
}

/// Seconds since the beginning of 1970, by which tokens end.
#[allow(clippy::disallowed_methods)]
pub(crate) fn unix_seconds() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or(0)
}

/// An instant to measure from.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
