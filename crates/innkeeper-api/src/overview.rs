//! What a screen shows of a server: its counters at one instant, and what is wrong in words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer to `GET /api/overview`. Counters only grow while the server runs; whoever asks twice
/// makes rates of them. On a cluster everything but `everywhere` is of the node that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// Which node this is.
    pub node: String,
    /// Its version of this program.
    pub version: String,
    /// `serving` or `draining`.
    pub state: String,
    /// When this was, in milliseconds since the server started.
    pub uptime_ms: u64,
    /// Whether a dashboard shows the buttons that change something.
    pub allow_actions: bool,
    /// What there is now.
    pub now: BTreeMap<String, u64>,
    /// What happened so far.
    pub total: BTreeMap<String, u64>,
    /// The bounds that are set.
    pub limits: BTreeMap<String, u64>,
    /// What the last look at all rooms showed.
    pub census: CensusInfo,
    /// What is wrong, the worst first; empty, and nothing is known to be.
    pub lints: Vec<Lint>,
    /// The whole of the cluster, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everywhere: Option<EverywhereInfo>,
}

/// A cluster, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EverywhereInfo {
    /// Its name.
    pub cluster: String,
    /// How many nodes have a session.
    pub nodes: u64,
    /// Rooms on those that said how many; a few seconds old at most.
    pub rooms: u64,
    /// Whose are not counted, and why, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// A look at every room, made only while somebody asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CensusInfo {
    /// How long ago it was made, in milliseconds.
    pub age_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Rooms by state.
    pub states: BTreeMap<String, u64>,
    /// Members of all rooms, counted by connections.
    pub members: u64,
    /// Messages that wait in all mailboxes.
    pub waiting: u64,
}

/// A process of the supervision tree, and those it supervises: the answer to `GET /api/tree`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeInfo {
    /// What it is called by its supervisor.
    pub id: String,
    /// `supervisor`, `dynamic_supervisor`, `keyed` or `process`.
    pub kind: String,
    /// As that of a room, or `ended`.
    pub state: String,
    /// How long it has been in it, in milliseconds.
    pub age_ms: u64,
    /// How often it was restarted.
    pub restarts: u64,
    /// How many it supervises, or has keys for.
    pub count: u64,
    /// The first of those it supervises, in the order of their start; keys are listed elsewhere.
    pub children: Vec<TreeInfo>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Somebody is not served.
    Bad,
    /// Somebody soon may not be.
    Warn,
}

/// Something that is wrong, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lint {
    /// A stable word for it.
    pub code: String,
    /// How bad it is.
    pub level: Level,
    /// The sentence.
    pub text: String,
    /// Some of the rooms it is about.
    pub rooms: Vec<String>,
}
