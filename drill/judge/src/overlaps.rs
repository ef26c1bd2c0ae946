//! Whether the times of two epochs of a key overlap: nothing may get out under an epoch once user
//! code has begun under a later one.

use std::collections::{BTreeMap, HashMap};

use crate::evidence::Evidence;
use crate::records::Noted;
use crate::{Kind, Violation};

/// For how long a process that runs may be kept from writing down at once what it did.
const LATE: u64 = 50_000_000;

/// When user code first began under each epoch of a key.
type Begun<'a> = HashMap<&'a str, BTreeMap<u64, u64>>;

pub(crate) fn find(evidence: &Evidence) -> Vec<Violation> {
    let mut begun: Begun<'_> = HashMap::new();
    for noted in evidence.nodes.iter().flat_map(|node| &node.noted) {
        if let Noted::Began { key, epoch, at, .. } = noted {
            let first = begun.entry(key).or_default().entry(*epoch).or_insert(u64::MAX);
            *first = (*first).min(*at);
        }
    }
    // From each epoch on: when user code first began under it or a later one.
    for epochs in begun.values_mut() {
        let mut first = u64::MAX;
        for at in epochs.values_mut().rev() {
            first = first.min(*at);
            *at = first;
        }
    }
    let mut violations = Vec::new();
    for node in &evidence.nodes {
        let stops = evidence.stops(&node.name);
        for noted in &node.noted {
            let Noted::Released { call, key, epoch, ended, at, .. } = noted else { continue };
            let later = begun.get(key.as_str()).and_then(|epochs| epochs.range(epoch + 1..).next());
            let Some((later, since)) = later else { continue };
            let out = earliest(*ended, *at, &stops);
            if out > *since {
                let ms = (out - since) / 1_000_000;
                violations.push(Violation::new(
                    Kind::Overlap,
                    format!(
                        "{key}: what {} had to say to call {call} under epoch {epoch} got out at \
                         least {ms} ms after user code began under epoch {later}",
                        node.name
                    ),
                ));
            }
        }
    }
    violations
}

/// The earliest instant at which it may have been decided that an output gets out, of which it was
/// written down at `at` that it had: that can be late, by a moment in which the process ran, and by
/// any time in which it stood still. It was not before user code was done with it.
fn earliest(ended: u64, at: u64, stops: &[(u64, u64)]) -> u64 {
    let mut stops = stops.to_vec();
    stops.sort_unstable();
    let (mut earliest, mut left) = (at, LATE);
    for (began, until) in stops.into_iter().rev().filter(|(began, _)| *began < at) {
        let ran = earliest.saturating_sub(until);
        if ran > left {
            break;
        }
        left -= ran;
        earliest = earliest.min(began);
    }
    earliest.saturating_sub(left).max(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_is_written_down_late_was_decided_a_moment_before_at_most() {
        assert_eq!(earliest(0, 200 * MS, &[]), 150 * MS);
        assert_eq!(earliest(190 * MS, 200 * MS, &[]), 190 * MS);
    }

    #[test]
    fn a_process_that_stood_still_may_have_decided_before() {
        // It went on 10 ms before; 40 ms of running are left from before it stopped.
        assert_eq!(earliest(0, 500 * MS, &[(200 * MS, 490 * MS)]), 160 * MS);
        // It has run for longer than a moment since.
        assert_eq!(earliest(0, 600 * MS, &[(200 * MS, 490 * MS)]), 550 * MS);
        // User code was done with it only after the stop.
        assert_eq!(earliest(491 * MS, 500 * MS, &[(200 * MS, 490 * MS)]), 491 * MS);
    }
}
