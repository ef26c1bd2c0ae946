//! Many tasks, few keys, everything at once: the promise counted from construction to drop (P1,
//! P9).
//!
//! The size by hand: `INNKEEPER_STRESS=10000 cargo nextest run --release -p innkeeper --test it
//! stress::` runs 64 tasks of 10 000 operations each. `INNKEEPER_SEED` repeats a run's choices;
//! what the threads make of them is theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use innkeeper::testing::{Alive, Census};
use innkeeper::{
    CallError, ChildSpec, Context, ExitReason, GetError, Keyed, Message, Process, ReplyTo, Restart,
    RestartBudget, Shutdown, StartError, Supervisor,
};
use tokio::task::{JoinSet, yield_now};

use crate::support::{dropped_after, eventually};

const TASKS: u64 = 64;
const KEYS: u64 = 8;

/// Of each task, unless the environment says otherwise.
const OPERATIONS: u64 = 2000;

/// A small generator whose every choice follows from its seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

#[derive(Clone)]
struct Common {
    census: Census<u64>,
    /// Handled calls, whatever became of their replies.
    handled: Arc<AtomicU64>,
}

/// A guest that takes its time to start and to end.
struct Guest {
    _alive: Alive,
    common: Common,
}

enum Say {
    Count,
    CountSlowly,
    Panic,
    StopIfIdle,
    Fail,
}

impl Message for Say {
    type Reply = u64;
}

async fn dawdle(turns: u64) {
    for _ in 0..turns {
        yield_now().await;
    }
}

impl Process for Guest {
    type Args = (u64, Common);
    type Message = Say;

    async fn init(args: &(u64, Common), ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let (key, common) = args.clone();
        let alive = common.census.enter(key);
        let turn = ctx.incarnation().number();
        dawdle(turn % 5).await;
        match turn % 17 {
            0 => return Err(StartError::failed("now and then")),
            1 => return Err(StartError::ignore()),
            2 => panic!("init panics now and then"),
            _ => {}
        }
        Ok(Guest { _alive: alive, common })
    }

    async fn handle(&mut self, say: Say, reply: ReplyTo<Say>, ctx: &mut Context<Self>) {
        match say {
            Say::Count => reply.send(self.common.handled.fetch_add(1, Ordering::Relaxed)),
            Say::CountSlowly => {
                let count = self.common.handled.fetch_add(1, Ordering::Relaxed);
                dawdle(3).await;
                reply.send(count);
            }
            Say::Panic => panic!("told to"),
            Say::StopIfIdle => ctx.stop_if_idle(),
            Say::Fail => ctx.stop(ExitReason::failed("told to")),
        }
    }

    async fn terminate(&mut self, _: &ExitReason, ctx: &mut Context<Self>) {
        dawdle(ctx.incarnation().number() % 7).await;
    }
}

/// How calls ended.
#[derive(Default)]
struct Outcomes {
    replied: AtomicU64,
    not_delivered: AtomicU64,
    unknown: AtomicU64,
}

impl Outcomes {
    fn note(&self, outcome: Result<u64, CallError<Say>>) {
        let count = match outcome {
            Ok(_) => &self.replied,
            Err(CallError::NotDelivered { .. }) => &self.not_delivered,
            Err(CallError::Unknown(_)) => &self.unknown,
            Err(other) => panic!("a fourth outcome: {other:?}"),
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// One random thing to one random key. Answers how many calls it made to their end.
async fn operate(guests: &Keyed<u64, Guest>, dice: &mut Dice, outcomes: &Outcomes) -> u64 {
    let key = dice.roll(KEYS);
    let via = guests.via(&key);
    let polls = dice.roll(6) as usize;
    match dice.roll(16) {
        0..=3 => match guests.get_or_start(&key).await {
            Ok(_) | Err(GetError::InitFailed(_) | GetError::Parked(_)) => {}
            Err(other) => panic!("{other}"),
        },
        4 => drop(dropped_after(polls, guests.get_or_start(&key)).await),
        5 | 6 => drop(guests.stop(&key).await),
        7 => drop(dropped_after(polls, guests.stop(&key)).await),
        8 => drop(via.cast(Say::Panic).await),
        9 => {
            drop(via.cast(if polls.is_multiple_of(2) { Say::Fail } else { Say::StopIfIdle }).await)
        }
        10 => {
            if let Some(guest) = guests.whereis(&key) {
                guest.kill();
            }
        }
        11 => drop(dropped_after(polls, via.call(Say::CountSlowly)).await),
        12 => {
            let wait = Duration::from_micros(dice.roll(200));
            outcomes.note(via.call(Say::CountSlowly).timeout(wait).await);
            return 1;
        }
        13 => {
            if let Ok(Ok(guest)) = guests.get(&key).await.map(innkeeper::Outcome::process) {
                outcomes.note(guest.call(Say::Count).await);
                return 1;
            }
        }
        _ => {
            outcomes.note(via.call(Say::Count).await);
            return 1;
        }
    }
    0
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|said| said.parse().ok()).unwrap_or(default)
}

/// P1, P5, P9, P16
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_key_ever_has_two_processes_whatever_all_tasks_do_to_it() {
    // The panics below are meant; a report of each would drown everything else.
    std::panic::set_hook(Box::new(|info| {
        let meant = info.payload().downcast_ref::<&str>();
        if !matches!(meant, Some(&("told to" | "init panics now and then"))) {
            report(info);
        }
    }));
    let (operations, seed) =
        (setting("INNKEEPER_STRESS", OPERATIONS), setting("INNKEEPER_SEED", 7));
    let common = Common { census: Census::new(), handled: Arc::default() };
    let spec = ChildSpec::new()
        .restart(Restart::Transient)
        .shutdown(Shutdown::Timeout(Duration::from_secs(60)));
    let args = common.clone();
    let supervisor = Supervisor::new().start().await.unwrap();
    let guests = Keyed::with_args(spec, move |key: &u64| (*key, args.clone()))
        .restart_budget(
            RestartBudget::new(20, Duration::from_millis(20))
                .backoff(Duration::ZERO, Duration::ZERO),
        )
        .park_time(Duration::from_millis(5))
        .start(&supervisor)
        .await
        .unwrap();

    let outcomes = Arc::new(Outcomes::default());
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (guests, outcomes, census) = (guests.clone(), outcomes.clone(), common.census.clone());
        tasks.spawn(async move {
            let mut dice = Dice(seed.wrapping_mul(1_000_003).wrapping_add(task));
            let mut calls = 0;
            for _ in 0..operations {
                calls += operate(&guests, &mut dice, &outcomes).await;
                assert!(census.most_of_one_key() <= 1, "two of one key, seed {seed}");
            }
            calls
        });
    }
    let mut calls = 0;
    while let Some(done) = tasks.join_next().await {
        calls += done.unwrap();
    }

    let [replied, not_delivered, unknown] =
        [&outcomes.replied, &outcomes.not_delivered, &outcomes.unknown]
            .map(|count| count.load(Ordering::Relaxed));
    assert_eq!(calls, replied + not_delivered + unknown, "each call has one outcome");
    assert!(common.handled.load(Ordering::Relaxed) >= replied);
    guests.stop_all().await;
    eventually(|| guests.count() == 0 && common.census.alive() == 0).await;
    assert_eq!(common.census.most_of_one_key(), 1, "seed {seed}");
    assert!(common.census.ever() > KEYS, "there was something to see");
    assert!(supervisor.shutdown(Duration::from_secs(60)).await.is_clean());
}

#[allow(clippy::print_stderr)] // What the default hook would have said.
fn report(info: &std::panic::PanicHookInfo<'_>) {
    eprintln!("{info}");
}
