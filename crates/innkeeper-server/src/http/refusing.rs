//! HTTP on a node that has no session: that it lives, and that it takes no work yet.

use std::net::SocketAddr;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use innkeeper_api::Code;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::http::health;
use crate::http::page;
use crate::http::serve::{answer, secure};
use crate::http::socket::Door;
use crate::tls::Tls;

/// Answers the requests of a connection until its client closes it, or this node may act.
pub(crate) async fn refuse(
    stream: TcpStream,
    peer: SocketAddr,
    node: String,
    tls: Option<Tls>,
    closing: CancellationToken,
) {
    let (router, door) = (router(tls.is_some()), Door::default());
    match tls {
        None => answer(stream, peer, router, door, &node, &closing).await,
        Some(tls) => {
            let Some(stream) = secure(&tls, stream, peer).await else { return };
            answer(stream, peer, router, door, &node, &closing).await;
        }
    }
}

fn router(is_tls: bool) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::has_no_session))
        .fallback(async || {
            let detail = "this node is not a part of its cluster yet; ask another node, or again";
            ApiError::new(Code::NotOwner, detail)
        })
        .layer(from_fn_with_state(is_tls, page::headers))
}
