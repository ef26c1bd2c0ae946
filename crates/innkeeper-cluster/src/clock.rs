//! The port to the node's own clocks. Wall clocks are used nowhere, and other nodes' neither.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::ClockId;
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

/// For how long the machine had slept when that was last seen to have grown.
static SLEPT: AtomicU64 = AtomicU64::new(0);

/// Two clocks are read within this, unless somebody interrupts.
const AT_ONCE: u64 = 100_000;

/// How often more sleep is looked for anew before it is believed.
const LOOKS: u32 = 3;

impl Clock for Machine {
    fn now(&self) -> Now {
        let slept = believed(&SLEPT, || {
            // In this order, so that being interrupted in between shows as sleep: the gate errs on
            // the shut side.
            let awake = read(ClockId::Monotonic);
            read(ClockId::Boottime).saturating_sub(awake)
        });
        Now { raw: read(ClockId::MonotonicRaw), slept }
    }
}

/// What is read, if it is what is known. What is more is read again: a sleep shows each time, and
/// somebody who interrupts hardly does, which is not to shut the gates of a node that is only busy.
fn believed(known: &AtomicU64, mut read: impl FnMut() -> u64) -> u64 {
    let most = known.load(Ordering::Relaxed).saturating_add(AT_ONCE);
    let mut slept = read();
    if slept > most {
        for _ in 0..LOOKS {
            slept = read();
            if slept <= most {
                return slept;
            }
        }
        known.store(slept, Ordering::Relaxed);
    }
    slept
}

fn read(clock: ClockId) -> u64 {
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

    #[test]
    fn to_be_interrupted_between_two_clocks_is_no_sleep_and_a_sleep_is_seen_at_once() {
        let known = AtomicU64::new(1_000);
        let look = |shown: &[u64]| {
            let mut shown = shown.iter();
            let slept = believed(&known, || *shown.next().expect("no more looks than that"));
            (slept, shown.len())
        };
        assert_eq!(look(&[1_010]), (1_010, 0));
        assert_eq!(look(&[9_000_000, 1_020]), (1_020, 0));
        // One look is not believed, nor two; what stays is.
        assert_eq!(look(&[9_000_000, 8_000_000, 7_000_000, 7_000_010]), (7_000_010, 0));
        assert_eq!(look(&[7_000_020, 0]), (7_000_020, 1));
    }
}
