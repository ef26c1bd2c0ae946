//! Whether what was handed over with a shard is all that had been told of.

use std::collections::HashMap;

use crate::evidence::Evidence;
use crate::records::Noted;
use crate::{Kind, Violation};

/// Which process of a key: under which epoch, and which of those.
type Process = (u64, u64);

pub(crate) fn find(evidence: &Evidence) -> Vec<Violation> {
    // The last count that each process of a key told.
    let mut told: HashMap<&str, HashMap<Process, u64>> = HashMap::new();
    let noted = || evidence.nodes.iter().flat_map(|node| &node.noted);
    for noted in noted() {
        if let Noted::Released { key, epoch, incarnation, count, .. } = noted {
            let last = told.entry(key).or_default().entry((*epoch, *incarnation)).or_default();
            *last = (*last).max(*count);
        }
    }
    let mut violations = Vec::new();
    for noted in noted() {
        let Noted::Handed { key, epoch, incarnation, from, count, .. } = noted else { continue };
        let before = told.get(key.as_str()).into_iter().flatten();
        let before = before.filter(|(process, _)| **process < (*epoch, *incarnation));
        // What was told by another owner in between, and what the one that handed it over told.
        let lost = before.filter(|((by, _), last)| by > from || by == from && *last > count).max();
        if let Some(((by, _), last)) = lost {
            let what = format!(
                "{key}: epoch {epoch} was handed the count {count} of epoch {from}, and {last} \
                 was told under epoch {by}"
            );
            violations.push(Violation::new(Kind::Lost, what));
        }
    }
    violations
}

pub(crate) fn count(evidence: &Evidence) -> u64 {
    let noted = evidence.nodes.iter().flat_map(|node| &node.noted);
    noted.filter(|noted| matches!(noted, Noted::Handed { .. })).count() as u64
}
