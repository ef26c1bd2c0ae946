//! The holes of an agent around a dynamic supervisor and a registry.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use innkeeper::{
    CallError, CastError, ChildSpec, ExitReason, GetError, Key, Keyed, NotDelivered, Outcome,
    Registry, Restart, RestartBudget, Shutdown, StartChildError, State, StopError, Supervisor,
    What,
};

use crate::scripted::{
    Echo, Fuse, Script, Scripted, Tell, aside, at_once, get, hears, still_waits,
};
use crate::support::{
    EndPlan, Gate, House, InitPlan, Room, Said, Say, add, key, millis, secs, spec,
};

/// V2-01
#[tokio::test]
async fn v2_01_the_entry_of_a_key_goes_when_its_process_goes() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().restart(Restart::Temporary))).await;
    let room = get(&rooms, "a").await;
    room.cast(Say::Panic).await.unwrap();
    room.ended().await;
    // Whoever learns of the end finds the entry gone already.
    assert_eq!((rooms.whereis(&key("a")), rooms.count()), (None, 0));
    assert!(rooms.info(&key("a")).is_none());
}

/// V2-02
#[tokio::test]
async fn v2_02_after_a_restart_the_new_process_is_found() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().restart(Restart::Permanent))).await;
    let old = get(&rooms, "a").await;
    add(&old, 5).await;
    old.kill();
    old.ended().await;
    let new = get(&rooms, "a").await;
    assert_ne!(new, old);
    assert_eq!(rooms.whereis(&key("a")), Some(new.clone()));
    assert_eq!(add(&new, 1).await, 1);
}

/// V2-03
#[tokio::test]
async fn v2_03_a_temporary_room_that_ended_is_started_again_on_demand() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().restart(Restart::Temporary))).await;
    for end in [Say::Panic, Say::Stop(ExitReason::Normal), Say::Stop(ExitReason::failed("worn"))] {
        let room = get(&rooms, "a").await;
        room.cast(end).await.unwrap();
        room.ended().await;
        assert!(rooms.get_or_start(&key("a")).await.unwrap().is_started());
        rooms.stop(&key("a")).await.unwrap();
    }
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (6, 1));
}

/// V2-04
#[tokio::test]
async fn v2_04_five_hundred_short_lived_keys_leave_no_entry() {
    let house = House::new();
    let rooms = house.rooms().await;
    for n in 0..500 {
        let room = get(&rooms, format!("room {n}")).await;
        room.cast(Say::Stop(ExitReason::Normal)).await.unwrap();
        room.ended().await;
    }
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
    assert!(rooms.page(None, 10, |_| true).await.is_empty());
    assert_eq!(rooms.counters().exits.iter().map(|(_, ended)| ended).sum::<u64>(), 500);
}

async fn stops_by_key<K: Key>(one: K, other: K) {
    let script = Script::new();
    let rooms = script.open(spec()).await;
    let left = get(&rooms, other.clone()).await;
    get(&rooms, one.clone()).await;
    rooms.stop(&one).await.unwrap();
    assert_eq!((rooms.whereis(&one), rooms.whereis(&other)), (None, Some(left)));
}

/// V2-05
#[tokio::test]
async fn v2_05_keys_of_any_type_can_be_stopped() {
    stops_by_key("room".to_owned(), "hall".to_owned()).await;
    stops_by_key(1_u64, 2_u64).await;
    stops_by_key(('a', Some(1)), ('a', None)).await;
    stops_by_key(vec![1.5_f64.to_bits()], vec![]).await;
    stops_by_key(Shutdown::Infinity, Shutdown::BrutalKill).await;
}

/// V2-06
#[tokio::test]
async fn v2_06_stopping_a_key_that_was_restarted_or_has_ended_touches_nobody_else() {
    let house = House::new();
    let rooms = house.rooms().await;
    let (room, bystander) = (get(&rooms, "a").await, get(&rooms, "b").await);
    room.kill();
    room.ended().await;
    // Whether it is restarting or live again: there is something to stop.
    assert_eq!(rooms.stop(&key("a")).await, Ok(()));
    assert_eq!(rooms.stop(&key("a")).await, Err(StopError::NotFound));
    assert_eq!(rooms.stop(&key("never there")).await, Err(StopError::NotFound));
    assert_eq!(add(&bystander, 1).await, 1);
    get(&rooms, "a").await;
    assert_eq!(house.census.most_of_one_key(), 1);
}

/// V2-07
#[tokio::test(start_paused = true)]
async fn v2_07_every_outcome_of_init_is_a_value_for_its_caller_and_nothing_for_the_others() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().start_timeout(secs(1)))).await;
    let bystander = get(&rooms, "b").await;
    let outcome = async |plan| {
        house.plan_init("a", plan);
        rooms.get_or_start(&key("a")).await
    };
    assert_eq!(outcome(InitPlan::Decline).await, Ok(Outcome::Ignored));
    let failed = GetError::InitFailed(ExitReason::failed("no"));
    assert_eq!(outcome(InitPlan::Fail("no")).await, Err(failed));
    let panicked = outcome(InitPlan::Panic).await;
    assert!(matches!(panicked, Err(GetError::InitFailed(ExitReason::Panicked(_)))));
    let hangs = outcome(InitPlan::Hold(Gate::default())).await;
    assert_eq!(hangs, Err(GetError::StartTimeout));
    assert!(outcome(InitPlan::Ok).await.unwrap().is_started());
    assert_eq!(add(&bystander, 1).await, 1);
}

/// V2-08
#[tokio::test(start_paused = true)]
async fn v2_08_a_caller_s_own_timeout_ends_only_its_own_wait() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    let bystander = get(&rooms, "b").await;
    house.plan_init("a", InitPlan::Hold(gate.clone()));
    let waited = secs(5);
    let impatient = rooms.get_or_start(&key("a")).timeout(waited).await;
    assert_eq!(impatient, Err(GetError::Timeout { waited }));
    assert_eq!(rooms.get_or_start(&key("b")).await, Ok(Outcome::Existing(bystander.clone())));
    assert_eq!(add(&bystander, 1).await, 1);
    // The start goes on; the next one who asks joins it.
    let a = key("a");
    let mut patient = rooms.get_or_start(&a);
    still_waits(&mut patient).await;
    gate.open();
    assert!(matches!(patient.await, Ok(Outcome::Existing(_))));
    assert_eq!(house.census.ever(), 2);
}

/// V2-09
#[tokio::test]
async fn v2_09_init_may_ask_for_other_keys_but_not_for_its_own() {
    let house = House::new();
    let rooms = house.rooms().await;
    house.plan_init("a", InitPlan::Ask(key("b")));
    get(&rooms, "a").await;
    assert!(rooms.whereis(&key("b")).is_some());
    for (name, of) in [("itself", "itself"), ("x", "y")] {
        // The second pair ask for each other.
        house.plan_init(name, InitPlan::Ask(key(of)));
        house.plan_init(of, InitPlan::Ask(key(name)));
        let Err(GetError::InitFailed(why)) = rooms.get_or_start(&key(name)).await else {
            panic!("a process got hold of itself in its own init");
        };
        assert!(why.to_string().contains("would wait for itself"), "{why}");
        assert_eq!(rooms.count(), 2);
    }
}

/// V2-10
#[tokio::test]
async fn v2_10_two_scopes_of_one_type_have_names_of_their_own_and_share_no_key() {
    let house = House::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = house.builder(spec()).start(&supervisor).await.unwrap();
    let second = house.builder(spec()).start(&supervisor).await;
    assert_eq!(second.unwrap_err(), StartChildError::AlreadyStarted);
    let others = house.builder(spec()).name("other rooms").start(&supervisor).await.unwrap();
    assert_ne!(get(&rooms, "a").await, get(&others, "a").await);
    assert_eq!((rooms.count(), others.count()), (1, 1));
}

/// V2-11
#[tokio::test(start_paused = true)]
async fn v2_11_the_restart_budget_belongs_to_a_key_and_can_be_set() {
    let house = House::new();
    let budget = RestartBudget::new(10, secs(5)).backoff(millis(1), millis(1));
    let rooms = house.open(house.builder(spec()).restart_budget(budget)).await;
    let bystander = get(&rooms, "b").await;
    for _ in 0..10 {
        let room = get(&rooms, "a").await;
        room.kill();
        room.ended().await;
    }
    let last = get(&rooms, "a").await;
    last.kill();
    assert_eq!(last.ended().await, ExitReason::Killed);
    assert_eq!(rooms.get_or_start(&key("a")).await, Err(GetError::Parked(ExitReason::Killed)));
    assert_eq!(rooms.info(&key("a")).unwrap().state, Some(State::Parked));
    assert_eq!(add(&bystander, 1).await, 1);
    assert_eq!(rooms.info(&key("b")).unwrap().restarts, 0);
}

/// V2-12
#[tokio::test(start_paused = true)]
async fn v2_12_a_scope_comes_back_after_each_of_two_hundred_restarts_of_its_supervisor() {
    const ROUNDS: u32 = 200;
    let house = House::new();
    let often = RestartBudget::new(ROUNDS, secs(3600)).backoff(millis(0), millis(0));
    let root = Supervisor::new().restart_budget(often).start().await.unwrap();
    let inner = Fuse::supervisor(&root).await;
    let rooms = house.open_under(&inner, house.builder(spec())).await;
    let fuse = Fuse::put_in(&inner).await;
    let mut old = get(&rooms, "a").await;
    for _ in 0..ROUNDS {
        fuse.blow();
        fuse.up().await;
        let new = get(&rooms, "a").await;
        assert!(new != old && !old.is_alive());
        old = new;
    }
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (201, 1));
}

/// V2-13, NEW-13
#[tokio::test(start_paused = true)]
async fn v2_13_a_shutdown_returns_after_the_last_terminate() {
    let (house, gate) = (House::new(), Gate::default());
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = house.open_under(&supervisor, house.builder(spec())).await;
    house.plan_end("a", EndPlan::Hold(gate.clone()));
    get(&rooms, "a").await;
    get(&rooms, "b").await;
    let mut shutdown = Box::pin(supervisor.shutdown(secs(60)));
    still_waits(&mut shutdown).await;
    gate.reached().await;
    assert_eq!(house.census.alive(), 1);
    gate.open();
    assert!(shutdown.await.is_clean());
    assert_eq!((house.census.alive(), house.reasons("a")), (0, vec![ExitReason::Shutdown]));
}

/// V2-14
#[tokio::test]
async fn v2_14_a_scope_may_have_any_name_or_none() {
    let (house, supervisor) = (House::new(), Supervisor::new().start().await.unwrap());
    let unnamed = house.builder(spec()).start(&supervisor).await.unwrap();
    get(&unnamed, "a").await;
    for name in ["Elixir.Rooms", "", "{:via, Registry, …}", "räume 🏠"] {
        let rooms = house.builder(spec()).name(name).start(&supervisor).await.unwrap();
        get(&rooms, "a").await;
    }
    assert_eq!((supervisor.which_children().len(), house.census.alive()), (5, 5));
}

/// V2-15
#[tokio::test]
async fn v2_15_nobody_can_put_anything_under_a_key_from_outside() {
    let house = House::new();
    let rooms = house.rooms().await;
    let args = (key("a"), House::new());
    let stranger = innkeeper::start::<Room>(args, ChildSpec::new()).await.unwrap();
    let names = Registry::new();
    names.register(key("a"), &stranger, ()).unwrap();
    assert_eq!(rooms.whereis(&key("a")), None);
    let outcome = rooms.get_or_start(&key("a")).await.unwrap();
    assert!(outcome.is_started());
    assert_ne!(outcome.process().unwrap(), stranger);
}

/// V2-16
#[tokio::test(start_paused = true)]
async fn v2_16_the_options_of_a_scope_are_honoured_at_every_start() {
    let house = House::new();
    let one = NonZeroU32::new(1).unwrap();
    let spec = spec().mailbox_capacity(one).start_timeout(secs(2));
    let never = RestartBudget::new(0, secs(1));
    let builder = house.builder(spec).max_children(2).restart_budget(never).park_time(secs(7));
    let rooms = house.open(builder.name("hall")).await;
    let (room, gate) = (get(&rooms, "a").await, Gate::default());

    room.cast(Say::Hold(gate.clone())).await.unwrap();
    gate.reached().await;
    room.cast(Say::Note(1)).await.unwrap();
    let CastError { why, .. } = room.cast(Say::Note(2)).await.unwrap_err();
    assert_eq!(why, NotDelivered::Full { capacity: 1 });
    gate.open();

    house.plan_init("b", InitPlan::Hold(Gate::default()));
    assert_eq!(rooms.get_or_start(&key("b")).await, Err(GetError::StartTimeout));
    // Its key is taken until the init that was too slow has ended.
    let _ = rooms.stop(&key("b")).await;
    get(&rooms, "c").await;
    assert_eq!(rooms.get_or_start(&key("d")).await, Err(GetError::MaxChildren { max: 2 }));

    room.kill();
    assert_eq!(room.ended().await, ExitReason::Killed);
    assert_eq!(rooms.get_or_start(&key("a")).await, Err(GetError::Parked(ExitReason::Killed)));
    tokio::time::advance(secs(8)).await;
    get(&rooms, "a").await;
    assert_eq!(rooms.info(&key("a")).unwrap().name, "hall \"a\"");
}

/// V2-17
#[tokio::test]
async fn v2_17_a_process_that_a_scope_did_not_start_is_never_taken_for_its_own() {
    let house = House::new();
    let rooms = house.rooms().await;
    let args = (key("a"), house.clone());
    let stranger = innkeeper::start::<Room>(args, ChildSpec::new()).await.unwrap();
    assert_eq!(rooms.stop(&key("a")).await, Err(StopError::NotFound));
    let own = get(&rooms, "a").await;
    rooms.stop(&key("a")).await.unwrap();
    assert!(!own.is_alive());
    assert_eq!(add(&stranger, 1).await, 1);
}

/// V2-18
#[tokio::test]
async fn v2_18_a_scope_or_supervisor_that_does_not_start_says_so_with_a_typed_error() {
    let house = House::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let _rooms = house.builder(spec()).name("rooms").start(&supervisor).await.unwrap();
    let again = house.builder(spec()).name("rooms").start(&supervisor).await;
    assert_eq!(again.unwrap_err(), StartChildError::AlreadyStarted);
    house.plan_init("first", InitPlan::Fail("no disk"));
    let broken = Supervisor::new().child::<Room>("child", (key("first"), house.clone()), spec());
    let Err(StartChildError::Failed(GetError::InitFailed(why))) = broken.start().await else {
        panic!("a supervisor started without its child");
    };
    assert!(why.to_string().contains("child did not start: the start failed: failed: no disk"));
    supervisor.shutdown(secs(10)).await;
    let late = house.builder(spec()).name("late").start(&supervisor).await;
    assert_eq!(late.unwrap_err(), StartChildError::ShuttingDown);
}

/// V2-18, where the arguments for the start cannot even be made.
#[tokio::test(start_paused = true)]
async fn v2_18_a_panic_as_the_arguments_are_made_is_a_failed_start() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = Keyed::<String, Echo<u8>>::with_args(spec(), |key| key.parse().unwrap());
    let rooms = rooms.start(&supervisor).await.unwrap();
    let failed = rooms.get_or_start(&key("not a number")).await;
    assert!(matches!(failed, Err(GetError::InitFailed(ExitReason::Panicked(_)))), "{failed:?}");
    assert_eq!((rooms.count(), rooms.counters().failed), (0, 1));
    get(&rooms, "7").await;
}

/// V2-19
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn v2_19_lookups_wait_for_no_process_and_need_no_runtime() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    let room = get(&rooms, "a").await;
    // All but one of the threads are held by code that never yields.
    room.cast(Say::Block(gate.clone())).await.unwrap();
    gate.reached().await;
    house.plan_init("b", InitPlan::Block(gate.clone()));
    let starting = {
        let rooms = rooms.clone();
        aside(async move { get(&rooms, "b").await })
    };
    gate.reached().await;
    let looks = std::thread::spawn(move || {
        (0..1000).filter(|_| rooms.whereis(&key("a")) == Some(room.clone())).count()
    });
    assert_eq!(looks.join().unwrap(), 1000);
    gate.open();
    starting.await.unwrap();
}

/// V2-20
#[tokio::test]
async fn v2_20_a_terminate_may_talk_to_other_keys_but_not_wait_for_its_own_end() {
    let all = Arc::new(OnceLock::<Keyed<String, Scripted<String>>>::new());
    let said = Arc::new(OnceLock::new());
    let (rooms_of_end, said_of_end) = (all.clone(), said.clone());
    let script = Script::new().end(move |key: String| {
        let (rooms, said) = (rooms_of_end.get().cloned().unwrap(), said_of_end.clone());
        async move {
            if key == "a" {
                let other = get(&rooms, "b").await.call(Tell::Run).await.is_ok();
                let stopped = rooms.stop(&"c".to_owned()).await;
                let own = rooms.stop(&key).await;
                let again = rooms.get_or_start(&key).await.map(drop);
                said.set((other, stopped, own, again)).unwrap();
            }
        }
    });
    let rooms = script.open(spec()).await;
    all.set(rooms.clone()).unwrap();
    get(&rooms, "a").await;
    get(&rooms, "c").await;
    rooms.stop(&key("a")).await.unwrap();
    let (other, stopped, own, again) = said.get().cloned().unwrap();
    assert_eq!((other, stopped), (true, Ok(())));
    assert!(matches!(own, Err(StopError::Cycle(_))), "{own:?}");
    assert!(matches!(again, Err(GetError::Cycle(_))), "{again:?}");
}

/// V2-21
#[tokio::test]
async fn v2_21_one_address_by_key_reaches_every_incarnation() {
    let house = House::new();
    let rooms = house.rooms().await;
    let via = rooms.via(&key("a"));
    assert_eq!(via.call(Say::Add(1)).await.unwrap(), Said::Number(1));
    let old = get(&rooms, "a").await;
    old.kill();
    assert_eq!(via.call(Say::Add(1)).await.unwrap(), Said::Number(1));
    rooms.stop(&key("a")).await.unwrap();
    assert_eq!(via.call(Say::Add(1)).await.unwrap(), Said::Number(1));
    // What was kept from before says so, and hands the message back.
    match old.call(Say::Add(9)).await {
        Err(CallError::NotDelivered { message: Say::Add(9), why: NotDelivered::Ended }) => {}
        other => panic!("{other:?}"),
    }
}

/// V2-22
#[tokio::test]
async fn v2_22_a_caller_who_goes_away_leaves_no_start_behind_or_a_whole_one() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    drop(rooms.get_or_start(&key("a")));
    assert_eq!((rooms.count(), house.census.ever()), (0, 0));
    house.plan_init("a", InitPlan::Hold(gate.clone()));
    assert!(at_once(rooms.get_or_start(&key("a"))).await.is_none());
    gate.reached().await;
    let a = key("a");
    let mut later = rooms.get_or_start(&a);
    still_waits(&mut later).await;
    gate.open();
    assert!(matches!(later.await, Ok(Outcome::Existing(_))));
    assert_eq!(house.census.ever(), 1);
}

/// V2-23
#[tokio::test(start_paused = true)]
async fn v2_23_a_key_is_free_after_a_terminate_that_panics_is_killed_or_hangs() {
    for plan in [EndPlan::Panic, EndPlan::Hold(Gate::default())] {
        for shutdown in [Shutdown::Timeout(secs(1)), Shutdown::BrutalKill] {
            let house = House::new();
            let rooms = house.open(house.builder(spec().shutdown(shutdown))).await;
            house.plan_end("a", plan.clone());
            let mut events = rooms.events();
            get(&rooms, "a").await;
            rooms.stop(&key("a")).await.unwrap();
            assert_eq!((rooms.count(), house.census.alive()), (0, 0));
            hears(&mut events, |what| matches!(what, What::Stopped(_))).await;
            assert!(rooms.get_or_start(&key("a")).await.unwrap().is_started());
            assert_eq!(house.census.most_of_one_key(), 1);
        }
    }
}
