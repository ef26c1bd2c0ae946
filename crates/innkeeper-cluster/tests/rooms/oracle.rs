//! Judges what rooms did and what callers were told, by the order in which it happened.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::moves::{History, Moves};
use crate::program::{Added, shard_of};
use crate::world::counts::counts;

counts!(
    started,
    begun,
    outputs,
    replies,
    not_delivered,
    unknown,
    found,
    handed,
    accepted,
    transferred,
    kept,
    exact,
    carried
);

/// What a caller was told.
#[derive(Debug)]
pub(crate) enum Seen {
    /// `is_here`: of a room on the caller's own node, so that it took no time.
    Reply {
        added: Added,
        is_here: bool,
    },
    NotDelivered,
    Unknown,
}

#[derive(Clone)]
pub(crate) struct Oracle(Arc<Mutex<State>>);

struct State {
    keys: HashMap<String, Key>,
    next_id: u64,
    /// How often each call was begun.
    begun: HashMap<u64, u64>,
    moves: Moves,
    counts: Counts,
    wrong: Option<String>,
}

#[derive(Default)]
struct Key {
    /// The highest epoch under which anything was begun.
    begun: u64,
    /// The highest that anybody was told of.
    answered: u64,
    /// The count that each epoch has answered last.
    last: HashMap<u64, u64>,
}

/// What was known when something was asked: it may not end with less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    epoch: u64,
    /// The count that had been answered under it by then.
    count: u64,
}

impl Oracle {
    pub(crate) fn new() -> Oracle {
        let (keys, begun, counts) = (HashMap::new(), HashMap::new(), Counts::default());
        let moves = Moves::default();
        let state = State { keys, next_id: 0, begun, moves, counts, wrong: None };
        Oracle(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn count(&self, what: impl FnOnce(&mut Counts)) {
        what(&mut self.0.lock().counts);
    }

    pub(crate) fn wrong(&self, what: String) {
        self.0.lock().wrong.get_or_insert(what);
    }

    /// An `init` begins, with the count that it is handed.
    pub(crate) fn started(&self, key: &str, epoch: u64, handed: Option<u64>) {
        let mut state = self.0.lock();
        state.counts.started += 1;
        state.moves.began(key, epoch, handed);
        state.act(key, epoch, "init");
    }

    /// A room was asked what it takes along.
    pub(crate) fn packed(&self, key: &str, epoch: u64, count: u64) {
        self.0.lock().moves.packed(key, epoch, count);
    }

    /// A cast is in the mailbox of a room that runs under an epoch.
    pub(crate) fn accepted(&self, caller: usize, key: &str, epoch: u64, id: u64) {
        let mut state = self.0.lock();
        state.counts.accepted += 1;
        state.moves.accepted(caller, key, epoch, id);
    }

    /// What a room had under an epoch came to its next process.
    pub(crate) fn handed(&self, key: &str, epoch: u64, count: u64) {
        let mut state = self.0.lock();
        state.counts.handed += 1;
        let answered = state.keys.get(key).and_then(|key| key.last.get(&epoch)).copied();
        if answered.is_some_and(|answered| answered > count) {
            state.fail(format!("{key} took {count} along from {epoch}, after {answered:?}"));
        }
    }

    /// A handler begins.
    pub(crate) fn begun(&self, key: &str, epoch: u64, id: u64) {
        let mut state = self.0.lock();
        state.counts.begun += 1;
        state.moves.begun(id, epoch);
        *state.begun.entry(id).or_default() += 1;
        if state.begun[&id] > 1 {
            state.fail(format!("call {id} to {key} was begun twice"));
        }
        state.act(key, epoch, "handler");
    }

    /// Something that a handler has brought about is seen by others.
    pub(crate) fn left(&self, key: &str, epoch: u64) {
        let mut state = self.0.lock();
        state.counts.outputs += 1;
        let begun = state.keys.get(key).map_or(0, |key| key.begun);
        if epoch < begun {
            state.fail(format!("an output of {key} left under {epoch}, after {begun}"));
        }
    }

    /// What is known of a key.
    pub(crate) fn answered(&self, key: &str) -> Before {
        let state = self.0.lock();
        let Some(known) = state.keys.get(key) else { return Before { epoch: 0, count: 0 } };
        let count = known.last.get(&known.answered).copied().unwrap_or_default();
        Before { epoch: known.answered, count }
    }

    /// A call is about to be made.
    pub(crate) fn asked(&self, key: &str) -> (u64, Before) {
        let before = self.answered(key);
        let mut state = self.0.lock();
        state.next_id += 1;
        (state.next_id, before)
    }

    /// A process was found.
    pub(crate) fn found(&self, key: &str, before: Before, epoch: u64) {
        let mut state = self.0.lock();
        state.counts.found += 1;
        if epoch < before.epoch {
            state.fail(format!("{key} was found under {epoch}, after an answer of {before:?}"));
        }
        let known = state.keys.entry(key.to_owned()).or_default();
        known.answered = known.answered.max(epoch);
    }

    /// A call has ended.
    pub(crate) fn told(&self, key: &str, id: u64, before: Before, seen: Seen, began: Instant) {
        let mut state = self.0.lock();
        match seen {
            Seen::NotDelivered => {
                state.counts.not_delivered += 1;
                // It may not be begun later either: that is looked at in the end.
                state.begun.entry(id).or_default();
                *state.begun.get_mut(&id).unwrap() += 100;
                if state.begun[&id] != 100 {
                    state.fail(format!("call {id} to {key} was not delivered, but had run"));
                }
            }
            Seen::Unknown => state.counts.unknown += 1,
            Seen::Reply { added: Added { epoch, count, .. }, is_here } => {
                state.counts.replies += 1;
                let begun = state.keys.get(key).map_or(0, |key| key.begun);
                if is_here && epoch < begun {
                    state.fail(format!("an answer of {key} left under {epoch}, after {begun}"));
                }
                if state.begun.get(&id) != Some(&1) {
                    state.fail(format!("call {id} to {key} was answered and had not run once"));
                }
                if epoch < before.epoch {
                    let what = format!("{key} answered under {epoch}, after {before:?}");
                    state.fail(format!("{what}, {:?} after it was asked", began.elapsed()));
                }
                if epoch == before.epoch && count <= before.count {
                    let what = format!("{key} answered {count} under {epoch}, after {before:?}");
                    state.fail(format!("{what}: one was lost"));
                }
                let known = state.keys.entry(key.to_owned()).or_default();
                known.answered = known.answered.max(epoch);
                let last = known.last.entry(epoch).or_default();
                *last = (*last).max(count);
            }
        }
    }

    /// Nothing was wrong, by what the coordinator has kept as well.
    pub(crate) fn verdict(&self, history: &History) -> Result<Counts, String> {
        let mut state = self.0.lock();
        if let Some(id) = state.begun.iter().find(|(_, times)| **times > 100).map(|(id, _)| *id) {
            state.fail(format!("call {id} was not delivered, and ran later"));
        }
        if let Some(wrong) = &state.wrong {
            return Err(wrong.clone());
        }
        let seen = state.moves.verdict(history, shard_of)?;
        state.counts.transferred = seen.transferred;
        state.counts.kept = seen.kept;
        state.counts.exact = seen.exact;
        state.counts.carried = seen.carried;
        Ok(state.counts.clone())
    }
}

impl State {
    fn fail(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    /// User code of a key begins under an epoch.
    fn act(&mut self, key: &str, epoch: u64, what: &str) {
        let known = self.keys.entry(key.to_owned()).or_default();
        let before = known.begun;
        known.begun = before.max(epoch);
        if epoch < before {
            self.fail(format!("a {what} of {key} began under {epoch}, after {before}"));
        }
    }
}
