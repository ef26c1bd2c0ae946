//! Why a supervisor did not do what it was asked to with a child.

use std::fmt;

use crate::child_spec::BadSpec;
use crate::error::GetError;

/// Why a child was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartChildError {
    /// A child of that id runs (OTP's `already_started`).
    AlreadyStarted,
    /// A child of that id is known, and does not run (OTP's `already_present`).
    AlreadyPresent,
    /// As many children run as may.
    MaxChildren {
        /// The most there may be.
        max: usize,
    },
    /// The supervisor is ending, or has not started.
    ShuttingDown,
    /// It could not be started.
    Failed(GetError),
    /// A scope of that name is placed there already: each would have a process of a key.
    AlreadyPlaced {
        /// The name of both.
        name: String,
    },
    /// There can be no such child; nothing was asked of the supervisor.
    BadSpec(BadSpec),
}

impl fmt::Display for StartChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartChildError::AlreadyStarted => f.write_str("a child of that id runs already"),
            StartChildError::AlreadyPresent => {
                f.write_str("a child of that id is known already, though it does not run")
            }
            StartChildError::MaxChildren { max } => write!(f, "{max} children run already"),
            StartChildError::ShuttingDown => f.write_str("the supervisor is not running"),
            StartChildError::Failed(error) => error.fmt(f),
            StartChildError::AlreadyPlaced { name } => {
                write!(f, "scope `{name}`: one of that name is placed there already; ")?;
                f.write_str("give each a name of its own, the same on every node")
            }
            StartChildError::BadSpec(bad) => bad.fmt(f),
        }
    }
}

impl std::error::Error for StartChildError {}

impl From<BadSpec> for StartChildError {
    fn from(bad: BadSpec) -> Self {
        StartChildError::BadSpec(bad)
    }
}

/// Why a child was not started again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartError {
    /// There is no child of that id.
    NotFound,
    /// It runs, or is being restarted.
    Running,
    /// It could not be started; it stays known.
    Refused(StartChildError),
}

impl fmt::Display for RestartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestartError::NotFound => f.write_str("there is no child of that id"),
            RestartError::Running => f.write_str("the child runs already"),
            RestartError::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RestartError {}

/// Why a child was not forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeleteError {
    /// There is no child of that id.
    NotFound,
    /// It runs, or is being restarted: terminate it first.
    Running,
}

impl fmt::Display for DeleteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeleteError::NotFound => "there is no child of that id",
            DeleteError::Running => "the child runs; terminate it first",
        })
    }
}

impl std::error::Error for DeleteError {}
