//! `innkeeper cluster`: its nodes, who owns which shard, and what an operator does to it.

use hyper::Method;
use innkeeper_api::{NodeInfo, ShardInfo};

use crate::args::{ClusterCommand, ClusterCommandArgs};
use crate::client::{Client, Refused};
use crate::error::Failure;
use crate::exit::Exit;
use crate::operator;
use crate::output;
use crate::rooms::uptime;

const NODES: [&str; 6] = ["node", "state", "rooms", "shards", "weight", "session left"];
const SHARDS: [&str; 4] = ["shard", "node", "epoch", "state"];

/// What is not known, or not there.
const NOTHING: &str = "-";

pub(crate) fn run(args: &ClusterCommandArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::new)?;
    runtime.block_on(carry_out(args))?;
    Ok(Exit::Yes)
}

async fn carry_out(args: &ClusterCommandArgs) -> Result<(), Failure> {
    match &args.command {
        ClusterCommand::Nodes | ClusterCommand::Shards | ClusterCommand::Drain { .. } => {
            Ok(ask(args).await?)
        }
        ClusterCommand::Evict { node, confirm_terminated, at } => {
            operator::evict(at, node, *confirm_terminated).await
        }
        ClusterCommand::Reconfigure { shards, session_length, etcd_failover, at } => {
            operator::reconfigure(at, *shards, *session_length, *etcd_failover).await
        }
        ClusterCommand::NewGeneration { at } => operator::new_generation(at).await,
        ClusterCommand::Upgrade { finalize: false, at } => operator::versions(at).await,
        ClusterCommand::Upgrade { finalize: true, at } => operator::finalize(at).await,
    }
}

/// Asks a node.
async fn ask(args: &ClusterCommandArgs) -> Result<(), Refused> {
    let client = Client::new(&args.server).map_err(Refused::Failure)?;
    let format = args.server.format;
    match &args.command {
        ClusterCommand::Nodes => {
            let nodes: Vec<NodeInfo> = client.ask(Method::GET, "/api/nodes", &[]).await?;
            let rows: Vec<_> = nodes.into_iter().map(node).collect();
            output::rows(format, &NODES, &rows);
        }
        ClusterCommand::Shards => {
            let shards: Vec<ShardInfo> = client.ask(Method::GET, "/api/shards", &[]).await?;
            let rows: Vec<_> = shards.into_iter().map(shard).collect();
            output::rows(format, &SHARDS, &rows);
        }
        ClusterCommand::Drain { node } => {
            client.order(Method::POST, &format!("/api/nodes/{}/drain", Client::part(node))).await?;
            output::talk(&format!("node {node} drains, and ends when its rooms have moved"));
        }
        // Not asked of a node.
        _ => {}
    }
    Ok(())
}

fn node(node: NodeInfo) -> (NodeInfo, Vec<String>) {
    let cells = vec![
        output::printable(&node.node),
        node.state.clone(),
        node.rooms.map_or(NOTHING.to_owned(), |rooms| rooms.to_string()),
        node.shards.to_string(),
        node.weight.to_string(),
        node.session_left_ms.map_or(NOTHING.to_owned(), uptime),
    ];
    (node, cells)
}

fn shard(shard: ShardInfo) -> (ShardInfo, Vec<String>) {
    let cells = vec![
        shard.shard.to_string(),
        shard.node.as_deref().map_or(NOTHING.to_owned(), output::printable),
        shard.epoch.to_string(),
        match &*shard.stuck {
            [] => shard.state.clone(),
            stuck => {
                let names: Vec<_> = stuck.iter().map(|name| output::printable(name)).collect();
                format!("{}: {}", shard.state, names.join(", "))
            }
        },
    ];
    (shard, cells)
}
