//! What happens at a process is heard on another node in order and without gaps, until it ends and
//! says why.

use bytes::Bytes;
use innkeeper_cluster::frame::Under;
use innkeeper_cluster::limits;
use innkeeper_cluster::links::{Down, Events, NotExecuted, PushError, Subscriber};
use innkeeper_cluster::ownership::Release;

use crate::nodes::{Node, SECOND, SESSION, message, nobody};
use crate::two;

const UNDER: Under = Under { shard: 3, epoch: 7 };

async fn subscribe(a: &Node, b: &Node) -> (Events, Subscriber) {
    let events = a.links.subscribe(b.session, nobody(), message("join")).unwrap();
    b.heard.until(|heard| !heard.subscribers.lock().is_empty()).await;
    let subscriber = b.heard.subscribers.lock().pop().unwrap();
    (events, subscriber)
}

async fn down(events: &mut Events) -> (usize, Down) {
    let mut count = 0;
    loop {
        match tokio::time::timeout(60 * SECOND, events.next()).await.expect("it does not end") {
            Ok(_) => count += 1,
            Err(down) => return (count, down),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_and_end_with_what_was_said() {
    let (_world, _memory, a, b) = two();
    let (mut events, subscriber) = subscribe(&a, &b).await;
    for number in 0..100 {
        subscriber.push(Some(UNDER), Bytes::from(number.to_string())).unwrap();
    }
    subscriber.end(Bytes::from_static(b"closed"));
    for number in 0..100 {
        let event = events.next().await.unwrap();
        assert_eq!((event.body, event.under), (Bytes::from(number.to_string()), Some(UNDER)));
    }
    assert_eq!(events.next().await, Err(Down::Said(Bytes::from_static(b"closed"))));
    assert_eq!(events.next().await, Err(Down::Said(Bytes::from_static(b"closed"))));
}

/// C5: and each hears what it was told, in order, by itself or with others.
#[tokio::test(start_paused = true)]
async fn what_many_are_told_is_sent_once() {
    let (_world, _memory, a, b) = two();
    let mut all = Vec::new();
    for _ in 0..50 {
        all.push(subscribe(&a, &b).await);
    }
    let before = b.links.traffic();
    let line = |number: u32| Bytes::from(format!("{number:01000}"));
    for number in 0..10 {
        all.iter().for_each(|(_, who)| who.push(Some(UNDER), line(number)).unwrap());
        all[3].1.push(Some(UNDER), line(100 + number)).unwrap();
        // The same again is another event.
        all[3].1.push(Some(UNDER), line(100 + number)).unwrap();
    }
    for (nth, (events, _)) in all.iter_mut().enumerate() {
        for number in 0..10 {
            assert_eq!(events.next().await.unwrap().body, line(number));
            for _ in 0..2 * u32::from(nth == 3) {
                assert_eq!(events.next().await.unwrap().body, line(100 + number));
            }
        }
    }
    let after = b.links.traffic();
    let (told, bytes) = (after.told - before.told, after.bytes - before.bytes);
    assert_eq!(told, 30);
    assert!((30_000..40_000).contains(&bytes), "{bytes} bytes, for 520 events of 1 000");
}

/// A3, A4: what is sent once to many is refused to each of them.
#[tokio::test(start_paused = true)]
async fn what_many_were_told_and_may_not_hear_ends_all_of_it() {
    for is_lost in [true, false] {
        let (_world, _memory, a, b) = two();
        let mut all = Vec::new();
        for _ in 0..5 {
            all.push(subscribe(&a, &b).await);
        }
        let why = if is_lost { Down::Disowned } else { Down::Unproven };
        if is_lost {
            b.standing.releases.lock().insert(UNDER, Release::Never);
        } else {
            *a.standing.ahead.lock() = SESSION;
        }
        for (_, who) in &all {
            who.push(Some(UNDER), Bytes::from_static(b"stale")).unwrap();
        }
        for (events, who) in &mut all {
            assert_eq!(down(events).await, (0, why.clone()));
            tokio::time::timeout(SECOND, who.over()).await.expect("the room does not learn of it");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_falls_behind_is_told_so_and_the_room_as_well() {
    let (_world, _memory, a, b) = two();
    let (mut events, subscriber) = subscribe(&a, &b).await;
    for _ in 0..=limits::EVENTS_MAX {
        subscriber.push(None, Bytes::from_static(b"tick")).unwrap();
    }
    tokio::time::timeout(SECOND, subscriber.over()).await.expect("the room does not learn of it");
    assert_eq!(subscriber.push(None, Bytes::new()), Err(PushError::Over));
    assert_eq!(down(&mut events).await, (limits::EVENTS_MAX, Down::Overflow));
}

#[tokio::test(start_paused = true)]
async fn a_room_that_has_more_to_tell_than_can_wait_ends_it_too() {
    let (_world, _memory, a, b) = two();
    let (mut events, subscriber) = subscribe(&a, &b).await;
    // All at once: nothing is sent in between.
    let body = Bytes::from(vec![0; limits::FRAME_BYTES_MAX / 2]);
    let pushed = (0..100).take_while(|_| subscriber.push(None, body.clone()).is_ok()).count();
    assert!((1..10).contains(&pushed), "{pushed}");
    assert!(subscriber.is_over());
    assert_eq!(down(&mut events).await.1, Down::Overflow);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_long_is_refused_and_ends_nothing() {
    let (_world, _memory, a, b) = two();
    let (mut events, subscriber) = subscribe(&a, &b).await;
    let error = subscriber.push(None, Bytes::from(vec![0; limits::FRAME_BYTES_MAX])).unwrap_err();
    assert!(matches!(error, PushError::TooLarge { .. }), "{error}");
    drop(subscriber);
    assert_eq!(down(&mut events).await, (0, Down::Dropped));
}

#[tokio::test(start_paused = true)]
async fn both_sides_learn_that_the_link_broke() {
    let (_world, memory, a, b) = two();
    let (mut events, subscriber) = subscribe(&a, &b).await;
    memory.cut("a", "b");
    subscriber.over().await;
    assert!(matches!(down(&mut events).await, (0, Down::Cut { .. })));
}

/// A12
#[tokio::test(start_paused = true)]
async fn a_room_learns_that_the_node_of_its_listener_fell_silent() {
    let (_world, memory, a, b) = two();
    let (_events, subscriber) = subscribe(&a, &b).await;
    memory.silence("a", "b");
    tokio::time::timeout(SESSION + SECOND, subscriber.over()).await.expect("it still listens");
}

#[tokio::test(start_paused = true)]
async fn a_room_learns_that_nobody_listens_any_more() {
    let (_world, _memory, a, b) = two();
    let (events, subscriber) = subscribe(&a, &b).await;
    drop(events);
    tokio::time::timeout(SECOND, subscriber.over()).await.expect("it still listens");
    // And the link is of use for others.
    subscribe(&a, &b).await;
}

/// A4
#[tokio::test(start_paused = true)]
async fn an_event_from_a_session_in_doubt_ends_the_subscription() {
    let (_world, _memory, a, b) = two();
    let (mut events, subscriber) = subscribe(&a, &b).await;
    *a.standing.ahead.lock() = SESSION;
    subscriber.push(Some(UNDER), Bytes::from_static(b"old")).unwrap();
    assert_eq!(down(&mut events).await, (0, Down::Unproven));
    tokio::time::timeout(SECOND, subscriber.over()).await.expect("the room does not learn of it");
}

/// A3
#[tokio::test(start_paused = true)]
async fn an_event_under_an_ownership_that_is_lost_ends_the_subscription() {
    let (_world, _memory, a, b) = two();
    let (mut events, subscriber) = subscribe(&a, &b).await;
    b.standing.releases.lock().insert(UNDER, Release::Never);
    subscriber.push(Some(UNDER), Bytes::from_static(b"stale")).unwrap();
    subscriber.push(None, Bytes::from_static(b"behind it")).unwrap();
    assert_eq!(down(&mut events).await, (0, Down::Disowned));
    assert!(subscriber.is_over());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_cannot_begin_says_so() {
    let (world, _memory, a, b) = two();
    let c = world.enter(3, "nowhere");
    let mut waiting = a.links.subscribe(c, nobody(), message("join")).unwrap();
    world.exit(c);
    assert_eq!(down(&mut waiting).await, (0, Down::NotExecuted(NotExecuted::Gone)));
    *a.standing.remaining.lock() = std::time::Duration::ZERO;
    let mut unproven = a.links.subscribe(b.session, nobody(), message("join")).unwrap();
    assert_eq!(down(&mut unproven).await, (0, Down::NotExecuted(NotExecuted::Unproven)));
    assert!(b.heard.subscribers.lock().is_empty());
}
