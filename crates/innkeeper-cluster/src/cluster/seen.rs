//! What can be seen of a process from another node, as it is written down.

use std::sync::Arc;
use std::time::Duration;

use innkeeper::{Exit as Ended, ExitReason, Incarnation, ProcessInfo, State};
use serde::{Deserialize, Serialize};

use super::asked::Exit;
use crate::limits;
use crate::remote::Remote;

/// [`ProcessInfo`], written down, but for what whoever asks knows already.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    incarnation: u64,
    epoch: u64,
    state: Option<InState>,
    age: Duration,
    stuck: bool,
    mailbox_len: u64,
    restarts: u64,
    exits: Vec<(u64, Exit)>,
    watchers: u64,
    links: u64,
    exposed: Option<Vec<u8>>,
}

/// [`State`], written down.
#[derive(Debug, Serialize, Deserialize)]
enum InState {
    Starting,
    Live,
    Restarting,
    Stopping,
    Parked,
}

impl Seen {
    pub(crate) fn of<P: Remote>(info: ProcessInfo) -> Seen {
        let exposed = info.exposed.zip(P::EXPOSES);
        let exposed = exposed.and_then(|(exposed, how)| how.write(&*exposed));
        Seen {
            incarnation: info.incarnation.to_bits(),
            epoch: info.epoch,
            state: info.state.map(InState::from),
            age: info.age,
            stuck: info.stuck,
            mailbox_len: info.mailbox_len as u64,
            restarts: info.restarts,
            exits: info
                .exits
                .into_iter()
                .map(|exit| (exit.incarnation.to_bits(), exit.reason.into()))
                .collect(),
            watchers: info.watchers as u64,
            links: info.links as u64,
            exposed: exposed.filter(|bytes| bytes.len() <= limits::EXPOSED_BYTES_MAX),
        }
    }

    /// The same, of a process of this name on the node of that name.
    pub(crate) fn info<P: Remote>(self, name: String, node: Arc<str>) -> ProcessInfo {
        let mut info = ProcessInfo::new(name, Incarnation::from_bits(self.incarnation));
        let exit = |(incarnation, reason)| Ended {
            incarnation: Incarnation::from_bits(incarnation),
            reason: ExitReason::from(reason),
        };
        info.epoch = self.epoch;
        info.node = Some(node);
        info.state = self.state.map(State::from);
        info.age = self.age;
        info.stuck = self.stuck;
        info.mailbox_len = length(self.mailbox_len);
        info.restarts = self.restarts;
        info.exits = self.exits.into_iter().map(exit).collect();
        info.watchers = length(self.watchers);
        info.links = length(self.links);
        let exposed = self.exposed.zip(P::EXPOSES);
        info.exposed = exposed.and_then(|(exposed, how)| how.read(&exposed));
        info
    }
}

fn length(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl From<State> for InState {
    fn from(state: State) -> Self {
        match state {
            State::Starting => InState::Starting,
            State::Live => InState::Live,
            State::Restarting => InState::Restarting,
            State::Parked => InState::Parked,
            State::Stopping | _ => InState::Stopping,
        }
    }
}

impl From<InState> for State {
    fn from(state: InState) -> Self {
        match state {
            InState::Starting => State::Starting,
            InState::Live => State::Live,
            InState::Restarting => State::Restarting,
            InState::Stopping => State::Stopping,
            InState::Parked => State::Parked,
        }
    }
}
