//! Who supervises whom.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use innkeeper::ProcessInfo;
use innkeeper_api::TreeInfo;

use crate::app::App;
use crate::http::rooms::state_word;

/// `GET /api/tree`
pub(crate) async fn show(State(app): State<Arc<App>>) -> Json<TreeInfo> {
    let keys = [("rooms", app.rooms.count()), ("buckets", app.buckets.count())];
    let children = app.supervisor.which_children().into_iter();
    let children = children.map(|(id, process)| {
        let keys = keys.iter().find(|(scope, _)| *scope == id).map(|(_, count)| *count as u64);
        node(id, keys, process.as_ref())
    });
    Json(TreeInfo {
        id: app.supervisor.name().to_owned(),
        kind: "supervisor".to_owned(),
        // It answers, so it has not ended: its end would be that of the server.
        state: "live".to_owned(),
        age_ms: app.uptime_ms(),
        restarts: 0,
        keys: None,
        children: children.collect(),
    })
}

fn node(id: String, keys: Option<u64>, process: Option<&ProcessInfo>) -> TreeInfo {
    let age = process.map_or(0, |info| info.age.as_millis());
    TreeInfo {
        id,
        kind: if keys.is_some() { "keyed" } else { "process" }.to_owned(),
        state: process.map_or("ended".into(), state_word).into_owned(),
        age_ms: u64::try_from(age).unwrap_or(u64::MAX),
        restarts: process.map_or(0, |info| info.restarts),
        keys,
        children: Vec::new(),
    }
}
