//! Judges what rooms and callers saw, by the order in which it happened, and by when.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::world::counts::counts;

counts!(begun, effects, held, dropped, moved, declined, owners);

#[derive(Clone)]
pub(crate) struct Oracle(Arc<Mutex<State>>);

/// How long a shard may be without an owner while all is well: it moves, and nothing runs any more.
const PAUSE: Duration = Duration::from_secs(1);

struct State {
    shards: Vec<Shard>,
    counts: Counts,
    wrong: Option<String>,
    /// From when on all has been well for so long that every shard has an owner.
    settled: Option<Instant>,
}

#[derive(Clone)]
struct Shard {
    /// The highest epoch under which a message was begun.
    epoch: u64,
    /// When a node acted for it last, whether it had anything to do or not.
    served: Instant,
}

impl Oracle {
    pub(crate) fn new(shards: u16) -> Oracle {
        let shard = Shard { epoch: 0, served: Instant::now() };
        let (shards, counts) = (vec![shard; usize::from(shards)], Counts::default());
        Oracle(Arc::new(Mutex::new(State { shards, counts, wrong: None, settled: None })))
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

    /// A node acts for a shard: its gate is open, or something runs that was begun before it shut.
    pub(crate) fn served(&self, shard: u16) {
        let mut state = self.0.lock();
        state.look_at(shard);
        state.shards[usize::from(shard)].served = Instant::now();
    }

    /// All has been well for so long that every shard has an owner, and keeps having one.
    pub(crate) fn settle(&self) {
        let mut state = self.0.lock();
        state.settled = Some(Instant::now());
    }

    /// Nothing was wrong, and since all was settled every shard had an owner.
    pub(crate) fn verdict(&self) -> Result<Counts, String> {
        let mut state = self.0.lock();
        for shard in 0..state.shards.len() as u16 {
            state.look_at(shard);
        }
        match &state.wrong {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(state.counts.clone()),
        }
    }
}

impl State {
    /// Whether a shard was without an owner for too long until now.
    fn look_at(&mut self, shard: u16) {
        let Some(settled) = self.settled else { return };
        let served = self.shards[usize::from(shard)].served;
        if served.max(settled).elapsed() > PAUSE {
            let since = served.elapsed();
            self.wrong.get_or_insert(format!(
                "nobody has served shard {shard} for {since:?} though all is well"
            ));
        }
    }
}
