//! Rooms, their messages, and what happens to them.

use serde::{Deserialize, Serialize};

/// How a room came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartOutcome {
    /// This request started it.
    Started,
    /// It was there, or was started for somebody else at the same time.
    Existing,
}

/// The answer to `POST /api/rooms/{key}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedRoom {
    /// Its key.
    pub room: String,
    /// Which run of its process.
    pub incarnation: String,
    /// The fencing token of its ownership; 0 on one node.
    pub epoch: u64,
    /// Where it runs.
    pub node: String,
    /// Whether it was started.
    pub outcome: StartOutcome,
}

/// The answer to `GET /api/rooms/{key}`, and a row of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo {
    /// Its key.
    pub room: String,
    /// Which run of its process.
    pub incarnation: String,
    /// The fencing token of its ownership; 0 on one node.
    pub epoch: u64,
    /// Where it runs.
    pub node: String,
    /// `starting`, `live`, `restarting`, `stopping`, `stopping (stuck)` or `parked`.
    pub state: String,
    /// Who is in it now, counted by connections.
    pub members: u64,
    /// Messages said in this incarnation.
    pub messages: u64,
    /// Restarts of this room since it was first started.
    pub restarts: u64,
    /// How long it has been in its state, in milliseconds.
    pub uptime_ms: u64,
    /// Messages that wait for it.
    pub mailbox_len: u64,
    /// Its last crashes, the latest first; bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exits: Vec<ExitInfo>,
}

/// How an incarnation of a room ended that was not meant to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitInfo {
    /// Which one.
    pub incarnation: String,
    /// Why.
    pub reason: String,
}

/// The answer to `GET /api/rooms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomsPage {
    /// In the order of their keys, or in the one that was asked for.
    pub rooms: Vec<RoomInfo>,
    /// What to pass as `after` for the next page; none, and this was the last.
    pub next: Option<String>,
    /// What to pass as `after_value` with it, where the order is not that of the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_value: Option<u64>,
    /// On a cluster: whose rooms may not be among them, and why, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// The answer to `GET /api/rooms/{key}/members`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersPage {
    /// The first of those who are in the room, by name.
    pub members: Vec<MemberInfo>,
    /// How many there are in all: a name counts once, however often it is there.
    pub count: u64,
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Who.
    pub user: String,
    /// Since when the first of their connections is there, by the room's node, in RFC 3339.
    pub since: String,
    /// How many connections they have to this room.
    pub connections: u64,
    /// The nodes that those came to.
    pub nodes: Vec<String>,
}

/// The body of `POST /api/rooms/{key}/messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Who says it.
    pub user: String,
    /// What is said.
    pub text: String,
    /// Who says so, where the server asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// Its number in the room: one more than the one before, in the same incarnation.
    pub seq: u64,
    /// Which run of the room.
    pub incarnation: String,
    /// The fencing token of its ownership; 0 on one node.
    pub epoch: u64,
}

/// Something that was said in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number in the room.
    pub seq: u64,
    /// Who said it.
    pub from: String,
    /// What was said.
    pub text: String,
    /// When, by the room's node, in RFC 3339.
    pub at: String,
}

/// Something that happened: the data of one event of `GET /api/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Of a room or a bucket `started`, `restarted`, `parked` or `stopped`; of a shard `moved`; of
    /// a node `evicted` or `left`, and of the one that is asked `frozen` and `thawed`.
    pub event: String,
    /// `room`, `bucket`, `shard` or `node`.
    pub kind: String,
    /// Its key, its number or its name.
    pub key: String,
    /// Which run of its process; empty for what is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub incarnation: String,
    /// On which node; the owner of a shard from now on.
    pub node: String,
    /// Why, where there is a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Events that are not told: the data of the event `lagged`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Those of which node.
    pub node: String,
    /// How many. `None`: nobody knows, for the node could not be heard for a while.
    pub missed: Option<u64>,
}
