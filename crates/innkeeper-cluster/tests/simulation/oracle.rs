//! Judges what rooms and callers saw, by the order in which it happened.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What happened, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) begun: u64,
    pub(crate) effects: u64,
    pub(crate) held: u64,
    pub(crate) dropped: u64,
    pub(crate) moved: u64,
    pub(crate) declined: u64,
    pub(crate) evicted: u64,
    pub(crate) left: u64,
    pub(crate) crashed: u64,
    pub(crate) failed_joins: u64,
    pub(crate) owners: u64,
}

#[derive(Clone)]
pub(crate) struct Oracle(Arc<Mutex<State>>);

struct State {
    shards: Vec<Shard>,
    counts: Counts,
    wrong: Option<String>,
}

#[derive(Clone)]
struct Shard {
    /// The highest epoch under which a message was begun.
    epoch: u64,
    last: Instant,
}

impl Oracle {
    pub(crate) fn new(shards: u16) -> Oracle {
        let shard = Shard { epoch: 0, last: Instant::now() };
        let shards = vec![shard; usize::from(shards)];
        Oracle(Arc::new(Mutex::new(State { shards, counts: Counts::default(), wrong: None })))
    }

    pub(crate) fn count(&self, what: impl FnOnce(&mut Counts)) {
        what(&mut self.0.lock().counts);
    }

    /// A message was begun.
    pub(crate) fn begun(&self, node: usize, shard: u16, epoch: u64) {
        let mut state = self.0.lock();
        let seen = &mut state.shards[usize::from(shard)];
        let (before, is_new) = (seen.epoch, epoch > seen.epoch);
        seen.epoch = before.max(epoch);
        seen.last = Instant::now();
        state.counts.begun += 1;
        state.counts.owners += u64::from(is_new);
        if epoch < before {
            state.wrong.get_or_insert(format!(
                "node {node} began a message of shard {shard} under {epoch}, after {before}"
            ));
        }
    }

    /// Somebody outside saw something of a message that was begun under this epoch.
    pub(crate) fn effect(&self, node: usize, shard: u16, epoch: u64) {
        let mut state = self.0.lock();
        let begun = state.shards[usize::from(shard)].epoch;
        state.counts.effects += 1;
        if epoch < begun {
            state.wrong.get_or_insert(format!(
                "an output of node {node} for shard {shard} left under {epoch}, after {begun}"
            ));
        }
    }

    /// Nothing was wrong, and lately every shard was served.
    pub(crate) fn verdict(&self, lately: Duration) -> Result<Counts, String> {
        let state = self.0.lock();
        if let Some(wrong) = &state.wrong {
            return Err(wrong.clone());
        }
        let silent = state.shards.iter().position(|shard| shard.last.elapsed() > lately);
        match silent {
            Some(shard) => Err(format!("nobody serves shard {shard} though all is well")),
            None => Ok(state.counts.clone()),
        }
    }
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Counts) {
        for (sum, part) in self.all_mut().into_iter().zip(other.clone().all_mut()) {
            *sum.1 += *part.1;
        }
    }

    pub(crate) fn assert_every_outcome_occurred(mut self) {
        for (name, count) in self.all_mut() {
            assert!(*count > 0, "no seed had any {name}");
        }
    }

    fn all_mut(&mut self) -> [(&'static str, &mut u64); 11] {
        [
            ("begun", &mut self.begun),
            ("effects", &mut self.effects),
            ("held", &mut self.held),
            ("dropped", &mut self.dropped),
            ("moved", &mut self.moved),
            ("declined", &mut self.declined),
            ("evicted", &mut self.evicted),
            ("left", &mut self.left),
            ("crashed", &mut self.crashed),
            ("failed_joins", &mut self.failed_joins),
            ("owners", &mut self.owners),
        ]
    }
}
