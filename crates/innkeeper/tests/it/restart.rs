//! Crashes: the key stays, the next incarnation is on its way, and no other key notices (P8).

use std::time::Duration;

use innkeeper::{
    ArgsPolicy, ChildSpec, ExitReason, GetError, Incarnation, KeyedBuilder, NotDelivered, Outcome,
    Restart, RestartBudget, Shutdown, State, StopError, What,
};
use tokio::time::Instant;

use crate::support::{
    EndPlan, Gate, House, InitPlan, Key, Room, Said, Say, add, key, millis, noted, poll_once, secs,
    settle, soon, spec,
};

fn told() -> ExitReason {
    ExitReason::Panicked("told to panic".into())
}

fn budgeted(house: &House, max: u32) -> KeyedBuilder<Key, Room> {
    house.builder(spec()).restart_budget(RestartBudget::new(max, secs(60)))
}

/// Crashes the present incarnation of a key, started if need be, and answers which one it was.
async fn crash(rooms: &innkeeper::Keyed<Key, Room>, name: &str) -> Incarnation {
    let room = soon(rooms.get_or_start(&key(name))).await.unwrap().process().unwrap();
    room.cast(Say::Panic).await.unwrap();
    soon(room.ended()).await;
    room.incarnation()
}

/// P8
#[tokio::test(start_paused = true)]
async fn a_crash_keeps_the_key_and_gets_wait_for_the_next_incarnation() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let (end, init) = (Gate::default(), Gate::default());
    house.plan_end("lobby", EndPlan::Hold(end.clone()));
    let old = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    add(&old, 5).await;
    house.plan_init("lobby", InitPlan::Hold(init.clone()));
    old.cast(Say::Panic).await.unwrap();
    end.reached().await;

    let mut gets: Vec<_> = (0..20).map(|_| Box::pin(rooms.get_or_start(&key))).collect();
    for gate in [&end, &init] {
        for get in &mut gets {
            assert!(poll_once(get).await.is_pending());
        }
        assert_eq!(rooms.info(&key).unwrap().state, Some(State::Restarting));
        assert_eq!(rooms.count(), 1);
        assert!(rooms.whereis(&key).is_none());
        gate.open();
        settle().await;
    }
    for get in gets {
        let found = soon(get).await.unwrap();
        assert!(!found.is_started(), "nobody started it: it was restarted");
        let room = found.process().unwrap();
        assert!(room.incarnation() > old.incarnation());
        assert_eq!(add(&room, 0).await, 0, "from a fresh state");
    }
    let info = rooms.info(&key).unwrap();
    assert_eq!((info.restarts, info.exits.len()), (1, 1));
    assert_eq!((&info.exits[0].reason, info.exits[0].incarnation), (&told(), old.incarnation()));
    assert_eq!(rooms.counters().restarts, 1);
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (2, 1));
}

/// P8, P6: the wait for a restart is bounded by who waits.
#[tokio::test(start_paused = true)]
async fn a_wait_for_a_restart_ends_at_the_callers_deadline() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let _ = rooms.get_or_start(&key).await.unwrap();
    house.plan_init("lobby", InitPlan::Hold(Gate::default()));
    crash(&rooms, "lobby").await;
    let waited = secs(3);
    let before = Instant::now();
    let get = rooms.get_or_start(&key).timeout(waited).await;
    assert_eq!(get, Err(GetError::Timeout { waited }));
    assert_eq!(before.elapsed(), waited);
    let lobby = rooms.via(&key);
    let call = lobby.call(Say::Add(1)).timeout(waited).await;
    assert!(
        matches!(call, Err(innkeeper::CallError::NotDelivered { why: NotDelivered::Timeout, .. })),
        "{call:?}"
    );
    assert_eq!(before.elapsed(), waited * 2);
}

/// P8, P9: what is said to the key during a restart is heard after it.
#[tokio::test(start_paused = true)]
async fn calls_and_casts_by_key_wait_out_a_restart() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let lobby = rooms.via(&key);
    let (end, init) = (Gate::default(), Gate::default());
    house.plan_end("lobby", EndPlan::Hold(end.clone()));
    let _ = rooms.get_or_start(&key).await.unwrap();
    house.plan_init("lobby", InitPlan::Hold(init.clone()));
    lobby.cast(Say::Panic).await.unwrap();
    end.reached().await;
    // While the old one ends, between the two, and while the new one starts.
    lobby.cast(Say::Note(1)).await.unwrap();
    let mut first = Box::pin(lobby.call(Say::Add(1)));
    assert!(poll_once(&mut first).await.is_pending());
    end.open();
    init.reached().await;
    lobby.cast(Say::Note(2)).await.unwrap();
    let mut second = Box::pin(lobby.call(Say::Add(1)));
    assert!(poll_once(&mut second).await.is_pending());
    settle().await;
    init.open();
    assert_eq!(soon(first).await.unwrap(), Said::Number(1));
    assert_eq!(soon(second).await.unwrap(), Said::Number(2));
    let room = rooms.get(&key).await.unwrap().process().unwrap();
    assert_eq!(noted(&room).await, [1, 2]);
    assert_eq!(house.census.ever(), 2);
}

/// P8
#[tokio::test(start_paused = true)]
async fn the_first_restart_is_immediate_and_the_next_ones_back_off_with_jitter() {
    let house = House::new();
    let (min, max) = (millis(100), millis(350));
    let budget = RestartBudget::new(10, secs(600)).backoff(min, max);
    let rooms = house.open(house.builder(spec()).restart_budget(budget)).await;
    let mut waits = vec![Vec::new(); 5];
    for name in 0..20 {
        let name = name.to_string();
        for wait in &mut waits {
            crash(&rooms, &name).await;
            let before = Instant::now();
            let _ = rooms.get(&name).await.unwrap();
            wait.push(before.elapsed());
        }
    }
    assert!(waits[0].iter().all(Duration::is_zero), "{:?}", waits[0]);
    for (n, longest) in [(1, millis(100)), (2, millis(200)), (3, max), (4, max)] {
        // Timers go by the millisecond.
        let (low, high) = (longest / 2, longest + millis(1));
        assert!(waits[n].iter().all(|wait| (low..=high).contains(wait)), "{n}: {:?}", waits[n]);
        assert!(waits[n].iter().any(|wait| *wait != waits[n][0]), "in step: {:?}", waits[n]);
    }
}

/// P8: the budget is a sliding window, so an occasional crash is always restarted at once.
#[tokio::test(start_paused = true)]
async fn crashes_that_are_far_apart_never_park_a_key() {
    let house = House::new();
    let budget = RestartBudget::new(1, secs(5));
    let rooms = house.open(house.builder(spec()).restart_budget(budget)).await;
    for _ in 0..20 {
        crash(&rooms, "lobby").await;
        let before = Instant::now();
        assert!(rooms.get(&key("lobby")).await.is_ok());
        assert!(before.elapsed().is_zero());
        tokio::time::sleep(millis(5_001)).await;
    }
    assert_eq!(rooms.info(&key("lobby")).unwrap().restarts, 20);
}

/// P8 (NEW-12): over its budget a key is parked with its last reason, and says so to everybody.
#[tokio::test(start_paused = true)]
async fn a_key_over_its_budget_is_parked_and_visible_and_no_other_key_notices() {
    let house = House::new();
    let rooms = house.open(budgeted(&house, 2)).await;
    let mut events = rooms.events();
    let neighbour = rooms.get_or_start(&key("other")).await.unwrap().process().unwrap();
    let mut last = crash(&rooms, "lobby").await;
    for _ in 0..2 {
        last = crash(&rooms, "lobby").await;
    }
    let key = key("lobby");
    let parked = GetError::Parked(told());
    assert_eq!(rooms.get_or_start(&key).await, Err(parked.clone()));
    assert_eq!(rooms.get(&key).await, Err(parked.clone()));
    assert!(rooms.whereis(&key).is_none());
    let refused = rooms.via(&key).cast(Say::Note(1)).await.unwrap_err();
    assert_eq!(refused.why, NotDelivered::NoProcess(parked));
    let info = rooms.info(&key).unwrap();
    assert_eq!((info.state, info.restarts), (Some(State::Parked), 2));
    assert_eq!(info.exits.last().map(|exit| exit.incarnation), Some(last));
    assert_eq!(rooms.count(), 2, "it is taken");
    assert_eq!(rooms.counters().parked, 1);
    let mut told_parked = std::iter::from_fn(|| events.try_recv().ok());
    assert!(told_parked.any(|event| event.what == What::Parked(told()) && event.key == "lobby"));
    assert_eq!(house.census.alive(), 1);
    assert_eq!(add(&neighbour, 1).await, 1);
    assert_eq!(rooms.info(&"other".to_owned()).unwrap().restarts, 0);
}

/// P8, P3: those who waited for the restart that did not come are told at once.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_key_that_is_parked_meanwhile_is_told() {
    let house = House::new();
    let rooms = house.open(budgeted(&house, 0)).await;
    let key = key("lobby");
    let gate = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(gate.clone()));
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    let hold = Gate::default();
    room.cast(Say::Hold(hold.clone())).await.unwrap();
    hold.reached().await;
    room.cast(Say::Panic).await.unwrap();
    let lobby = rooms.via(&key);
    let mut call = Box::pin(lobby.call(Say::Add(1)));
    assert!(poll_once(&mut call).await.is_pending());
    hold.open();
    gate.reached().await;
    let mut get = Box::pin(rooms.get_or_start(&key));
    let mut order = Box::pin(rooms.get(&key));
    assert!(poll_once(&mut get).await.is_pending());
    assert!(poll_once(&mut order).await.is_pending());
    let back = soon(call).await.unwrap_err();
    let innkeeper::CallError::NotDelivered { why, .. } = back else { panic!("it ran") };
    assert_eq!(why, NotDelivered::NoProcess(GetError::Parked(told())));
    gate.open();
    assert_eq!(soon(get).await, Err(GetError::Parked(told())));
    assert_eq!(soon(order).await, Err(GetError::Parked(told())));
}

/// P8: parked expires by itself, with a fresh budget; nobody has to look for that.
#[tokio::test(start_paused = true)]
async fn a_parked_key_starts_anew_after_its_park_time() {
    let house = House::new();
    let rooms = house.open(budgeted(&house, 1).park_time(secs(30))).await;
    for life in 1..=3 {
        for _ in 0..2 {
            crash(&rooms, "lobby").await;
        }
        let before = Instant::now();
        while rooms.get_or_start(&key("lobby")).await.is_err() {
            tokio::time::sleep(secs(1)).await;
        }
        assert_eq!(before.elapsed(), secs(30));
        assert_eq!(house.census.ever(), life * 2 + 1);
    }
    let info = rooms.info(&key("lobby")).unwrap();
    assert_eq!((info.restarts, info.exits.len()), (0, 0), "with nothing held against it");
}

/// P8, P16: a parked key that nobody asks for leaves by itself.
#[tokio::test(start_paused = true)]
async fn a_parked_key_that_nobody_asks_for_is_swept_away() {
    let house = House::new();
    let rooms = house.open(budgeted(&house, 0).park_time(secs(30))).await;
    for n in 0..100 {
        crash(&rooms, &n.to_string()).await;
    }
    assert_eq!(rooms.count(), 100);
    tokio::time::sleep(secs(29)).await;
    assert_eq!(rooms.count(), 100);
    tokio::time::sleep(secs(10)).await;
    assert_eq!((rooms.count(), house.census.ever()), (0, 100));
}

/// P8: clearable.
#[tokio::test(start_paused = true)]
async fn a_stop_clears_a_parked_key() {
    let house = House::new();
    let rooms = house.open(budgeted(&house, 0)).await;
    let key = key("lobby");
    crash(&rooms, "lobby").await;
    assert!(matches!(rooms.get_or_start(&key).await, Err(GetError::Parked(_))));
    rooms.stop(&key).await.unwrap();
    assert_eq!(rooms.count(), 0);
    assert_eq!(rooms.stop(&key).await, Err(StopError::NotFound));
    assert!(rooms.get_or_start(&key).await.unwrap().is_started());
}

/// P8: off by default.
#[tokio::test(start_paused = true)]
async fn any_number_of_keys_may_crash_within_their_own_budgets() {
    let house = House::new();
    let rooms = house.open(budgeted(&house, 1)).await;
    for n in 0..200 {
        crash(&rooms, &n.to_string()).await;
    }
    for n in 0..200 {
        assert!(rooms.get(&n.to_string()).await.is_ok());
    }
    assert_eq!(rooms.counters().parked, 0);
}

/// P8
#[tokio::test(start_paused = true)]
async fn a_group_budget_refuses_restarts_and_never_stops_a_healthy_key() {
    let house = House::new();
    let group = RestartBudget::new(3, secs(60));
    let rooms = house.open(budgeted(&house, 100).group_budget(group).park_time(secs(600))).await;
    let mut healthy = Vec::new();
    for n in 0..10 {
        let room = rooms.get_or_start(&format!("healthy {n}")).await.unwrap();
        healthy.push(room.process().unwrap());
    }
    for n in 0..3 {
        crash(&rooms, &n.to_string()).await;
        assert!(rooms.get(&n.to_string()).await.is_ok(), "within the budget of the group");
    }
    for n in 3..6 {
        crash(&rooms, &n.to_string()).await;
        assert_eq!(rooms.get(&n.to_string()).await, Err(GetError::Parked(told())));
    }
    for room in &healthy {
        add(room, 1).await;
        assert!(room.is_alive());
    }
    // The budget of the group refuses restarts; it refuses no start.
    assert!(rooms.get_or_start(&key("new")).await.unwrap().is_started());
    tokio::time::sleep(secs(61)).await;
    crash(&rooms, "new").await;
    assert!(rooms.get(&key("new")).await.is_ok(), "it slides like any other");
}

/// P8, P3: what was never up is not restarted, so it costs no budget.
#[tokio::test(start_paused = true)]
async fn starts_that_fail_cost_no_restart_of_anybody() {
    let house = House::new();
    let group = RestartBudget::new(1, secs(60));
    let rooms = house.open(budgeted(&house, 1).group_budget(group)).await;
    for plan in [InitPlan::Fail("no"), InitPlan::Panic, InitPlan::Decline] {
        house.plan_init("broken", plan);
        for _ in 0..10 {
            drop(rooms.get_or_start(&key("broken")).await);
        }
    }
    crash(&rooms, "lobby").await;
    assert!(rooms.get(&key("lobby")).await.is_ok(), "the one restart of the group is still there");
}

/// P8: a process that is never restarted needs no leave of the group either.
#[tokio::test(start_paused = true)]
async fn ends_without_a_restart_cost_no_restart_of_anybody() {
    let house = House::new();
    let group = RestartBudget::new(1, secs(60));
    let temporary = house.builder(spec().restart(Restart::Temporary));
    let rooms = house.open(temporary.group_budget(group)).await;
    for n in 0..10 {
        crash(&rooms, &n.to_string()).await;
        settle().await;
        assert_eq!(rooms.count(), 0);
    }
    assert_eq!(rooms.counters().parked, 0);

    let rooms = house.open(budgeted(&house, 100).group_budget(group)).await;
    for n in 0..10 {
        let room = rooms.get_or_start(&n.to_string()).await.unwrap().process().unwrap();
        room.cast(Say::Stop(ExitReason::Normal)).await.unwrap();
        room.ended().await;
    }
    crash(&rooms, "lobby").await;
    assert!(rooms.get(&key("lobby")).await.is_ok());
}

/// P8: one code path for the first start and for every restart.
#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_is_tried_again_within_the_budget() {
    let house = House::new();
    let rooms = house.open(budgeted(&house, 3)).await;
    let key = key("lobby");
    let _ = rooms.get_or_start(&key).await.unwrap();
    house.plan_init("lobby", InitPlan::Fail("database down"));
    crash(&rooms, "lobby").await;
    // NEW-03: a get joins the restart, and waits for its outcome.
    let get = soon(rooms.get_or_start(&key)).await;
    assert_eq!(get, Err(GetError::Parked(ExitReason::failed("database down"))));
    assert_eq!(house.census.ever(), 4, "one life, and three tries");
    let exits: Vec<_> =
        rooms.info(&key).unwrap().exits.into_iter().map(|exit| exit.reason).collect();
    assert_eq!(exits.len(), innkeeper::limits::EXITS_REMEMBERED);
    assert!(exits.iter().all(|reason| *reason == ExitReason::failed("database down")));
}

/// P8: the retry that works ends the trouble.
#[tokio::test(start_paused = true)]
async fn a_get_during_failing_restarts_gets_the_one_that_works() {
    let house = House::new();
    let rooms = house.open(budgeted(&house, 10)).await;
    let key = key("lobby");
    let _ = rooms.get_or_start(&key).await.unwrap();
    house.plan_init("lobby", InitPlan::Panic);
    crash(&rooms, "lobby").await;
    let mut get = Box::pin(rooms.get_or_start(&key));
    let mut tries = 0;
    while house.census.ever() < 5 {
        assert!(poll_once(&mut get).await.is_pending());
        tokio::time::sleep(millis(5)).await;
        tries += 1;
        assert!(tries < 10_000, "it gave up");
    }
    house.plan_init("lobby", InitPlan::Ok);
    assert!(matches!(soon(get).await, Ok(Outcome::Existing(_))));
}

/// P8: a restart may decline, too; then nothing runs and nobody is to blame.
#[tokio::test(start_paused = true)]
async fn a_restart_that_declines_frees_the_key() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let end = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(end.clone()));
    let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    house.plan_init("lobby", InitPlan::Decline);
    room.cast(Say::Panic).await.unwrap();
    end.reached().await;
    let mut get = Box::pin(rooms.get_or_start(&key));
    assert!(poll_once(&mut get).await.is_pending());
    end.open();
    assert_eq!(soon(get).await, Ok(Outcome::Ignored));
    assert_eq!((rooms.count(), rooms.counters().declined), (0, 1));
}

/// P8: the restart rules of OTP, by key.
#[tokio::test(start_paused = true)]
async fn what_follows_an_exit_is_for_the_restart_rule_to_say() {
    let exits = [
        (Say::Stop(ExitReason::Normal), false),
        (Say::Stop(ExitReason::shutdown_with("done")), false),
        (Say::Stop(ExitReason::failed("broken")), true),
        (Say::Panic, true),
    ];
    for (say, abnormal) in exits {
        for (restart, again) in [
            (Restart::Permanent, true),
            (Restart::Transient, abnormal),
            (Restart::Temporary, false),
        ] {
            let house = House::new();
            let spec = ChildSpec::new().restart(restart).shutdown(Shutdown::Infinity);
            let rooms = house.open(house.builder(spec)).await;
            let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
            let say = match &say {
                Say::Stop(reason) => Say::Stop(reason.clone()),
                _ => Say::Panic,
            };
            room.cast(say).await.unwrap();
            soon(room.ended()).await;
            settle().await;
            let ever = if again { 2 } else { 1 };
            assert_eq!(house.census.ever(), ever, "{restart:?}, abnormal: {abnormal}");
            assert_eq!(rooms.count(), usize::from(again));
        }
    }
}

/// P8, P15: with the first arguments, and as many restarts as the budget has.
#[tokio::test(start_paused = true)]
async fn a_restart_has_the_arguments_of_the_first_start() {
    let house = House::new();
    let (first, other) = (House::new(), House::new());
    let policy = ArgsPolicy::Report(|args: &(Key, House)| args.0.len() as u64);
    let rooms = house.open(house.builder(spec()).args_policy(policy)).await;
    let key = key("lobby");
    let args = (key.clone(), first.clone());
    let _ = rooms.get_or_start_with(&key, args).await.unwrap();
    crash(&rooms, "lobby").await;
    let _ = rooms.get_or_start_with(&key, (key.clone(), other.clone())).await.unwrap();
    let ever = [house.census.ever(), first.census.ever(), other.census.ever()];
    assert_eq!(ever, [0, 2, 0]);
}

/// P8: the time that a restart takes is nobody else's.
#[tokio::test(start_paused = true)]
async fn a_crash_loop_of_one_key_delays_no_other() {
    let house = House::new();
    let budget = RestartBudget::new(1000, secs(600)).backoff(millis(1), millis(1));
    let rooms = house.open(house.builder(spec()).restart_budget(budget)).await;
    let _ = rooms.get_or_start(&key("looping")).await.unwrap();
    house.plan_init("looping", InitPlan::Panic);
    crash(&rooms, "looping").await;
    for n in 0..50 {
        let before = Instant::now();
        let room = rooms.get_or_start(&n.to_string()).await.unwrap().process().unwrap();
        assert_eq!(add(&room, 1).await, 1);
        rooms.stop(&n.to_string()).await.unwrap();
        assert!(before.elapsed().is_zero());
        tokio::time::sleep(millis(2)).await;
    }
    assert!(rooms.info(&key("looping")).unwrap().restarts > 20, "it went on meanwhile");
    rooms.stop(&key("looping")).await.unwrap();
}
