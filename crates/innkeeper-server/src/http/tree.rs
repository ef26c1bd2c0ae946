//! Who supervises whom.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use innkeeper::{TreeNode, TreePage};
use innkeeper_api::{Code, TreeInfo};

use crate::app::App;
use crate::error::ApiError;
use crate::http::rooms::state_word;

/// `GET /api/tree`: the first children of each supervisor, and how many there are.
pub(crate) async fn show(State(app): State<Arc<App>>) -> Result<Json<TreeInfo>, ApiError> {
    let tree = app.supervisor.tree(&TreePage::default()).await;
    let tree = tree.ok_or_else(|| ApiError::new(Code::Draining, "the tree has ended"))?;
    Ok(Json(info(tree)))
}

fn info(node: TreeNode) -> TreeInfo {
    let process = node.process.as_ref();
    let age = process.map_or(0, |info| info.age.as_millis());
    TreeInfo {
        kind: node.kind.word().to_owned(),
        state: process.map_or("ended".into(), state_word).into_owned(),
        age_ms: u64::try_from(age).unwrap_or(u64::MAX),
        restarts: process.map_or(0, |info| info.restarts),
        count: node.count as u64,
        id: node.id,
        children: node.children.into_iter().map(info).collect(),
    }
}
