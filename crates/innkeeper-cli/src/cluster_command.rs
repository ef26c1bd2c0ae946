//! `innkeeper cluster`: its nodes, and who owns which shard.

use std::process::ExitCode;

use innkeeper_api::{NodeInfo, ShardInfo};
use reqwest::Method;

use crate::args::{ClusterCommand, ClusterCommandArgs};
use crate::client::{Client, Refused};
use crate::error::Failure;
use crate::output;
use crate::rooms::uptime;

const NODES: [&str; 6] = ["node", "state", "rooms", "shards", "weight", "session left"];
const SHARDS: [&str; 4] = ["shard", "node", "epoch", "state"];

/// What is not known, or not there.
const NOTHING: &str = "-";

pub(crate) fn run(args: &ClusterCommandArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::new)?;
    let client = Client::new(&args.server)?;
    let format = args.server.format;
    let done: Result<(), Refused> = runtime.block_on(async {
        match args.command {
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
        }
        Ok(())
    });
    done?;
    Ok(ExitCode::SUCCESS)
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
        shard.state.clone(),
    ];
    (shard, cells)
}
