//! Whether calls did what their callers were told.

use std::collections::HashMap;

use crate::evidence::Evidence;
use crate::records::{Noted, Outcome};
use crate::{Kind, Violation};

/// What user code says about a call.
#[derive(Default)]
struct Ran {
    times: u64,
    /// What it answered, if that got out.
    told: Option<(u64, u64, u64)>,
}

pub(crate) fn find(evidence: &Evidence) -> Vec<Violation> {
    let (mut ran, mut violations): (HashMap<u64, Ran>, _) = (HashMap::new(), Vec::new());
    for node in &evidence.nodes {
        for noted in &node.noted {
            match noted {
                Noted::Began { call, .. } => ran.entry(*call).or_default().times += 1,
                Noted::Released { call, epoch, incarnation, count, .. } => {
                    ran.entry(*call).or_default().told = Some((*epoch, *incarnation, *count));
                }
                Noted::Hung { call, .. } => {
                    let what = format!("call {call}: {} never had an end of it", node.name);
                    violations.push(Violation::new(Kind::Hung, what));
                }
                Noted::Joined { .. } | Noted::Over { .. } | Noted::Handed { .. } => {}
            }
        }
        violations.extend(gaps(&node.name, &node.noted));
    }
    for call in &evidence.calls {
        let id = call.call;
        let ran = ran.remove(&id).unwrap_or_default();
        let wrong = match &call.outcome {
            _ if ran.times > 1 => format!("ran {} times", ran.times),
            Outcome::NotDelivered { why } if ran.times > 0 => {
                format!("was not delivered ({why}), but ran")
            }
            Outcome::Ok { .. } if ran.times == 0 => "was answered, but did not run".to_owned(),
            Outcome::Ok { epoch, incarnation, count }
                if ran.told != Some((*epoch, *incarnation, *count)) =>
            {
                let told = (epoch, incarnation, count);
                format!("was told {told:?}, and user code had said {:?}", ran.told)
            }
            _ => continue,
        };
        let what = format!("{}: call {id} {wrong}", call.key);
        violations.push(Violation::new(Kind::Outcome, what));
    }
    violations
}

/// One process counts one by one, from what it was handed, and nothing gets out of order.
fn gaps(node: &str, noted: &[Noted]) -> Vec<Violation> {
    let (mut last, mut violations) = (HashMap::new(), Vec::new());
    for noted in noted {
        if let Noted::Handed { key, epoch, incarnation, count, .. } = noted {
            last.insert((key, epoch, incarnation), *count);
        }
        let Noted::Released { key, epoch, incarnation, count, .. } = noted else { continue };
        let before = last.insert((key, epoch, incarnation), *count).unwrap_or_default();
        if *count != before + 1 {
            let what = format!("{key}: {node} told {count} under epoch {epoch}, after {before}");
            violations.push(Violation::new(Kind::Lost, what));
        }
    }
    violations
}
