//! What is left of holes where names are via tuples and an existing process counts as success.

use std::hash::{Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use innkeeper::{
    CallError, ExitReason, GetError, Keyed, NotDelivered, Outcome, Restart, Shutdown, StartError,
    State, Supervisor, What,
};
use tokio::task::JoinSet;

use crate::scripted::{Echo, Fuse, Script, Tell, aside, at_once, get, hears, still_waits};
use crate::support::{
    EndPlan, Gate, House, InitPlan, Key, Said, Say, add, key, millis, secs, spec,
};

/// G-01
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn g_01_a_thousand_concurrent_callers_get_one_process() {
    let house = House::new();
    let rooms = house.rooms().await;
    let mut callers = JoinSet::new();
    for _ in 0..1000 {
        let rooms = rooms.clone();
        callers.spawn(async move { rooms.get_or_start(&key("a")).await.unwrap() });
    }
    let outcomes = callers.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_started()).count(), 1);
    let room = get(&rooms, "a").await;
    assert!(outcomes.into_iter().all(|outcome| outcome.process().unwrap() == room));
    assert_eq!((house.census.ever(), house.census.alive()), (1, 1));
}

/// G-02
#[tokio::test(start_paused = true)]
async fn g_02_callers_who_come_while_restarts_fail_use_up_no_budget_and_no_other_key() {
    let script = Script::new().init(|key: Key, run| async move {
        match (key.as_str(), run) {
            ("a", 2 | 3) => Err(StartError::failed("the store is down")),
            _ => Ok(()),
        }
    });
    let rooms = script.open(spec()).await;
    let (bystander, old) = (get(&rooms, "b").await, get(&rooms, "a").await);
    let mut events = rooms.events();
    old.cast(Tell::Panic).await.unwrap();
    hears(&mut events, |what| matches!(what, What::Restarting { .. })).await;
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let rooms = rooms.clone();
        callers.spawn(async move { rooms.get_or_start(&key("a")).await });
    }
    let new = get(&rooms, "a").await;
    for answer in callers.join_all().await {
        assert_eq!(answer, Ok(Outcome::Existing(new.clone())));
    }
    // Three restarts, of which two failed: exactly what the budget allows.
    assert_eq!(rooms.info(&key("a")).unwrap().restarts, 3);
    assert_eq!((bystander.call(Tell::Run).await.unwrap(), script.census.ever()), (0, 5));
    assert_eq!(script.census.most_of_one_key(), 1);
}

/// A key whose own code can be made to panic.
#[derive(Debug)]
struct Touchy {
    name: &'static str,
    panics: Arc<AtomicBool>,
}

impl Touchy {
    fn check(&self) {
        assert!(!self.panics.load(Ordering::SeqCst), "the key panics");
    }
}

impl Hash for Touchy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl PartialEq for Touchy {
    fn eq(&self, other: &Self) -> bool {
        self.check();
        self.name == other.name
    }
}

impl Eq for Touchy {}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        self.check();
        Touchy { name: self.name, panics: self.panics.clone() }
    }
}

/// G-03, NEW-04, where a key's own code does damage within the index.
#[tokio::test]
async fn g_03_a_panic_within_the_index_loses_no_key_that_is_alive() {
    let panics = Arc::new(AtomicBool::new(false));
    let touchy = |name| Touchy { name, panics: panics.clone() };
    let script = Script::new();
    let rooms = script.open(spec()).await;
    let room = get(&rooms, touchy("a")).await;
    panics.store(true, Ordering::SeqCst);
    for name in ["a", "b"] {
        let found = AssertUnwindSafe(|| rooms.whereis(&touchy(name)));
        assert!(std::panic::catch_unwind(found).is_err() || name == "b");
        let rooms = rooms.clone();
        let key = touchy(name);
        let asked = aside(async move { rooms.get_or_start(&key).await.map(drop) }).await;
        assert!(asked.unwrap_err().is_panic());
    }
    panics.store(false, Ordering::SeqCst);
    assert_eq!(rooms.get_or_start(&touchy("a")).await, Ok(Outcome::Existing(room.clone())));
    assert_eq!((rooms.whereis(&touchy("a")), rooms.count()), (Some(room), 1));
    get(&rooms, touchy("b")).await;
    assert_eq!((script.census.ever(), script.census.most_of_one_key()), (2, 1));
}

/// G-03, where a key's own code does damage as its events are told.
#[tokio::test]
async fn g_03_a_key_that_cannot_be_cloned_costs_its_events_and_no_process() {
    let panics = Arc::new(AtomicBool::new(false));
    let touchy = |name| Touchy { name, panics: panics.clone() };
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = Keyed::<Touchy, Echo<()>>::with_args(spec(), |_| ()).start(&supervisor);
    let rooms = rooms.await.unwrap();
    let mut events = rooms.events();
    let room = get(&rooms, touchy("a")).await;
    panics.store(true, Ordering::SeqCst);
    room.kill();
    assert_eq!(room.ended().await, ExitReason::Killed);
    panics.store(false, Ordering::SeqCst);
    assert_ne!(get(&rooms, touchy("a")).await, room);
    assert_eq!(rooms.info(&touchy("a")).unwrap().restarts, 1);
    rooms.stop(&touchy("a")).await.unwrap();
    hears(&mut events, |what| *what == What::Stopped(ExitReason::Shutdown)).await;
    assert_eq!(rooms.count(), 0);
}

/// G-03, where a room outlives the supervisor of its scope.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g_03_a_room_that_outlives_its_supervisor_keeps_its_key() {
    let (house, gate) = (House::new(), Gate::default());
    let root = Supervisor::new().start().await.unwrap();
    let inner = Fuse::supervisor(&root).await;
    let spec = spec().shutdown(Shutdown::Timeout(millis(1)));
    let rooms = house.open_under(&inner, house.builder(spec)).await;
    let fuse = Fuse::put_in(&inner).await;
    let old = get(&rooms, "a").await;
    // Its code does not yield, so nothing can end it.
    old.cast(Say::Block(gate.clone())).await.unwrap();
    gate.reached().await;
    fuse.blow();
    fuse.up().await;
    get(&rooms, "b").await;
    let waited = millis(50);
    let refused = rooms.get_or_start(&key("a")).timeout(waited).await;
    assert_eq!(refused, Err(GetError::Timeout { waited }));
    let info = rooms.info(&key("a")).unwrap();
    assert_eq!((info.state, info.stuck), (Some(State::Stopping), true));
    assert_eq!((house.census.alive(), house.census.ever()), (2, 2));
    gate.open();
    assert_ne!(get(&rooms, "a").await, old);
    assert_eq!(house.census.most_of_one_key(), 1);
}

/// G-04
#[tokio::test(start_paused = true)]
async fn g_04_permanent_rooms_that_go_with_their_supervisor_are_each_reported() {
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let inner = Fuse::supervisor(&root).await;
    let spec = spec().restart(Restart::Permanent);
    let rooms = house.open_under(&inner, house.builder(spec)).await;
    let fuse = Fuse::put_in(&inner).await;
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        get(&rooms, name).await;
    }
    let mut events = rooms.events();
    fuse.blow();
    let mut reported = Vec::new();
    for _ in names {
        let stopped = What::Stopped(ExitReason::Shutdown);
        reported.push(hears(&mut events, |what| *what == stopped).await.key);
    }
    reported.sort();
    assert_eq!(reported, names);
    fuse.up().await;
    for name in names {
        get(&rooms, name).await;
    }
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (10, 1));
}

/// G-05
#[tokio::test(start_paused = true)]
async fn g_05_a_slow_start_stop_or_restart_of_one_key_delays_no_other() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.open(house.builder(spec().shutdown(Shutdown::Infinity))).await;
    // All three hold until the end of the test.
    house.plan_end("stopping", EndPlan::Hold(gate.clone()));
    get(&rooms, "stopping").await;
    assert!(at_once(rooms.stop(&key("stopping"))).await.is_none());
    gate.reached().await;
    let restarting = get(&rooms, "restarting").await;
    house.plan_init("restarting", InitPlan::Hold(gate.clone()));
    restarting.cast(Say::Panic).await.unwrap();
    gate.reached().await;
    house.plan_init("starting", InitPlan::Hold(gate.clone()));
    assert!(at_once(rooms.get_or_start(&key("starting"))).await.is_none());
    gate.reached().await;
    let state = |name| rooms.info(&key(name)).unwrap().state;
    assert_eq!(state("stopping"), Some(State::Stopping));
    assert_eq!(state("restarting"), Some(State::Restarting));
    assert_eq!(state("starting"), Some(State::Starting));

    let other = get(&rooms, "other").await;
    assert_eq!(add(&other, 1).await, 1);
    other.kill();
    other.ended().await;
    assert_ne!(get(&rooms, "other").await, other);
    rooms.stop(&key("other")).await.unwrap();
    assert_eq!(rooms.count(), 3);
    gate.open();
    for name in ["stopping", "restarting", "starting"] {
        get(&rooms, name).await;
    }
}

/// G-06
#[tokio::test]
async fn g_06_only_a_ready_process_is_handed_out_and_a_failed_start_is_told_to_all() {
    let gate = Gate::default();
    let held = gate.clone();
    let script = Script::new().init(move |_: Key, run| {
        let held = held.clone();
        async move {
            held.hold().await;
            if run == 0 { Err(StartError::failed("half way")) } else { Ok(()) }
        }
    });
    let rooms = script.open(spec()).await;
    let a = key("a");
    let (mut first, mut second) = (rooms.get_or_start(&a), rooms.get_or_start(&a));
    still_waits(&mut first).await;
    still_waits(&mut second).await;
    assert_eq!(rooms.whereis(&a), None);
    gate.open();
    let failed = Err(GetError::InitFailed(ExitReason::failed("half way")));
    assert_eq!((first.await, second.await), (failed.clone(), failed));
    let ready = get(&rooms, "a").await;
    assert_eq!(ready.call(Tell::Run).await.unwrap(), 1);
}

/// G-07
#[tokio::test]
async fn g_07_a_process_that_goes_between_lookup_and_use_is_a_typed_answer() {
    let house = House::new();
    let rooms = house.rooms().await;
    get(&rooms, "a").await;
    let found = rooms.whereis(&key("a")).unwrap();
    rooms.stop(&key("a")).await.unwrap();
    match found.call(Say::Add(3)).await {
        Err(CallError::NotDelivered { message: Say::Add(3), why: NotDelivered::Ended }) => {}
        other => panic!("{other:?}"),
    }
    // It did not run, so it can be said again, by key, to whoever is next.
    assert_eq!(rooms.via(&key("a")).call(Say::Add(3)).await.unwrap(), Said::Number(3));
}

/// G-08
#[tokio::test(start_paused = true)]
async fn g_08_a_room_that_keeps_crashing_is_parked_and_the_others_live_on() {
    let house = House::new();
    let rooms = house.rooms().await;
    let mut others = Vec::new();
    for n in 0..100 {
        others.push(get(&rooms, format!("other {n}")).await);
    }
    let mut events = rooms.events();
    get(&rooms, "bad").await.cast(Say::Panic).await.unwrap();
    house.plan_init("bad", InitPlan::Panic);
    let parked = hears(&mut events, |what| matches!(what, What::Parked(_))).await;
    assert_eq!(parked.key, "bad");
    let refused = rooms.get_or_start(&key("bad")).await;
    assert!(matches!(refused, Err(GetError::Parked(ExitReason::Panicked(_)))));
    for other in &others {
        assert_eq!(add(other, 1).await, 1);
    }
    house.plan_init("bad", InitPlan::Ok);
    tokio::time::advance(secs(61)).await;
    assert!(rooms.get_or_start(&key("bad")).await.unwrap().is_started());
}

/// G-09
#[tokio::test(start_paused = true)]
async fn g_09_a_start_whose_caller_is_gone_is_finished_or_torn_down_but_never_half() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.open(house.builder(spec().start_timeout(secs(2)))).await;
    let mut events = rooms.events();
    for (name, held) in [("done", gate.clone()), ("hangs", Gate::default())] {
        house.plan_init(name, InitPlan::Hold(held.clone()));
        let asker = rooms.clone();
        let caller = aside(async move { asker.get_or_start(&key(name)).await.map(drop) });
        held.reached().await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    gate.open();
    let ready = hears(&mut events, |what| matches!(what, What::Ready { .. })).await;
    assert_eq!(rooms.whereis(&key("done")).unwrap().incarnation(), ready.incarnation);
    let torn_down = What::Stopped(ExitReason::StartTimeout);
    assert_eq!(hears(&mut events, |what| *what == torn_down).await.key, "hangs");
    assert_eq!((rooms.count(), house.census.alive()), (1, 1));
}

/// G-05 and G-09, where callers are many: each start is made once, and side by side.
#[tokio::test]
async fn g_05_starts_of_different_keys_run_side_by_side() {
    const KEYS: usize = 50;
    let (gate, inside) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let (held, counted) = (gate.clone(), inside.clone());
    let script = Script::new().init(move |_: usize, _| {
        let (held, counted) = (held.clone(), counted.clone());
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            held.hold().await;
            Ok(())
        }
    });
    let rooms = script.open(spec()).await;
    let mut callers = JoinSet::new();
    for n in 0..KEYS {
        let rooms = rooms.clone();
        callers.spawn(async move { get(&rooms, n).await });
    }
    while inside.load(Ordering::SeqCst) < KEYS {
        gate.reached().await;
    }
    assert_eq!(rooms.count(), KEYS);
    gate.open();
    assert_eq!(callers.join_all().await.len(), KEYS);
}
