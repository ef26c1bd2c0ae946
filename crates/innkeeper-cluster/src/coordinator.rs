//! The port to what all nodes agree on: a linearizable register with compare-and-set transactions.
//!
//! Only the transactions decide anything. What is listed or watched is a hint, and may be old.

pub mod memory;
pub mod suite;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

/// What the keys of all clusters begin with in a store that others use too, unless another prefix
/// is asked for.
pub const PREFIX: &str = "/innkeeper/";

/// Something that is awaited.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A counter that grows with every change of anything; 0 stands for "never".
pub type Revision = u64;

/// A linearizable register of small values under keys of text.
///
/// Implementations are checked by [`suite`].
pub trait Coordinator: Send + Sync + 'static {
    /// Carries out a transaction: all writes at one instant, and only if all comparisons hold then.
    ///
    /// # Errors
    /// [`CoordinatorError::Unknown`]: it may have been carried out, or may still be.
    /// [`CoordinatorError::NotDone`]: it was not and will not be.
    ///
    /// # Cancel safety
    /// Dropped, its outcome is unknown.
    fn commit(
        &self,
        transaction: Transaction,
        within: Duration,
    ) -> Later<'_, Result<Committed, CoordinatorError>>;

    /// All entries whose keys begin with `prefix`, as they were at one revision, by key.
    ///
    /// # Guarantees
    /// Everything that was answered `done` before this was asked is seen. No decision rests on it.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); nothing was changed in either case.
    fn list(
        &self,
        prefix: String,
        within: Duration,
    ) -> Later<'_, Result<Listing, CoordinatorError>>;

    /// The changes under `prefix` after a revision.
    ///
    /// # Errors
    /// As [`list`](Self::list); [`CoordinatorError::Compacted`] if that is too long ago.
    fn watch(
        &self,
        prefix: String,
        after: Revision,
        within: Duration,
    ) -> Later<'_, Result<Box<dyn Watch>, CoordinatorError>>;
}

/// Changes as they come, in the order of their revisions.
pub trait Watch: Send {
    /// The next changes, at least one. Waits for as long as there are none.
    ///
    /// # Errors
    /// After any the watch is over: list, and watch anew from there.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    fn next(&mut self) -> Later<'_, Result<Vec<Entry>, CoordinatorError>>;
}

/// Writes that happen all at once, and only if all comparisons hold at that instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must hold. None: it is always carried out.
    pub compares: Vec<Comparison>,
    /// What is written, each key at most once.
    pub writes: Vec<Change>,
}

/// What must hold for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It was created at this revision; 0: it is not there.
    Created(String, Revision),
    /// It was written last at this revision; 0: it is not there.
    Modified(String, Revision),
    /// It has this value.
    Value(String, Vec<u8>),
}

/// What is written to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This value.
    Put(String, Vec<u8>),
    /// Nothing any more.
    Delete(String),
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Whether all comparisons held, and everything was written.
    pub done: bool,
    /// The revision of the writes; of the refusal, where it was refused.
    pub revision: Revision,
}

/// All entries under a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The revision as of which they are listed.
    pub revision: Revision,
    /// By key.
    pub entries: Vec<Entry>,
}

/// One key as it once was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// `None`: it was deleted, at revision `modified`.
    pub value: Option<Vec<u8>>,
    /// When it came to be.
    pub created: Revision,
    /// When it was written last.
    pub modified: Revision,
}

/// Why the coordinator did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// Nobody knows whether it was done, or still will be.
    Unknown(String),
    /// It was not done, and will not be.
    NotDone(String),
    /// What was asked for lies before what is remembered; list, and go on from there.
    Compacted {
        /// The oldest revision that can be watched from.
        oldest: Revision,
    },
    /// It is another one than at the start, or has been put back to an older state. Nothing that
    /// rests on it holds any more: every node has to stop.
    Rewound(String),
}

impl fmt::Display for CoordinatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoordinatorError::Unknown(why) => write!(f, "outcome unknown: {why}"),
            CoordinatorError::NotDone(why) => write!(f, "not done: {why}"),
            CoordinatorError::Compacted { oldest } => {
                write!(f, "nothing is remembered from before revision {oldest}")
            }
            CoordinatorError::Rewound(why) => write!(f, "the coordinator was rewound: {why}"),
        }
    }
}

impl std::error::Error for CoordinatorError {}
