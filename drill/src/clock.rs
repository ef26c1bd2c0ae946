//! The clock that all processes of a machine share.

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME`, in nanoseconds.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}
