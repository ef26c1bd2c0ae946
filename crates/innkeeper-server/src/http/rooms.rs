//! The API of rooms.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use innkeeper::{Outcome, ProcessInfo};
use innkeeper_api::{
    Code, NewMessage, Posted, RoomInfo, RoomKey, RoomsPage, StartOutcome, StartedRoom,
};
use serde::Deserialize;

use crate::app::App;
use crate::error::ApiError;
use crate::http::Peer;
use crate::http::extract::{JsonOf, KeyOf, QueryOf};
use crate::http::guard;
use crate::limits;
use crate::room::{Gauge, RoomApi};
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
        epoch: 0,
        node: app.node.to_string(),
        outcome,
    }))
}

/// `GET /api/rooms/{key}`: look, and never start.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    KeyOf(key): KeyOf,
) -> Result<Json<RoomInfo>, ApiError> {
    let info = app.rooms.info(&key).ok_or_else(|| {
        let detail = format_args!("no room {:?} runs; POST here to start it", key.as_str());
        ApiError::new(Code::NotFound, detail)
    })?;
    Ok(Json(room_info(&app, &key, &info)))
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
    let max = app.config.max_message_bytes;
    if message.text.len() > max {
        return Err(ApiError::too_long(message.text.len(), max));
    }
    let _work = app.intake.enter()?;
    let mut incarnation = None;
    let said = app.ask(&app.rooms, &key, Some(peer.ip()), |room| {
        incarnation = Some(room.incarnation());
        let (user, text) = (message.user.clone(), message.text.clone());
        async move { room.post(user, text).timeout(limits::ROOM_TIMEOUT).await }
    });
    let seq = said.await?;
    let incarnation = incarnation.map(|incarnation| incarnation.to_string()).unwrap_or_default();
    Ok(Json(Posted { seq, incarnation, epoch: 0 }))
}

/// What part of the list is wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    #[serde(default)]
    prefix: String,
    after: Option<RoomKey>,
    limit: Option<usize>,
}

/// `GET /api/rooms`: a page, in the order of the keys.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    QueryOf(part): QueryOf<Part>,
) -> Result<Json<RoomsPage>, ApiError> {
    let limit = part.limit.unwrap_or(limits::PAGE);
    if limit == 0 || limit > limits::PAGE {
        let detail = format_args!("expected a limit of 1 to {}, got {limit}", limits::PAGE);
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let wanted = |key: &RoomKey| key.as_str().starts_with(&part.prefix);
    // One more than asked for tells whether there is a next page.
    let mut rows = app.rooms.page(part.after.as_ref(), limit + 1, wanted).await;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| row.key.to_string());
    let rooms = rows.iter().map(|row| room_info(&app, &row.key, &row.info)).collect();
    Ok(Json(RoomsPage { rooms, next }))
}

fn room_info(app: &App, key: &RoomKey, info: &ProcessInfo) -> RoomInfo {
    let gauge = info.exposed::<Gauge>();
    let word = info.state.map_or("stopping", innkeeper::State::word);
    let state = if info.stuck { format!("{word} (stuck)") } else { word.to_owned() };
    RoomInfo {
        room: key.to_string(),
        incarnation: info.incarnation.to_string(),
        epoch: 0,
        node: app.node.to_string(),
        state,
        members: gauge.as_ref().map_or(0, |gauge| gauge.members()),
        messages: gauge.as_ref().map_or(0, |gauge| gauge.messages()),
        restarts: info.restarts,
        uptime_ms: u64::try_from(info.age.as_millis()).unwrap_or(u64::MAX),
        mailbox_len: info.mailbox_len as u64,
    }
}
