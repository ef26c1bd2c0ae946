//! The way from HTTP to a channel socket.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use innkeeper_api::Code;
use serde::Deserialize;

use crate::app::App;
use crate::channels::socket;
use crate::error::ApiError;
use crate::http::Peer;
use crate::http::extract::QueryOf;
use crate::limits;
use crate::user;

/// What a client says when it connects.
#[derive(Deserialize)]
pub(crate) struct Hello {
    vsn: Option<String>,
    user: Option<String>,
    token: Option<String>,
}

/// `GET /socket/websocket?vsn=2.0.0&user=NAME`
pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    QueryOf(hello): QueryOf<Hello>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|rejection| {
        ApiError::new(Code::BadRequest, rejection.body_text())
            .with_status(StatusCode::UPGRADE_REQUIRED)
    })?;
    if let Some(other) = hello.vsn.filter(|vsn| !vsn.starts_with("2.")) {
        let detail = format_args!("expected vsn=2.0.0, got {other:?}: this speaks protocol V2");
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let missing = "expected user=NAME in the address of the socket";
    let user = hello.user.ok_or_else(|| ApiError::new(Code::BadRequest, missing))?;
    user::check_name(&user)?;
    let permit = app.admit(&user, hello.token.as_deref())?;
    if app.intake.is_draining() {
        return Err(ApiError::draining());
    }
    // JSON may take six bytes for one of the text: a control character is written \u001f.
    let frame_max = 6 * app.config.max_message_bytes + limits::FRAME_OVERHEAD;
    let sockets = app.sockets.clone();
    // The library's buffers are sized for few large streams; there are many small ones here.
    let upgrade = upgrade
        // Clients that offer it, as newer ones of Phoenix do, hang up if it is not taken.
        .protocols(["phoenix"])
        .read_buffer_size(limits::SOCKET_BUFFER)
        .write_buffer_size(limits::SOCKET_BUFFER)
        .max_message_size(frame_max)
        .max_frame_size(frame_max);
    Ok(upgrade.on_upgrade(move |web_socket| {
        sockets.track_future(socket::run(web_socket, user.into(), permit, peer, app))
    }))
}
