//! Ends: asked for, forced, late, and code that never comes to an end (P6, P7, P14).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use innkeeper::{
    CallError, ExitReason, GetError, NotDelivered, Outcome, RestartBudget, Shutdown, State,
    StopError, Unknown, What,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{
    EndPlan, Gate, House, InitPlan, Said, Say, add, eventually, key, millis, poll_once, secs,
    settle, soon, spec,
};

/// P7
#[tokio::test(start_paused = true)]
async fn a_stop_returns_when_the_incarnation_has_ended_and_the_key_is_free() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let gate = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(gate.clone()));
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();

    let mut order = Box::pin(rooms.stop(&key));
    assert!(poll_once(&mut order).await.is_pending());
    gate.reached().await;
    for _ in 0..10 {
        settle().await;
        assert!(poll_once(&mut order).await.is_pending());
        assert_eq!((rooms.count(), house.census.alive()), (1, 1), "it has not ended");
    }
    assert_eq!(rooms.info(&key).unwrap().state, Some(State::Stopping));
    assert!(rooms.whereis(&key).is_none() && !room.is_alive());
    gate.open();
    soon(order).await.unwrap();
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
    assert!(rooms.info(&key).is_none());
    assert_eq!(room.ended().await, ExitReason::NoProcess);
    assert_eq!(house.reasons("lobby"), [ExitReason::Shutdown]);
    assert!(rooms.get_or_start(&key).await.unwrap().is_started());
}

/// GS-13, P7
#[tokio::test(start_paused = true)]
async fn a_stop_says_where_there_is_nothing_to_stop() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    assert_eq!(rooms.stop(&key).await, Err(StopError::NotFound));
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    rooms.stop(&key).await.unwrap();
    assert_eq!(rooms.stop(&key).await, Err(StopError::NotFound));
    assert_eq!(room.stop(ExitReason::Normal, secs(1)).await, Err(StopError::NotFound));
    house.plan_init("lobby", InitPlan::Fail("no"));
    let _ = rooms.get_or_start(&key).await.unwrap_err();
    assert_eq!(rooms.stop(&key).await, Err(StopError::NotFound));
    assert_eq!(house.census.ever(), 2, "a stop never starts anything");
}

/// P7: the caller's deadline is not the key's.
#[tokio::test(start_paused = true)]
async fn a_stop_that_is_not_over_says_how_long_it_has_been_going_on() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().shutdown(Shutdown::Infinity))).await;
    let key = key("lobby");
    let gate = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(gate.clone()));
    let _ = rooms.get_or_start(&key).await.unwrap();
    for seconds in [1, 2, 3] {
        let began = Instant::now();
        let stopped = rooms.stop(&key).timeout(secs(1)).await;
        assert_eq!(began.elapsed(), secs(1));
        assert_eq!(stopped, Err(StopError::StillStopping { age: secs(seconds) }));
        assert_eq!((rooms.count(), house.census.alive()), (1, 1), "the key stays taken");
    }
    assert_eq!(house.reasons("lobby"), [ExitReason::Shutdown], "told once");
    let mut last = Box::pin(rooms.stop(&key));
    assert!(poll_once(&mut last).await.is_pending());
    gate.open();
    soon(last).await.unwrap();
    assert_eq!(rooms.count(), 0);
}

/// P7
#[tokio::test(start_paused = true)]
async fn all_who_stop_a_key_at_once_return_at_its_end() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let gate = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(gate.clone()));
    let _ = rooms.get_or_start(&key).await.unwrap();
    let mut orders: Vec<_> = (0..100).map(|_| Box::pin(rooms.stop(&key))).collect();
    for order in &mut orders {
        assert!(poll_once(order).await.is_pending());
    }
    gate.reached().await;
    gate.open();
    for order in orders {
        soon(order).await.unwrap();
    }
    assert_eq!(house.reasons("lobby").len(), 1);
}

/// P7: who ends it may say why.
#[tokio::test(start_paused = true)]
async fn the_reason_of_a_stop_reaches_terminate_and_whoever_waits_for_the_end() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    let reason = ExitReason::shutdown_with("closing time");
    let mut ended = Box::pin(room.ended());
    assert!(poll_once(&mut ended).await.is_pending());
    rooms.stop(&key).reason(reason.clone()).await.unwrap();
    assert_eq!(soon(ended).await, reason);
    assert_eq!(house.reasons("lobby"), [reason]);
}

/// P7, P9: what waits is handed back, in the instant of the order.
#[tokio::test(start_paused = true)]
async fn a_stop_hands_waiting_messages_back() {
    let house = House::new();
    let rooms = house.rooms().await;
    let mut events = rooms.events();
    let key = key("lobby");
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    let gate = Gate::default();
    let mut begun = Box::pin(room.call(Say::Hold(gate.clone())));
    assert!(poll_once(&mut begun).await.is_pending());
    gate.reached().await;
    let mut waiting: Vec<_> = (0..5).map(|n| Box::pin(room.call(Say::Add(n)))).collect();
    for call in &mut waiting {
        assert!(poll_once(call).await.is_pending());
    }
    for n in 0..3 {
        room.cast(Say::Note(n)).await.unwrap();
    }
    let mut order = Box::pin(rooms.stop(&key));
    assert!(poll_once(&mut order).await.is_pending());
    for (n, call) in waiting.into_iter().enumerate() {
        let Err(CallError::NotDelivered { message: Say::Add(back), why }) = call.await else {
            panic!("it ran");
        };
        assert_eq!((back, why), (n as u64, NotDelivered::Stopping));
    }
    let refused = room.call(Say::Add(9)).await;
    assert!(
        matches!(refused, Err(CallError::NotDelivered { why: NotDelivered::Stopping, .. })),
        "{refused:?}"
    );
    let lost = What::CastsLost { waiting: 3, begun: false };
    assert!(std::iter::from_fn(|| events.try_recv().ok()).any(|event| event.what == lost));
    // The one that had been begun goes on to its end.
    gate.open();
    assert_eq!(soon(begun).await.unwrap(), Said::Number(0));
    soon(order).await.unwrap();
    assert_eq!(rooms.counters().casts_lost, 3);
}

/// P7, P8: a call by key that was handed back is for the next one.
#[tokio::test(start_paused = true)]
async fn a_call_by_key_that_waited_at_a_stop_is_handled_by_the_next_incarnation() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let lobby = rooms.via(&key);
    let gate = Gate::default();
    lobby.cast(Say::Hold(gate.clone())).await.unwrap();
    gate.reached().await;
    let mut calls: Vec<_> = (1..=3).map(|n| Box::pin(lobby.call(Say::Add(n)))).collect();
    for call in &mut calls {
        assert!(poll_once(call).await.is_pending());
    }
    let mut order = Box::pin(rooms.stop(&key));
    assert!(poll_once(&mut order).await.is_pending());
    gate.open();
    let mut sums = Vec::new();
    for call in calls {
        sums.push(soon(call).await.unwrap());
    }
    soon(order).await.unwrap();
    sums.sort_by_key(|said| if let Said::Number(sum) = said { *sum } else { 0 });
    assert_eq!(sums.last(), Some(&Said::Number(6)), "each once, by one incarnation");
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (2, 1));
}

/// P7
#[tokio::test(start_paused = true)]
async fn a_get_during_a_stop_waits_for_the_end_and_starts_the_next() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let gate = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(gate.clone()));
    let old = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    let mut order = Box::pin(rooms.stop(&key));
    assert!(poll_once(&mut order).await.is_pending());
    gate.reached().await;
    let mut gets: Vec<_> = (0..50).map(|_| Box::pin(rooms.get_or_start(&key))).collect();
    let mut only = Box::pin(rooms.get(&key));
    let lobby = rooms.via(&key);
    let mut call = Box::pin(lobby.call(Say::Add(1)));
    for _ in 0..10 {
        for get in &mut gets {
            assert!(poll_once(get).await.is_pending());
        }
        assert!(poll_once(&mut only).await.is_pending());
        assert!(poll_once(&mut call).await.is_pending());
        settle().await;
    }
    assert_eq!(house.census.ever(), 1);
    gate.open();
    let mut started = 0;
    for get in gets {
        let outcome = soon(get).await.unwrap();
        started += u32::from(outcome.is_started());
        let process = outcome.process().unwrap();
        assert_ne!(process, old);
        assert!(process.is_alive());
    }
    soon(order).await.unwrap();
    assert_eq!(soon(call).await.unwrap(), Said::Number(1));
    assert!(matches!(soon(only).await, Ok(Outcome::Existing(_)) | Err(GetError::NotFound)));
    assert_eq!((started, house.census.ever(), house.census.most_of_one_key()), (1, 2, 1));
}

/// P7 (NEW-08): never a handle to what had been stopped before it was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stops_and_gets_from_many_tasks_never_hand_out_what_was_stopped_before() {
    let house = House::new();
    let rooms = house.rooms().await;
    let mut tasks = JoinSet::new();
    for task in 0..16 {
        let rooms = rooms.clone();
        tasks.spawn(async move {
            let key = key("lobby");
            for _ in 0..200 {
                let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
                if task % 2 == 0 {
                    drop(rooms.stop(&key).await);
                    // The one that was there is no more; a get from now on is a later one.
                    let next = rooms.get_or_start(&key).await.unwrap().process().unwrap();
                    assert!(next.incarnation() > room.incarnation());
                    assert!(!room.is_alive());
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    rooms.stop_all().await;
    assert_eq!((house.census.alive(), house.census.most_of_one_key()), (0, 1));
}

/// P7: a start that is stopped is torn down; who waits for the key gets the one after it.
#[tokio::test(start_paused = true)]
async fn a_stop_during_the_start_tears_it_down_and_its_waiters_get_the_next() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let gate = Gate::default();
    house.plan_init("lobby", InitPlan::Hold(gate.clone()));
    let mut get = Box::pin(rooms.get_or_start(&key));
    assert!(poll_once(&mut get).await.is_pending());
    gate.reached().await;
    house.plan_init("lobby", InitPlan::Ok);
    let before = Instant::now();
    soon(rooms.stop(&key)).await.unwrap();
    assert_eq!(before.elapsed(), secs(0), "init is not waited for");
    assert!(house.reasons("lobby").is_empty(), "there was no state to terminate");
    let next = soon(get).await.unwrap();
    assert!(next.is_started());
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (2, 1));
}

/// P7, P8: between two incarnations nothing runs, and a stop is the end all the same.
#[tokio::test(start_paused = true)]
async fn a_stop_during_the_wait_before_a_restart_frees_the_key_at_once() {
    let house = House::new();
    let budget = RestartBudget::new(5, secs(60)).backoff(secs(30), secs(30));
    let rooms = house.open(house.builder(spec()).restart_budget(budget)).await;
    let key = key("lobby");
    for _ in 0..2 {
        let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
        room.cast(Say::Panic).await.unwrap();
        room.ended().await;
    }
    assert_eq!(rooms.info(&key).unwrap().state, Some(State::Restarting));
    let lobby = rooms.via(&key);
    lobby.cast(Say::Note(1)).await.unwrap();
    let before = Instant::now();
    soon(rooms.stop(&key)).await.unwrap();
    assert_eq!((before.elapsed(), rooms.count(), house.census.ever()), (secs(0), 0, 2));
    assert_eq!(rooms.counters().casts_lost, 3, "with the two that crashed it");
    tokio::time::sleep(secs(100)).await;
    assert_eq!((rooms.count(), house.census.ever()), (0, 2), "no restart comes late");
}

/// P7
#[tokio::test(start_paused = true)]
async fn stopping_all_ends_what_there_is_and_says_how_many() {
    let house = House::new();
    let rooms = house.rooms().await;
    let gate = Gate::default();
    house.plan_init("starting", InitPlan::Hold(gate.clone()));
    for n in 0..99 {
        let _ = rooms.get_or_start(&n.to_string()).await.unwrap();
    }
    let starting = key("starting");
    assert!(poll_once(&mut Box::pin(rooms.get_or_start(&starting))).await.is_pending());
    gate.reached().await;
    assert_eq!(soon(rooms.stop_all()).await, 100);
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
    assert_eq!(rooms.stop_all().await, 0);
    assert!(rooms.get_or_start(&key("1")).await.unwrap().is_started(), "the scope is open");
}

/// P14: as OTP's shutdown time, from the asking on.
#[tokio::test(start_paused = true)]
async fn a_process_that_takes_longer_to_end_than_it_may_is_killed() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().shutdown(Shutdown::Timeout(secs(3))))).await;
    let key = key("lobby");
    let never = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(never.clone()));
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    let mut ended = Box::pin(room.ended());
    assert!(poll_once(&mut ended).await.is_pending());
    let before = Instant::now();
    soon(rooms.stop(&key)).await.unwrap();
    assert_eq!(before.elapsed(), secs(3));
    assert_eq!(soon(ended).await, ExitReason::Killed);
    assert_eq!(house.census.alive(), 0);

    // The same for a handler that holds things up.
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    let mut call = Box::pin(room.call(Say::Hold(never)).timeout(secs(60)));
    assert!(poll_once(&mut call).await.is_pending());
    settle().await;
    let before = Instant::now();
    soon(rooms.stop(&key)).await.unwrap();
    assert_eq!(before.elapsed(), secs(3));
    assert!(matches!(call.await, Err(CallError::Unknown(Unknown::Crashed))));
    assert_eq!(house.reasons("lobby").len(), 1, "a killed process does not terminate");
}

/// P14
#[tokio::test(start_paused = true)]
async fn a_process_that_may_take_as_long_as_it_likes_is_waited_for() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().shutdown(Shutdown::Infinity))).await;
    let key = key("lobby");
    let gate = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(gate.clone()));
    let _ = rooms.get_or_start(&key).await.unwrap();
    let stopped = rooms.stop(&key).timeout(secs(86_400)).await;
    assert_eq!(stopped, Err(StopError::StillStopping { age: secs(86_400) }));
    assert!(!rooms.info(&key).unwrap().stuck, "nobody wants to kill it");
    gate.open();
    soon(rooms.stop(&key)).await.unwrap();
}

/// P14
#[tokio::test(start_paused = true)]
async fn a_brutal_kill_ends_a_process_without_its_terminate() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().shutdown(Shutdown::BrutalKill))).await;
    let key = key("lobby");
    for busy in [false, true] {
        let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
        let mut ended = Box::pin(room.ended());
        assert!(poll_once(&mut ended).await.is_pending());
        if busy {
            let gate = Gate::default();
            room.cast(Say::Hold(gate.clone())).await.unwrap();
            gate.reached().await;
        }
        soon(rooms.stop(&key)).await.unwrap();
        assert_eq!(soon(ended).await, ExitReason::Killed);
        assert!(house.reasons("lobby").is_empty());
    }
}

/// P14: OTP's `Process.exit(pid, :kill)`.
#[tokio::test(start_paused = true)]
async fn a_kill_ends_a_process_at_its_next_await_point_and_is_a_crash() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    for round in 1..=2 {
        let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
        let mut call = Box::pin(room.call(Say::Hold(Gate::default())));
        assert!(poll_once(&mut call).await.is_pending());
        settle().await;
        let mut ended = Box::pin(room.ended());
        assert!(poll_once(&mut ended).await.is_pending());
        room.kill();
        room.kill();
        assert_eq!(soon(ended).await, ExitReason::Killed);
        assert!(matches!(soon(call).await, Err(CallError::Unknown(Unknown::Crashed))));
        assert!(house.reasons("lobby").is_empty(), "terminate does not run");
        let next = soon(rooms.get(&key)).await.unwrap().process().unwrap();
        assert!(next.incarnation() > room.incarnation());
        assert_eq!(house.census.ever(), round + 1);
    }
    assert_eq!(house.census.most_of_one_key(), 1);
}

/// P14, P6: what a killed process was in the midst of is dropped, and then its state.
#[tokio::test(start_paused = true)]
async fn a_kill_during_init_fails_the_start() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().shutdown(Shutdown::BrutalKill))).await;
    let key = key("lobby");
    let gate = Gate::default();
    house.plan_init("lobby", InitPlan::Hold(gate.clone()));
    assert!(poll_once(&mut Box::pin(rooms.get_or_start(&key))).await.is_pending());
    gate.reached().await;
    soon(rooms.stop(&key)).await.unwrap();
    assert_eq!((rooms.count(), house.census.alive(), house.census.ever()), (0, 0, 1));
}

/// P14: uniqueness before availability, for code that never yields, wherever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_never_yields_keeps_its_key_and_shows_as_stuck() {
    for place in ["init", "handler", "terminate"] {
        let house = House::new();
        let spec = spec().shutdown(Shutdown::Timeout(millis(10))).start_timeout(secs(600));
        let rooms = house.open(house.builder(spec)).await;
        let key = key("lobby");
        let gate = Gate::default();
        match place {
            "init" => {
                house.plan_init("lobby", InitPlan::Block(gate.clone()));
                assert!(poll_once(&mut Box::pin(rooms.get_or_start(&key))).await.is_pending());
                gate.reached().await;
            }
            "handler" => {
                rooms.via(&key).cast(Say::Block(gate.clone())).await.unwrap();
                gate.reached().await;
            }
            _ => {
                house.plan_end("lobby", EndPlan::Block(gate.clone()));
                let _ = rooms.get_or_start(&key).await.unwrap();
            }
        }
        let stopped = rooms.stop(&key).timeout(millis(1)).await;
        assert!(matches!(stopped, Err(StopError::StillStopping { .. })), "{place}: {stopped:?}");
        eventually(|| rooms.info(&key).unwrap().stuck).await;
        let info = rooms.info(&key).unwrap();
        assert_eq!(info.state, Some(State::Stopping), "{place}");
        assert!(info.age >= innkeeper::limits::STUCK_AFTER, "{place}: {:?}", info.age);
        assert_eq!((rooms.count(), house.census.alive()), (1, 1), "{place}");
        // Nobody gets a second one meanwhile.
        let waited = millis(1);
        let get = rooms.get_or_start(&key).timeout(waited).await;
        assert_eq!(get, Err(GetError::Timeout { waited }), "{place}");
        let Err(StopError::StillStopping { age }) = rooms.stop(&key).timeout(waited).await else {
            panic!("it has ended in {place}");
        };
        assert!(age >= innkeeper::limits::STUCK_AFTER, "{place}: {age:?}");
        house.plan_init("lobby", InitPlan::Ok);
        house.plan_end("lobby", EndPlan::Ok);
        gate.open();
        let next = rooms.get_or_start(&key).await.unwrap();
        assert!(next.is_started(), "{place}");
        assert!(!rooms.info(&key).unwrap().stuck, "{place}");
        assert_eq!((house.census.ever(), house.census.most_of_one_key()), (2, 1), "{place}");
    }
}

/// P14: also where it was only told to go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_that_never_yields_shows_as_stuck_and_is_not_replaced() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let gate = Gate::default();
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    room.cast(Say::Block(gate.clone())).await.unwrap();
    gate.reached().await;
    room.kill();
    eventually(|| room.info().stuck).await;
    let info = rooms.info(&key).unwrap();
    assert_eq!((info.state, info.stuck), (Some(State::Stopping), true));
    assert!(info.age >= innkeeper::limits::STUCK_AFTER, "{:?}", info.age);
    assert_eq!((rooms.count(), house.census.ever()), (1, 1));
    gate.open();
    room.ended().await;
    let next = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    assert!(next.incarnation() > room.incarnation());
    assert_eq!(house.census.most_of_one_key(), 1);
}

/// P6
#[tokio::test(start_paused = true)]
async fn at_its_start_deadline_every_waiter_is_told_and_init_is_killed() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().start_timeout(secs(7)))).await;
    let key = key("lobby");
    let never = Gate::default();
    house.plan_init("lobby", InitPlan::Hold(never.clone()));
    let before = Instant::now();
    let mut gets: Vec<_> = (0..20).map(|_| Box::pin(rooms.get_or_start(&key))).collect();
    for get in &mut gets {
        assert!(poll_once(get).await.is_pending());
    }
    let lobby = rooms.via(&key);
    let mut call = Box::pin(lobby.call(Say::Add(1)).timeout(secs(60)));
    assert!(poll_once(&mut call).await.is_pending());
    for get in gets {
        assert_eq!(soon(get).await, Err(GetError::StartTimeout));
        assert_eq!(before.elapsed(), secs(7));
    }
    let Err(CallError::NotDelivered { why, .. }) = soon(call).await else {
        panic!("it ran");
    };
    assert_eq!(why, NotDelivered::NoProcess(GetError::StartTimeout));
    settle().await;
    assert_eq!((rooms.count(), house.census.alive(), house.census.ever()), (0, 0, 1));
    house.plan_init("lobby", InitPlan::Ok);
    assert!(rooms.get_or_start(&key).await.unwrap().is_started());
}

/// P6: who asked late, or leaves early, does not move the deadline of the start.
#[tokio::test(start_paused = true)]
async fn the_start_deadline_is_that_of_the_start_and_not_of_a_caller() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().start_timeout(secs(7)))).await;
    let key = key("lobby");
    house.plan_init("lobby", InitPlan::Hold(Gate::default()));
    let waited = secs(1);
    let before = Instant::now();
    for n in 1..=6 {
        let get = rooms.get_or_start(&key).timeout(waited).await;
        assert_eq!(get, Err(GetError::Timeout { waited }));
        assert_eq!(before.elapsed(), secs(n));
        assert_eq!(rooms.info(&key).unwrap().state, Some(State::Starting));
    }
    assert_eq!(rooms.get_or_start(&key).await, Err(GetError::StartTimeout));
    assert_eq!(before.elapsed(), secs(7));
    assert_eq!(house.census.ever(), 1, "a timeout never starts anything");
}

/// P6: nobody waits, and the start is over at its deadline all the same.
#[tokio::test(start_paused = true)]
async fn a_start_that_nobody_waits_for_ends_at_its_deadline_too() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().start_timeout(secs(7)))).await;
    let key = key("lobby");
    house.plan_init("lobby", InitPlan::Hold(Gate::default()));
    assert!(poll_once(&mut Box::pin(rooms.get_or_start(&key))).await.is_pending());
    tokio::time::sleep(millis(6_999)).await;
    assert_eq!(rooms.count(), 1);
    tokio::time::sleep(millis(2)).await;
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
    assert_eq!(rooms.counters().failed, 1);
}

/// P6: an `init` that blocks its thread notices nothing; its waiters do, and the key stays taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_that_blocks_its_thread_is_timed_out_by_its_waiters_and_keeps_the_key() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().start_timeout(millis(20)))).await;
    let key = key("lobby");
    let gate = Gate::default();
    house.plan_init("lobby", InitPlan::Block(gate.clone()));
    let mut gets: Vec<_> = (0..5).map(|_| Box::pin(rooms.get_or_start(&key))).collect();
    for get in &mut gets {
        assert!(poll_once(get).await.is_pending());
    }
    gate.reached().await;
    for get in gets {
        assert_eq!(get.await, Err(GetError::StartTimeout));
    }
    let info = rooms.info(&key).unwrap();
    assert_eq!((info.state, rooms.count()), (Some(State::Stopping), 1));
    assert_eq!(house.census.alive(), 1);
    // The next one waits for the end of the late one.
    let mut next = Box::pin(rooms.get_or_start(&key));
    for _ in 0..100 {
        assert!(poll_once(&mut next).await.is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(house.census.ever(), 1);
    house.plan_init("lobby", InitPlan::Ok);
    gate.open();
    assert!(next.await.unwrap().is_started());
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (2, 1));
}

/// P6, P8: a restart has the same deadline as the first start, and counts as a crash past it.
#[tokio::test(start_paused = true)]
async fn a_restart_that_takes_too_long_is_one_more_crash() {
    let house = House::new();
    let builder = house.builder(spec().start_timeout(secs(7)));
    let budget = RestartBudget::new(2, secs(600)).backoff(secs(0), secs(0));
    let rooms = house.open(builder.restart_budget(budget)).await;
    let key = key("lobby");
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    house.plan_init("lobby", InitPlan::Hold(Gate::default()));
    room.cast(Say::Panic).await.unwrap();
    room.ended().await;
    let before = Instant::now();
    assert_eq!(rooms.get_or_start(&key).await, Err(GetError::StartTimeout));
    assert_eq!(before.elapsed(), secs(7));
    assert_eq!(rooms.get_or_start(&key).await, Err(GetError::StartTimeout));
    assert_eq!(before.elapsed(), secs(14));
    let parked = rooms.get_or_start(&key).await;
    assert_eq!(parked, Err(GetError::Parked(ExitReason::StartTimeout)));
    assert_eq!((house.census.ever(), house.census.alive()), (3, 0));
}

/// P6: an `init` that is done in the instant of its deadline is either ready or timed out, for all.
#[tokio::test(start_paused = true)]
async fn an_init_that_is_done_as_its_time_is_up_has_one_outcome_for_all() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().start_timeout(secs(7)))).await;
    let key = key("lobby");
    let gate = Gate::default();
    house.plan_init("lobby", InitPlan::Hold(gate.clone()));
    let mut gets: Vec<_> = (0..20).map(|_| Box::pin(rooms.get_or_start(&key))).collect();
    for get in &mut gets {
        assert!(poll_once(get).await.is_pending());
    }
    gate.reached().await;
    tokio::time::advance(secs(7)).await;
    gate.open();
    let mut outcomes = Vec::new();
    for get in gets {
        outcomes.push(soon(get).await.map(|outcome| outcome.process().unwrap()));
    }
    assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:?}");
}

/// P6: the deadline of a call is one thing, that of the start another.
#[tokio::test(start_paused = true)]
async fn a_call_by_key_that_gives_up_on_a_start_is_withdrawn_and_the_start_goes_on() {
    let house = House::new();
    let rooms = house.rooms().await;
    let gate = Gate::default();
    house.plan_init("lobby", InitPlan::Hold(gate.clone()));
    let lobby = rooms.via(&key("lobby"));
    let before = Instant::now();
    let call = lobby.call(Say::Add(5)).timeout(secs(2)).await;
    let Err(CallError::NotDelivered { message: Say::Add(5), why: NotDelivered::Timeout }) = call
    else {
        panic!("expected a timeout, got {call:?}");
    };
    assert_eq!(before.elapsed(), secs(2));
    gate.open();
    assert_eq!(lobby.call(Say::Add(1)).await.unwrap(), Said::Number(1), "it did not run");
    assert_eq!(house.census.ever(), 1);
}

/// P11, P7: a full mailbox does not keep an order from arriving.
#[tokio::test(start_paused = true)]
async fn a_stop_and_a_kill_reach_a_process_whose_mailbox_is_full() {
    for kill in [false, true] {
        let house = House::new();
        let small = spec().mailbox_capacity(NonZeroU32::MIN);
        let rooms = house.open(house.builder(small)).await;
        let key = key("lobby");
        let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
        let gate = Gate::default();
        room.cast(Say::Hold(gate.clone())).await.unwrap();
        gate.reached().await;
        room.cast(Say::Note(1)).await.unwrap();
        assert!(room.cast(Say::Note(2)).await.is_err());
        gate.open();
        if kill {
            room.kill();
            room.ended().await;
        }
        soon(rooms.stop(&key)).await.unwrap();
        assert_eq!(house.census.alive(), 0);
    }
}

/// P7: an order that comes while the process ends by itself waits for that same end.
#[tokio::test(start_paused = true)]
async fn a_stop_of_what_is_ending_by_itself_waits_for_that_end() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    for say in [Say::Stop(ExitReason::Normal), Say::Panic] {
        let gate = Gate::default();
        house.plan_end("lobby", EndPlan::Hold(gate.clone()));
        let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
        room.cast(say).await.unwrap();
        gate.reached().await;
        let mut order = Box::pin(rooms.stop(&key));
        assert!(poll_once(&mut order).await.is_pending());
        settle().await;
        assert!(poll_once(&mut order).await.is_pending());
        gate.open();
        soon(order).await.unwrap();
        assert_eq!((rooms.count(), house.census.alive()), (0, 0));
    }
    house.plan_end("lobby", EndPlan::Ok);
    assert_eq!(house.census.ever(), 2, "after a stop the crashed one is not restarted");
    assert_eq!(add(&rooms.get_or_start(&key).await.unwrap().process().unwrap(), 1).await, 1);
}

/// P14: a task of its context that never yields is a part of the incarnation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_never_yields_keeps_the_key_like_the_process_itself() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let (here, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (arrived, let_go) = (here.clone(), go.clone());
    let task = async move {
        arrived.store(true, Ordering::SeqCst);
        while !let_go.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    };
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    room.call(Say::Task(Box::pin(task))).await.unwrap();
    eventually(|| here.load(Ordering::SeqCst)).await;
    let stopped = rooms.stop(&key).timeout(millis(5)).await;
    assert!(matches!(stopped, Err(StopError::StillStopping { .. })), "{stopped:?}");
    let mut next = Box::pin(rooms.get_or_start(&key));
    assert!(poll_once(&mut next).await.is_pending());
    assert_eq!((rooms.count(), house.census.ever()), (1, 1));
    go.store(true, Ordering::SeqCst);
    assert!(next.await.unwrap().is_started());
}

/// P14: who ends all keys waits for those that can end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_all_does_not_wait_for_ever_for_code_that_never_yields() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().shutdown(Shutdown::Timeout(millis(10))))).await;
    let (stuck, other) = (key("stuck"), key("other"));
    let gate = Gate::default();
    rooms.via(&stuck).cast(Say::Block(gate.clone())).await.unwrap();
    gate.reached().await;
    let other = rooms.get_or_start(&other).await.unwrap().process().unwrap();
    assert_eq!(soon(rooms.stop_all()).await, 2);
    assert!(!other.is_alive());
    assert!(rooms.info(&stuck).unwrap().stuck);
    assert_eq!((rooms.count(), house.census.alive()), (1, 1), "it holds its key");
    gate.open();
    eventually(|| rooms.count() == 0).await;
}
