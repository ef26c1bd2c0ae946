//! What goes wrong in Rust's own libraries of this kind, each as a test of what is right instead.

mod names;
mod rules;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use innkeeper::{
    CallError, ChildSpec, DynamicSupervisor, ExitReason, GetError, NotDelivered, Outcome,
    RegisterError, Registry, Restart, Shutdown, StartChildError, StartError, StartKeyError, State,
    StopError, Supervisor, What,
};
use tokio::task::{JoinSet, yield_now};

use crate::scripted::{Echo, Script, Tell, aside, ask, at_once, get, hears, still_waits};
use crate::support::{
    EndPlan, Gate, House, InitPlan, Said, Say, add, eventually, key, noted, secs, spec,
};

/// ractor: the name is free before `post_stop` has run, and two are alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_is_not_free_before_terminate_has_run() {
    let script = Script::new().end(|_| async {
        for _ in 0..20 {
            yield_now().await;
        }
    });
    let rooms = script.open(spec()).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let rooms = rooms.clone();
        tasks.spawn(async move {
            for _ in 0..100 {
                get(&rooms, "a").await;
                let _ = rooms.stop(&key("a")).await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!((script.census.most_of_one_key(), script.census.alive()), (1, 0));
}

/// ractor: the loser of a race gets an error without a handle.
/// kameo: its `on_start` has run all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_losers_of_a_race_are_given_the_winner_and_run_no_init() {
    let house = House::new();
    let rooms = house.rooms().await;
    for round in 0..20 {
        let name = format!("room {round}");
        let mut racers = JoinSet::new();
        for _ in 0..16 {
            let (rooms, name) = (rooms.clone(), name.clone());
            racers.spawn(async move { rooms.start_child(&name).await });
        }
        let answers = racers.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        let winner = rooms.whereis(&name).unwrap();
        for answer in answers {
            match answer {
                Ok(room) | Err(StartKeyError::AlreadyStarted(room)) => assert_eq!(room, winner),
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (20, 1));
}

/// ractor: `where_is` answers with an actor that is still in `pre_start`.
#[tokio::test]
async fn a_lookup_never_shows_a_process_that_is_still_in_init() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    house.plan_init("a", InitPlan::Hold(gate.clone()));
    assert!(at_once(rooms.get_or_start(&key("a"))).await.is_none());
    gate.reached().await;
    assert_eq!(rooms.whereis(&key("a")), None);
    assert_eq!(rooms.info(&key("a")).unwrap().state, Some(State::Starting));
    gate.open();
    let room = get(&rooms, "a").await;
    assert_eq!(rooms.whereis(&key("a")), Some(room));
}

/// ractor: a cast during `pre_start` is accepted, then the start fails and the message is lost.
#[tokio::test]
async fn what_is_said_during_an_init_that_fails_is_not_lost_in_silence() {
    let gate = Gate::default();
    let held = gate.clone();
    let script = Script::new().init(move |_: String, _| {
        let held = held.clone();
        async move {
            held.hold().await;
            Err(StartError::failed("no disk"))
        }
    });
    let rooms = script.open(spec()).await;
    let mut events = rooms.events();
    let via = rooms.via(&key("a"));
    via.cast(Tell::Run).await.unwrap();
    let mut call = via.call(Tell::Stop(ExitReason::Normal));
    still_waits(&mut call).await;
    gate.reached().await;
    gate.open();
    let failed = GetError::InitFailed(ExitReason::failed("no disk"));
    match call.await {
        Err(CallError::NotDelivered { message: Tell::Stop(ExitReason::Normal), why }) => {
            assert_eq!(why, NotDelivered::NoProcess(failed));
        }
        other => panic!("{other:?}"),
    }
    let lost = What::CastsLost { waiting: 1, begun: false };
    assert_eq!(hears(&mut events, |what| *what == lost).await.key, "a");
    assert_eq!(rooms.counters().casts_lost, 1);
}

/// ractor_cluster: stopping a remote namesake deletes the local name.
/// murmer: the old one's guard deregisters the new one.
#[tokio::test]
async fn the_end_of_a_namesake_never_frees_the_name_of_another() {
    let names = Registry::<&str, Say>::new();
    let house = House::new();
    let rooms = house.rooms().await;
    let (one, other) = (get(&rooms, "a").await, get(&rooms, "b").await);
    names.register("room-1", &one, ()).unwrap();
    let refused = names.register("room-1", &other, ());
    assert_eq!(refused, Err(RegisterError::AlreadyRegistered(one.clone())));
    names.unregister(&"room-1", &other);
    rooms.stop(&key("b")).await.unwrap();
    assert_eq!(names.lookup(&"room-1"), Some((one.clone(), ())));

    // Given up and given to another, the name no longer ends with the first one.
    let heir = get(&rooms, "c").await;
    names.unregister(&"room-1", &one);
    names.register("room-1", &heir, ()).unwrap();
    rooms.stop(&key("a")).await.unwrap();
    assert_eq!(names.lookup(&"room-1"), Some((heir, ())));
}

/// ractor-supervisor: starting an id twice counts as a crash, is "restarted" until the budget is
/// used up, and takes every other child along.
#[tokio::test]
async fn a_duplicate_start_child_is_no_crash_and_melts_nothing_down() {
    let house = House::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = house.builder(spec().restart(Restart::Permanent)).start(&supervisor);
    let rooms = rooms.await.unwrap();
    let child = supervisor.start_child::<Echo<u8>>("child", 1, ChildSpec::new()).await.unwrap();
    let (room, bystander) = (get(&rooms, "a").await, get(&rooms, "b").await);
    for _ in 0..20 {
        let again = rooms.start_child(&key("a")).await;
        assert_eq!(again, Err(StartKeyError::AlreadyStarted(room.clone())));
        let again = supervisor.start_child::<Echo<u8>>("child", 2, ChildSpec::new()).await;
        assert_eq!(again.unwrap_err(), StartChildError::AlreadyStarted);
    }
    assert_eq!((add(&room, 1).await, add(&bystander, 1).await), (1, 1));
    assert_eq!(child.call(ask()).await.unwrap(), 1);
    assert_eq!((house.census.ever(), rooms.counters().restarts), (2, 0));
}

/// kameo: in a supervised restart `on_start` of the new runs beside `on_stop` of the old.
#[tokio::test(start_paused = true)]
async fn a_restart_does_not_begin_before_the_old_one_has_ended() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.open(house.builder(spec().shutdown(Shutdown::Infinity))).await;
    house.plan_end("a", EndPlan::Hold(gate.clone()));
    let old = get(&rooms, "a").await;
    old.cast(Say::Panic).await.unwrap();
    gate.reached().await;
    let a = key("a");
    let mut next = rooms.get_or_start(&a);
    still_waits(&mut next).await;
    assert_eq!(rooms.info(&a).unwrap().state, Some(State::Restarting));
    assert_eq!((house.census.alive(), house.census.ever()), (1, 1));
    gate.open();
    assert_ne!(next.await.unwrap().process().unwrap(), old);
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (2, 1));
}

/// kameo: after a supervised restart the registered name is gone, though the actor is alive.
#[tokio::test(start_paused = true)]
async fn a_name_survives_every_restart() {
    let house = House::new();
    let rooms = house.rooms().await;
    let mut last = get(&rooms, "a").await;
    let mut events = rooms.events();
    for _ in 0..3 {
        last.cast(Say::Panic).await.unwrap();
        hears(&mut events, |what| matches!(what, What::Ready { again: true, .. })).await;
        let found = rooms.whereis(&key("a")).unwrap();
        assert!(found != last && found.is_alive());
        last = found;
    }
    assert_eq!(house.census.most_of_one_key(), 1);
}

/// kameo: a supervisor never drops the spec of a child that ended, and what it was started with.
#[tokio::test]
async fn children_that_ended_leave_no_record() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let pool = DynamicSupervisor::new().start(&supervisor).await.unwrap();
    let house = House::new();
    let rooms = house.builder(spec()).start(&supervisor).await.unwrap();
    let (args, temporary) = (Arc::new(()), ChildSpec::new().restart(Restart::Temporary));
    for n in 0..100 {
        let spec = temporary.clone();
        let pooled = pool.start_child::<Echo<Arc<()>>>(args.clone(), spec).await.unwrap();
        let (id, spec) = (format!("child {n}"), temporary.clone());
        let child = supervisor.start_child::<Echo<Arc<()>>>(&id, args.clone(), spec).await.unwrap();
        let room = get(&rooms, format!("room {n}")).await;
        for end in [pooled, child] {
            end.kill();
            end.ended().await;
        }
        room.cast(Say::Stop(ExitReason::Normal)).await.unwrap();
        room.ended().await;
    }
    assert_eq!((pool.count_children(), rooms.count(), house.census.alive()), (0, 0, 0));
    let left: Vec<_> = supervisor.which_children().into_iter().map(|(id, _)| id).collect();
    assert_eq!(left, ["dynamic_supervisor", "Room"]);
    // The tasks of the last ones may still have to be taken down.
    eventually(|| Arc::strong_count(&args) == 1).await;
}

/// coerce: the same id twice, and both run; the stop of the first deregisters the second.
#[tokio::test]
async fn an_old_address_cannot_end_or_unregister_the_next_process_of_its_key() {
    let house = House::new();
    let rooms = house.rooms().await;
    let old = get(&rooms, "a").await;
    rooms.stop(&key("a")).await.unwrap();
    let new = get(&rooms, "a").await;
    old.kill();
    assert_eq!(old.stop(ExitReason::Normal, secs(1)).await, Err(StopError::NotFound));
    assert_eq!(old.ended().await, ExitReason::NoProcess);
    assert_eq!(add(&new, 1).await, 1);
    assert_eq!(rooms.whereis(&key("a")), Some(new));
}

/// kameo: after a restart an old address is stale, and a `kill` through it hits nothing or the
/// wrong one. Here it says so.
#[tokio::test]
async fn an_address_from_before_a_restart_reaches_nobody_and_says_so() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().restart(Restart::Permanent))).await;
    let old = get(&rooms, "a").await;
    old.kill();
    old.ended().await;
    let new = get(&rooms, "a").await;
    let refused = old.cast(Say::Note(1)).await.unwrap_err();
    assert_eq!(refused.why, NotDelivered::Ended);
    old.kill();
    assert_eq!(old.stop(ExitReason::Normal, secs(1)).await, Err(StopError::NotFound));
    assert_eq!(old.ended().await, ExitReason::Killed);
    assert!(!old.is_alive() && new.is_alive());
    assert_eq!(noted(&new).await, [0; 0]);
}

/// coerce: a panicked actor stays in the registry for ever.
/// spawned: the entries of the registry are not tied to the actor's life at all.
#[tokio::test]
async fn an_entry_of_the_registry_ends_with_its_process_however_that_ends() {
    let names = Registry::<&str, Tell>::new();
    let rooms = Script::<String>::new().open(spec().restart(Restart::Temporary)).await;
    for end in [Some(Tell::Panic), Some(Tell::Stop(ExitReason::Normal)), None] {
        let room = get(&rooms, "a").await;
        names.register("room-1", &room, ()).unwrap();
        match end {
            Some(end) => room.cast(end).await.unwrap(),
            None => room.kill(),
        }
        room.ended().await;
        assert_eq!((names.lookup(&"room-1"), names.count()), (None, 0));
        assert_eq!(names.register("room-1", &room, ()), Err(RegisterError::NoProcess));
    }
    assert_eq!(names.count(), 0);
}

/// murmer, rio-rs: a second start silently replaces the first, and both run.
#[tokio::test]
async fn a_second_start_never_replaces_the_first() {
    let house = House::new();
    let rooms = house.rooms().await;
    let room = get(&rooms, "a").await;
    assert_eq!(add(&room, 5).await, 5);
    for _ in 0..3 {
        assert_eq!(rooms.get_or_start(&key("a")).await, Ok(Outcome::Existing(room.clone())));
        assert!(rooms.start_child(&key("a")).await.is_err());
    }
    assert_eq!(add(&room, 1).await, 6);
    assert_eq!((house.census.ever(), rooms.count()), (1, 1));
}

/// rio-rs: the guard of the map is held across the handler's await.
#[tokio::test]
async fn no_lock_of_the_table_is_held_while_a_handler_runs() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    let room = get(&rooms, "a").await;
    room.cast(Say::Hold(gate.clone())).await.unwrap();
    gate.reached().await;
    // More keys than the table has shards, so that some are neighbours of the held one.
    for n in 0..256 {
        let name = format!("room {n}");
        get(&rooms, name.clone()).await;
        rooms.stop(&name).await.unwrap();
    }
    assert_eq!(rooms.whereis(&key("a")), Some(room.clone()));
    gate.open();
    assert_eq!(add(&room, 1).await, 1);
}

/// orlando: after the idle timeout messages are still accepted, and then dropped.
/// elfo: messages to an actor that is ending can be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_that_races_an_idle_stop_is_handled_by_this_process_or_the_next() {
    const EACH: u64 = 500;
    let house = House::new();
    let rooms = house.rooms().await;
    let handled = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (rooms, handled) = (rooms.clone(), handled.clone());
        tasks.spawn(async move {
            let via = rooms.via(&key("a"));
            for _ in 0..EACH {
                via.call(Say::Add(1)).await.unwrap();
                handled.fetch_add(1, Ordering::SeqCst);
                via.call(Say::StopIfIdle).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(handled.load(Ordering::SeqCst), 4 * EACH);
    assert!(house.census.ever() > 1, "it never went");
    assert_eq!(house.census.most_of_one_key(), 1);
}

/// coactor: whoever comes during a deactivation gets an error instead of the next one.
#[tokio::test(start_paused = true)]
async fn a_caller_who_comes_during_a_stop_is_answered_by_the_next_process() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.open(house.builder(spec().shutdown(Shutdown::Infinity))).await;
    house.plan_end("a", EndPlan::Hold(gate.clone()));
    let old = get(&rooms, "a").await;
    assert_eq!(add(&old, 5).await, 5);
    assert!(at_once(rooms.stop(&key("a"))).await.is_none());
    gate.reached().await;
    let via = rooms.via(&key("a"));
    let mut call = via.call(Say::Add(1));
    still_waits(&mut call).await;
    gate.open();
    assert_eq!(call.await.unwrap(), Said::Number(1));
}

/// selector4nix: an old actor of the same identity that is not truly dead.
#[tokio::test]
async fn a_process_that_was_ended_handles_nothing_more() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    let room = get(&rooms, "a").await;
    room.cast(Say::Hold(gate.clone())).await.unwrap();
    gate.reached().await;
    let waiting = {
        let room = room.clone();
        aside(async move { room.call(Say::Add(1)).await })
    };
    eventually(|| room.info().mailbox_len == 1).await;
    let stop = {
        let rooms = rooms.clone();
        aside(async move { rooms.stop(&key("a")).await })
    };
    eventually(|| !room.is_alive()).await;
    gate.open();
    stop.await.unwrap().unwrap();
    match waiting.await.unwrap() {
        Err(CallError::NotDelivered { why: NotDelivered::Stopping, .. }) => {}
        other => panic!("{other:?}"),
    }
}
