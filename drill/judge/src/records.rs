//! What is written down during a drill, a line of JSON each.
//!
//! Instants are nanoseconds of `CLOCK_BOOTTIME`, which all processes of a machine share.

#![allow(missing_docs)] // The fields are what their names say.

use serde::{Deserialize, Serialize};

/// What kind of drill it was: `drill.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setting {
    /// What it has to have had to count.
    pub form: Form,
    /// How long a session lasts: D.
    pub session_ms: u64,
    /// What ran, as the programs say themselves.
    pub versions: Vec<String>,
    /// What the cluster's records begin with in etcd.
    pub prefix: String,
}

/// How much has to have happened in a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// As much as the design asks for.
    Long,
    /// Something of everything.
    Short,
    /// A drill that is to show a mistake: nothing.
    Control,
}

/// What a node writes down: `node-NAME-START.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noted {
    /// It has a session, of this name in the coordinator.
    Joined { session: String, at: u64 },
    /// The session is over.
    Over { session: String, is_left: bool, at: u64 },
    /// User code begins with a count that was handed over: it was that, under an epoch before.
    Handed { key: String, epoch: u64, incarnation: u64, from: u64, count: u64, at: u64 },
    /// User code began a call.
    Began { call: u64, key: String, epoch: u64, incarnation: u64, at: u64 },
    /// What it had to say got out at `at`; user code was done with it at `ended`.
    Released {
        call: u64,
        key: String,
        epoch: u64,
        incarnation: u64,
        count: u64,
        ended: u64,
        at: u64,
    },
    /// A call had no end, long after its time.
    Hung { call: u64, at: u64 },
}

/// A call as whoever made it saw it: `client-NAME.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Which, of all.
    pub call: u64,
    /// Of what.
    pub key: String,
    /// Which node it was put to.
    pub node: String,
    /// Read before it was sent.
    pub began: u64,
    /// Read after the answer had come.
    pub ended: u64,
    /// What it came to.
    pub outcome: Outcome,
}

/// What a call came to. There is nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran, and this is what the counter said.
    Ok { epoch: u64, incarnation: u64, count: u64 },
    /// It did not run and will not.
    NotDelivered { why: String },
    /// It may have run.
    Unknown { why: String },
}

/// What whoever made the faults writes down: `faults.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Staged {
    /// `kind` was done to `target`, and undone.
    Fault { kind: String, target: String, began: u64, ended: u64 },
    /// Everything was well in between.
    Quiet { from: u64, until: u64 },
}

/// The kind of fault in which a process stands still: what it does is done before or after.
pub const STOP: &str = "stop";

/// What has to be in a drill, by kind of fault.
pub const FAULTS: [&str; 10] = [
    "cut",
    "one way in",
    "one way out",
    "pair",
    STOP,
    "kill",
    "etcd leader stopped",
    "etcd disk frozen",
    "restart",
    "join and leave",
];

/// A change of the cluster's records, in order: `records.jsonl`, taken from etcd's own history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A session began, or was written anew.
    Session { id: String },
    /// A session is no more.
    Gone { id: String },
    /// A shard has an owner.
    Shard { shard: String, epoch: u64, owner: String },
}
