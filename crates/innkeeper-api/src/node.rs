//! The nodes of a cluster, and the parts of the key space that they own.

use serde::{Deserialize, Serialize};

/// A node of the cluster, as far as the one knows that is asked; one node shows itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name.
    pub node: String,
    /// Whether it is the one that is asked.
    pub here: bool,
    /// `serving` or `draining`; of the one that is asked also `frozen`, when it cannot prove its
    /// session.
    pub state: String,
    /// Rooms on it. `None`: it did not say.
    pub rooms: Option<u64>,
    /// Shards it owns.
    pub shards: u64,
    /// Its share of the shards, against the weights of the others.
    pub weight: u32,
    /// For how long it can prove its session without another heartbeat, in milliseconds. Nobody but
    /// the node itself knows that; one node alone has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_left_ms: Option<u64>,
    /// Its version of this program, if it is the one that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How long it has been up, in milliseconds, if it is the one that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
}

/// A shard of the key space; one node has a single one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// Its number.
    pub shard: u64,
    /// Who owns it. `None`: nobody, for now.
    pub node: Option<String>,
    /// The fencing token of the ownership: how often it has changed hands.
    pub epoch: u64,
    /// `serving`; `unowned`; of the node that is asked also `frozen`, when it cannot prove its
    /// session, `draining`, when the shard is to go and its processes are to end, `stuck`, when
    /// some of those do not, and `shut`, when it is about to be served or has ended them.
    pub state: String,
    /// What those are called, some of them; told only to who may list rooms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stuck: Vec<String>,
}
