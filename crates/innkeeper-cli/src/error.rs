//! Why the program gave up: what went wrong, and what to try next.

use std::fmt;

/// Why the program gave up: [`Exit::Failed`](crate::exit::Exit::Failed).
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    next: Option<String>,
}

impl Failure {
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Failure { what: what.to_string(), next: None }
    }

    /// What went wrong, without what to try next.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What to try next.
    pub(crate) fn try_next(mut self, next: impl fmt::Display) -> Self {
        self.next = Some(next.to_string());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.next {
            None => Ok(()),
            Some(next) => write!(f, "\n  try: {next}"),
        }
    }
}
