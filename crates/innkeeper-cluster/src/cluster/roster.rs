//! The nodes and the shards of a cluster as one node knows them, as plain data.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::Cluster;
use crate::ownership::Gate;
use crate::ownership::record::{Epoch, Session, Shard};

/// A node with a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its name, which stays when its program is started again.
    pub name: String,
    /// Where other nodes reach it.
    pub address: String,
    /// Its session.
    pub session: Session,
    /// Whether it is giving its shards away.
    pub draining: bool,
    /// Its share of the shards, against the weights of the others.
    pub weight: u32,
    /// How many shards it owns.
    pub shards: usize,
    /// For how long it can prove its session without another heartbeat, if it is this node: nobody
    /// knows that of another.
    pub proven_for: Option<Duration>,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardInfo {
    /// Its number.
    pub shard: Shard,
    /// How often it has changed hands; 0 before its first owner.
    pub epoch: Epoch,
    /// The name of its owner. `None`: the owner's session is over, and nobody has claimed it yet.
    pub owner: Option<String>,
    /// What this node may do for it now.
    pub gate: Gate,
    /// It is to go from this node, and waits until its processes have ended: nothing of it is begun
    /// meanwhile. `None` also where another node is to give it away.
    pub draining: Option<Draining>,
}

/// A shard whose processes are to end, for it is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Draining {
    /// Who has not ended after [`limits::STUCK_AFTER`](crate::limits::STUCK_AFTER), by name: code
    /// that never yields, or a `terminate` without a limit. The shard stays where it is until
    /// they have, or until this program ends. Some of them, if they are many.
    pub stuck: Vec<String>,
}

impl Cluster {
    /// The nodes that have a session, in the order of their names, as far as is known here: what
    /// others have just done may not be seen yet. Asks nobody.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        let node = self.node();
        let mut owned: HashMap<Session, usize> = HashMap::new();
        for owner in node.owners().into_iter().flatten() {
            *owned.entry(owner.owner).or_default() += 1;
        }
        let me = node.session();
        let mut nodes: Vec<_> = node
            .members()
            .into_iter()
            .map(|(session, member)| NodeInfo {
                name: member.name,
                address: member.address,
                session,
                draining: member.draining,
                weight: member.weight,
                shards: owned.get(&session).copied().unwrap_or(0),
                proven_for: (session == me).then(|| node.remaining()),
            })
            .collect();
        nodes.sort_unstable_by(|a, b| (&a.name, a.session).cmp(&(&b.name, b.session)));
        nodes
    }

    /// Every shard, by its number, as far as is known here. Asks nobody.
    pub fn shards(&self) -> Vec<ShardInfo> {
        let node = self.node();
        let names: BTreeMap<_, _> =
            node.members().into_iter().map(|(session, member)| (session, member.name)).collect();
        let owners = (0..).zip(node.owners());
        owners
            .map(|(shard, owned)| ShardInfo {
                shard,
                epoch: owned.map_or(0, |owned| owned.epoch),
                owner: owned.and_then(|owned| names.get(&owned.owner).cloned()),
                gate: node.gate(shard),
                draining: self.inner.desk(shard).and_then(|desk| desk.draining.lock().clone()),
            })
            .collect()
    }
}
