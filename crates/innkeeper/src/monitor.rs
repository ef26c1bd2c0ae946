//! What a process is told about the end of others.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::exit::ExitReason;
use crate::incarnation::Incarnation;

/// One monitor or link (OTP's monitor reference).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MonitorId(u64);

impl MonitorId {
    pub(crate) fn next() -> MonitorId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        MonitorId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A monitored process has ended (OTP's `DOWN` message). Comes exactly once for each monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Which monitor.
    pub monitor: MonitorId,
    /// Which incarnation ended.
    pub incarnation: Incarnation,
    /// Why; [`ExitReason::NoProcess`] if it had ended before it was monitored.
    pub reason: ExitReason,
}

/// A linked process has ended (OTP's `EXIT` message to a process that traps exits).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkExit {
    /// Which incarnation ended.
    pub incarnation: Incarnation,
    /// Why.
    pub reason: ExitReason,
}
