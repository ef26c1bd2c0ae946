//! What callers may be told one after the other: epochs never go back, and under one epoch no count
//! that was told of is lost.

use std::collections::HashMap;

use crate::evidence::Evidence;
use crate::records::{Call, Outcome};
use crate::{Kind, Violation};

/// What a reply says: under which epoch, of which process, and its count.
type Told = (u64, u64, u64);

pub(crate) fn find(evidence: &Evidence) -> Vec<Violation> {
    let mut keys: HashMap<&str, Vec<(&Call, Told)>> = HashMap::new();
    for call in &evidence.calls {
        if let Outcome::Ok { epoch, incarnation, count } = call.outcome {
            let told = (epoch, incarnation, count);
            keys.entry(&call.key).or_default().push((call, told));
        }
    }
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort_unstable_by_key(|(key, _)| *key);
    keys.into_iter().flat_map(|(key, replies)| of_key(key, replies)).collect()
}

fn of_key(key: &str, replies: Vec<(&Call, Told)>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut ended = replies.clone();
    ended.sort_unstable_by_key(|(call, _)| call.ended);
    let mut began = replies;
    began.sort_unstable_by_key(|(call, _)| call.began);
    // The most that anybody had been told by then; and whether it was told before.
    let (mut most, mut ended) = ((0, 0, 0), ended.into_iter().peekable());
    let mut told_to: HashMap<Told, u64> = HashMap::new();
    for (call, told) in began {
        while let Some((_, before)) = ended.next_if(|(before, _)| before.ended < call.began) {
            most = most.max(before);
        }
        let id = call.call;
        if told.0 < most.0 {
            let what = format!("{key}: call {id} saw epoch {}, after {} was seen", told.0, most.0);
            violations.push(Violation::new(Kind::Backward, what));
        } else if told <= most {
            let what = format!("{key}: call {id} was told {told:?}, after {most:?} was told");
            violations.push(Violation::new(Kind::Lost, what));
        }
        if let Some(other) = told_to.insert(told, id) {
            let what = format!("{key}: calls {other} and {id} were both told {told:?}");
            violations.push(Violation::new(Kind::Lost, what));
        }
    }
    violations
}
