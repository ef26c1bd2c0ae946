//! The core under seeded thread schedules: its real code, on the schedule explorer's locks and
//! tasks.
//!
//! Run by `RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target-shuttle cargo nextest run
//! --release -p innkeeper --test schedules`; without the flag this file is empty.
//! `INNKEEPER_SCHEDULES` says how many random schedules each test runs.
//!
//! Time stands still here. A deadline that is near passes whenever the schedule says so, one
//! that is far never does: a wait without an end is a deadlock, which the explorer reports.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used)] // What a test unwraps is what it asserts.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use innkeeper::testing::{Alive, Census};
use innkeeper::{
    CallError, ChildSpec, Context, DynamicSupervisor, ExitReason, GetError, Incarnation, Keyed,
    KeyedBuilder, Message, Outcome, Process, ReplyTo, Restart, RestartBudget, Shutdown, StartError,
    Strategy, Supervisor, What,
};
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};

const FAR: Duration = Duration::from_secs(86_400);
const NEAR: Duration = Duration::from_millis(1);

/// What the guests of one schedule share.
#[derive(Clone, Default)]
struct World {
    census: Census<u8>,
    /// What has been handled, by number.
    handled: Arc<AtomicU64>,
    inn: Arc<std::sync::Mutex<Option<Keyed<u8, Guest>>>>,
    /// Keys whose `init` asks for another first.
    asks: Arc<std::sync::Mutex<HashMap<u8, u8>>>,
}

/// A process that takes its time wherever it may.
struct Guest {
    _alive: Alive,
    world: World,
}

enum Say {
    Count,
    Crash,
    StopIfIdle,
    Stop,
}

impl Message for Say {
    type Reply = u64;
}

impl Process for Guest {
    type Args = (u8, World);
    type Message = Say;

    async fn init((key, world): &(u8, World), ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let alive = world.census.enter(*key);
        assert!(world.census.most_of_one_key() <= 1, "two of one key");
        let asks = world.asks.lock().unwrap().get(key).copied();
        if let Some(other) = asks {
            let inn = world.inn.lock().unwrap().clone().unwrap();
            let _ = inn.get_or_start(&other).timeout(FAR).await?;
        }
        yield_now().await;
        let _ = ctx;
        Ok(Guest { _alive: alive, world: world.clone() })
    }

    async fn handle(&mut self, say: Say, reply: ReplyTo<Say>, ctx: &mut Context<Self>) {
        match say {
            Say::Count => {
                let before = self.world.handled.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
                reply.send(before);
            }
            // Not a panic: the explorer takes any for a failure of the test.
            Say::Crash => ctx.stop(ExitReason::failed("told to")),
            Say::StopIfIdle => ctx.stop_if_idle(),
            Say::Stop => ctx.stop(ExitReason::Normal),
        }
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        yield_now().await;
    }
}

fn spec() -> ChildSpec {
    ChildSpec::new().restart(Restart::Transient).start_timeout(FAR).shutdown(Shutdown::Timeout(FAR))
}

impl World {
    fn builder(&self, spec: ChildSpec) -> KeyedBuilder<u8, Guest> {
        let world = self.clone();
        let builder = Keyed::with_args(spec, move |key: &u8| (*key, world.clone()));
        builder.restart_budget(RestartBudget::new(1000, FAR))
    }

    async fn open(&self, builder: KeyedBuilder<u8, Guest>) -> Keyed<u8, Guest> {
        let supervisor = Supervisor::new().start().await.unwrap();
        let inn = builder.start(&supervisor).await.unwrap();
        *self.inn.lock().unwrap() = Some(inn.clone());
        inn
    }

    async fn inn(&self) -> Keyed<u8, Guest> {
        self.open(self.builder(spec())).await
    }

    /// The books at the end of every schedule.
    async fn close(&self, inn: &Keyed<u8, Guest>) {
        // Where a kill comes near, so does the moment when it is not waited for any more.
        while inn.stop_all().await > 0 {
            yield_now().await;
        }
        assert_eq!((inn.count(), self.census.alive()), (0, 0), "something is left");
        assert!(self.census.most_of_one_key() <= 1, "two of one key");
        // A scope in a world in a scope.
        *self.inn.lock().unwrap() = None;
    }
}

fn schedules() -> usize {
    let said = std::env::var("INNKEEPER_SCHEDULES").ok().and_then(|said| said.parse().ok());
    said.unwrap_or(3000)
}

fn explore_with(
    scheduler: impl Scheduler + 'static,
    test: &(impl Fn() + Clone + Send + Sync + 'static),
) {
    let mut config = shuttle::Config::new();
    config.stack_size = 0x8_0000;
    shuttle::Runner::new(scheduler, config).run(test.clone());
}

/// Runs a test under random schedules, and under schedules with few preemptions.
fn explore(test: impl AsyncFn() + Clone + Send + Sync + 'static) {
    let test = move || block_on(test());
    explore_with(RandomScheduler::new(schedules()), &test);
    explore_with(PctScheduler::new(3, schedules() / 3), &test);
}

async fn all(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        task.await.unwrap();
    }
}

/// Polls a future a few times and drops it.
async fn give_up<F: Future>(future: F) {
    let mut polls = thread_rng().gen_range(0..4_u8);
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if polls == 0 || future.as_mut().poll(cx).is_ready() {
            return std::task::Poll::Ready(());
        }
        polls -= 1;
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Does one random thing to one key.
async fn meddle(inn: &Keyed<u8, Guest>, key: u8) {
    let via = inn.via(&key);
    match thread_rng().gen_range(0..10_u8) {
        0 | 1 => drop(inn.get_or_start(&key).timeout(FAR).await.unwrap()),
        2 => drop(inn.get_or_start(&key).timeout(NEAR).await),
        3 => give_up(inn.get_or_start(&key).timeout(FAR)).await,
        4 => drop(inn.stop(&key).timeout(FAR).await),
        5 => give_up(inn.stop(&key)).await,
        6 => drop(via.cast(Say::Crash).await),
        7 => drop(via.cast(Say::StopIfIdle).await),
        8 => drop(via.call(Say::Count).timeout(FAR).await),
        _ => {
            if let Some(guest) = inn.whereis(&key) {
                guest.kill();
            }
        }
    }
}

/// P1, P2, P5, P7, P10: everything that can happen to one key at once.
#[test]
fn of_one_key_there_is_never_more_than_one_whatever_is_done_to_it() {
    explore(async || {
        let world = World::default();
        let inn = world.inn().await;
        let tasks = (0..3).map(|_| {
            let inn = inn.clone();
            spawn(async move {
                for _ in 0..3 {
                    meddle(&inn, 1).await;
                }
            })
        });
        all(tasks.collect()).await;
        world.close(&inn).await;
    });
}

/// P1, P4: and of two keys, which do not get in each other's way.
#[test]
fn of_two_keys_there_is_never_more_than_one_each() {
    explore(async || {
        let world = World::default();
        // What is told to end is killed whenever the schedule says so.
        let hasty = spec().shutdown(Shutdown::Timeout(NEAR));
        let inn = world.open(world.builder(hasty)).await;
        let tasks = (0..4).map(|task| {
            let inn = inn.clone();
            spawn(async move {
                for _ in 0..2 {
                    meddle(&inn, task % 2).await;
                }
            })
        });
        all(tasks.collect()).await;
        world.close(&inn).await;
    });
}

/// P1, P8: over its budget and free again at once, so that rows of the table are replaced.
#[test]
fn a_parked_key_that_is_free_again_is_taken_by_one_caller() {
    explore(async || {
        let world = World::default();
        let never = RestartBudget::new(0, FAR);
        let builder = world.builder(spec()).restart_budget(never).park_time(Duration::ZERO);
        let inn = world.open(builder).await;
        let tasks = (0..3).map(|_| {
            let inn = inn.clone();
            spawn(async move {
                let key = 1;
                for _ in 0..2 {
                    match thread_rng().gen_range(0..4_u8) {
                        0 | 1 => {
                            // Whoever finds it crashing is told that it is parked.
                            let found = inn.get_or_start(&key).timeout(FAR).await;
                            assert!(matches!(found, Ok(_) | Err(GetError::Parked(_))));
                        }
                        2 => drop(inn.via(&key).cast(Say::Crash).await),
                        _ => drop(inn.stop(&key).timeout(FAR).await),
                    }
                }
            })
        });
        all(tasks.collect()).await;
        world.close(&inn).await;
    });
}

/// P2: whatever the schedule, one of those who ask at once is told that it started the process.
#[test]
fn of_three_who_ask_at_once_exactly_one_is_told_started() {
    explore(async || {
        let world = World::default();
        let inn = world.inn().await;
        let started = Arc::new(AtomicU64::new(0));
        let seen: Arc<std::sync::Mutex<Vec<Incarnation>>> = Arc::default();
        let tasks = (0..3).map(|_| {
            let (inn, started, seen) = (inn.clone(), started.clone(), seen.clone());
            spawn(async move {
                let outcome = inn.get_or_start(&1).timeout(FAR).await.unwrap();
                started.fetch_add(u64::from(outcome.is_started()), Ordering::SeqCst);
                seen.lock().unwrap().push(outcome.process().unwrap().incarnation());
            })
        });
        all(tasks.collect()).await;
        assert_eq!((started.load(Ordering::SeqCst), world.census.ever()), (1, 1));
        assert!(seen.lock().unwrap().windows(2).all(|pair| pair[0] == pair[1]));
        world.close(&inn).await;
    });
}

/// P3: every waiter of one start has its one outcome.
#[test]
fn a_start_that_is_late_for_one_is_late_for_all() {
    explore(async || {
        let world = World::default();
        // Its deadline passes whenever the schedule says so.
        let inn = world.open(world.builder(spec().start_timeout(NEAR))).await;
        let tasks = (0..3).map(|_| {
            let inn = inn.clone();
            spawn(async move {
                let found = inn.get_or_start(&1).timeout(FAR).await;
                let late = GetError::InitFailed(ExitReason::StartTimeout);
                assert!(match found {
                    Ok(Outcome::Started(_) | Outcome::Existing(_)) => true,
                    Ok(Outcome::Ignored) => false,
                    Err(error) => error == GetError::StartTimeout || error == late,
                });
            })
        });
        all(tasks.collect()).await;
        world.close(&inn).await;
    });
}

/// P7: never a handle to what had been stopped before it was asked for.
#[test]
fn a_get_after_a_stop_never_finds_what_was_stopped() {
    explore(async || {
        let world = World::default();
        let inn = world.inn().await;
        let tasks = (0..2).map(|_| {
            let inn = inn.clone();
            spawn(async move {
                let found = inn.get_or_start(&1).timeout(FAR).await.unwrap().process().unwrap();
                drop(inn.stop(&1).timeout(FAR).await);
                assert!(!found.is_alive());
                let next = inn.get_or_start(&1).timeout(FAR).await.unwrap().process().unwrap();
                assert!(next.incarnation() > found.incarnation());
            })
        });
        all(tasks.collect()).await;
        world.close(&inn).await;
    });
}

/// P10: a message that was accepted is handled, by this incarnation or by the next, and once.
#[test]
fn casts_that_race_idle_stops_and_crashes_are_handled_once_each() {
    explore(async || {
        let world = World::default();
        let inn = world.inn().await;
        let tasks = (0..3_u8).map(|task| {
            let inn = inn.clone();
            spawn(async move {
                let via = inn.via(&1);
                for _ in 0..2 {
                    match task {
                        0 => via.cast(Say::StopIfIdle).await.unwrap(),
                        1 => via.cast(Say::Count).await.unwrap(),
                        _ => {
                            via.cast(Say::Crash).await.unwrap();
                            via.cast(Say::Count).await.unwrap();
                        }
                    }
                }
            })
        });
        all(tasks.collect()).await;
        // What is said last is handled last.
        inn.via(&1).call(Say::Count).timeout(FAR).await.unwrap();
        assert_eq!(world.handled.load(Ordering::SeqCst), 2 + 2 + 1);
        assert_eq!(inn.counters().casts_lost, 0);
        world.close(&inn).await;
    });
}

/// P6, P9: taken back or begun, and never both, while the process ends in all ways.
#[test]
fn a_call_that_gives_up_has_run_or_comes_back() {
    explore(async || {
        let world = World::default();
        let inn = world.inn().await;
        let guest = inn.get_or_start(&1).timeout(FAR).await.unwrap().process().unwrap();
        let (sure, perhaps) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let callers = (0..2).map(|_| {
            let (guest, sure, perhaps) = (guest.clone(), sure.clone(), perhaps.clone());
            spawn(async move {
                for _ in 0..2 {
                    match guest.call(Say::Count).timeout(NEAR).await {
                        Ok(_) => sure.fetch_add(1, Ordering::SeqCst),
                        Err(CallError::Unknown(_)) => perhaps.fetch_add(1, Ordering::SeqCst),
                        Err(CallError::NotDelivered { message: Say::Count, .. }) => 0,
                        Err(other) => panic!("another message came back: {other:?}"),
                    };
                }
            })
        });
        let mut tasks: Vec<_> = callers.collect();
        let killer = inn.clone();
        tasks.push(spawn(async move {
            match thread_rng().gen_range(0..4_u8) {
                0 => drop(killer.stop(&1).timeout(FAR).await),
                1 => drop(killer.via(&1).cast(Say::Crash).await),
                2 => drop(killer.via(&1).cast(Say::Stop).await),
                _ => {}
            }
        }));
        all(tasks).await;
        world.close(&inn).await;
        let (sure, perhaps) = (sure.load(Ordering::SeqCst), perhaps.load(Ordering::SeqCst));
        let ran = world.handled.load(Ordering::SeqCst);
        assert!(sure <= ran && ran <= sure + perhaps, "{sure} <= {ran} <= {sure} + {perhaps}");
    });
}

/// P12: of two who are about to wait for each other at least one is told; nobody waits for ever.
#[test]
fn two_inits_that_ask_for_each_other_never_deadlock() {
    explore(async || {
        let world = World::default();
        world.asks.lock().unwrap().extend([(1, 2), (2, 1)]);
        let inn = world.inn().await;
        let refused = Arc::new(AtomicU64::new(0));
        let tasks = [1_u8, 2].map(|key| {
            let (inn, refused) = (inn.clone(), refused.clone());
            spawn(async move {
                let found = inn.get_or_start(&key).timeout(FAR).await;
                refused.fetch_add(u64::from(found.is_err()), Ordering::SeqCst);
            })
        });
        all(tasks.into()).await;
        assert!(refused.load(Ordering::SeqCst) > 0);
        world.close(&inn).await;
    });
}

/// P13: what is started while everything ends is refused or ends with it.
#[test]
fn after_a_shutdown_nothing_is_alive_whoever_asked_meanwhile() {
    explore(async || {
        let world = World::default();
        let supervisor = Supervisor::new().start().await.unwrap();
        let inn = world.builder(spec()).start(&supervisor).await.unwrap();
        let jobs = DynamicSupervisor::new().start(&supervisor).await.unwrap();
        let mut tasks = Vec::new();
        let rooms = inn.clone();
        tasks.push(spawn(async move {
            let found = rooms.get_or_start(&1).timeout(FAR).await;
            assert!(matches!(found, Ok(_) | Err(GetError::ShuttingDown)), "{found:?}");
        }));
        let (args, pool) = ((2, world.clone()), jobs.clone());
        tasks.push(spawn(async move {
            drop(pool.start_child::<Guest>(args, spec()).await);
        }));
        let (args, parent) = ((3, world.clone()), supervisor.clone());
        tasks.push(spawn(async move {
            drop(parent.start_child::<Guest>("guest", args, spec()).await);
        }));
        let report = supervisor.shutdown(FAR).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((inn.count(), jobs.count_children(), world.census.alive()), (0, 0, 0));
        let late = inn.get_or_start(&4).timeout(FAR).await;
        assert_eq!(late, Err(GetError::ShuttingDown));
        all(tasks).await;
        assert_eq!((inn.count(), jobs.count_children(), world.census.alive()), (0, 0, 0));
    });
}

/// P1, P8: a group comes back as a whole, whoever of it crashes or is ended for good meanwhile, and
/// nobody of it twice.
#[test]
fn a_group_that_restarts_comes_back_as_a_whole_and_nobody_of_it_twice() {
    explore(async || {
        let world = World::default();
        let strategy = [Strategy::OneForAll, Strategy::RestForOne][thread_rng().gen_range(0..2)];
        let budget = RestartBudget::new(1000, FAR).backoff(NEAR, NEAR);
        let group = Supervisor::new().strategy(strategy).restart_budget(budget).start().await;
        let group = group.unwrap();
        let mut guests = Vec::new();
        for key in 0..3 {
            let args = (key, world.clone());
            guests.push(group.start_child::<Guest>(&key.to_string(), args, spec()).await.unwrap());
        }
        let mut events = group.events();
        let (one, other) = (thread_rng().gen_range(0..3_usize), thread_rng().gen_range(0..3_usize));
        let doomed = thread_rng().gen_bool(0.5).then(|| thread_rng().gen_range(0..3_usize));
        let mut tasks = Vec::new();
        for killed in [one, other] {
            let guest = guests[killed].clone();
            tasks.push(spawn(async move { guest.kill() }));
        }
        if let Some(doomed) = doomed {
            let group = group.clone();
            tasks.push(spawn(
                async move { group.terminate_child(&doomed.to_string()).await.unwrap() },
            ));
        }
        all(tasks).await;
        let mut back: Vec<_> =
            [one, other].into_iter().filter(|key| Some(*key) != doomed).collect();
        while !back.is_empty() {
            let event = events.recv().await.unwrap();
            if let What::Ready { again: true, .. } = event.what {
                back.retain(|key| key.to_string() != event.key);
            }
        }
        // It is added once the others have come back.
        let args = (9, world.clone());
        group.start_child::<Guest>("late", args, spec()).await.unwrap();
        assert_eq!(world.census.alive(), 4 - usize::from(doomed.is_some()));
        assert!(world.census.most_of_one_key() <= 1, "two of one key");
        assert!(group.shutdown(FAR).await.stuck.count == 0);
        assert_eq!(world.census.alive(), 0);
    });
}

/// What must not be built: a table beside the processes, from which a key is taken when its process
/// is told to end, and not when it has ended.
#[derive(Clone, Default)]
struct Naive {
    census: Census<u8>,
    table: Arc<shuttle::sync::Mutex<HashMap<u8, Alive>>>,
}

impl Naive {
    fn get_or_start(&self, key: u8) {
        let mut table = self.table.lock().unwrap();
        table.entry(key).or_insert_with(|| self.census.enter(key));
    }

    async fn stop(&self, key: u8) {
        let state = self.table.lock().unwrap().remove(&key);
        yield_now().await;
        drop(state);
    }
}

fn naive_schedule() {
    block_on(async {
        let naive = Naive::default();
        let tasks = (0..3).map(|task| {
            let naive = naive.clone();
            spawn(async move {
                for _ in 0..2 {
                    if task == 0 {
                        naive.stop(1).await;
                    } else {
                        naive.get_or_start(1);
                        yield_now().await;
                    }
                }
            })
        });
        all(tasks.collect()).await;
        assert!(naive.census.most_of_one_key() <= 1, "two of one key");
    });
}

/// The control: the same oracle, on the same schedules, catches what frees a key too early.
#[test]
fn a_table_that_frees_a_key_before_its_process_has_ended_is_caught() {
    let random = || explore_with(RandomScheduler::new(schedules()), &naive_schedule);
    let caught = catch_unwind(AssertUnwindSafe(random));
    assert!(caught.is_err(), "the oracle sees nothing");
    let few = || explore_with(PctScheduler::new(3, schedules()), &naive_schedule);
    assert!(catch_unwind(AssertUnwindSafe(few)).is_err(), "the oracle sees nothing");
}
