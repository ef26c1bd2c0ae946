//! Dropping any public future at any await point (P5).
//!
//! Each future is dropped after its first poll, after its second, and so on until it is done before
//! that; afterwards the books have to balance and the key has to work.

use std::time::Duration;

use innkeeper::{
    ChildSpec, DynamicSupervisor, ExitReason, Keyed, Restart, RestartBudget, Shutdown, Supervisor,
};

use crate::support::{
    EndPlan, Gate, Heard, House, InitPlan, Key, Log, Room, Said, Say, Script, add, dropped_after,
    eventually, key, plan, poll_once, secs, settle, soon, spec,
};

/// More polls than any of the futures needs.
const POLLS: usize = 60;

type Rooms = Keyed<Key, Room>;

/// Runs `once` with every number of polls, until it answers that its future was done.
async fn after_every_poll(mut once: impl AsyncFnMut(usize) -> bool) {
    for polls in 0..POLLS {
        if once(polls).await {
            assert!(polls > 0, "done without a poll");
            return;
        }
    }
    panic!("not done after {POLLS} polls");
}

/// What has to hold once nothing is under way any more: no more incarnations than keys, no key that
/// nobody can get or stop, no future that somebody else's cancellation broke.
async fn balanced(house: &House, rooms: &Rooms, what: &str) {
    settle().await;
    let key = key("lobby");
    assert!(house.census.most_of_one_key() <= 1, "{what}");
    assert_eq!(house.census.alive(), rooms.count(), "{what}");
    let room = soon(rooms.get_or_start(&key)).await.unwrap().process().unwrap();
    assert!(add(&room, 1).await > 0, "{what}");
    assert_eq!(rooms.info(&key).unwrap().mailbox_len, 0, "{what}");
    soon(rooms.stop(&key)).await.unwrap();
    assert_eq!((house.census.alive(), rooms.count()), (0, 0), "{what}");
}

/// P5 (NEW-06): of a start that nobody else wants, it goes on by itself, and is there for the next.
#[tokio::test(start_paused = true)]
async fn asking_for_a_key_may_be_given_up_at_any_point_of_its_start() {
    after_every_poll(async |polls| {
        let house = House::new();
        let rooms = house.rooms().await;
        let key = key("lobby");
        let done = dropped_after(polls, rooms.get_or_start(&key)).await;
        settle().await;
        // Nothing is asked before the first poll; from then on the start belongs to the key.
        assert_eq!(house.census.ever(), u64::from(polls > 0), "{polls} polls");
        assert_eq!(rooms.whereis(&key).is_some(), polls > 0);
        balanced(&house, &rooms, "get_or_start").await;
        done
    })
    .await;
}

/// P5: the same beside others who wait for the same start, its failure, its restart, its end.
#[tokio::test(start_paused = true)]
async fn asking_for_a_key_may_be_given_up_without_anybody_else_noticing() {
    for plan in [InitPlan::Ok, InitPlan::Fail("no"), InitPlan::Decline, InitPlan::Panic] {
        after_every_poll(async |polls| {
            let house = House::new();
            let rooms = house.rooms().await;
            let gate = Gate::default();
            house.plan_init("lobby", InitPlan::HoldThen(gate.clone(), Box::new(plan.clone())));
            let key = key("lobby");
            let mut other = Box::pin(rooms.get_or_start(&key));
            assert!(poll_once(&mut other).await.is_pending());
            gate.reached().await;
            gate.open();
            let done = dropped_after(polls, rooms.get_or_start(&key)).await;
            let found = soon(other).await;
            match plan {
                InitPlan::Ok => assert!(found.unwrap().is_started()),
                InitPlan::Decline => assert_eq!(found, Ok(innkeeper::Outcome::Ignored)),
                _ => assert!(matches!(found, Err(innkeeper::GetError::InitFailed(_)))),
            }
            house.plan_init("lobby", InitPlan::Ok);
            balanced(&house, &rooms, "beside others").await;
            done
        })
        .await;
    }
}

/// P5
#[tokio::test(start_paused = true)]
async fn asking_for_a_key_may_be_given_up_while_it_stops_and_while_it_restarts() {
    for crashes in [false, true] {
        after_every_poll(async |polls| {
            let house = House::new();
            let rooms = house.rooms().await;
            let key = key("lobby");
            let gate = Gate::default();
            house.plan_end("lobby", EndPlan::Hold(gate.clone()));
            let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
            let mut order = Box::pin(rooms.stop(&key));
            if crashes {
                room.cast(Say::Panic).await.unwrap();
            } else {
                assert!(poll_once(&mut order).await.is_pending());
            }
            gate.reached().await;
            let mut other = Box::pin(rooms.get_or_start(&key));
            assert!(poll_once(&mut other).await.is_pending());
            gate.open();
            let done = dropped_after(polls, rooms.get_or_start(&key)).await;
            let next = soon(other).await.unwrap().process().unwrap();
            assert_ne!(next, room);
            if !crashes {
                soon(order).await.unwrap();
            }
            balanced(&house, &rooms, "during an end").await;
            done
        })
        .await;
    }
}

/// P5: an order to stop stands from its first poll on.
#[tokio::test(start_paused = true)]
async fn a_stop_may_be_given_up_and_stands_from_its_first_poll_on() {
    after_every_poll(async |polls| {
        let house = House::new();
        let rooms = house.rooms().await;
        let key = key("lobby");
        let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
        let done = dropped_after(polls, rooms.stop(&key)).await;
        settle().await;
        assert_eq!(room.is_alive(), polls == 0, "{polls} polls");
        balanced(&house, &rooms, "stop").await;
        done
    })
    .await;
}

/// P5
#[tokio::test(start_paused = true)]
async fn stopping_all_may_be_given_up_and_the_orders_given_stand() {
    // A shard at a time: it takes as many polls as there are shards with keys in them.
    for polls in [0, 1, 2, 10, 200] {
        let house = House::new();
        let rooms = house.rooms().await;
        for n in 0..50 {
            let _ = rooms.get_or_start(&n.to_string()).await.unwrap();
        }
        let done = dropped_after(polls, rooms.stop_all()).await;
        settle().await;
        assert_eq!(house.census.alive(), rooms.count(), "{polls} polls");
        assert_eq!(done, polls == 200);
        match polls {
            0 => assert_eq!(rooms.count(), 50, "nothing is ordered before the first poll"),
            200 => assert_eq!(rooms.count(), 0),
            _ => {}
        }
        soon(rooms.stop_all()).await;
        assert_eq!((rooms.count(), house.census.alive()), (0, 0));
        balanced(&house, &rooms, "stop_all").await;
    }
}

/// P5, P6: a call that is given up before it is begun does not run.
#[tokio::test(start_paused = true)]
async fn a_call_may_be_given_up_and_runs_only_if_it_had_been_begun() {
    after_every_poll(async |polls| {
        let house = House::new();
        let rooms = house.rooms().await;
        let key = key("lobby");
        let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
        let gate = Gate::default();
        room.cast(Say::Hold(gate.clone())).await.unwrap();
        gate.reached().await;
        let withdrawn = !dropped_after(1, room.call(Say::Add(10))).await;
        assert!(withdrawn);
        assert_eq!(room.info().mailbox_len, 0, "it does not wait any more");
        gate.open();
        let done = dropped_after(polls, room.call(Say::Add(10))).await;
        settle().await;
        assert_eq!(add(&room, 1).await, if polls > 0 { 11 } else { 1 }, "{polls} polls");
        balanced(&house, &rooms, "call").await;
        done
    })
    .await;
}

/// P5, P9: by key, from a cold start to the reply.
#[tokio::test(start_paused = true)]
async fn a_call_by_key_may_be_given_up_at_any_point() {
    for (cold, stopping) in [(true, false), (false, false), (false, true)] {
        after_every_poll(async |polls| {
            let house = House::new();
            let rooms = house.rooms().await;
            let key = key("lobby");
            let mut order = Box::pin(rooms.stop(&key));
            let gate = Gate::default();
            house.plan_end("lobby", EndPlan::Hold(gate.clone()));
            if !cold {
                let _ = rooms.get_or_start(&key).await.unwrap();
            }
            if stopping {
                assert!(poll_once(&mut order).await.is_pending());
                gate.reached().await;
            }
            gate.open();
            let lobby = rooms.via(&key);
            let done = dropped_after(polls, lobby.call(Say::Add(10))).await;
            drop(order);
            settle().await;
            balanced(&house, &rooms, "via call").await;
            done
        })
        .await;
    }
}

/// P5: not sent, if it was dropped before it was ready; sent once, if it was ready.
#[tokio::test(start_paused = true)]
async fn a_cast_by_key_may_be_given_up_and_was_sent_once_or_not_at_all() {
    after_every_poll(async |polls| {
        let house = House::new();
        let rooms = house.rooms().await;
        let key = key("lobby");
        let gate = Gate::default();
        house.plan_end("lobby", EndPlan::Hold(gate.clone()));
        let _ = rooms.get_or_start(&key).await.unwrap();
        let mut order = Box::pin(rooms.stop(&key));
        assert!(poll_once(&mut order).await.is_pending());
        gate.reached().await;
        gate.open();
        let lobby = rooms.via(&key);
        let done = dropped_after(polls, lobby.cast(Say::Note(10))).await;
        drop(order);
        let noted = lobby.call(Say::Noted).await.unwrap();
        let expected = if done { vec![10] } else { vec![] };
        assert_eq!(noted, Said::Numbers(expected), "{polls} polls");
        balanced(&house, &rooms, "via cast").await;
        done
    })
    .await;
}

/// P5: what only looks or waits leaves nothing at all.
#[tokio::test(start_paused = true)]
async fn waiting_for_an_end_and_paging_may_be_given_up() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    for polls in 0..10 {
        assert!(!dropped_after(polls, room.ended()).await);
        let _ = dropped_after(polls, rooms.page(None, 10, |_| true)).await;
        let _ = dropped_after(polls, rooms.get(&key)).await;
        let _ = dropped_after(polls, rooms.start_child(&key)).await;
    }
    assert_eq!(room.info().watchers, 0);
    assert!(room.is_alive());
    balanced(&house, &rooms, "ended").await;
}

/// P5: as OTP's `GenServer.stop`, whose order stands as well.
#[tokio::test(start_paused = true)]
async fn stopping_an_incarnation_may_be_given_up_and_stands() {
    after_every_poll(async |polls| {
        let house = House::new();
        let rooms = house.rooms().await;
        let key = key("lobby");
        let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
        let done = dropped_after(polls, room.stop(ExitReason::Normal, secs(5))).await;
        settle().await;
        assert_eq!(room.is_alive(), polls == 0);
        balanced(&house, &rooms, "process stop").await;
        done
    })
    .await;
}

/// P5: opening a scope, a supervisor or a dynamic one under another.
#[tokio::test(start_paused = true)]
async fn adding_to_a_supervisor_may_be_given_up_and_what_was_added_stays_supervised() {
    after_every_poll(async |polls| {
        let house = House::new();
        let supervisor = Supervisor::new().start().await.unwrap();
        let scope = house.builder(spec()).name("rooms").start(&supervisor);
        let jobs = DynamicSupervisor::new().start(&supervisor);
        let inner = supervisor.start_supervisor(Supervisor::new().name("inner"));
        let mut done = dropped_after(polls, scope).await;
        done &= dropped_after(polls, jobs).await;
        done &= dropped_after(polls, inner).await;
        let log = Log::new();
        let child = supervisor.start_child::<Script>("child", plan(&log), ChildSpec::new());
        done &= dropped_after(polls, child).await;
        settle().await;
        let up = supervisor.which_children();
        assert_eq!(up.len(), if polls > 0 { 4 } else { 0 });
        assert!(up.iter().all(|(_, info)| info.is_some()), "{up:?}");
        assert!(soon(supervisor.shutdown(secs(5))).await.is_clean());
        assert!(supervisor.which_children().iter().all(|(_, info)| info.is_none()));
        done
    })
    .await;
}

/// P5: nobody could ever end a tree whose handle nobody got.
#[tokio::test(start_paused = true)]
async fn a_supervisor_whose_start_is_given_up_takes_its_children_down_again() {
    after_every_poll(async |polls| {
        let mut log = Log::new();
        let inner = |log: &Log| {
            let stays = ChildSpec::new().restart(Restart::Permanent);
            Supervisor::new().child::<Script>("one", plan(log), stays.clone()).child::<Script>(
                "two",
                plan(log),
                stays,
            )
        };
        let start = inner(&log).start();
        let done = {
            let mut start = Box::pin(start);
            let mut done = None;
            for _ in 0..polls {
                if let std::task::Poll::Ready(started) = poll_once(&mut start).await {
                    done = Some(started.unwrap());
                    break;
                }
                tokio::task::yield_now().await;
            }
            done
        };
        let was_done = done.is_some();
        if let Some(supervisor) = done {
            assert!(supervisor.shutdown(secs(5)).await.is_clean());
        }
        settle().await;
        let heard = log.so_far();
        let began = heard.iter().filter(|heard| matches!(heard, Heard::Init(_))).count();
        let ended = heard.iter().filter(|heard| matches!(heard, Heard::Dropped)).count();
        assert_eq!(began, ended, "after {polls} polls: {heard:?}");
        was_done
    })
    .await;
}

/// P5
#[tokio::test(start_paused = true)]
async fn children_of_a_dynamic_supervisor_may_be_given_up_at_any_point() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let jobs = DynamicSupervisor::new().start(&supervisor).await.unwrap();
    let log = Log::new();
    let mut children = 0;
    after_every_poll(async |polls| {
        let done = dropped_after(polls, jobs.start_child::<Script>(plan(&log), spec())).await;
        settle().await;
        children += usize::from(polls > 0);
        assert_eq!(jobs.count_children(), children, "{polls} polls");
        done
    })
    .await;
    let mut seen = 0;
    jobs.each_child(|_| seen += 1).await;
    assert_eq!(seen, children);
    for polls in 0..5 {
        assert!(!dropped_after(polls, jobs.each_child(|_| ())).await);
    }

    after_every_poll(async |polls| {
        let job = jobs.start_child::<Script>(plan(&log), spec()).await.unwrap();
        let done = dropped_after(polls, jobs.terminate_child(&job)).await;
        settle().await;
        assert_eq!(jobs.count_children(), children + usize::from(polls == 0), "{polls} polls");
        drop(jobs.terminate_child(&job).await);
        done
    })
    .await;
    assert!(soon(supervisor.shutdown(secs(5))).await.is_clean());
    assert_eq!(jobs.count_children(), 0);
}

/// P5
#[tokio::test(start_paused = true)]
async fn ending_a_child_or_a_whole_tree_may_be_given_up_and_stands() {
    after_every_poll(async |polls| {
        let mut log = Log::new();
        let supervisor = Supervisor::new().start().await.unwrap();
        for id in ["one", "two"] {
            let child = supervisor.start_child::<Script>(id, plan(&log), ChildSpec::new());
            child.await.unwrap();
        }
        let one = dropped_after(polls, supervisor.terminate_child("one")).await;
        settle().await;
        let count = supervisor.which_children().iter().filter(|(_, info)| info.is_none()).count();
        assert_eq!(count, usize::from(polls > 0));
        let all = dropped_after(polls, supervisor.shutdown(secs(5))).await;
        settle().await;
        assert_eq!(supervisor.which_children().iter().all(|(_, info)| info.is_none()), polls > 0);
        assert!(supervisor.shutdown(secs(5)).await.is_clean());
        assert_eq!(log.so_far().iter().filter(|heard| **heard == Heard::Dropped).count(), 2);
        one && all
    })
    .await;
}

/// P5: a process that nobody supervises, and nobody got to know.
#[tokio::test(start_paused = true)]
async fn the_start_of_a_process_of_its_own_may_be_given_up() {
    after_every_poll(async |polls| {
        let mut log = Log::new();
        let start = innkeeper::start::<Script>(plan(&log), ChildSpec::new());
        let done = dropped_after(polls, start).await;
        settle().await;
        let heard = log.so_far();
        let count = |what: fn(&Heard) -> bool| heard.iter().filter(|heard| what(heard)).count();
        let began = count(|heard| matches!(heard, Heard::Init(_)));
        let ended = count(|heard| matches!(heard, Heard::Dropped));
        if done {
            assert_eq!((began, ended), (1, 0));
        } else {
            assert_eq!(began, ended, "nobody could ever end it");
        }
        done
    })
    .await;
}

/// P5: with real threads the points are wherever they fall.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_leave_at_random_never_leave_anything_behind() {
    let house = House::new();
    let budget = RestartBudget::new(10_000, secs(5)).backoff(Duration::ZERO, Duration::ZERO);
    let spec = spec().shutdown(Shutdown::Infinity);
    let rooms = house.open(house.builder(spec).restart_budget(budget)).await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8_usize {
        let rooms = rooms.clone();
        callers.spawn(async move {
            let key = key("lobby");
            let lobby = rooms.via(&key);
            for round in 0..400 {
                let polls = (round * 7 + caller) % 5;
                match (round + caller) % 6 {
                    0 => drop(dropped_after(polls, rooms.get_or_start(&key)).await),
                    1 => drop(dropped_after(polls, rooms.stop(&key)).await),
                    2 => drop(dropped_after(polls, lobby.call(Say::Add(1))).await),
                    3 => drop(dropped_after(polls, lobby.cast(Say::Note(1))).await),
                    4 => drop(dropped_after(polls, lobby.call(Say::Panic)).await),
                    _ => drop(dropped_after(polls, rooms.get(&key)).await),
                }
            }
        });
    }
    callers.join_all().await;
    rooms.stop_all().await;
    eventually(|| rooms.count() == house.census.alive()).await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    add(&room, 1).await;
    rooms.stop_all().await;
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
    assert_eq!(house.census.most_of_one_key(), 1);
}
