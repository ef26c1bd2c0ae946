//! What is left of a million short-lived keys, by the count of the allocator (P16).
//!
//! In a program of its own, so that nothing else allocates meanwhile. `INNKEEPER_RESIDUE_KEYS`
//! says how many keys come and go in all; by default a million, and fewer without optimisation,
//! where each takes several times as long.

// What a test unwraps is what it asserts; a panic that is not meant is to be seen.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::alloc::System;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use innkeeper::{
    ChildSpec, Context, DynamicSupervisor, ExitReason, GetError, Keyed, KeyedBuilder, Message,
    Process, Registry, ReplyTo, Restart, RestartBudget, StartError, StartRate, Supervisor,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One at a time, where the runner does not see to that.
static ALONE: Mutex<()> = Mutex::new(());

const ROUNDS: u64 = 10;

/// From this key on `init` fails, declines or panics.
const UNLUCKY: u64 = 3 << 40;

fn keys() -> u64 {
    let said = std::env::var("INNKEEPER_RESIDUE_KEYS").ok().and_then(|said| said.parse().ok());
    said.unwrap_or(if cfg!(debug_assertions) { 200_000 } else { 1_000_000 })
}

fn live_bytes() -> usize {
    let stats = HEAP.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Runs a test alone, on one thread, so that the same things happen in each round.
fn alone(test: impl Future<Output = ()>) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // The panics below are meant.
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref::<&str>() != Some(&"told to") {
            eprintln!("{info}");
        }
    }));
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test);
}

/// A guest with something on the heap, in its state and in its task.
struct Guest {
    _luggage: Vec<u8>,
}

#[derive(Debug)]
enum Say {
    Echo(String),
    Panic,
    Stop,
    Hold,
}

impl Message for Say {
    type Reply = String;
}

impl Process for Guest {
    type Args = u64;
    type Message = Say;

    async fn init(key: &u64, _: &mut Context<Self>) -> Result<Self, StartError> {
        match key.checked_sub(UNLUCKY).map(|key| key % 3) {
            Some(0) => Err(StartError::failed("unlucky")),
            Some(1) => Err(StartError::ignore()),
            Some(_) => panic!("told to"),
            None => Ok(Guest { _luggage: vec![0; 64] }),
        }
    }

    async fn handle(&mut self, say: Say, reply: ReplyTo<Say>, ctx: &mut Context<Self>) {
        match say {
            Say::Echo(line) => reply.send(line),
            Say::Panic => panic!("told to"),
            Say::Stop => ctx.stop_if_idle(),
            Say::Hold => std::future::pending().await,
        }
    }
}

fn spec() -> ChildSpec {
    ChildSpec::new().restart(Restart::Transient)
}

fn builder() -> KeyedBuilder<u64, Guest> {
    Keyed::new(spec())
}

async fn eventually(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

/// Starts so many keys, all there at once, uses each, and ends them in every way there is.
async fn round(guests: &Keyed<u64, Guest>, first: u64, count: u64) {
    for key in first..first + count {
        if let Ok(Ok(guest)) = guests.get_or_start(&key).await.map(innkeeper::Outcome::process) {
            // Every tenth gets a burst, so that its mailbox needs heap.
            for n in 0..if key % 10 == 0 { 20 } else { 1 } {
                guest.cast(Say::Echo(n.to_string())).await.unwrap();
            }
            guest.call(Say::Echo("hello".to_owned())).await.unwrap();
        }
    }
    for key in first..first + count {
        match key % 5 {
            0 => drop(guests.stop(&key).await),
            1 => {
                if let Some(guest) = guests.whereis(&key) {
                    guest.cast(Say::Stop).await.unwrap();
                }
            }
            2 => {
                if let Some(guest) = guests.whereis(&key) {
                    guest.cast(Say::Stop).await.unwrap();
                    guest.ended().await;
                }
            }
            // Crashed, then restarted, then stopped with the others.
            3 if key % 50 == 3 => {
                if let Some(guest) = guests.whereis(&key) {
                    guest.cast(Say::Panic).await.unwrap();
                }
            }
            _ => {}
        }
    }
    guests.stop_all().await;
    eventually(|| guests.count() == 0).await;
}

/// P16 (NEW-11)
#[test]
fn after_a_million_short_lived_keys_the_heap_and_the_resident_memory_are_back() {
    alone(async {
        let supervisor = Supervisor::new().start().await.unwrap();
        let guests = builder().start(&supervisor).await.unwrap();
        let each = keys() / ROUNDS;
        // What is made once: the smallest tables, thread locals, the runtime's queue at its
        // longest.
        round(&guests, 0, each).await;
        let before = live_bytes();
        let mut resident = Vec::new();
        for n in 1..=ROUNDS {
            round(&guests, n * 10_000_000, each).await;
            let after = live_bytes();
            assert!(
                after <= before + before / 100,
                "{before} bytes before, {after} after round {n} of {each} keys"
            );
            #[cfg(target_os = "linux")]
            resident.push(resident_bytes());
        }
        // The first rounds find the most that all together need.
        if let [_, second, .., last] = resident[..] {
            let slack = second / 20 + (4 << 20);
            assert!(last <= second + slack, "it grew: {resident:?}");
        }
    });
}

async fn fill(guests: &Keyed<u64, Guest>, count: u64) {
    for key in 0..count {
        drop(guests.get_or_start(&key).await);
    }
}

/// P16: no table keeps the size it had.
#[test]
fn a_scope_that_was_full_once_gives_its_table_back() {
    alone(async {
        let supervisor = Supervisor::new().start().await.unwrap();
        let guests = builder().start(&supervisor).await.unwrap();
        let count = keys() / ROUNDS;
        // The queue of the runtime keeps the size that so many keys at once need; the few keys of
        // this scope bring its own table to the size that it keeps.
        let other = builder().name("other").start(&supervisor).await.unwrap();
        fill(&other, count).await;
        other.stop_all().await;
        fill(&guests, 3000).await;
        guests.stop_all().await;
        let before = live_bytes();
        fill(&guests, count).await;
        let full = live_bytes();
        guests.stop_all().await;
        let after = live_bytes();
        let (held, left) = (full - before, after.saturating_sub(before));
        assert!(left <= held / 1000, "of {held} bytes {left} are left");
        // A row costs eight bytes and one of control.
        assert!((left as u64) < count * 9 / 20, "{left} bytes look like a table of {count} rows");
    });
}

/// P16: what a process needs to be talked to it has only while it is talked to; and while it is, a
/// message costs no memory.
#[test]
fn a_process_that_nobody_talks_to_goes_to_rest() {
    alone(async {
        let supervisor = Supervisor::new().start().await.unwrap();
        let park_time = Duration::from_secs(60);
        let guests = builder().park_time(park_time).start(&supervisor).await.unwrap();
        let count = 1000;
        fill(&guests, count).await;
        let talk = async |rounds| {
            for key in (0..rounds).flat_map(|_| 0..count) {
                let guest = guests.whereis(&key).unwrap();
                // More than one, so that the mailbox needs heap.
                for _ in 0..8 {
                    guest.cast(Say::Echo(String::new())).await.unwrap();
                }
                assert_eq!(guest.call(Say::Echo(String::new())).await.unwrap(), "");
            }
        };
        let sleeping = live_bytes();
        talk(1).await;
        let awake = live_bytes();
        assert!(awake > sleeping + 100 * count as usize, "{sleeping} bytes, then {awake}");
        let before = HEAP.stats().allocations;
        talk(10).await;
        let calls = 10 * count as usize;
        let made = HEAP.stats().allocations - before;
        // For each the place of its answer, and its deadline; for a cast nothing.
        assert!(made <= 2 * calls + calls / 100, "{made} allocations for {calls} calls");
        assert!(live_bytes() <= awake + awake / 100, "it grows");
        // Twice seen silent by the sweeper.
        tokio::time::sleep(park_time).await;
        let rested = live_bytes();
        assert!(rested <= sleeping + sleeping / 100, "{sleeping} bytes, then {rested}");
        talk(1).await;
        assert_eq!(guests.count(), count as usize, "none of them went");
    });
}

/// Does something once to warm up and then often; nothing may be left of it.
async fn leaves_nothing(what: &str, mut once: impl AsyncFnMut(u64)) {
    for n in 0..200 {
        once(n).await;
    }
    let before = live_bytes();
    for n in 200..3200 {
        once(n).await;
    }
    let after = live_bytes();
    // A few bytes of the runtime's own come and go; three thousand of anything would show.
    assert!(after <= before + 3000, "{what}: {before} bytes before, {after} after");
}

async fn once_polled<F: Future>(future: F) {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let _ = future.as_mut().poll(cx).is_ready();
        std::task::Poll::Ready(())
    })
    .await;
}

/// P16, P5: failed, refused and cancelled operations leave nothing behind.
#[test]
fn what_fails_is_refused_or_given_up_leaves_nothing() {
    alone(async {
        let supervisor = Supervisor::new().start().await.unwrap();
        let guests = builder().name("guests").start(&supervisor).await.unwrap();
        for (what, key) in [("failing", 0), ("declining", 1), ("panicking", 2)] {
            leaves_nothing(what, async |n| {
                drop(guests.get_or_start(&(UNLUCKY + key + 3 * n)).await);
            })
            .await;
        }
        leaves_nothing("given up", async |n| {
            once_polled(guests.get_or_start(&n)).await;
            once_polled(guests.stop(&n)).await;
            eventually(|| guests.count() == 0).await;
        })
        .await;

        let never = RestartBudget::new(0, Duration::from_secs(5));
        let parking = builder().name("parking").restart_budget(never).start(&supervisor);
        let parking = parking.await.unwrap();
        leaves_nothing("parked and cleared", async |n| {
            let guest = parking.get_or_start(&n).await.unwrap().process().unwrap();
            guest.cast(Say::Panic).await.unwrap();
            guest.ended().await;
            assert!(matches!(parking.get_or_start(&n).await, Err(GetError::Parked(_))));
            parking.stop(&n).await.unwrap();
        })
        .await;

        let full = builder().name("full").max_children(1).start(&supervisor).await.unwrap();
        let holder = full.get_or_start(&0).await.unwrap().process().unwrap();
        leaves_nothing("refused for want of a place", async |n| {
            full.get_or_start(&(n + 1)).await.unwrap_err();
            full.via(&(n + 1)).call(Say::Echo(n.to_string())).await.unwrap_err();
        })
        .await;

        let all = StartRate::per_second(1).unwrap();
        let rated = builder().name("rated").start_rate(all).start(&supervisor).await.unwrap();
        let _ = rated.get_or_start(&0).await.unwrap();
        leaves_nothing("refused by a rate", async |n| {
            rated.get_or_start(&(n + 1)).await.unwrap_err();
        })
        .await;

        leaves_nothing("replied and unanswered calls", async |n| {
            holder.call(Say::Echo(n.to_string())).await.unwrap();
            once_polled(holder.call(Say::Echo(n.to_string()))).await;
            tokio::task::yield_now().await;
        })
        .await;
        holder.cast(Say::Hold).await.unwrap();
        leaves_nothing("withdrawn calls", async |n| {
            let call = holder.call(Say::Echo(n.to_string())).timeout(Duration::ZERO);
            call.await.unwrap_err();
            once_polled(holder.call(Say::Echo(n.to_string()))).await;
        })
        .await;
        leaves_nothing("given up waits and looks", async |_| {
            once_polled(holder.ended()).await;
            once_polled(full.page(None, 10, |_| true)).await;
            drop(full.events());
            let _ = (full.info(&0), full.counters(), full.whereis(&9));
            // The runtime keeps who yielded until it has a turn.
            tokio::task::yield_now().await;
        })
        .await;
    });
}

/// P16: supervised children, names, monitors and whole trees.
#[test]
fn children_names_and_trees_that_are_gone_leave_nothing() {
    alone(async {
        leaves_nothing("trees", async |_| {
            let supervisor = Supervisor::new().start().await.unwrap();
            let guests = builder().start(&supervisor).await.unwrap();
            let _ = guests.get_or_start(&1).await.unwrap();
            let inner = supervisor.start_supervisor(Supervisor::new().name("inner"));
            let inner = inner.await.unwrap();
            inner.start_child::<Guest>("guest", 1, spec()).await.unwrap();
            assert!(supervisor.shutdown(Duration::from_secs(1)).await.is_clean());
        })
        .await;

        let supervisor = Supervisor::new().start().await.unwrap();
        let jobs = DynamicSupervisor::new().start(&supervisor).await.unwrap();
        let names: Registry<u64, Say> = Registry::new();
        leaves_nothing("jobs with names", async |n| {
            let job = jobs.start_child::<Guest>(n, spec()).await.unwrap();
            names.register(n, &job, ()).unwrap();
            names.register(n, &job, ()).unwrap_err();
            jobs.terminate_child(&job).await.unwrap();
            assert_eq!(names.count(), 0);
        })
        .await;
        leaves_nothing("jobs that do not start", async |n| {
            let unlucky = UNLUCKY + n;
            jobs.start_child::<Guest>(unlucky, spec()).await.unwrap_err();
            supervisor.start_child::<Guest>("unlucky", unlucky, spec()).await.unwrap_err();
        })
        .await;
        leaves_nothing("processes of their own", async |n| {
            let guest = innkeeper::start::<Guest>(n, spec()).await.unwrap();
            guest.stop(ExitReason::Normal, Duration::from_secs(1)).await.unwrap();
            once_polled(innkeeper::start::<Guest>(n, spec())).await;
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    });
}

/// The control: the count would see what is left behind.
#[test]
fn what_is_left_behind_is_counted() {
    alone(async {
        let before = live_bytes();
        // Seen by the optimiser as used; a little is let go meanwhile by those who run the test.
        let left: Vec<Box<u64>> = std::hint::black_box((0..1000).map(Box::new).collect());
        assert!(live_bytes() > before + 15_000);
        drop(left);
        assert!(live_bytes() < before + 1_000);
    });
}
