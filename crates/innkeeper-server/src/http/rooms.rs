//! The API of rooms.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use innkeeper::{GetError, Outcome, ProcessInfo, ProcessRef};
use innkeeper_api::{
    Code, ExitInfo, MembersPage, NewMessage, Posted, RoomInfo, RoomKey, StartOutcome, StartedRoom,
};

use crate::app::App;
use crate::error::ApiError;
use crate::http::Peer;
use crate::http::extract::{JsonOf, KeyOf};
use crate::http::guard;
use crate::limits;
use crate::room::{Gauge, RoomApi, RoomMessage};
use crate::user;

/// `POST /api/rooms/{key}`: get or start.
pub(crate) async fn start(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    KeyOf(key): KeyOf,
) -> Result<Json<StartedRoom>, ApiError> {
    let _work = app.intake.enter()?;
    let get = app.rooms.get_or_start(&key).timeout(limits::ROOM_TIMEOUT);
    let rate = app.clients.rate(peer.ip());
    let outcome = match &rate {
        Some(rate) => get.limited_by(rate).await,
        None => get.await,
    }?;
    let (outcome, room) = match outcome {
        Outcome::Started(room) => (StartOutcome::Started, room),
        Outcome::Existing(room) => (StartOutcome::Existing, room),
        Outcome::Ignored => {
            return Err(ApiError::new(Code::StartDeclined, "the room chose not to start"));
        }
    };
    Ok(Json(StartedRoom {
        room: key.to_string(),
        incarnation: room.incarnation().to_string(),
        epoch: room.epoch(),
        node: app.node_of(&key).to_string(),
        outcome,
    }))
}

/// `GET /api/rooms/{key}`: look, and never start.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    KeyOf(key): KeyOf,
) -> Result<Json<RoomInfo>, ApiError> {
    let info = app.rooms.everywhere().info(&key).await?.ok_or_else(|| not_running(&key))?;
    Ok(Json(room_info(&app, &key, &info)))
}

/// `GET /api/rooms/{key}/members`: who is in it, as the room itself says.
pub(crate) async fn members(
    State(app): State<Arc<App>>,
    KeyOf(key): KeyOf,
) -> Result<Json<MembersPage>, ApiError> {
    let room = running(&app, &key).await?;
    Ok(Json(room.roster().timeout(limits::ROOM_TIMEOUT).await?))
}

/// `DELETE /api/rooms/{key}`: stop, and answer when the key is free.
pub(crate) async fn stop(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    KeyOf(key): KeyOf,
) -> Result<StatusCode, ApiError> {
    guard::check_admin(&app, &headers)?;
    app.rooms.stop(&key).timeout(limits::STOP_TIMEOUT).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/rooms/{key}/messages`: say something, and start the room if need be.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    KeyOf(key): KeyOf,
    JsonOf(message): JsonOf<NewMessage>,
) -> Result<Json<Posted>, ApiError> {
    user::check_name(&message.user)?;
    app.admit(&message.user, message.token.as_deref())?.check(&key)?;
    let max = app.config.max_message_bytes;
    if message.text.len() > max {
        return Err(ApiError::too_long(message.text.len(), max));
    }
    let _work = app.intake.enter()?;
    let mut asked = None;
    let said = app.ask(&app.rooms, &key, Some(peer.ip()), |room| {
        asked = Some((room.incarnation(), room.epoch()));
        let (user, text) = (message.user.clone(), message.text.clone());
        async move { room.post(user, text).timeout(limits::ROOM_TIMEOUT).await }
    });
    let seq = said.await?;
    let asked = asked.map(|(incarnation, epoch)| (incarnation.to_string(), epoch));
    let (incarnation, epoch) = asked.unwrap_or_default();
    Ok(Json(Posted { seq, incarnation, epoch }))
}

/// `POST /api/rooms/{key}/restart`: kill its process, and answer when it has ended. Its members are
/// told, and come back to the next one.
pub(crate) async fn restart(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    KeyOf(key): KeyOf,
) -> Result<StatusCode, ApiError> {
    guard::check_admin(&app, &headers)?;
    let room = running(&app, &key).await?;
    room.kill();
    let ended = tokio::time::timeout(limits::STOP_TIMEOUT, room.ended()).await;
    ended.map_err(|_| ApiError::still_stopping("the room has not ended yet; it was told to"))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The process of a room, which is not started for this.
async fn running(app: &App, key: &RoomKey) -> Result<ProcessRef<RoomMessage>, ApiError> {
    let got = app.rooms.get(key).timeout(limits::ROOM_TIMEOUT).await;
    got.and_then(Outcome::process).map_err(|error| match error {
        GetError::NotFound => not_running(key),
        error => error.into(),
    })
}

fn not_running(key: &RoomKey) -> ApiError {
    let detail = format_args!("no room {:?} runs; POST here to start it", key.as_str());
    ApiError::new(Code::NotFound, detail)
}

/// The state of a process in a word, or two.
pub(crate) fn state_word(info: &ProcessInfo) -> Cow<'static, str> {
    let word = info.state.map_or("stopping", innkeeper::State::word);
    if info.stuck { format!("{word} (stuck)").into() } else { word.into() }
}

pub(crate) fn room_info(app: &App, key: &RoomKey, info: &ProcessInfo) -> RoomInfo {
    let gauge = info.exposed::<Gauge>();
    let exits = info.exits.iter().rev().map(|exit| ExitInfo {
        incarnation: exit.incarnation.to_string(),
        reason: exit.reason.to_string(),
    });
    RoomInfo {
        room: key.to_string(),
        incarnation: info.incarnation.to_string(),
        epoch: info.epoch,
        node: info.node.as_ref().unwrap_or(&app.node).to_string(),
        state: state_word(info).into_owned(),
        members: gauge.as_ref().map_or(0, |gauge| gauge.members()),
        messages: gauge.as_ref().map_or(0, |gauge| gauge.messages()),
        restarts: info.restarts,
        uptime_ms: u64::try_from(info.age.as_millis()).unwrap_or(u64::MAX),
        mailbox_len: info.mailbox_len as u64,
        exits: exits.collect(),
    }
}
