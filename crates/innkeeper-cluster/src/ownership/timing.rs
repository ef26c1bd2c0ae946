//! How long a session lasts, and everything that follows from it: the one place where the deadlines
//! of a node and of those who watch it are put in order.

use std::fmt;
use std::time::Duration;

/// What the node's own clocks show, in nanoseconds since some instant.
///
/// Neither is ever compared with another node's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Now {
    /// A clock that nobody adjusts and that stands still while the machine sleeps
    /// (`CLOCK_MONOTONIC_RAW`).
    pub raw: u64,
    /// For how long the machine has slept (`CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`).
    pub slept: u64,
}

impl Now {
    /// What has passed since, counting sleep: an owner's view, which may err on the long side.
    pub fn elapsed_since(self, earlier: Now) -> u64 {
        self.awake_since(earlier).saturating_add(self.slept_since(earlier))
    }

    /// What has passed since, not counting sleep: an observer's view, which may err on the short
    /// side.
    pub fn awake_since(self, earlier: Now) -> u64 {
        self.raw.saturating_sub(earlier.raw)
    }

    /// How long the machine has slept since.
    pub fn slept_since(self, earlier: Now) -> u64 {
        self.slept.saturating_sub(earlier.slept)
    }
}

/// The deadlines of a session, in nanoseconds.
///
/// # Guarantees
/// `heartbeat` and two tries and the time that the coordinator may need to find a new leader fit
/// before the gate shuts, and the gate shuts before anybody evicts, also where the clocks of two
/// nodes run at rates that differ by [`RATE_PERCENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How long a peer waits without a new heartbeat before it may evict: D.
    pub session: u64,
    /// By how much earlier than that an owner's gate shuts: g.
    pub guard: u64,
    /// From one heartbeat to the next.
    pub heartbeat: u64,
    /// How much sleep of the machine shuts the gate until a new heartbeat has succeeded.
    pub slept_max: u64,
    /// How long a shard without an owner waits for the node that it should go to.
    pub patience: u64,
    /// How long membership has to be quiet before shards are moved for balance.
    pub quiet: u64,
    /// For how long after its question a receiver takes what a process of the other node asks of
    /// one of its own. So long a session stays of which it is known that nothing is begun under it
    /// any more: of a node that leaves, and of a program that has ended.
    pub effects: u64,
}

/// How far the rates of two nodes' clocks may be apart, in percent.
pub const RATE_PERCENT: u64 = 1;

/// The shortest session, however fast the coordinator is.
pub const SESSION_MIN: Duration = Duration::from_secs(3);

/// The session that is used unless another is asked for.
pub const SESSION_DEFAULT: Duration = Duration::from_secs(5);

/// What etcd takes to find a new leader, with its default timers, when the old one is stuck.
pub const FAIL_OVER_DEFAULT: Duration = Duration::from_millis(2_500);

/// [`Timing::effects`], of every session: a node that was killed and started again is to serve
/// within a second.
pub const EFFECTS: Duration = Duration::from_millis(500);

const SLEPT_MAX: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_millis(200);
const QUIET: Duration = Duration::from_secs(3);

/// A session length that nothing can be built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort {
    /// What was asked for.
    pub asked: Duration,
    /// The least that would do.
    pub min: Duration,
    /// How long the coordinator may take to find a new leader.
    pub fail_over: Duration,
}

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooShort { asked, min, fail_over } = self;
        write!(f, "session length: expected at least {} ms, got {}", min.as_millis(), ms(asked))?;
        write!(f, "; etcd may take {} to find a new leader (etcd fail-over)", ms(fail_over))
    }
}

fn ms(duration: &Duration) -> String {
    format!("{} ms", duration.as_millis())
}

impl std::error::Error for TooShort {}

impl Timing {
    /// The deadlines that follow from a session length.
    ///
    /// # Errors
    /// [`TooShort`] if a coordinator that loses its leader once, and takes `fail_over` to find
    /// another, would shut the gates of nodes that are well.
    pub fn new(session: Duration, fail_over: Duration) -> Result<Timing, TooShort> {
        let timing = Timing::unchecked(session);
        if session < SESSION_MIN || !timing.outlasts(fail_over) {
            // What has to fit beside the fail-over grows with the session, and is half of it.
            let min = SESSION_MIN.max(2 * fail_over);
            return Err(TooShort { asked: session, min, fail_over });
        }
        Ok(timing)
    }

    /// Whether it outlasts one change of the coordinator's leader: the last heartbeat that
    /// succeeded was one before it, one try was stuck in it, and the one after it takes its time.
    const fn outlasts(&self, fail_over: Duration) -> bool {
        let needed = self.heartbeat + 2 * self.try_time() + fail_over.as_nanos() as u64;
        self.open_for() >= needed
    }

    const fn unchecked(session: Duration) -> Timing {
        let session = session.as_nanos() as u64;
        // g >= 2 rho D / (1 + rho): the owner counts D - g on a slow clock before the observer has
        // counted D on a fast one.
        let guard = session * 2 * RATE_PERCENT / 100;
        Timing {
            session,
            guard,
            heartbeat: session / 5,
            slept_max: SLEPT_MAX.as_nanos() as u64,
            patience: PATIENCE.as_nanos() as u64,
            quiet: QUIET.as_nanos() as u64,
            effects: EFFECTS.as_nanos() as u64,
        }
    }

    /// For how long after the sending of a heartbeat the gate is open: D - g.
    pub const fn open_for(&self) -> u64 {
        self.session - self.guard
    }

    /// How long one request to the coordinator may take before it is tried elsewhere.
    pub const fn try_time(&self) -> u64 {
        self.session * 14 / 100
    }
}

// The order that everything rests on, for the shortest session: in a longer one all but the change
// of leader is longer by the same factor.
const _: () = {
    let timing = Timing::unchecked(SESSION_MIN);
    assert!(Timing::unchecked(SESSION_DEFAULT).outlasts(FAIL_OVER_DEFAULT));
    assert!(!Timing::unchecked(Duration::from_millis(4_990)).outlasts(FAIL_OVER_DEFAULT));
    assert!(timing.session - timing.guard < timing.session);
    assert!(SESSION_DEFAULT.as_nanos() >= SESSION_MIN.as_nanos());
    assert!(timing.guard * (100 + RATE_PERCENT) >= 2 * RATE_PERCENT * timing.session);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_a_change_of_leader_would_freeze_is_refused_by_name() {
        let new = |session, fail_over| {
            Timing::new(Duration::from_millis(session), Duration::from_millis(fail_over))
        };
        let text = "session length: expected at least 5000 ms, got 4999 ms; etcd may take 2500 ms \
                    to find a new leader (etcd fail-over)";
        assert_eq!(new(4_999, 2_500).unwrap_err().to_string(), text);
        assert!(Timing::new(SESSION_DEFAULT, FAIL_OVER_DEFAULT).is_ok());
        for (session, fail_over) in [(3_000, 1_500), (3_000, 1), (8_000, 4_000)] {
            assert!(new(session, fail_over).is_ok(), "{session} {fail_over}");
            let error = new(session - 1, fail_over).unwrap_err();
            assert_eq!(error.min, Duration::from_millis(session));
        }
    }

    #[test]
    fn an_owner_on_the_slowest_clock_has_shut_before_the_fastest_observer_evicts() {
        for seconds in [3, 5, 8, 30] {
            let session = Duration::from_secs(seconds);
            let timing = Timing::new(session, FAIL_OVER_DEFAULT.min(session / 2)).unwrap();
            // In real time, with each clock off by the bound in the worse direction.
            let shut = timing.open_for() as f64 / 0.99;
            let evicted = timing.session as f64 / 1.01;
            assert!(shut <= evicted, "{seconds} s: {shut} > {evicted}");
        }
    }

    #[test]
    fn sleep_counts_for_an_owner_and_not_for_an_observer() {
        let (before, after) = (Now { raw: 5, slept: 1 }, Now { raw: 7, slept: 11 });
        assert_eq!((after.elapsed_since(before), after.awake_since(before)), (12, 2));
    }
}
