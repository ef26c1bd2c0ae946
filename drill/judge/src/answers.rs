//! Whether every key that is called answers in time once all is well.

use std::collections::BTreeMap;

use crate::evidence::Evidence;
use crate::records::Outcome;
use crate::{Kind, Violation};

/// How long it may take beyond D.
const MORE: u64 = 2_000_000_000;

pub(crate) fn find(evidence: &Evidence) -> Vec<Violation> {
    let within = evidence.session() + MORE;
    evidence
        .quiet()
        .filter(|(from, until)| until - from >= within)
        .flat_map(|(from, _)| silent(evidence, from, within))
        .collect()
}

/// The longest that a key took to answer for the first time once all was well.
pub(crate) fn slowest(evidence: &Evidence) -> Option<u64> {
    let within = evidence.session() + MORE;
    let slowest = |(from, _)| {
        let firsts = firsts(evidence, from, from + within);
        firsts.into_values().flatten().map(|first| first - from).max()
    };
    evidence.quiet().filter_map(slowest).max()
}

/// The keys that were called and did not answer in time.
fn silent(evidence: &Evidence, from: u64, within: u64) -> Vec<Violation> {
    let by = from + within;
    let keys = firsts(evidence, from, by);
    let late = keys.into_iter().filter(|(_, first)| first.is_none_or(|first| first > by));
    let violation = |(key, first): (&str, Option<u64>)| {
        let first = first.map_or("not at all".to_owned(), |first| {
            format!("after {} ms", (first - from) / 1_000_000)
        });
        let what = format!("{key} answered {first}, all being well since {from}");
        Violation::new(Kind::Silent, what)
    };
    late.map(violation).collect()
}

/// The keys that were called in that time, and when each first answered since.
fn firsts(evidence: &Evidence, from: u64, by: u64) -> BTreeMap<&str, Option<u64>> {
    let mut keys: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    for call in &evidence.calls {
        if call.ended < from || call.began > by {
            continue;
        }
        let first = keys.entry(&call.key).or_default();
        if matches!(call.outcome, Outcome::Ok { .. }) {
            *first = Some(first.map_or(call.ended, |first| first.min(call.ended)));
        }
    }
    keys
}
