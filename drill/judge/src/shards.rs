//! What etcd's own history says about who owned what.

use std::collections::{HashMap, HashSet};

use crate::evidence::Evidence;
use crate::records::{Noted, Record};
use crate::{Kind, Violation};

/// How often ownership changed, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Sessions that others ended.
    pub(crate) evictions: u64,
    /// Shards that went from a node to another that both were there.
    pub(crate) moves: u64,
    /// Shards that were taken because their owner's session was gone.
    pub(crate) claims: u64,
}

pub(crate) fn find(evidence: &Evidence) -> Vec<Violation> {
    let (mut last, mut violations) = (HashMap::new(), Vec::new());
    for record in &evidence.records {
        let Record::Shard { shard, epoch, owner } = record else { continue };
        if let Some((before, by)) = last.insert(shard, (*epoch, owner))
            && before >= *epoch
        {
            let what = format!("shard {shard}: {owner} has epoch {epoch}, after {by} had {before}");
            violations.push(Violation::new(Kind::Record, what));
        }
    }
    violations
}

pub(crate) fn changes(evidence: &Evidence) -> Changes {
    let left: HashSet<&str> = evidence
        .nodes
        .iter()
        .flat_map(|node| &node.noted)
        .filter_map(|noted| match noted {
            Noted::Over { session, is_left: true, .. } => Some(session.as_str()),
            _ => None,
        })
        .collect();
    let (mut here, mut owners) = (HashSet::new(), HashMap::new());
    let mut changes = Changes::default();
    for record in &evidence.records {
        match record {
            Record::Session { id } => {
                here.insert(id.as_str());
            }
            Record::Gone { id } => {
                here.remove(id.as_str());
                changes.evictions += u64::from(!left.contains(id.as_str()));
            }
            Record::Shard { shard, owner, .. } => {
                match owners.insert(shard.as_str(), owner.as_str()) {
                    Some(before) if before == owner => {}
                    Some(before) if here.contains(before) => changes.moves += 1,
                    Some(_) => changes.claims += 1,
                    None => {}
                }
            }
        }
    }
    changes
}
