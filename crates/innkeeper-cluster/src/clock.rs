//! The port to the node's own clocks. Wall clocks are used nowhere, and other nodes' neither.

use std::time::Duration;

use tokio::time::Instant;

use crate::ownership::timing::Now;

/// Reads the clocks that sessions are timed with.
pub trait Clock: Send + Sync + 'static {
    /// What they show now. Cheap: it is asked before each message and after.
    fn now(&self) -> Now;
}

/// The clocks of this machine: `CLOCK_MONOTONIC_RAW`, which nobody slews and which stands still in
/// sleep, and what `CLOCK_BOOTTIME` has more than `CLOCK_MONOTONIC`, which is the sleep.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Clock for Machine {
    fn now(&self) -> Now {
        use rustix::time::ClockId;
        // The difference is taken in this order so that being interrupted in between shows as
        // sleep: the gate errs on the shut side.
        let awake = read(ClockId::Monotonic);
        let all = read(ClockId::Boottime);
        Now { raw: read(ClockId::MonotonicRaw), slept: all.saturating_sub(awake) }
    }
}

fn read(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The runtime's time in a while.
pub(crate) fn after(wait: Duration) -> Instant {
    #[allow(clippy::disallowed_methods)] // This is the one place that reads it.
    let now = Instant::now();
    now + wait
}

/// How long it is until then; nothing if it is over.
pub(crate) fn until(then: Instant) -> Duration {
    then.saturating_duration_since(after(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_clocks_go_forward() {
        let (first, second) = (Machine.now(), Machine.now());
        assert!(first.raw > 0 && second.raw >= first.raw);
    }
}
