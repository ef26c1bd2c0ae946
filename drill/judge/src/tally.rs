//! What there was in a drill, and whether that is enough for it to count.

use std::collections::BTreeMap;
use std::fmt;

use crate::evidence::Evidence;
use crate::records::{FAULTS, Form, Noted, Outcome, Staged};
use crate::{answers, handovers, shards};

/// What there was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// From the first call to the last, in seconds.
    pub seconds: u64,
    /// Calls, by what they came to.
    pub ok: u64,
    /// Calls that did not run.
    pub not_delivered: u64,
    /// Calls that may have run.
    pub unknown: u64,
    /// Calls that were made when nothing had been wrong for D + 2 s.
    pub outside: u64,
    /// Of those, the ones that were answered.
    pub outside_ok: u64,
    /// Outputs that got out.
    pub outputs: u64,
    /// Keys that were called.
    pub keys: u64,
    /// By kind.
    pub faults: BTreeMap<String, u64>,
    /// Times in which all was well.
    pub quiet: u64,
    /// The longest that a key took to answer from the beginning of one, in milliseconds.
    pub slowest_ms: u64,
    /// Sessions that others ended.
    pub evictions: u64,
    /// Shards that were given by one live node to another.
    pub moves: u64,
    /// Shards that were taken from the dead.
    pub claims: u64,
    /// Counts that were handed over.
    pub handed: u64,
}

impl Tally {
    pub(crate) fn of(evidence: &Evidence) -> Tally {
        let changes = shards::changes(evidence);
        let mut tally = Tally {
            evictions: changes.evictions,
            moves: changes.moves,
            claims: changes.claims,
            handed: handovers::count(evidence),
            quiet: evidence.quiet().count() as u64,
            slowest_ms: answers::slowest(evidence).unwrap_or_default() / 1_000_000,
            ..Tally::default()
        };
        let faulty = faulty(evidence);
        let mut keys: Vec<&str> = Vec::new();
        for call in &evidence.calls {
            keys.push(&call.key);
            let is_ok = match call.outcome {
                Outcome::Ok { .. } => &mut tally.ok,
                Outcome::NotDelivered { .. } => &mut tally.not_delivered,
                Outcome::Unknown { .. } => &mut tally.unknown,
            };
            *is_ok += 1;
            if !is_within(&faulty, call.began, call.ended) {
                tally.outside += 1;
                tally.outside_ok += u64::from(matches!(call.outcome, Outcome::Ok { .. }));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        tally.keys = keys.len() as u64;
        let first = evidence.calls.iter().map(|call| call.began).min().unwrap_or_default();
        let last = evidence.calls.iter().map(|call| call.ended).max().unwrap_or_default();
        tally.seconds = (last - first) / 1_000_000_000;
        for staged in &evidence.staged {
            if let Staged::Fault { kind, .. } = staged {
                *tally.faults.entry(kind.clone()).or_default() += 1;
            }
        }
        let noted = evidence.nodes.iter().flat_map(|node| &node.noted);
        tally.outputs = noted.filter(|it| matches!(it, Noted::Released { .. })).count() as u64;
        tally
    }

    fn calls(&self) -> u64 {
        self.ok + self.not_delivered + self.unknown
    }

    /// What there was too little of.
    pub(crate) fn missing(&self, form: Form) -> Vec<String> {
        let (evictions, moves, each, unknown) = match form {
            Form::Control => return Vec::new(),
            Form::Short => (2, 20, 1, 10),
            Form::Long => (50, 200, 20, 1),
        };
        let mut missing = Vec::new();
        let mut least = |what: &str, is: u64, least: u64| {
            if is < least {
                missing.push(format!("{what}: {is}, and at least {least} are needed"));
            }
        };
        least("evictions", self.evictions, evictions);
        least("moves", self.moves, moves);
        least("counts handed over", self.handed, moves);
        for kind in FAULTS {
            least(kind, self.faults.get(kind).copied().unwrap_or_default(), each);
        }
        least("quiet times", self.quiet, 1);
        least("calls outside faults", self.outside, 1);
        if self.outside_ok * 100 < self.outside * 80 {
            let (ok, all) = (self.outside_ok, self.outside);
            missing.push(format!("{ok} of {all} calls outside faults were answered, not 80 %"));
        }
        if self.unknown * 100 > self.calls() * unknown {
            let (is, all) = (self.unknown, self.calls());
            missing.push(format!("{is} of {all} calls are unknown, more than {unknown} %"));
        }
        missing
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: u64, all: u64| part as f64 * 100.0 / (all.max(1) as f64);
        let all = self.calls();
        writeln!(f, "duration             {} s", self.seconds)?;
        writeln!(f, "calls                {all}, of {} keys", self.keys)?;
        for (name, count) in
            [("ok", self.ok), ("not delivered", self.not_delivered), ("unknown", self.unknown)]
        {
            writeln!(f, "  {name:<18} {count} ({:.2} %)", percent(count, all))?;
        }
        let percent = percent(self.outside_ok, self.outside);
        writeln!(f, "  outside faults     {}, of them ok {percent:.2} %", self.outside)?;
        writeln!(f, "outputs              {}", self.outputs)?;
        writeln!(f, "evictions            {}", self.evictions)?;
        writeln!(f, "shards moved         {}", self.moves)?;
        writeln!(f, "  counts handed over {}", self.handed)?;
        writeln!(f, "shards taken over    {}", self.claims)?;
        writeln!(f, "faults               {}", self.faults.values().sum::<u64>())?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {kind:<18} {count}")?;
        }
        writeln!(f, "quiet times          {}", self.quiet)?;
        writeln!(f, "  slowest key        {} ms until it answered", self.slowest_ms)
    }
}

/// The times of faults, and of what comes of them, put together, in order.
fn faulty(evidence: &Evidence) -> Vec<(u64, u64)> {
    let after = evidence.session() + 2_000_000_000;
    let mut all: Vec<(u64, u64)> = evidence
        .staged
        .iter()
        .filter_map(|staged| match staged {
            Staged::Fault { began, ended, .. } => Some((*began, ended + after)),
            Staged::Quiet { .. } => None,
        })
        .collect();
    all.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (began, ended) in all {
        match merged.last_mut() {
            Some(last) if began <= last.1 => last.1 = last.1.max(ended),
            _ => merged.push((began, ended)),
        }
    }
    merged
}

fn is_within(faulty: &[(u64, u64)], began: u64, ended: u64) -> bool {
    let next = faulty.partition_point(|(_, until)| *until < began);
    faulty.get(next).is_some_and(|(from, _)| *from <= ended)
}
