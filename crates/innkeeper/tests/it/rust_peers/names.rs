//! The bugs of others, by the names of what was to hold.

use std::num::NonZeroU32;

use innkeeper::{
    DynamicSupervisor, ExitReason, GetError, Outcome, RestartBudget, StartKeyError, Supervisor,
    What, limits,
};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use crate::scripted::{Echo, Script, aside, at_once, get, hears, still_waits};
use crate::support::{EndPlan, Gate, House, InitPlan, Say, add, key, millis, secs, spec};

/// Colyseus 978
#[tokio::test(start_paused = true)]
async fn a_timed_out_start_is_not_repeated_elsewhere() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    house.plan_init("a", InitPlan::Hold(gate.clone()));
    for _ in 0..3 {
        let waited = secs(1);
        let answer = rooms.get_or_start(&key("a")).timeout(waited).await;
        assert_eq!(answer, Err(GetError::Timeout { waited }));
    }
    gate.open();
    assert!(!rooms.get_or_start(&key("a")).await.unwrap().is_started());
    assert_eq!(house.census.ever(), 1);
}

/// Colyseus 156, ray 19896
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_joins_start_one_room() {
    let house = House::new();
    let all = NonZeroU32::new(10_000).unwrap();
    let rooms = house.open(house.builder(spec().mailbox_capacity(all))).await;
    let mut joins = JoinSet::new();
    for _ in 0..10_000 {
        let rooms = rooms.clone();
        joins.spawn(async move { add(&get(&rooms, "lobby").await, 1).await });
    }
    let mut sums = joins.join_all().await;
    sums.sort_unstable();
    assert!(sums.into_iter().eq(1..=10_000));
    assert_eq!((house.census.ever(), rooms.counters().started), (1, 1));
}

/// ractor 240
#[tokio::test]
async fn a_failed_init_frees_the_key_and_tells_every_waiter() {
    let gate = Gate::default();
    let held = gate.clone();
    let script = Script::new().init(move |_: String, run| {
        let held = held.clone();
        async move {
            held.hold().await;
            assert!(run > 0, "the first one fails");
            Ok(())
        }
    });
    let rooms = script.open(spec()).await;
    let a = key("a");
    let mut waiters: Vec<_> = (0..10).map(|_| rooms.get_or_start(&a)).collect();
    for waiter in &mut waiters {
        assert!(at_once(waiter).await.is_none());
    }
    gate.reached().await;
    gate.open();
    for waiter in waiters {
        let failed = GetError::InitFailed(ExitReason::Panicked("the first one fails".into()));
        assert_eq!(waiter.await, Err(failed));
    }
    assert_eq!((rooms.count(), script.census.alive()), (0, 0));
    assert!(rooms.get_or_start(&a).await.unwrap().is_started());
}

/// kameo 252
#[tokio::test]
async fn a_graceful_stop_frees_the_key() {
    let house = House::new();
    let rooms = house.rooms().await;
    for end in ["by key", "by itself", "by address"] {
        let room = get(&rooms, "a").await;
        match end {
            "by key" => rooms.stop(&key("a")).await.unwrap(),
            "by itself" => room.cast(Say::Stop(ExitReason::Normal)).await.unwrap(),
            _ => room.stop(ExitReason::Shutdown, secs(5)).await.unwrap(),
        }
        room.ended().await;
        assert_eq!((rooms.whereis(&key("a")), rooms.count()), (None, 0), "{end}");
    }
    assert_eq!((house.census.ever(), house.census.alive()), (3, 0));
}

/// goakt 1277
#[tokio::test]
async fn a_cancelled_caller_does_not_cancel_the_start_for_others() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    house.plan_init("a", InitPlan::Hold(gate.clone()));
    let first = {
        let rooms = rooms.clone();
        aside(async move { get(&rooms, "a").await })
    };
    gate.reached().await;
    let a = key("a");
    let mut second = rooms.get_or_start(&a);
    still_waits(&mut second).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    still_waits(&mut second).await;
    gate.open();
    assert!(matches!(second.await, Ok(Outcome::Existing(_))));
    assert_eq!(house.census.ever(), 1);
}

/// goakt 1277
#[tokio::test]
async fn a_losing_duplicate_never_unregisters_the_winner() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    house.plan_init("a", InitPlan::Hold(gate.clone()));
    let a = key("a");
    let mut winner = rooms.get_or_start(&a);
    assert!(at_once(&mut winner).await.is_none());
    let mut loser = rooms.get_or_start(&a);
    assert!(at_once(&mut loser).await.is_none());
    gate.open();
    let room = winner.await.unwrap().process().unwrap();
    drop(loser);
    assert!(rooms.start_child(&a).await.is_err());
    assert_eq!(rooms.whereis(&a), Some(room.clone()));
    assert_eq!(add(&room, 1).await, 1);
}

/// quasar 233
#[tokio::test]
async fn init_may_decline_to_start() {
    let house = House::new();
    let rooms = house.rooms().await;
    house.plan_init("a", InitPlan::Decline);
    assert_eq!(rooms.get_or_start(&key("a")).await, Ok(Outcome::Ignored));
    let declined = StartKeyError::Failed(GetError::Declined);
    assert_eq!(rooms.start_child(&key("a")).await, Err(declined));
    assert_eq!((rooms.count(), rooms.counters().failed, rooms.counters().declined), (0, 0, 2));
    house.plan_init("a", InitPlan::Ok);
    get(&rooms, "a").await;
}

/// goakt 1272
#[tokio::test]
async fn two_keys_of_one_type_are_two_processes() {
    let house = House::new();
    let rooms = house.rooms().await;
    let (a, b) = (get(&rooms, "a").await, get(&rooms, "b").await);
    assert_ne!(a, b);
    assert_eq!((add(&a, 1).await, add(&b, 10).await), (1, 10));
    assert_eq!((house.census.alive(), house.census.most_of_one_key()), (2, 1));
}

/// Plane 640, REG-28
#[tokio::test]
async fn a_repeated_spawn_request_is_ignored() {
    let house = House::new();
    let rooms = house.rooms().await;
    let room = rooms.start_child(&key("a")).await.unwrap();
    assert_eq!(add(&room, 7).await, 7);
    for _ in 0..10 {
        let again = rooms.start_child(&key("a")).await;
        assert_eq!(again, Err(StartKeyError::AlreadyStarted(room.clone())));
    }
    assert_eq!((add(&room, 0).await, house.census.ever()), (7, 1));
}

/// Colyseus 823
#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_the_slowest_terminate() {
    let house = House::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = house.open_under(&supervisor, house.builder(spec())).await;
    let gates = ["a", "b", "c"].map(|name| (name, Gate::default()));
    for (name, gate) in &gates {
        house.plan_end(name, EndPlan::Hold(gate.clone()));
        get(&rooms, *name).await;
    }
    let mut shutdown = Box::pin(supervisor.shutdown(secs(60)));
    for (_, gate) in &gates {
        still_waits(&mut shutdown).await;
        gate.open();
    }
    assert!(shutdown.await.is_clean());
    assert_eq!(house.census.alive(), 0);
}

/// axum 2673
#[tokio::test(start_paused = true)]
async fn event_streams_do_not_hold_the_exit() {
    let house = House::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = house.open_under(&supervisor, house.builder(spec())).await;
    let (_never_read, mut read) = (rooms.events(), rooms.events());
    let reader =
        aside(async move { while !matches!(read.recv().await.unwrap().what, What::Stopped(_)) {} });
    get(&rooms, "a").await;
    assert!(supervisor.shutdown(secs(10)).await.is_clean());
    reader.await.unwrap();
}

/// tokio-console 256
#[tokio::test(start_paused = true)]
async fn history_is_bounded() {
    let house = House::new();
    let budget = RestartBudget::new(100, secs(5)).backoff(millis(1), millis(1));
    let rooms = house.open(house.builder(spec()).restart_budget(budget)).await;
    let mut events = rooms.events();
    for _ in 0..50 {
        let room = get(&rooms, "a").await;
        room.kill();
        room.ended().await;
    }
    let info = rooms.info(&key("a")).unwrap();
    assert_eq!((info.restarts, info.exits.len()), (50, limits::EXITS_REMEMBERED));
    for n in 0..limits::EVENTS {
        get(&rooms, format!("room {n}")).await;
    }
    // Whoever does not read is told how much was missed, and keeps up from there.
    assert!(matches!(events.recv().await, Err(RecvError::Lagged(missed)) if missed > 0));
    let kept = std::iter::from_fn(|| events.try_recv().ok()).count();
    assert!(kept <= limits::EVENTS.next_power_of_two());
}

/// ractor 328, kameo 94: asked for, and here the point of it all.
#[tokio::test]
async fn a_key_is_found_or_started_in_one_step_beside_children_without_keys() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let house = House::new();
    let rooms = house.builder(spec()).start(&supervisor).await.unwrap();
    let pool = DynamicSupervisor::new().start(&supervisor).await.unwrap();
    let mut events = rooms.events();
    assert!(rooms.get_or_start(&key("order 7")).await.unwrap().is_started());
    hears(&mut events, |what| matches!(what, What::Ready { again: false, .. })).await;
    assert!(!rooms.get_or_start(&key("order 7")).await.unwrap().is_started());
    // Without a key there is nothing to find: each start is another child.
    for n in 1..=2 {
        pool.start_child::<Echo<u8>>(7, innkeeper::ChildSpec::new()).await.unwrap();
        assert_eq!(pool.count_children(), n);
    }
}
