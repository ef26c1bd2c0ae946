//! What a supervisor is told about a child: when to restart it, how to stop it, how much it may
//! hold.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::exit::ExitReason;
use crate::limits;

/// When an ended child is started again (OTP's `restart`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restart {
    /// Always, also after a normal exit.
    Permanent,
    /// Only after a crash: not after `Normal`, `Idle` or a shutdown.
    Transient,
    /// Never.
    Temporary,
}

impl Restart {
    /// Whether a restart is to follow an exit for this reason.
    pub(crate) fn follows(self, reason: &ExitReason) -> bool {
        match self {
            Restart::Permanent => true,
            Restart::Transient => reason.is_abnormal(),
            Restart::Temporary => false,
        }
    }
}

/// How a child is stopped (OTP's `shutdown`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// Killed at once: `terminate` does not run.
    BrutalKill,
    /// Asked to stop; killed if it has not ended after this long. The time runs from the asking.
    Timeout(Duration),
    /// Asked to stop, and waited for as long as it takes.
    Infinity,
}

/// How many restarts a child, or a key, may use up, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartBudget {
    max: u32,
    window: Duration,
    backoff_min: Duration,
    backoff_max: Duration,
}

impl RestartBudget {
    /// `max` restarts within a sliding `window`; zero allows none.
    ///
    /// A `max` above [`limits::RESTARTS_REMEMBERED`] is taken as that: one instant is remembered
    /// for each restart.
    pub const fn new(max: u32, window: Duration) -> Self {
        let bound = limits::RESTARTS_REMEMBERED;
        RestartBudget {
            max: if max < bound { max } else { bound },
            window,
            backoff_min: limits::BACKOFF_MIN,
            backoff_max: limits::BACKOFF_MAX,
        }
    }

    /// The wait before the second restart in a window, doubling from there up to `max`. Each wait
    /// is drawn between half of that and all of it, so that many keys do not restart in step. The
    /// first restart in a window is immediate.
    #[must_use]
    pub const fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff_min = min;
        self.backoff_max = max;
        self
    }

    /// The most restarts in a window.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// The sliding window.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// Whether such a budget can be meant.
    pub(crate) fn check(&self) -> Result<(), BadSpec> {
        if self.window.is_zero() {
            return Err(BadSpec::RestartWindow { window: self.window });
        }
        if self.backoff_min > self.backoff_max {
            return Err(BadSpec::Backoff { min: self.backoff_min, max: self.backoff_max });
        }
        Ok(())
    }

    /// The longest wait before the n-th restart in a window, from 1 on.
    pub(crate) fn backoff_before(&self, nth: u32) -> Duration {
        if nth <= 1 {
            return Duration::ZERO;
        }
        let doublings = (nth - 2).min(30);
        self.backoff_min.saturating_mul(1 << doublings).min(self.backoff_max)
    }
}

impl Default for RestartBudget {
    /// OTP's: three restarts in five seconds.
    fn default() -> Self {
        RestartBudget::new(limits::RESTARTS_MAX, limits::RESTART_WINDOW)
    }
}

/// How one child is supervised (OTP's child specification, without the start function, which is the
/// process type and its arguments, and without the id, which its supervisor is given).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use innkeeper::{ChildSpec, Restart, Shutdown};
///
/// let spec = ChildSpec::new()
///     .restart(Restart::Transient)
///     .shutdown(Shutdown::Timeout(Duration::from_secs(2)));
/// ```
#[derive(Clone, Debug)]
pub struct ChildSpec {
    pub(crate) restart: Restart,
    pub(crate) shutdown: Shutdown,
    pub(crate) start_timeout: Duration,
    pub(crate) mailbox_capacity: u32,
    pub(crate) keeps_mail: bool,
    pub(crate) significant: bool,
}

impl ChildSpec {
    /// A permanent child with five seconds to stop, thirty to start, and a mailbox of 1024.
    pub const fn new() -> Self {
        ChildSpec {
            restart: Restart::Permanent,
            shutdown: Shutdown::Timeout(limits::SHUTDOWN_TIMEOUT),
            start_timeout: limits::START_TIMEOUT,
            mailbox_capacity: limits::MAILBOX_CAPACITY,
            keeps_mail: true,
            significant: false,
        }
    }

    /// When it is started again after it ended. Default: permanent.
    #[must_use]
    pub const fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How it is stopped. Default: five seconds, then killed.
    #[must_use]
    pub const fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// How long its `init` may take. Past it every waiter is told, and `init` is killed at its next
    /// await point. Default: 30 s.
    #[must_use]
    pub const fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// How many messages may wait for it. Past it a message is refused and handed back. Default:
    /// 1024.
    #[must_use]
    pub const fn mailbox_capacity(mut self, messages: NonZeroU32) -> Self {
        self.mailbox_capacity = messages.get();
        self
    }

    /// Whether messages still waiting at a crash are handled by the next incarnation (the default)
    /// or handed back `not delivered`.
    #[must_use]
    pub const fn keeps_mail(mut self, keeps: bool) -> Self {
        self.keeps_mail = keeps;
        self
    }

    /// Whether its end may be that of its [`Supervisor`](crate::Supervisor): when it has ended by
    /// itself and is not restarted, see [`AutoShutdown`](crate::AutoShutdown). Default: no.
    #[must_use]
    pub const fn significant(mut self, significant: bool) -> Self {
        self.significant = significant;
        self
    }

    /// Whether there can be such a child, where significant children mean something or not.
    pub(crate) fn check(&self, significance: bool) -> Result<(), BadSpec> {
        if self.start_timeout.is_zero() {
            return Err(BadSpec::StartTimeout { timeout: self.start_timeout });
        }
        match self.significant {
            true if self.restart == Restart::Permanent => Err(BadSpec::SignificantPermanent),
            true if !significance => Err(BadSpec::SignificantWithoutAutoShutdown),
            _ => Ok(()),
        }
    }
}

/// What cannot be meant in the setup of a child or of its supervisor (OTP's `invalid_…` and
/// `bad_combination`). Whatever else would be wrong cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadSpec {
    /// Restarts are counted within a window of no length: no number of them would be too many.
    RestartWindow {
        /// The window.
        window: Duration,
    },
    /// The shortest wait before a restart is longer than the longest one.
    Backoff {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A start that has no time always fails.
    StartTimeout {
        /// The time.
        timeout: Duration,
    },
    /// A permanent child is always restarted, so it never ends as a significant one does.
    SignificantPermanent,
    /// The supervisor does not end because of its children: it is never shut down by them, or keeps
    /// no order among them.
    SignificantWithoutAutoShutdown,
}

impl fmt::Display for BadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadSpec::RestartWindow { window } => {
                write!(f, "expected a restart window longer than 0 s, got {window:?}")
            }
            BadSpec::Backoff { min, max } => {
                write!(f, "expected a shortest backoff up to the longest, {max:?}, got {min:?}")
            }
            BadSpec::StartTimeout { timeout } => {
                write!(f, "expected a start timeout longer than 0 s, got {timeout:?}")
            }
            BadSpec::SignificantPermanent => f.write_str(
                "expected a significant child to be transient or temporary, got permanent",
            ),
            BadSpec::SignificantWithoutAutoShutdown => f.write_str(
                "expected significant children only under a Supervisor with auto_shutdown, got one \
                 elsewhere",
            ),
        }
    }
}

impl std::error::Error for BadSpec {}

impl Default for ChildSpec {
    fn default() -> Self {
        ChildSpec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_the_next_ones_double_up_to_the_maximum() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(35));
        let budget = RestartBudget::new(10, Duration::from_secs(1)).backoff(min, max);
        let waits: Vec<_> = (1..=5).map(|n| budget.backoff_before(n).as_millis()).collect();
        assert_eq!(waits, [0, 10, 20, 35, 35]);
    }

    #[test]
    fn the_longest_backoff_does_not_overflow() {
        let budget =
            RestartBudget::new(u32::MAX, Duration::MAX).backoff(Duration::MAX, Duration::MAX);
        assert_eq!(budget.backoff_before(u32::MAX), Duration::MAX);
        assert_eq!(budget.max(), limits::RESTARTS_REMEMBERED);
    }
}
