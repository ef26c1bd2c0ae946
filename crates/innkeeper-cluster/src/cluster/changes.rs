//! What happens to the nodes and the shards of a cluster, as one node sees it: what is known now,
//! compared with what was known before.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::broadcast;

use super::{Cluster, Inner};
use crate::ownership::record::{Epoch, Owned, Session, Shard};

/// Something that happened to a node or to a shard of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A shard has another owner. Owners that it had only for a moment may not be told of; the
    /// epoch counts them.
    Moved {
        /// Its number.
        shard: Shard,
        /// How often it has changed hands.
        epoch: Epoch,
        /// The name of the owner before. `None`: it is not known here.
        from: Option<String>,
        /// The name of the owner. `None`: it is not known here yet.
        to: Option<String>,
    },
    /// The session of a node is over that had not said that it would leave: it died, or nobody
    /// could tell that it did not. Others claim what it had.
    Evicted {
        /// Its name.
        node: String,
    },
    /// The session of a node is over that had said so.
    Left {
        /// Its name.
        node: String,
    },
    /// This node cannot prove its session: its processes begin nothing, and nothing of theirs gets
    /// out, until it can.
    Frozen,
    /// It can again.
    Thawed,
    /// A shard is to go from this node, and does not, for some of its processes have been told to
    /// end and have not; see [`Draining`](super::Draining).
    Stuck {
        /// Its number.
        shard: Shard,
        /// What they are called; some of them, if they are many.
        processes: Vec<String>,
    },
}

impl Cluster {
    /// What happens from now on to the nodes and the shards, as far as it is seen here. Whoever
    /// falls behind by more than [`limits::CHANGES`](crate::limits::CHANGES) is told how many it
    /// has missed.
    pub fn events(&self) -> broadcast::Receiver<ClusterEvent> {
        self.inner.changes.subscribe()
    }
}

/// What is known at one instant.
#[derive(Clone, Debug, Default)]
struct Picture {
    /// The names of those who have a session, and whether they are about to leave.
    members: BTreeMap<Session, (String, bool)>,
    /// The names of owners, those included whose session is over.
    names: BTreeMap<Session, String>,
    owners: Vec<Option<Owned>>,
    is_proven: bool,
}

impl Picture {
    /// What is known now, and what is remembered of before.
    fn taken(inner: &Inner, before: &Picture) -> Picture {
        let node = &inner.node;
        let members = node.members().into_iter();
        let members: BTreeMap<_, _> =
            members.map(|(session, member)| (session, (member.name, member.draining))).collect();
        let owners = node.owners();
        let mut names = BTreeMap::new();
        for owner in owners.iter().flatten().map(|owned| owned.owner) {
            let known = members.get(&owner).map(|(name, _)| name);
            let old = before.names.get(&owner);
            let old = old.or_else(|| before.members.get(&owner).map(|(name, _)| name));
            if let Some(name) = known.or(old) {
                names.entry(owner).or_insert_with(|| name.clone());
            }
        }
        Picture { members, names, owners, is_proven: !node.remaining().is_zero() }
    }

    /// What has happened between then and now.
    fn changes(&self, now: &Picture) -> Vec<ClusterEvent> {
        let mut changes = Vec::new();
        match (self.is_proven, now.is_proven) {
            (true, false) => changes.push(ClusterEvent::Frozen),
            (false, true) => changes.push(ClusterEvent::Thawed),
            _ => {}
        }
        for (session, (name, is_leaving)) in &self.members {
            if now.members.contains_key(session) {
                continue;
            }
            let node = name.clone();
            changes.push(match is_leaving {
                true => ClusterEvent::Left { node },
                false => ClusterEvent::Evicted { node },
            });
        }
        let owners = (0..).zip(self.owners.iter().zip(&now.owners));
        changes.extend(owners.filter_map(|(shard, owners)| match owners {
            (Some(before), Some(owned)) if before.owner != owned.owner => {
                let from = self.names.get(&before.owner).cloned();
                let to = now.names.get(&owned.owner).cloned();
                Some(ClusterEvent::Moved { shard, epoch: owned.epoch, from, to })
            }
            _ => None,
        }));
        changes
    }
}

impl Inner {
    /// Tells of changes for as long as it is polled.
    pub(super) async fn tell_changes(self: Arc<Self>) {
        let mut changed = self.node.changed();
        let mut before = Picture::taken(&self, &Picture::default());
        while changed.changed().await.is_ok() {
            let now = Picture::taken(&self, &before);
            for change in before.changes(&now) {
                // Nobody need listen.
                let _ = self.changes.send(change);
            }
            let owners = before.owners.iter().zip(&now.owners).zip(&self.desks);
            owners.filter(|((old, new), _)| old != new).for_each(|(_, desk)| {
                desk.turned.notify_waiters();
            });
            self.drop_arriving(&before.owners, &now.owners);
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::record::NodeId;

    fn session(node: u64) -> Session {
        Session { node: NodeId(node), created: 1 }
    }

    /// Nodes 1, 2 and so on by their names, those who leave with a minus before it; and the owners
    /// of shards.
    fn picture(members: &[&str], owners: &[u64]) -> Picture {
        let all = (1..).zip(members).filter(|(_, name)| !name.is_empty());
        let members: BTreeMap<_, _> = all
            .map(|(node, name)| {
                let bare = name.trim_start_matches('-');
                (session(node), (bare.to_owned(), bare != *name))
            })
            .collect();
        let names = members.iter().map(|(session, (name, _))| (*session, name.clone())).collect();
        let owned = |owner: &u64| Owned { epoch: 10 + *owner, owner: session(*owner) };
        let owners = owners.iter().map(|owner| (*owner > 0).then(|| owned(owner))).collect();
        Picture { members, names, owners, is_proven: true }
    }

    #[test]
    fn a_node_that_dies_is_evicted_and_its_shards_move_and_one_that_drains_leaves() {
        let before = picture(&["a", "b", "-c"], &[1, 2, 3, 0]);
        assert_eq!(before.changes(&before), []);
        let now = picture(&["a", "", ""], &[1, 1, 1, 1]);
        let moved = |shard, from: &str| {
            let (from, to) = (Some(from.to_owned()), Some("a".to_owned()));
            ClusterEvent::Moved { shard, epoch: 11, from, to }
        };
        let evicted = ClusterEvent::Evicted { node: "b".to_owned() };
        // The first owner of a shard has it from nobody.
        let left = ClusterEvent::Left { node: "c".to_owned() };
        assert_eq!(before.changes(&now), [evicted, left, moved(1, "b"), moved(2, "c")]);
    }

    #[test]
    fn a_session_that_cannot_be_proven_is_told_of_once_and_so_is_its_proof() {
        let sure = picture(&["a"], &[1]);
        let unsure = Picture { is_proven: false, ..sure.clone() };
        assert_eq!(sure.changes(&unsure), [ClusterEvent::Frozen]);
        assert_eq!(unsure.changes(&unsure), []);
        assert_eq!(unsure.changes(&sure), [ClusterEvent::Thawed]);
    }
}
