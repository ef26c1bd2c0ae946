//! Why a process ended, in OTP's terms.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::limits;

/// Why an incarnation ended.
///
/// The counterpart of OTP's exit reasons: `normal`, `shutdown` and `{shutdown, term}` are
/// successful exits, everything else is a crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitReason {
    /// It stopped by itself with nothing wrong.
    Normal,
    /// It stopped by itself because nothing asked for it any more.
    Idle,
    /// It was told to stop by its supervisor or by a caller.
    Shutdown,
    /// As [`Shutdown`](Self::Shutdown), with what the asker said.
    ShutdownWith(Arc<str>),
    /// It was killed: brutally, or because it did not end within its shutdown time. `terminate`
    /// did not run to its end.
    Killed,
    /// Its code panicked, with this message.
    Panicked(Arc<str>),
    /// `init` returned this error, or the process stopped itself with it.
    Failed(Arc<str>),
    /// `init` was not done within the start timeout of the child spec.
    StartTimeout,
    /// `init` was not begun within the start timeout of the child spec: as many others as its node
    /// lets in at once had begun before. It never ran.
    NotAdmitted,
    /// There was no such process when the question was asked (OTP's `noproc`).
    NoProcess,
    /// Its node cannot be heard of any more (OTP's `noconnection`). It may have ended.
    Unreachable,
}

impl ExitReason {
    /// A crash with an explanation.
    pub fn failed(why: impl fmt::Display) -> Self {
        ExitReason::Failed(bounded(&why.to_string()))
    }

    /// An orderly stop with an explanation (OTP's `{shutdown, term}`).
    pub fn shutdown_with(why: impl fmt::Display) -> Self {
        ExitReason::ShutdownWith(bounded(&why.to_string()))
    }

    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&'static str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        ExitReason::Panicked(bounded(text.unwrap_or("a panic without a message")))
    }

    /// Whether this is a crash: a transient child is restarted after it, and links feel it.
    pub fn is_abnormal(&self) -> bool {
        match self {
            ExitReason::Normal
            | ExitReason::Idle
            | ExitReason::Shutdown
            | ExitReason::ShutdownWith(_) => false,
            ExitReason::Killed
            | ExitReason::Panicked(_)
            | ExitReason::Failed(_)
            | ExitReason::StartTimeout
            | ExitReason::NotAdmitted
            | ExitReason::NoProcess
            | ExitReason::Unreachable => true,
        }
    }

    /// A short stable word for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            ExitReason::Normal => "normal",
            ExitReason::Idle => "idle",
            ExitReason::Shutdown | ExitReason::ShutdownWith(_) => "shutdown",
            ExitReason::Killed => "killed",
            ExitReason::Panicked(_) => "panicked",
            ExitReason::Failed(_) => "failed",
            ExitReason::StartTimeout => "start_timeout",
            ExitReason::NotAdmitted => "not_admitted",
            ExitReason::NoProcess => "noproc",
            ExitReason::Unreachable => "noconnection",
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::ShutdownWith(why) | ExitReason::Panicked(why) | ExitReason::Failed(why) => {
                write!(f, "{}: {why}", self.kind())
            }
            ExitReason::Normal
            | ExitReason::Idle
            | ExitReason::Shutdown
            | ExitReason::Killed
            | ExitReason::StartTimeout
            | ExitReason::NotAdmitted
            | ExitReason::NoProcess
            | ExitReason::Unreachable => f.write_str(self.kind()),
        }
    }
}

fn bounded(text: &str) -> Arc<str> {
    match text.char_indices().nth(limits::REASON_CHARS) {
        None => text.into(),
        Some((end, _)) => text[..end].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_never_keeps_more_than_its_bound() {
        let ExitReason::Failed(kept) = ExitReason::failed("é".repeat(10_000)) else {
            panic!("failed() made something else");
        };
        assert_eq!(kept.chars().count(), limits::REASON_CHARS);
    }

    #[test]
    fn a_panic_message_is_kept_whatever_its_type() {
        let boxed: Box<dyn Any + Send> = Box::new(String::from("disk full"));
        assert_eq!(ExitReason::panicked(&*boxed).to_string(), "panicked: disk full");
        let boxed: Box<dyn Any + Send> = Box::new(7_u8);
        assert_eq!(
            ExitReason::panicked(&*boxed).to_string(),
            "panicked: a panic without a message"
        );
    }
}
