//! What is asked about all processes of a scope, where all of them run on one node.

use std::ops::Bound;
use std::sync::{Arc, Mutex};

use innkeeper::{Gathered, Keyed, Missing, NoAnswer, State, Supervisor, limits};
use tokio::time::Instant;

use crate::support::{
    EndPlan, Gate, House, Key, Log, Order, Script, act, add, key, millis, plan, poll_once, secs,
    settle, soon, spec,
};

/// C1: there is one node, and nobody else to ask.
#[tokio::test(start_paused = true)]
async fn on_one_node_everywhere_is_here() {
    let house = House::new();
    let rooms = house.rooms().await;
    assert_eq!(rooms.everywhere().count().await, Gathered::whole(0));
    assert!(rooms.everywhere().info(&key("a")).await.unwrap().is_none());
    for n in 0..100 {
        let _ = rooms.get_or_start(&format!("{n:02}")).await.unwrap();
    }
    let room = rooms.get(&key("07")).await.unwrap().process().unwrap();
    add(&room, 1).await;
    assert_eq!(rooms.everywhere().count().await, Gathered::whole(100));
    let info = rooms.everywhere().info(&key("07")).await.unwrap().unwrap();
    assert_eq!((info.incarnation, info.state), (room.incarnation(), Some(State::Live)));
    assert_eq!((info.name, info.node, info.epoch), ("Room \"07\"".to_owned(), None, 0));
    assert_eq!(rooms.everywhere().stop_all().await, Gathered::whole(100));
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
}

/// C1
#[tokio::test(start_paused = true)]
async fn pages_of_a_range_come_one_after_the_other_until_it_is_over() {
    let house = House::new();
    let rooms = house.rooms().await;
    for n in 0..100 {
        let _ = rooms.get_or_start(&format!("{n:02}")).await.unwrap();
    }
    let page = async |range: (Bound<Key>, Bound<Key>), limit| {
        let page = rooms.everywhere().page(range, limit).await;
        assert!(page.is_whole());
        let keys: Vec<_> = page.value.rows.into_iter().map(|row| row.key).collect();
        (keys, page.value.next)
    };
    for limit in [1, 7, 60, 61, usize::MAX] {
        let (mut all, mut from) = (Vec::new(), Bound::Included(key("10")));
        loop {
            let (keys, next) = page((from, Bound::Excluded(key("70"))), limit).await;
            assert!(keys.len() <= limit);
            all.extend(keys);
            match next {
                Some(next) => from = Bound::Excluded(next),
                None => break,
            }
        }
        assert_eq!(all, (10..70).map(|n| n.to_string()).collect::<Vec<_>>(), "by {limit}");
    }
    assert_eq!(page((Bound::Unbounded, Bound::Unbounded), 0).await, (vec![], None));
    assert_eq!(page((Bound::Included(key("x")), Bound::Unbounded), 9).await, (vec![], None));
    let too_many = limits::PAGE_MAX + 1;
    for n in 0..too_many {
        let _ = rooms.get_or_start(&format!("x{n}")).await.unwrap();
    }
    let (keys, next) = page((Bound::Included(key("x")), Bound::Unbounded), usize::MAX).await;
    assert_eq!((keys.len(), next.as_ref()), (limits::PAGE_MAX, keys.last()));
}

/// C8, P7: the orders stand.
#[tokio::test(start_paused = true)]
async fn who_stops_all_is_told_at_the_deadline_that_not_all_have_ended() {
    let house = House::new();
    let rooms = house.rooms().await;
    let gate = Gate::default();
    house.plan_end("slow", EndPlan::Hold(gate.clone()));
    for name in ["a", "slow"] {
        let _ = rooms.get_or_start(&key(name)).await.unwrap();
    }
    let began = Instant::now();
    let stopped = rooms.everywhere().timeout(millis(300)).stop_all().await;
    let missing = vec![Missing::Here(NoAnswer::Late)];
    assert_eq!(stopped, Gathered { value: 2, missing });
    assert_eq!((began.elapsed(), house.census.alive()), (millis(300), 1));
    gate.open();
    assert!(soon(rooms.everywhere().stop_all()).await.is_whole());
    assert_eq!(house.census.alive(), 0);
}

/// P12: it is told like the others, and not waited for.
#[tokio::test(start_paused = true)]
async fn a_process_may_stop_all_itself_too() {
    let log = Log::new();
    let told = plan(&log);
    let scripts = Keyed::<Key, Script>::with_args(spec(), move |_| told.clone());
    let supervisor = Supervisor::new().start().await.unwrap();
    let scripts = scripts.start(&supervisor).await.unwrap();
    let one = scripts.get_or_start(&key("one")).await.unwrap().process().unwrap();
    let other = scripts.get_or_start(&key("other")).await.unwrap().process().unwrap();
    other.cast(Order::Beat(1)).await.unwrap();
    let heard = Arc::new(Mutex::new(None));
    let (all, hears, began) = (scripts.clone(), heard.clone(), Instant::now());
    let stop = act(move |_, _| {
        Box::pin(async move {
            let stopped = all.everywhere().stop_all().await;
            *hears.lock().unwrap() = Some(stopped);
        })
    });
    let _ = soon(one.call(stop)).await;
    settle().await;
    assert_eq!(*heard.lock().unwrap(), Some(Gathered::whole(2)));
    assert_eq!((scripts.count(), began.elapsed()), (0, secs(0)));
}

/// P5
#[tokio::test(start_paused = true)]
async fn a_question_about_all_that_is_dropped_leaves_everything_as_it_was() {
    let house = House::new();
    let rooms = house.rooms().await;
    for n in 0..100 {
        let _ = rooms.get_or_start(&n.to_string()).await.unwrap();
    }
    for polls in 0..5 {
        let range = (Bound::<Key>::Unbounded, Bound::Unbounded);
        let mut page = Box::pin(rooms.everywhere().page(range, 10));
        for _ in 0..polls {
            assert!(poll_once(&mut page).await.is_pending());
        }
    }
    assert_eq!((rooms.count(), house.census.alive()), (100, 100));
}
