//! The way from HTTP to a channel socket.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use innkeeper_api::Code;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::app::App;
use crate::channels::socket::Guest;
use crate::error::ApiError;
use crate::http::Peer;
use crate::http::extract::QueryOf;
use crate::user;

/// What Phoenix calls its subprotocol.
const PHOENIX: &str = "phoenix";

/// What a client says when it connects.
#[derive(Deserialize)]
pub(crate) struct Hello {
    vsn: Option<String>,
    user: Option<String>,
    token: Option<String>,
}

/// What becomes of a connection: a handshake that is let in is left here, and found by the task of
/// the connection when the answer has been sent.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<Mutex<Option<LetIn>>>);

/// A handshake that was let in.
pub(crate) struct LetIn {
    pub(crate) guest: Guest,
    pub(crate) on_upgrade: OnUpgrade,
}

impl Door {
    pub(crate) fn let_in(&self) -> Option<LetIn> {
        self.0.lock().take()
    }
}

/// `GET /socket/websocket?vsn=2.0.0&user=NAME`
pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(door): Extension<Door>,
    QueryOf(hello): QueryOf<Hello>,
    mut request: Request,
) -> Result<Response, ApiError> {
    // Before all that makes it a handshake: of one that is refused a browser tells its page
    // nothing, so the page asks the same once more without.
    let permit = hello.user.as_deref().map(|user| {
        user::check_name(user)?;
        app.admit(user, hello.token.as_deref())
    });
    let permit = permit.transpose()?;
    let key = key(request.headers()).map_err(not_upgraded)?;
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let on_upgrade =
        on_upgrade.ok_or("this connection cannot be upgraded").map_err(not_upgraded)?;
    if let Some(other) = hello.vsn.filter(|vsn| !vsn.starts_with("2.")) {
        let detail = format_args!("expected vsn=2.0.0, got {other:?}: this speaks protocol V2");
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let missing = "expected user=NAME in the address of the socket";
    let (user, permit) =
        hello.user.zip(permit).ok_or_else(|| ApiError::new(Code::BadRequest, missing))?;
    if app.intake.is_draining() {
        return Err(ApiError::draining());
    }
    let accept = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, key),
    ];
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, accept).into_response();
    // Clients that offer it, as newer ones of Phoenix do, hang up if it is not taken.
    if names(request.headers(), &SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == PHOENIX) {
        let taken = HeaderValue::from_static(PHOENIX);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, taken);
    }
    let guest = Guest { user: user.into(), permit, peer };
    *door.0.lock() = Some(LetIn { guest, on_upgrade });
    Ok(response)
}

/// The answer to the key of a handshake (RFC 6455, 4.2.1), or what is missing.
fn key(headers: &HeaderMap) -> Result<HeaderValue, &'static str> {
    let has =
        |name, expected: &str| names(headers, name).any(|word| word.eq_ignore_ascii_case(expected));
    if !has(&CONNECTION, "upgrade") {
        return Err("expected the header Connection: upgrade");
    }
    if !has(&UPGRADE, "websocket") {
        return Err("expected the header Upgrade: websocket");
    }
    if !has(&SEC_WEBSOCKET_VERSION, "13") {
        return Err("expected the header Sec-WebSocket-Version: 13");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or("expected the header Sec-WebSocket-Key")?;
    let accept = derive_accept_key(key.as_bytes());
    HeaderValue::from_str(&accept).map_err(|_| "expected another Sec-WebSocket-Key")
}

/// The words in all headers of a name, between commas.
fn names<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn not_upgraded(why: &str) -> ApiError {
    ApiError::new(Code::BadRequest, why).with_status(StatusCode::UPGRADE_REQUIRED)
}
