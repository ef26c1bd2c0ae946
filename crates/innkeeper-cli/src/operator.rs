//! What an operator does to a cluster by its etcd, whether its nodes run or not.

use std::time::Duration;

use innkeeper_cluster::clock::Machine;
use innkeeper_cluster::operator::{self, Changes};

use crate::cluster_args::OperatorArgs;
use crate::error::Failure;
use crate::joining::connect;
use crate::output;

/// Ends the session of a node that is dead.
pub(crate) async fn evict(
    at: &OperatorArgs,
    node: &str,
    is_terminated: bool,
) -> Result<(), Failure> {
    if !is_terminated {
        let what = format_args!("while {node:?} may still run, its rooms would be alive twice");
        return Err(Failure::new(what)
            .try_next("--confirm-terminated, once its program or machine has ended for sure"));
    }
    let etcd = connect(&at.etcd).await?;
    let ended = operator::evict(&etcd, &Machine, &at.cluster, node, is_terminated).await;
    ended.map_err(Failure::new)?;
    output::talk(&format!("the session of {node} is over; others take its shards"));
    Ok(())
}

/// Changes what all nodes agree on.
pub(crate) async fn reconfigure(
    at: &OperatorArgs,
    shards: Option<u16>,
    session: Option<Duration>,
) -> Result<(), Failure> {
    let etcd = connect(&at.etcd).await?;
    let changed = operator::reconfigure(&etcd, &at.cluster, Changes { shards, session }).await;
    let now = changed.map_err(Failure::new)?;
    let (shards, session, generation) = (now.shards, now.session, now.generation);
    output::talk(&format!(
        "cluster {}: {shards} shards, sessions of {session:?}, generation {generation}; start its \
         nodes with these",
        at.cluster
    ));
    Ok(())
}

/// Begins a new generation.
pub(crate) async fn new_generation(at: &OperatorArgs) -> Result<(), Failure> {
    let etcd = connect(&at.etcd).await?;
    let now = operator::new_generation(&etcd, &at.cluster).await.map_err(Failure::new)?;
    output::talk(&format!(
        "cluster {}: generation {}; start its nodes",
        at.cluster, now.generation
    ));
    Ok(())
}
