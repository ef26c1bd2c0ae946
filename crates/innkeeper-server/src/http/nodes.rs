//! Who is in the house, and who has which part of the keys.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use innkeeper::{Gathered, NodeCount};
use innkeeper_api::{Code, NodeInfo, ShardInfo};
use innkeeper_cluster::ownership::Gate;

use crate::app::App;
use crate::error::ApiError;
use crate::http::guard;

/// `POST /api/nodes/{name}/drain`: has this node drain and end, as SIGTERM does.
pub(crate) async fn drain(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    guard::check_admin(&app, &headers)?;
    if name != *app.node {
        let detail = format_args!("this is node {:?}; ask {name:?} at its own address", app.node);
        return Err(ApiError::new(Code::NotFound, detail));
    }
    app.told_to_drain.cancel();
    Ok(StatusCode::ACCEPTED)
}

/// `GET /api/nodes`
pub(crate) async fn nodes(State(app): State<Arc<App>>) -> Json<Vec<NodeInfo>> {
    let this = NodeInfo {
        node: app.node.to_string(),
        here: true,
        state: state(app.intake.is_draining(), None).to_owned(),
        rooms: Some(app.rooms.count() as u64),
        shards: 1,
        weight: 1,
        session_left_ms: None,
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        uptime_ms: Some(app.uptime_ms()),
    };
    let Some(cluster) = &app.cluster else { return Json(vec![this]) };
    let counts = app.census.counts(&app.rooms).await;
    let nodes = cluster.nodes().into_iter();
    Json(nodes.map(|node| one_of_many(node, &this, &counts)).collect())
}

fn one_of_many(
    node: innkeeper_cluster::NodeInfo,
    this: &NodeInfo,
    counts: &Gathered<Vec<NodeCount>>,
) -> NodeInfo {
    let (shards, weight) = (node.shards as u64, node.weight);
    let state = state(node.draining, node.proven_for).to_owned();
    let Some(left) = node.proven_for else {
        let counted = counts.value.iter().find(|count| count.node.as_deref() == Some(&node.name));
        let rooms = match counted {
            Some(count) => Some(count.keys as u64),
            // Nobody asks a node that no key can be on.
            None => (shards == 0 || counts.is_whole()).then_some(0),
        };
        let (session_left_ms, version, uptime_ms) = (None, None, None);
        let (node, here) = (node.name, false);
        return NodeInfo {
            node,
            here,
            state,
            rooms,
            shards,
            weight,
            session_left_ms,
            version,
            uptime_ms,
        };
    };
    let session_left_ms = Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    NodeInfo { state, shards, weight, session_left_ms, ..this.clone() }
}

fn state(is_draining: bool, proven_for: Option<Duration>) -> &'static str {
    match proven_for {
        Some(Duration::ZERO) => "frozen",
        _ if is_draining => "draining",
        _ => "serving",
    }
}

/// `GET /api/shards`. On one node, the whole key space is one shard that never changes hands.
pub(crate) async fn shards(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Json<Vec<ShardInfo>> {
    // No key is named to strangers.
    let names_keys = guard::check_admin(&app, &headers).is_ok();
    let name = app.node.to_string();
    let Some(cluster) = &app.cluster else {
        let state = "serving".to_owned();
        return Json(vec![ShardInfo {
            shard: 0,
            node: Some(name),
            epoch: 0,
            state,
            stuck: Vec::new(),
        }]);
    };
    let shards = cluster.shards().into_iter().map(|shard| {
        let is_draining = shard.draining.is_some();
        let stuck = shard.draining.map(|draining| draining.stuck).unwrap_or_default();
        let state = match (&shard.owner, shard.gate) {
            (None, _) => "unowned",
            (Some(_), Gate::Frozen(_)) => "frozen",
            (Some(_), Gate::Shut) if !stuck.is_empty() => "stuck",
            (Some(_), Gate::Shut) if is_draining => "draining",
            (Some(owner), Gate::Shut) if *owner == name => "shut",
            (Some(_), _) => "serving",
        };
        ShardInfo {
            shard: u64::from(shard.shard),
            node: shard.owner,
            epoch: shard.epoch,
            state: state.to_owned(),
            stuck: if names_keys { stuck } else { Vec::new() },
        }
    });
    Json(shards.collect())
}
