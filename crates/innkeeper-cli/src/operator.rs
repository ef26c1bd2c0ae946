//! What an operator does to a cluster by its etcd, whether its nodes run or not.

use std::time::Duration;

use innkeeper_cluster::VERSIONS;
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
    fail_over: Option<Duration>,
) -> Result<(), Failure> {
    let etcd = connect(&at.etcd).await?;
    let changes = Changes { shards, session, fail_over };
    let changed = operator::reconfigure(&etcd, &at.cluster, changes).await;
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

/// Shows which versions of the protocol the nodes speak.
pub(crate) async fn versions(at: &OperatorArgs) -> Result<(), Failure> {
    let etcd = connect(&at.etcd).await?;
    let (now, nodes) = operator::versions(&etcd, &at.cluster).await.map_err(Failure::new)?;
    for (node, spoken) in nodes {
        let spoken = spoken.map_or("cannot be read".to_owned(), |it| format!("speaks {it}"));
        output::talk(&format!("node {}: {spoken}", output::printable(&node)));
    }
    output::talk(&format!(
        "cluster {}: every node speaks version {}; this program speaks {VERSIONS}",
        at.cluster, now.protocol
    ));
    Ok(())
}

/// Ends an upgrade.
pub(crate) async fn finalize(at: &OperatorArgs) -> Result<(), Failure> {
    let etcd = connect(&at.etcd).await?;
    let raised = operator::finalize(&etcd, &at.cluster, VERSIONS).await;
    let now = raised.map_err(Failure::new)?;
    output::talk(&format!(
        "cluster {}: every node speaks version {} from now on; one that does not is refused",
        at.cluster, now.protocol
    ));
    Ok(())
}
