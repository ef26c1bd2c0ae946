//! Rooms that go when nobody needs them, and joins that race that (P10).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use innkeeper::{ChildSpec, ExitReason, Keyed, Restart, Supervisor, What};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{
    EndPlan, Gate, Heard, House, Log, Order, Said, Say, Script, act, add, eventually, key, millis,
    plan, poll_once, secs, settle, soon, spec,
};

/// P10
#[tokio::test(start_paused = true)]
async fn a_room_that_is_idle_may_go_and_its_key_is_free() {
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        let house = House::new();
        let rooms = house.open(house.builder(ChildSpec::new().restart(restart))).await;
        let mut events = rooms.events();
        let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
        room.call(Say::StopIfIdle).await.unwrap();
        soon(room.ended()).await;
        settle().await;
        assert_eq!(house.reasons("lobby"), [ExitReason::Idle]);
        assert_eq!((rooms.count(), house.census.alive(), house.census.ever()), (0, 0, 1));
        let stopped = What::Stopped(ExitReason::Idle);
        assert!(std::iter::from_fn(|| events.try_recv().ok()).any(|event| event.what == stopped));
        assert!(rooms.counters().exits.contains(&("idle", 1)));
    }
}

/// P10: looking and closing are one step.
#[tokio::test(start_paused = true)]
async fn a_room_for_which_a_message_waits_is_not_idle_and_stays() {
    let house = House::new();
    let rooms = house.rooms().await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    let gate = Gate::default();
    room.cast(Say::Hold(gate.clone())).await.unwrap();
    gate.reached().await;
    room.cast(Say::StopIfIdle).await.unwrap();
    let mut join = Box::pin(room.call(Say::Add(1)));
    assert!(poll_once(&mut join).await.is_pending());
    gate.open();
    assert_eq!(soon(join).await.unwrap(), Said::Number(1));
    settle().await;
    assert!(room.is_alive(), "a wish is for one callback");
    assert_eq!(add(&room, 1).await, 2, "the same room");
}

/// P10: after the instant in which it closed, a message by key is for the next incarnation.
#[tokio::test(start_paused = true)]
async fn a_join_after_the_closing_is_handled_by_the_next_incarnation() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let gate = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(gate.clone()));
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    room.cast(Say::StopIfIdle).await.unwrap();
    gate.reached().await;
    let lobby = rooms.via(&key);
    let mut call = Box::pin(lobby.call(Say::Add(1)));
    let mut cast = Box::pin(lobby.cast(Say::Note(7)));
    assert!(poll_once(&mut call).await.is_pending());
    assert!(poll_once(&mut cast).await.is_pending());
    // By its reference it is refused, so the sender knows.
    let refused = room.cast(Say::Note(8)).await.unwrap_err();
    assert_eq!(refused.why, innkeeper::NotDelivered::Stopping);
    gate.open();
    assert_eq!(soon(call).await.unwrap(), Said::Number(1));
    soon(cast).await.unwrap();
    let next = rooms.get(&key).await.unwrap().process().unwrap();
    assert_eq!(crate::support::noted(&next).await, [7]);
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (2, 1));
}

/// P10 (NEW-09): whatever the race, each message that was accepted is handled, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_that_race_idle_stops_are_never_lost() {
    const TASKS: u64 = 8;
    const JOINS: u64 = 400;
    let house = House::new();
    let rooms = house.rooms().await;
    let handled = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (rooms, handled) = (rooms.clone(), handled.clone());
        tasks.spawn(async move {
            let lobby = rooms.via(&key("lobby"));
            for join in 0..JOINS {
                lobby.cast(Say::StopIfIdle).await.unwrap();
                for _ in 0..(join + task) % 4 {
                    tokio::task::yield_now().await;
                }
                lobby.cast(Say::Tally(handled.clone())).await.unwrap();
                lobby.call(Say::Add(1)).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    eventually(|| handled.load(Ordering::SeqCst) == TASKS * JOINS).await;
    assert_eq!(rooms.counters().casts_lost, 0);
    assert_eq!(house.census.most_of_one_key(), 1);
}

/// P10
#[tokio::test(start_paused = true)]
async fn a_room_without_messages_goes_after_its_idle_time_and_not_before() {
    let house = House::new();
    let rooms = house.open(house.builder(spec()).idle_after(secs(100))).await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    // Used now and then, it stays.
    for _ in 0..20 {
        tokio::time::sleep(secs(90)).await;
        add(&room, 1).await;
    }
    let before = Instant::now();
    assert_eq!(soon(room.ended()).await, ExitReason::Idle);
    let after = before.elapsed();
    assert!(after >= secs(100) && after <= secs(126), "{after:?}");
    assert_eq!(house.reasons("lobby"), [ExitReason::Idle]);
    settle().await;
    assert_eq!(rooms.count(), 0);
}

/// P10: a scope without an idle time never asks.
#[tokio::test(start_paused = true)]
async fn a_room_of_a_scope_without_an_idle_time_stays() {
    let house = House::new();
    let rooms = house.rooms().await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    tokio::time::sleep(secs(20_000)).await;
    assert!(room.is_alive());
}

async fn scripts(told: crate::support::Told, idle: Duration) -> Keyed<String, Script> {
    let supervisor = Supervisor::new().start().await.unwrap();
    let scripts = Keyed::with_args(spec(), move |_: &String| told.clone()).idle_after(idle);
    scripts.start(&supervisor).await.unwrap()
}

/// P10: a process that is still needed says so, and is asked again.
#[tokio::test(start_paused = true)]
async fn a_process_that_is_still_needed_answers_so_and_is_asked_again_later() {
    let mut log = Log::new();
    let scripts = scripts(plan(&log).keep_when_idle(), secs(100)).await;
    let script = scripts.get_or_start(&key("one")).await.unwrap().process().unwrap();
    let mut last = Instant::now();
    for _ in 0..5 {
        log.find(|heard| (heard == Heard::Idle).then_some(())).await;
        assert!(last.elapsed() >= secs(100), "asked after {:?}", last.elapsed());
        last = Instant::now();
    }
    assert!(script.is_alive());
}

/// P10: a process in the midst of something is not idle, however long it takes; and it is not asked
/// once for each time that it might have been.
#[tokio::test(start_paused = true)]
async fn a_process_is_not_asked_whether_it_may_go_while_it_is_busy_nor_right_after() {
    let mut log = Log::new();
    let scripts = scripts(plan(&log), secs(100)).await;
    let script = scripts.get_or_start(&key("one")).await.unwrap().process().unwrap();
    for held in [secs(90), secs(110), secs(1000)] {
        let gate = Gate::default();
        let hold = gate.clone();
        script.cast(act(move |_, _| Box::pin(async move { hold.hold().await }))).await.unwrap();
        gate.reached().await;
        tokio::time::sleep(held).await;
        gate.open();
        tokio::time::sleep(secs(70)).await;
        let heard = log.so_far();
        assert!(!heard.contains(&Heard::Idle), "after {held:?}: {heard:?}");
        assert!(script.is_alive());
    }
    let before = Instant::now();
    soon(script.ended()).await;
    assert!(before.elapsed() <= secs(126), "{:?}", before.elapsed());
    assert_eq!(log.so_far().iter().filter(|heard| **heard == Heard::Idle).count(), 1);
}

/// P10, P11: what the sweeper asks does not pile up.
#[tokio::test(start_paused = true)]
async fn a_process_that_is_stuck_in_a_handler_for_ages_is_asked_at_most_once() {
    let mut log = Log::new();
    let scripts = scripts(plan(&log).keep_when_idle(), secs(1)).await;
    let script = scripts.get_or_start(&key("one")).await.unwrap().process().unwrap();
    let gate = Gate::default();
    let hold = gate.clone();
    script.cast(act(move |_, _| Box::pin(async move { hold.hold().await }))).await.unwrap();
    gate.reached().await;
    tokio::time::sleep(secs(300)).await;
    gate.open();
    settle().await;
    let asked = log.so_far().iter().filter(|heard| **heard == Heard::Idle).count();
    assert!(asked <= 1, "asked {asked} times in a row");
}

/// P10: a timer of its own keeps no room alive; a message does.
#[tokio::test(start_paused = true)]
async fn a_process_that_only_hears_its_own_timer_is_idle() {
    let log = Log::new();
    let told = plan(&log).init(|ctx| {
        Box::pin(async move {
            ctx.send_interval(secs(10), || Order::Beat(1))?;
            Ok(())
        })
    });
    let scripts = scripts(told, secs(100)).await;
    let script = scripts.get_or_start(&key("one")).await.unwrap().process().unwrap();
    let before = Instant::now();
    soon(script.ended()).await;
    assert!(before.elapsed() <= secs(126), "{:?}", before.elapsed());
}

/// P10: many rooms, one sweeper, and each goes in its own time.
#[tokio::test(start_paused = true)]
async fn of_many_rooms_those_that_are_used_stay() {
    let house = House::new();
    let rooms = house.open(house.builder(spec()).idle_after(secs(100))).await;
    for n in 0..500 {
        let _ = rooms.get_or_start(&n.to_string()).await.unwrap();
    }
    for _ in 0..6 {
        tokio::time::sleep(secs(50)).await;
        for n in (0..500).step_by(5) {
            rooms.via(&n.to_string()).call(Say::Add(1)).await.unwrap();
        }
    }
    assert_eq!((rooms.count(), house.census.alive(), house.census.ever()), (100, 100, 500));
    tokio::time::sleep(secs(300)).await;
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
}

/// P10: a very short idle time is no busy loop, and a message still gets through.
#[tokio::test(start_paused = true)]
async fn the_shortest_idle_time_still_lets_every_call_through() {
    let house = House::new();
    let rooms = house.open(house.builder(spec()).idle_after(Duration::ZERO)).await;
    let lobby = rooms.via(&key("lobby"));
    for _ in 0..100 {
        lobby.call(Say::Add(1)).await.unwrap();
        tokio::time::sleep(millis(30)).await;
    }
    assert!(house.census.ever() > 1);
    assert_eq!(house.census.most_of_one_key(), 1);
}
