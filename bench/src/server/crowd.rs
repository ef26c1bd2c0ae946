//! The members of all rooms: brought in, let talk, and asked what they heard.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::child::Peer;
use super::member::{self, Log};
use super::shape::{Shape, Talk};

/// Members that are coming in at once.
const DOORS: usize = 64;

/// How long all may take to come in, and the last messages after the last was due.
const COME_IN: Duration = Duration::from_secs(90);
/// See [`COME_IN`].
const SETTLE: Duration = Duration::from_secs(10);

/// How long they stay when all was heard, for whatever comes twice.
const LINGER: Duration = Duration::from_millis(300);

/// How often it is looked how far they are.
const LOOK: Duration = Duration::from_millis(10);

/// What all members do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    ComeIn,
    Talk,
    Leave,
}

/// What the members of all rooms share.
pub(super) struct Shared {
    pub(super) peer: Peer,
    pub(super) address: String,
    pub(super) doors: Semaphore,
    pub(super) joined: AtomicUsize,
    /// The instant that the schedule of the talk begins at.
    pub(super) began: OnceLock<Instant>,
    /// Members who have heard everything.
    pub(super) done: AtomicUsize,
}

/// What the members of one room share.
pub(super) struct Room {
    pub(super) name: String,
    pub(super) talk: Talk,
    /// What the server calls it, where that is the server's to say.
    pub(super) id: OnceCell<String>,
}

/// Members who are in.
pub(crate) struct Crowd {
    shape: Shape,
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    members: JoinSet<Result<Log, String>>,
    /// Those who read.
    readers: usize,
    pub(crate) came_in: Duration,
}

/// What they heard, in all.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) members: usize,
    pub(crate) delivered: u64,
    /// Messages that somebody did not hear, or heard twice or in another order.
    pub(crate) missing: u64,
    pub(crate) disordered: u64,
    /// Members who were lost on the way, and why the first of them was.
    pub(crate) lost: usize,
    pub(crate) why: Option<String>,
    /// Slow members that the server has put out.
    pub(crate) dropped: usize,
    /// From when it was due until it was heard, in order of size, in microseconds.
    pub(crate) latencies_us: Vec<u32>,
}

impl Crowd {
    /// Brings everybody in.
    ///
    /// # Errors
    /// How many did not come in, and why the first of them did not.
    pub(crate) async fn come_in(peer: Peer, address: &str, shape: &Shape) -> Result<Crowd, String> {
        let began = Instant::now();
        let (phase, _) = watch::channel(Phase::ComeIn);
        let shared = Arc::new(Shared {
            peer,
            address: address.to_owned(),
            doors: Semaphore::new(DOORS),
            joined: AtomicUsize::new(0),
            began: OnceLock::new(),
            done: AtomicUsize::new(0),
        });
        let mut members = JoinSet::new();
        let mut readers = 0;
        for (n, talk) in shape.talks().enumerate() {
            let room = Arc::new(Room { name: format!("r{n}"), talk, id: OnceCell::new() });
            for place in 0..talk.members {
                readers += usize::from(!member::is_slow(&talk, place));
                let (shared, room, phase) = (shared.clone(), room.clone(), phase.subscribe());
                members.spawn(member::run(shared, room, place, phase));
            }
        }
        let came_in = Duration::ZERO;
        let mut crowd = Crowd { shape: *shape, shared, phase, members, readers, came_in };
        crowd.wait_for_joins(began).await?;
        crowd.came_in = began.elapsed();
        Ok(crowd)
    }

    async fn wait_for_joins(&mut self, began: Instant) -> Result<(), String> {
        let all = self.members.len();
        loop {
            let joined = self.shared.joined.load(Ordering::Acquire);
            if joined == all {
                return Ok(());
            }
            let only = format!("only {joined} of {all} came in");
            if began.elapsed() > COME_IN {
                return Err(format!("{only} within {COME_IN:?}"));
            }
            // Nobody ends before the end, except by failing.
            if let Ok(Some(ended)) = timeout(LOOK, self.members.join_next()).await {
                let why = ended.map_err(|panic| panic.to_string())?.err().unwrap_or_default();
                return Err(format!("{only}: {why}"));
            }
        }
    }

    /// Lets them talk until all is heard, or for a while after the last message; how long it took.
    pub(crate) async fn talk(&self) -> Duration {
        let began = *self.shared.began.get_or_init(Instant::now);
        let _ = self.phase.send(Phase::Talk);
        let limit = Duration::from_secs(self.shape.seconds.into()) + SETTLE;
        let is_done = || self.shared.done.load(Ordering::Acquire) == self.readers;
        while !is_done() && began.elapsed() < limit {
            tokio::time::sleep(LOOK).await;
        }
        began.elapsed()
    }

    /// Lets them leave; what they heard.
    pub(crate) async fn leave(mut self) -> Heard {
        tokio::time::sleep(LINGER).await;
        let _ = self.phase.send(Phase::Leave);
        let mut heard = Heard::default();
        while let Some(ended) = self.members.join_next().await {
            match ended.unwrap_or_else(|panic| Err(panic.to_string())) {
                Ok(log) => heard.add(log),
                Err(why) => {
                    heard.lost += 1;
                    heard.why.get_or_insert(why);
                }
            }
        }
        heard.latencies_us.sort_unstable();
        heard
    }
}

impl Heard {
    fn add(&mut self, log: Log) {
        self.members += 1;
        self.dropped += usize::from(log.is_dropped);
        self.delivered += log.latencies_us.len() as u64;
        self.missing += u64::from(log.missing);
        self.disordered += u64::from(log.disordered);
        self.latencies_us.extend(log.latencies_us);
    }

    /// Whether each member heard each message once and in order.
    pub(crate) fn is_whole(&self) -> bool {
        (self.missing, self.disordered, self.lost) == (0, 0, 0)
    }

    /// The latency that a share of the messages was within, in microseconds.
    pub(crate) fn quantile_us(&self, share: f64) -> u32 {
        let last = self.latencies_us.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies_us.get(at).copied().unwrap_or(0)
    }
}
