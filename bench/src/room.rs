//! The room that is measured: it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use innkeeper::{
    ChildSpec, Context, Keyed, KeyedBuilder, Message, Process, ProcessRef, ReplyTo, Restart,
    RestartBudget, StartError, Supervisor,
};
use tokio::sync::mpsc;

/// How many rooms ever ran their `init`.
pub static STARTS: AtomicU64 = AtomicU64::new(0);

/// What a room crashes with.
pub const BOOM: &str = "boom";

/// What a room is started with; nothing, in nearly all workloads.
#[derive(Debug, Default)]
pub struct Extra {
    /// How long its `init` takes.
    pub slow: Option<Duration>,
    /// Where it says that its `init` is over.
    pub up: Option<mpsc::Sender<Instant>>,
}

/// What a room is started with.
pub type Args = Option<Arc<Extra>>;

/// The state of a room.
#[derive(Debug)]
pub struct Counter(u64);

/// What is said to a room.
#[derive(Debug)]
pub enum Say {
    /// Add this and answer the sum.
    Add(u64),
    /// Add this.
    Cast(u64),
    /// Panic, with [`BOOM`].
    Crash,
}

impl Message for Say {
    type Reply = u64;
}

impl Process for Counter {
    type Args = Args;
    type Message = Say;

    async fn init(args: &Args, _: &mut Context<Self>) -> Result<Self, StartError> {
        STARTS.fetch_add(1, Ordering::Relaxed);
        if let Some(extra) = args {
            if let Some(time) = extra.slow {
                tokio::time::sleep(time).await;
            }
            if let Some(up) = &extra.up {
                let _ = up.try_send(Instant::now());
            }
        }
        Ok(Counter(0))
    }

    async fn handle(&mut self, said: Say, reply: ReplyTo<Say>, _: &mut Context<Self>) {
        match said {
            Say::Add(n) => {
                self.0 += n;
                reply.send(self.0);
            }
            Say::Cast(n) => self.0 += n,
            Say::Crash => std::panic::panic_any(BOOM),
        }
    }
}

/// The address of a room.
pub type RoomRef = ProcessRef<Say>;

/// The rooms of one run.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// The rooms by key.
    pub keyed: Keyed<String, Counter>,
    /// What they are under.
    pub supervisor: Supervisor,
}

impl Rooms {
    /// A place for any number of rooms, each of which may crash as often as it likes.
    ///
    /// # Panics
    /// If it cannot be had; so for the others here: a figure without its rooms is none.
    pub async fn open() -> Rooms {
        Rooms::open_with(|keyed| keyed).await
    }

    /// As [`open`](Self::open), with something else set up.
    pub async fn open_with(
        set_up: impl FnOnce(KeyedBuilder<String, Counter>) -> KeyedBuilder<String, Counter>,
    ) -> Rooms {
        let supervisor = Supervisor::new().start().await.expect("a supervisor starts");
        let budget = RestartBudget::new(u32::MAX, Duration::from_secs(1))
            .backoff(Duration::ZERO, Duration::ZERO);
        let spec = ChildSpec::new().restart(Restart::Transient);
        let keyed = Keyed::<String, Counter>::with_args(spec, |_| None)
            .restart_budget(budget)
            .max_children(usize::MAX);
        let keyed = set_up(keyed).start(&supervisor).await.expect("a scope starts");
        Rooms { keyed, supervisor }
    }

    /// The room of a key, started if there is none.
    pub async fn get(&self, key: &String) -> RoomRef {
        let outcome = self.keyed.get_or_start(key).await;
        outcome.and_then(innkeeper::Outcome::process).expect("a room")
    }

    /// As [`get`](Self::get), started with this.
    pub async fn get_with(&self, key: &String, args: Args) -> RoomRef {
        let outcome = self.keyed.get_or_start_with(key, args).await;
        outcome.and_then(innkeeper::Outcome::process).expect("a room")
    }
}

/// Says a number and answers the sum.
pub async fn add(room: &RoomRef, n: u64) -> u64 {
    room.call(Say::Add(n)).without_timeout().await.expect("a sum")
}

/// As `add`, with a deadline that is armed.
pub async fn add_in_time(room: &RoomRef, n: u64) -> u64 {
    room.call(Say::Add(n)).timeout(Duration::from_secs(5)).await.expect("a sum")
}

/// Says a number; waits a moment where the mailbox is full, which is what a bound is for.
pub async fn cast(room: &RoomRef, n: u64) {
    while room.cast(Say::Cast(n)).await.is_err() {
        tokio::task::yield_now().await;
    }
}
