//! One key, one process, on many nodes: fenced ownership of shards over a linearizable register.
//!
//! The key space is cut into shards, and each shard is owned by one [`Node`] at a time. Who owns
//! what is written in a [`Coordinator`](coordinator::Coordinator); whether this node may act on it
//! *now* is decided by [`ownership`], a pure state machine, from what its own clocks show. Nodes
//! talk over [`links`], on a [`Net`](net::Net), each frame under the same fence.

mod burial;
pub mod clock;
mod cluster;
mod codec;
mod configuration;
pub mod coordinator;
mod driver;
#[cfg(test)]
mod exploration;
pub mod frame;
mod home;
mod join;
pub mod limits;
pub mod links;
pub mod net;
mod node;
pub mod operator;
pub mod ownership;
mod remote;
pub mod start_key;
pub mod subscriber;
pub mod trace;

pub use burial::bury;
pub use cluster::{Cluster, ClusterEvent, Draining, Membership, NodeInfo, ShardInfo};
pub use configuration::Configuration;
pub use home::{Home, HomeError};
pub use join::{JoinError, Settings, VERSIONS};
pub use node::{Node, Orders, Running};
pub use remote::{Exposes, Remote};

/// What `#[process(remote)]` derives with.
#[doc(hidden)]
pub use serde;
