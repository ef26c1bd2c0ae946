//! Every bound is typed, and a refusal has no effect (P11).

use innkeeper::{
    CallError, ChildSpec, DynamicSupervisor, GetError, NotDelivered, RestartBudget,
    StartChildError, StartRate, State, Supervisor, limits,
};
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::Instant;

use crate::support::{
    Gate, House, InitPlan, Log, Say, Script, act, add, key, millis, plan, poll_once, secs, settle,
    spec, tell,
};

/// P11 (NEW-07)
#[tokio::test(start_paused = true)]
async fn with_all_places_taken_an_existing_key_still_answers_and_a_new_one_is_refused() {
    let house = House::new();
    let rooms = house.open(house.builder(spec()).max_children(3)).await;
    for name in ["a", "b", "c"] {
        let _ = rooms.get_or_start(&key(name)).await.unwrap();
    }
    let full = GetError::MaxChildren { max: 3 };
    for _ in 0..10 {
        assert_eq!(rooms.get_or_start(&key("d")).await, Err(full.clone()));
        let refused = rooms.via(&key("d")).call(Say::Add(7)).await.unwrap_err();
        let CallError::NotDelivered { message: Say::Add(7), why } = refused else {
            panic!("it ran");
        };
        assert_eq!(why, NotDelivered::NoProcess(full.clone()));
        let refused = rooms.via(&key("d")).cast(Say::Note(1)).await.unwrap_err();
        assert_eq!(refused.why, NotDelivered::NoProcess(full.clone()));
    }
    assert_eq!((rooms.count(), house.census.ever()), (3, 3), "a refusal has no effect");
    for name in ["a", "b", "c"] {
        assert!(!rooms.get_or_start(&key(name)).await.unwrap().is_started());
        rooms.via(&key(name)).call(Say::Add(1)).await.unwrap();
    }
    // A place is free when its process has ended.
    rooms.stop(&key("b")).await.unwrap();
    assert!(rooms.get_or_start(&key("d")).await.unwrap().is_started());
    assert_eq!(rooms.get_or_start(&key("b")).await, Err(full));
}

/// P11, P8: capacity is checked only where a new key is taken.
#[tokio::test(start_paused = true)]
async fn a_restart_needs_no_place_of_its_own_and_a_parked_key_keeps_its_place() {
    let house = House::new();
    let builder = house.builder(spec()).max_children(1);
    let rooms = house.open(builder.restart_budget(RestartBudget::new(1, secs(60)))).await;
    let full = GetError::MaxChildren { max: 1 };
    for crash in 0..2 {
        let room = rooms.get_or_start(&key("a")).await.unwrap().process().unwrap();
        room.cast(Say::Panic).await.unwrap();
        room.ended().await;
        assert_eq!(rooms.get_or_start(&key("b")).await, Err(full.clone()), "crash {crash}");
    }
    assert!(matches!(rooms.get_or_start(&key("a")).await, Err(GetError::Parked(_))));
    // Over its park time it takes the place that it has.
    tokio::time::advance(limits::PARK_TIME).await;
    assert!(rooms.get_or_start(&key("a")).await.unwrap().is_started());
    assert_eq!((rooms.count(), house.census.ever()), (1, 3));
}

/// P11: places are counted while processes start and end, too.
#[tokio::test(start_paused = true)]
async fn a_key_holds_its_place_from_its_start_to_its_end() {
    let house = House::new();
    let rooms = house.open(house.builder(spec()).max_children(1)).await;
    let gate = Gate::default();
    house.plan_init("a", InitPlan::HoldThen(gate.clone(), Box::new(InitPlan::Fail("no"))));
    let a = key("a");
    let mut get = Box::pin(rooms.get_or_start(&a));
    assert!(poll_once(&mut get).await.is_pending());
    gate.reached().await;
    let full = Err(GetError::MaxChildren { max: 1 });
    assert_eq!(rooms.get_or_start(&key("b")).await, full);
    gate.open();
    get.await.unwrap_err();
    assert!(rooms.get_or_start(&key("b")).await.unwrap().is_started());
}

/// P11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_ask_at_once_no_more_than_the_most_are_there() {
    let house = House::new();
    let rooms = house.open(house.builder(spec()).max_children(5)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let rooms = rooms.clone();
        tasks.spawn(async move { rooms.get_or_start(&n.to_string()).await.is_ok() });
    }
    let started = tasks.join_all().await.into_iter().filter(|started| *started).count();
    assert_eq!((started, rooms.count(), house.census.alive()), (5, 5, 5));
}

/// P11: a scope that is to have nothing at all.
#[tokio::test(start_paused = true)]
async fn a_scope_without_a_place_refuses_all() {
    let house = House::new();
    let rooms = house.open(house.builder(spec()).max_children(0)).await;
    assert_eq!(rooms.get_or_start(&key("a")).await, Err(GetError::MaxChildren { max: 0 }));
    assert_eq!(house.census.ever(), 0);
}

/// P11, DS-15, DS-16
#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_has_so_many_places_also_for_children_that_are_restarting() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let builder = DynamicSupervisor::new().max_children(2);
    let budget = RestartBudget::new(10, secs(600)).backoff(secs(60), secs(60));
    let jobs = builder.restart_budget(budget).start(&root).await.unwrap();
    let mut children = Vec::new();
    for _ in 0..2 {
        let child = jobs.start_child::<Script>(plan(&log), ChildSpec::new());
        children.push(child.await.unwrap());
    }
    let full = StartChildError::MaxChildren { max: 2 };
    let refused = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await;
    assert_eq!(refused.unwrap_err(), full);
    for child in &children {
        child.kill();
        child.ended().await;
    }
    settle().await;
    let refused = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await;
    assert_eq!(refused.unwrap_err(), full);
    jobs.terminate_child(&children[0]).await.unwrap();
    jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await.unwrap();
}

/// P11
#[tokio::test(start_paused = true)]
async fn starts_are_limited_in_all_and_what_exists_costs_nothing() {
    let house = House::new();
    let rate = StartRate::per_second(5).unwrap();
    let rooms = house.open(house.builder(spec()).start_rate(rate)).await;
    for n in 0..5 {
        assert!(rooms.get_or_start(&n.to_string()).await.unwrap().is_started());
    }
    let refused = rooms.get_or_start(&key("new")).await.unwrap_err();
    let GetError::RateLimited { retry_after } = refused else { panic!("{refused}") };
    assert!(retry_after > millis(0) && retry_after <= millis(200), "{retry_after:?}");
    assert_eq!((rooms.count(), house.census.ever()), (5, 5));
    for n in 0..5 {
        assert!(!rooms.get_or_start(&n.to_string()).await.unwrap().is_started());
        rooms.via(&n.to_string()).call(Say::Add(1)).await.unwrap();
    }
    // A restart is no start that somebody asked for.
    let room = rooms.get(&key("1")).await.unwrap().process().unwrap();
    room.cast(Say::Panic).await.unwrap();
    room.ended().await;
    assert!(rooms.get(&key("1")).await.is_ok());
    // What it says is true: then, and no earlier.
    let early = retry_after.saturating_sub(millis(2));
    tokio::time::advance(early).await;
    assert!(rooms.get_or_start(&key("new")).await.is_err());
    tokio::time::advance(retry_after.saturating_sub(early) + millis(1)).await;
    assert!(rooms.get_or_start(&key("new")).await.unwrap().is_started());
}

/// P11: who asks too often does not use up what all share.
#[tokio::test(start_paused = true)]
async fn a_client_over_its_own_rate_costs_the_others_nothing() {
    let house = House::new();
    let rooms =
        house.open(house.builder(spec()).start_rate(StartRate::per_second(10).unwrap())).await;
    let (greedy, modest) = (StartRate::per_second(3).unwrap(), StartRate::per_second(3).unwrap());
    let mut started = 0;
    for n in 0..100 {
        let found = rooms.get_or_start(&format!("greedy {n}")).limited_by(&greedy).await;
        match found {
            Ok(_) => started += 1,
            Err(error) => assert!(matches!(error, GetError::RateLimited { .. })),
        }
    }
    assert_eq!(started, 3);
    for n in 0..3 {
        let found = rooms.get_or_start(&format!("modest {n}")).limited_by(&modest).await;
        assert!(found.unwrap().is_started());
    }
    // What is left of the rate of all is there for those without one of their own.
    for n in 0..4 {
        assert!(rooms.get_or_start(&format!("other {n}")).await.unwrap().is_started());
    }
    assert!(rooms.get_or_start(&key("one too many")).await.is_err());
    // An existing process costs a client nothing.
    assert!(rooms.get_or_start(&key("other 1")).limited_by(&greedy).await.is_ok());
    tokio::time::advance(secs(3)).await;
    assert!(greedy.is_unused() && modest.is_unused());
}

/// P11: of many who join one start, one pays.
#[tokio::test(start_paused = true)]
async fn a_start_costs_once_however_many_wait_for_it() {
    let house = House::new();
    let rooms =
        house.open(house.builder(spec()).start_rate(StartRate::per_second(2).unwrap())).await;
    let key_a = key("a");
    let mut gets: Vec<_> = (0..50).map(|_| Box::pin(rooms.get_or_start(&key_a))).collect();
    for get in &mut gets {
        assert!(poll_once(get).await.is_pending());
    }
    for get in gets {
        let _ = get.await.unwrap();
    }
    assert!(rooms.get_or_start(&key("b")).await.unwrap().is_started());
    assert!(rooms.get_or_start(&key("c")).await.is_err());
}

/// P11: where there is no place the rate is not touched either.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_refused_for_want_of_a_place_takes_nothing_of_any_rate() {
    let house = House::new();
    let all = StartRate::per_second(2).unwrap();
    let rooms = house.open(house.builder(spec()).max_children(1).start_rate(all)).await;
    let client = StartRate::per_second(2).unwrap();
    let _ = rooms.get_or_start(&key("a")).limited_by(&client).await.unwrap();
    for _ in 0..20 {
        let full = Err(GetError::MaxChildren { max: 1 });
        assert_eq!(rooms.get_or_start(&key("b")).limited_by(&client).await, full);
    }
    rooms.stop(&key("a")).await.unwrap();
    assert!(rooms.get_or_start(&key("b")).limited_by(&client).await.unwrap().is_started());
}

/// P11
#[tokio::test(start_paused = true)]
async fn a_page_has_its_bound_and_pages_together_have_every_key_once() {
    let house = House::new();
    let rooms = house.rooms().await;
    let count = 300;
    for n in 0..count {
        let _ = rooms.get_or_start(&format!("{n:04}")).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = rooms.page(after.as_ref(), 37, |_| true).await;
        assert!(page.len() <= 37);
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        seen.extend(page.into_iter().map(|row| row.key));
    }
    assert_eq!(seen, (0..count).map(|n| format!("{n:04}")).collect::<Vec<_>>());
    let some = rooms.page(None, usize::MAX, |key| key.ends_with('7')).await;
    assert_eq!(some.len(), 30);
    assert_eq!(rooms.page(None, 0, |_| true).await.len(), 0);
}

/// P11
#[tokio::test(start_paused = true)]
async fn a_visit_shows_every_key_once_with_its_process_and_none_that_has_gone() {
    let house = House::new();
    let rooms = house.rooms().await;
    for n in 0..300 {
        let _ = rooms.get_or_start(&n.to_string()).await.unwrap();
    }
    rooms.stop(&"7".to_owned()).await.unwrap();
    let (mut seen, mut live) = (Vec::new(), 0);
    rooms
        .visit(|key, info| {
            live += usize::from(info().state == Some(State::Live));
            seen.push(key.parse::<u32>().unwrap());
        })
        .await;
    seen.sort_unstable();
    assert_eq!(seen, (0..300).filter(|n| *n != 7).collect::<Vec<_>>());
    assert_eq!(live, 299);
}

/// P11
#[tokio::test(start_paused = true)]
async fn the_longest_page_is_that_of_the_limits() {
    let house = House::new();
    let rooms = house.rooms().await;
    for n in 0..limits::PAGE_MAX + 10 {
        let _ = rooms.get_or_start(&n.to_string()).await.unwrap();
    }
    assert_eq!(rooms.page(None, usize::MAX, |_| true).await.len(), limits::PAGE_MAX);
}

/// P11: who does not listen is told how much was missed; nobody waits for it.
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_falls_behind_is_told_what_it_missed() {
    let house = House::new();
    let rooms = house.rooms().await;
    let mut events = rooms.events();
    for n in 0..limits::EVENTS {
        let _ = rooms.get_or_start(&n.to_string()).await.unwrap();
    }
    let Err(TryRecvError::Lagged(missed)) = events.try_recv() else {
        panic!("it missed nothing");
    };
    // Two for each start: it begins, it is ready.
    assert_eq!(missed, limits::EVENTS as u64);
}

/// P11, P12: the search for cycles is bounded, and what it gives up on has its deadlines.
#[tokio::test(start_paused = true)]
async fn a_chain_of_waits_past_its_bound_still_has_its_deadlines() {
    let house = House::new();
    let rooms = house.rooms().await;
    let long = limits::WAIT_CHAIN_MAX + 20;
    let names: Vec<_> = (1..long).map(|n| n.to_string()).chain(["0".to_owned()]).collect();
    let before = Instant::now();
    let said = rooms.via(&key("0")).call(Say::Chain(names)).timeout(secs(1000)).await;
    // Too long to be seen as a cycle; the first to give up is the one that waits the longest.
    assert!(said.is_ok(), "{said:?}");
    assert_eq!(before.elapsed(), limits::CALL_TIMEOUT);
    let room = rooms.get_or_start(&key("0")).await.unwrap().process().unwrap();
    assert_eq!(add(&room, 1).await, 1);
}

/// P11
#[tokio::test(start_paused = true)]
async fn the_default_mailbox_takes_as_many_as_the_limits_say() {
    let log = Log::new();
    let script = crate::support::script(&log).await;
    let gate = Gate::default();
    let hold = gate.clone();
    script.cast(act(move |_, _| Box::pin(async move { hold.hold().await }))).await.unwrap();
    gate.reached().await;
    for n in 0..u64::from(limits::MAILBOX_CAPACITY) {
        script.cast(crate::support::Order::Beat(n)).await.unwrap();
    }
    let full = NotDelivered::Full { capacity: limits::MAILBOX_CAPACITY };
    assert_eq!(script.cast(crate::support::Order::Beat(0)).await.unwrap_err().why, full);
    gate.open();
    settle().await;
    tell(&script, |_, _| Box::pin(async {})).await;
}
