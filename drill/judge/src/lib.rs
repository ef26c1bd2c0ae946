//! Judges a drill by what was written down: by whoever called, by the user code that was called, by
//! whoever made the faults, and by etcd.
//!
//! It is built on nothing of innkeeper: what is wrong there cannot be wrong here.

mod answers;
mod evidence;
mod handovers;
mod histories;
mod outcomes;
mod overlaps;
pub mod records;
mod shards;
mod tally;
#[cfg(test)]
mod tests;

pub use evidence::{Evidence, NodeLog, Unreadable};
pub use tally::Tally;

/// What is wrong, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise was broken.
    pub kind: Kind,
    /// By what.
    pub what: String,
}

/// The promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Something of a key got out under an epoch after user code had begun under a later one.
    Overlap,
    /// A call that began after another had ended saw an earlier epoch.
    Backward,
    /// A count that was told of is not there any more, or was told of twice.
    Lost,
    /// A call that was not delivered ran, one that was answered did not, or one ran twice.
    Outcome,
    /// A call never ended.
    Hung,
    /// A key did not answer in time though all was well.
    Silent,
    /// The records of a shard went back, or an epoch of it had two owners.
    Record,
}

/// What comes of it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// What there was.
    pub tally: Tally,
    /// What there was too little of for the drill to count.
    pub missing: Vec<String>,
}

/// Judges it.
pub fn judge(evidence: &Evidence) -> Verdict {
    let mut violations = overlaps::find(evidence);
    violations.extend(histories::find(evidence));
    violations.extend(outcomes::find(evidence));
    violations.extend(handovers::find(evidence));
    violations.extend(answers::find(evidence));
    violations.extend(shards::find(evidence));
    let tally = Tally::of(evidence);
    let missing = tally.missing(evidence.setting.form);
    Verdict { violations, tally, missing }
}

impl Violation {
    fn new(kind: Kind, what: String) -> Violation {
        Violation { kind, what }
    }
}
