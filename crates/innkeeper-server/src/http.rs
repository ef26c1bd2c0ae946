//! Everything under HTTP: the API, the page, health, metrics, and the way to WebSocket.

mod events;
mod extract;
mod guard;
mod health;
mod list;
mod metrics;
mod nodes;
mod overview;
mod page;
mod refusing;
mod rooms;
mod serve;
mod socket;
mod tree;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use innkeeper_api::Code;

use crate::app::App;
use crate::error::ApiError;
use crate::limits;

pub(crate) use refusing::refuse;
pub(crate) use serve::serve;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

fn router(app: Arc<App>) -> Router {
    // JSON may take six bytes for one of the text: a control character is written \u001f.
    let body_max = 6 * app.config.max_message_bytes + limits::BODY_OVERHEAD;
    // What only an admin may do or see, where the server is not for this machine alone.
    let admin = Router::new()
        .route("/api/rooms", get(list::show))
        .route("/api/rooms/{key}/members", get(rooms::members))
        .route("/api/overview", get(overview::show))
        .route("/api/tree", get(tree::show))
        .route("/api/events", get(events::stream))
        .route_layer(from_fn_with_state(app.clone(), guard::admin));
    Router::new()
        .route("/api/rooms/{key}", get(rooms::show).post(rooms::start).delete(rooms::stop))
        .route("/api/rooms/{key}/messages", post(rooms::post))
        .route("/api/rooms/{key}/restart", post(rooms::restart))
        .route("/api/nodes", get(nodes::nodes))
        .route("/api/nodes/{name}/drain", post(nodes::drain))
        .route("/api/shards", get(nodes::shards))
        .route("/socket/websocket", get(socket::upgrade))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::show))
        .route("/", get(page::rooms))
        .route("/dashboard", get(page::dashboard))
        .route("/assets/{name}", get(page::asset))
        .merge(admin)
        .fallback(async |uri: Uri| {
            ApiError::new(Code::NotFound, format_args!("there is no {}; see /", uri.path()))
        })
        .method_not_allowed_fallback(async || {
            ApiError::new(Code::BadRequest, "this path does not take that method")
                .with_status(StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(DefaultBodyLimit::max(body_max))
        .layer(from_fn_with_state(app.clone(), guard::origin))
        .layer(from_fn_with_state(app.config.tls.is_some(), page::headers))
        .with_state(app)
}
