//! What can be seen of processes from outside: snapshots on demand and a bounded stream of events.
//!
//! Nothing here is sampled or sent unless somebody looks.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::seam::atomic::{AtomicU64, Ordering};

use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::registry::slot::{Exit, State};

/// A process at one instant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// What it is called: its key, its child id, or its type.
    pub name: String,
    /// The present incarnation, or the last one.
    pub incarnation: Incarnation,
    /// The epoch of the ownership that it runs under; 0 on one node.
    pub epoch: u64,
    /// The node that it runs on, by name; `None` if it is the one that was asked.
    pub node: Option<Arc<str>>,
    /// Where it is in its life; `None` once it is gone for good.
    pub state: Option<State>,
    /// How long it has been in that state.
    pub age: Duration,
    /// It was to be killed and has not come to an await point since: its code is stuck.
    pub stuck: bool,
    /// Messages that wait.
    pub mailbox_len: usize,
    /// Restarts of this key or child so far.
    pub restarts: u64,
    /// Its last crashes, oldest first.
    pub exits: Vec<Exit>,
    /// Monitors and links on it.
    pub watchers: usize,
    /// The links among them.
    pub links: usize,
    /// What it lets others see; see [`Context::expose`](crate::Context::expose).
    pub exposed: Option<Arc<dyn Any + Send + Sync>>,
}

impl ProcessInfo {
    /// One that is in no state, and that nothing has happened to.
    pub fn new(name: String, incarnation: Incarnation) -> Self {
        ProcessInfo {
            name,
            incarnation,
            epoch: 0,
            node: None,
            state: None,
            age: Duration::ZERO,
            stuck: false,
            mailbox_len: 0,
            restarts: 0,
            exits: Vec::new(),
            watchers: 0,
            links: 0,
            exposed: None,
        }
    }

    /// What the process exposes, if it is a `T`.
    pub fn exposed<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.exposed.clone()?.downcast().ok()
    }
}

/// What happened to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// `init` begins, at once or when its node lets it in; `again` after a crash.
    Starting {
        /// Whether this is a restart.
        again: bool,
    },
    /// It is ready.
    Ready {
        /// Whether this was a restart.
        again: bool,
        /// How long `init` took.
        took: Duration,
    },
    /// `init` declined.
    Declined,
    /// A first start failed; the key is free.
    StartFailed(ExitReason),
    /// It crashed, or exited and is permanent; the next incarnation is on its way.
    Restarting {
        /// Why the last one ended.
        reason: ExitReason,
        /// The longest wait before the next one.
        within: Duration,
    },
    /// It ended, by itself or because a sibling did, and is started again with its siblings, as the
    /// strategy of its supervisor says.
    Held(ExitReason),
    /// Somebody asked for it with other arguments than it was started with.
    ArgsDiffer,
    /// It used up its restart budget, with this last exit.
    Parked(ExitReason),
    /// It ended, and none follows.
    Stopped(ExitReason),
    /// Casts that had been accepted were lost.
    CastsLost {
        /// Those that waited when it ended without a successor.
        waiting: usize,
        /// The one being handled when it crashed.
        begun: bool,
    },
    /// What it wanted to take along to another node is more than
    /// [`limits::HANDOFF_BYTES_MAX`](crate::limits::HANDOFF_BYTES_MAX): it ends as one that takes
    /// nothing along.
    StateTooLarge {
        /// How much it is.
        bytes: usize,
    },
}

/// Something that happened to the process of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event<K> {
    /// Whose process.
    pub key: K,
    /// Which incarnation.
    pub incarnation: Incarnation,
    /// What happened.
    pub what: What,
}

impl<K> Event<K> {
    /// As it is heard of another node.
    pub fn new(key: K, incarnation: Incarnation, what: What) -> Self {
        Event { key, incarnation, what }
    }
}

/// What happened in a scope so far, in numbers that only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Starts and restarts that became ready.
    pub started: u64,
    /// First starts that failed.
    pub failed: u64,
    /// Starts that declined.
    pub declined: u64,
    /// How often processes were started again.
    pub restarts: u64,
    /// Keys parked.
    pub parked: u64,
    /// Ends without a successor, by [`ExitReason::kind`].
    pub exits: Vec<(&'static str, u64)>,
    /// Accepted casts that were lost.
    pub casts_lost: u64,
    /// Messages refused because a mailbox was full.
    pub mailbox_full: u64,
    /// How often remembered keys could not be listed.
    pub unlisted: u64,
    /// How long `init` took: for each bound of [`START_SECONDS`], how many took no longer than it
    /// and longer than the one before.
    pub start_buckets: Vec<u64>,
    /// The sum of all those times.
    pub start_time: Duration,
}

/// The bounds of [`Counters::start_buckets`], in seconds.
pub const START_SECONDS: [f64; 7] = [0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0, f64::INFINITY];

const KINDS: [&str; 9] = [
    "normal",
    "idle",
    "shutdown",
    "killed",
    "panicked",
    "failed",
    "start_timeout",
    "not_admitted",
    "noproc",
];

/// The numbers behind [`Counters`], in parts, so that cores which count at once rarely meet.
#[derive(Debug, Default)]
pub(crate) struct Tally([Part; 8]);

/// Kept apart from its neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part {
    failed: AtomicU64,
    declined: AtomicU64,
    restarts: AtomicU64,
    parked: AtomicU64,
    exits: [AtomicU64; KINDS.len()],
    casts_lost: AtomicU64,
    mailbox_full: AtomicU64,
    unlisted: AtomicU64,
    start_buckets: [AtomicU64; START_SECONDS.len()],
    start_ns: AtomicU64,
}

impl Tally {
    /// Counts what happened to the process of a key; whose hash says where.
    pub(crate) fn count(&self, hash: u64, what: &What) {
        let part = self.part(hash);
        match what {
            What::Ready { took, .. } => {
                let seconds = took.as_secs_f64();
                if let Some(at) = START_SECONDS.iter().position(|bound| seconds <= *bound) {
                    add(&part.start_buckets[at], 1);
                }
                add(&part.start_ns, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            }
            What::Declined => add(&part.declined, 1),
            What::StartFailed(_) => add(&part.failed, 1),
            What::Restarting { .. } => add(&part.restarts, 1),
            What::Parked(_) => add(&part.parked, 1),
            What::Stopped(reason) => {
                if let Some(at) = KINDS.iter().position(|kind| *kind == reason.kind()) {
                    add(&part.exits[at], 1);
                }
            }
            What::CastsLost { waiting, begun } => {
                add(&part.casts_lost, *waiting as u64 + u64::from(*begun));
            }
            What::Starting { .. }
            | What::Held(_)
            | What::ArgsDiffer
            | What::StateTooLarge { .. } => {}
        }
    }

    pub(crate) fn refused(&self, hash: u64) {
        add(&self.part(hash).mailbox_full, 1);
    }

    /// The remembered keys could not be listed.
    pub(crate) fn unlisted(&self) {
        add(&self.part(0).unlisted, 1);
    }

    /// How many keys were ever parked: none, and nobody needs to look for those that are over it.
    pub(crate) fn parked(&self) -> u64 {
        self.sum(|part| &part.parked)
    }

    pub(crate) fn counters(&self) -> Counters {
        let buckets = 0..START_SECONDS.len();
        let start_buckets: Vec<_> =
            buckets.map(|at| self.sum(|part| &part.start_buckets[at])).collect();
        let exits = KINDS.iter().enumerate();
        Counters {
            started: start_buckets.iter().sum(),
            failed: self.sum(|part| &part.failed),
            declined: self.sum(|part| &part.declined),
            restarts: self.sum(|part| &part.restarts),
            parked: self.parked(),
            exits: exits.map(|(at, kind)| (*kind, self.sum(|part| &part.exits[at]))).collect(),
            casts_lost: self.sum(|part| &part.casts_lost),
            mailbox_full: self.sum(|part| &part.mailbox_full),
            unlisted: self.sum(|part| &part.unlisted),
            start_buckets,
            start_time: Duration::from_nanos(self.sum(|part| &part.start_ns)),
        }
    }

    fn part(&self, hash: u64) -> &Part {
        &self.0[hash as usize % self.0.len()]
    }

    fn sum(&self, number: impl Fn(&Part) -> &AtomicU64) -> u64 {
        self.0.iter().map(|part| number(part).load(Ordering::Relaxed)).sum()
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
