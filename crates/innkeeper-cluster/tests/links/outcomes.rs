//! A request ends in one of three ways, and each says the truth.

use std::sync::Arc;

use bytes::Bytes;
use innkeeper_cluster::frame::{Lost, Part, Request, Under};
use innkeeper_cluster::limits;
use innkeeper_cluster::links::{Failed, NotExecuted, Origin, Unknown};
use innkeeper_cluster::net::memory::Memory;

use crate::nodes::{SECOND, SESSION, World, call, message, nobody};
use crate::two;

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_and_a_cast_arrives() {
    let (_world, _memory, a, b) = two();
    let response = a.links.request(b.session, nobody(), call("ping"), SECOND).await.unwrap();
    assert_eq!(&response.body[..], b"ping");
    a.links.send(b.session, nobody(), message("told")).unwrap();
    b.heard.until(|heard| heard.bodies() == ["told"]).await;
    let said = b.heard.casts.lock()[0].clone();
    assert_eq!(said, message("told"));
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_handed_over_in_parts_or_declined() {
    let (_world, _memory, a, b) = two();
    let under = Under { shard: 9, epoch: 4 };
    let part = Part { under, attempt: 1, number: 0, count: 1, body: Bytes::from_static(b"state") };
    let prepare = Request::Prepare(part.clone());
    let prepared = a.links.request(b.session, nobody(), prepare, SECOND).await.unwrap();
    assert_eq!(&prepared.body[..], b"5");
    let empty = Part { body: Bytes::new(), ..part.clone() };
    let prepare = Request::Prepare(empty.clone());
    let declined = a.links.request(b.session, nobody(), prepare, SECOND).await.unwrap_err();
    let why = NotExecuted::Declined(Bytes::from_static(b"too late"));
    assert_eq!(declined, Failed::NotExecuted(why));
    assert_eq!(*b.heard.parts.lock(), [part, empty]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_sent_when_the_link_broke_is_unknown() {
    let (_world, memory, a, b) = two();
    *b.heard.keeps.lock() = true;
    let asked = async {
        b.heard.until(|heard| heard.calls.lock().len() == 1).await;
        memory.cut("a", "b");
    };
    let (result, ()) =
        tokio::join!(a.links.request(b.session, nobody(), call("?"), 60 * SECOND), asked);
    assert!(matches!(result, Err(Failed::Unknown(Unknown::Cut { .. }))), "{result:?}");
    // The next one goes over a new connection.
    *b.heard.keeps.lock() = false;
    a.links.request(b.session, nobody(), call("again"), SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_not_sent_is_taken_back_and_never_carried_out() {
    let (_world, memory, a, b) = two();
    memory.silence("a", "b");
    let result = a.links.request(b.session, nobody(), call("lost"), 5 * SECOND).await;
    let why = NotExecuted::Unreachable { why: "timed out".to_owned() };
    assert_eq!(result, Err(Failed::NotExecuted(why)));
    // Nor is one that nobody waits for any more.
    let dropped = a.links.request(b.session, nobody(), call("dropped"), 60 * SECOND);
    assert!(tokio::time::timeout(SECOND, dropped).await.is_err());
    a.links.send(b.session, nobody(), message("behind")).unwrap();
    *b.heard.keeps.lock() = true;
    memory.heal("a", "b");
    b.heard.until(|heard| heard.bodies() == ["behind"]).await;
    assert_eq!(b.heard.calls.lock().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_in_time_is_unknown() {
    let (_world, _memory, a, b) = two();
    *b.heard.keeps.lock() = true;
    let result = a.links.request(b.session, nobody(), call("?"), SECOND).await;
    assert_eq!(result, Err(Failed::Unknown(Unknown::Late)));
    let (from, _, answer) = b.heard.calls.lock().pop().unwrap();
    assert_eq!((from.session, from.within), (a.session, SECOND));
    // An answer that comes too late means nothing, and harms nobody.
    answer.done(None, Bytes::new());
    *b.heard.keeps.lock() = false;
    a.links.request(b.session, nobody(), call("next"), SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_ends_without_an_answer_leaves_it_unknown() {
    let (_world, _memory, a, b) = two();
    *b.heard.keeps.lock() = true;
    let drop_it = async {
        b.heard.until(|heard| heard.calls.lock().len() == 1).await;
        b.heard.calls.lock().clear();
    };
    let (result, ()) =
        tokio::join!(a.links.request(b.session, nobody(), call("?"), 60 * SECOND), drop_it);
    assert_eq!(result, Err(Failed::Unknown(Unknown::Lost(Lost::Unanswered))));
}

#[tokio::test(start_paused = true)]
async fn when_a_session_ends_what_was_sent_is_unknown_and_the_rest_was_not_carried_out() {
    let (world, memory, a, b) = two();
    *b.heard.keeps.lock() = true;
    let c = world.enter(3, "nowhere");
    let end = async {
        b.heard.until(|heard| heard.calls.lock().len() == 1).await;
        world.exit(b.session);
        world.exit(c);
    };
    let began = tokio::time::Instant::now();
    let (sent, waiting, ()) = tokio::join!(
        a.links.request(b.session, nobody(), call("?"), 60 * SECOND),
        a.links.request(c, nobody(), call("?"), 60 * SECOND),
        end
    );
    assert_eq!(sent, Err(Failed::Unknown(Unknown::Gone)));
    assert_eq!(waiting, Err(Failed::NotExecuted(NotExecuted::Gone)));
    assert!(began.elapsed() < SECOND, "at once, and not when somebody lost patience");
    let next = a.links.request(b.session, nobody(), call("?"), SECOND).await;
    assert_eq!(next, Err(Failed::NotExecuted(NotExecuted::Gone)));
    assert_eq!(memory.connections("a", "b"), 0);
}

#[tokio::test(start_paused = true)]
async fn when_the_links_end_so_does_everything_that_waits() {
    let (_world, _memory, a, b) = two();
    *b.heard.keeps.lock() = true;
    let links = a.links.clone();
    let to = b.session;
    let end = async {
        b.heard.until(|heard| heard.calls.lock().len() == 1).await;
        a.die().await;
    };
    let (result, ()) = tokio::join!(links.request(to, nobody(), call("?"), 60 * SECOND), end);
    assert!(matches!(result, Err(Failed::Unknown(Unknown::Cut { .. }))), "{result:?}");
    let next = links.request(to, nobody(), call("?"), SECOND).await;
    assert_eq!(next, Err(Failed::NotExecuted(NotExecuted::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_silent_is_given_up_after_the_length_of_a_session() {
    let (_world, memory, a, b) = two();
    *b.heard.keeps.lock() = true;
    let silence = async {
        b.heard.until(|heard| heard.calls.lock().len() == 1).await;
        memory.silence("b", "a");
    };
    let began = tokio::time::Instant::now();
    let (result, ()) =
        tokio::join!(a.links.request(b.session, nobody(), call("?"), 60 * SECOND), silence);
    assert!(matches!(result, Err(Failed::Unknown(Unknown::Cut { .. }))), "{result:?}");
    assert!(began.elapsed() <= SESSION + SECOND, "{:?}", began.elapsed());
    memory.heal("a", "b");
    *b.heard.keeps.lock() = false;
    a.links.request(b.session, nobody(), call("again"), 5 * SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_for_a_frame_is_refused_by_size() {
    let (_world, _memory, a, b) = two();
    let long = vec![0; limits::FRAME_BYTES_MAX];
    let result = a.links.request(b.session, nobody(), call(long), SECOND).await;
    let Err(Failed::NotExecuted(NotExecuted::TooLarge { bytes, max })) = result else { panic!() };
    assert!(bytes > max && max == limits::FRAME_BYTES_MAX);
    let fits = vec![7; limits::FRAME_BYTES_MAX - 100];
    let response = a.links.request(b.session, nobody(), call(fits.clone()), SECOND).await.unwrap();
    assert_eq!(response.body, fits);
    *b.heard.keeps.lock() = true;
    let answer = async {
        b.heard.until(|heard| heard.calls.lock().len() == 1).await;
        let (_, _, answer) = b.heard.calls.lock().pop().unwrap();
        answer.done(None, Bytes::from(vec![0; limits::FRAME_BYTES_MAX]));
    };
    let (result, ()) =
        tokio::join!(a.links.request(b.session, nobody(), call("?"), SECOND), answer);
    assert_eq!(result, Err(Failed::Unknown(Unknown::Lost(Lost::TooLarge))));
}

#[tokio::test(start_paused = true)]
async fn a_node_takes_so_many_requests_of_another_and_no_more() {
    let (_world, _memory, a, b) = two();
    *b.heard.keeps.lock() = true;
    let mut asking = tokio::task::JoinSet::new();
    for sender in 0..limits::REQUESTS_MAX as u64 {
        let (links, to) = (a.links.clone(), b.session);
        let origin = Origin { sender, under: None };
        asking.spawn(async move { links.request(to, origin, call("?"), 60 * SECOND).await });
    }
    b.heard.until(|heard| heard.calls.lock().len() == limits::REQUESTS_MAX).await;
    let result = a.links.request(b.session, nobody(), call("?"), SECOND).await;
    assert_eq!(result, Err(Failed::NotExecuted(NotExecuted::Busy)));
    let (_, _, answer) = b.heard.calls.lock().pop().unwrap();
    answer.done(None, Bytes::new());
    assert!(asking.join_next().await.unwrap().unwrap().is_ok());
    *b.heard.keeps.lock() = false;
    a.links.request(b.session, nobody(), call("!"), SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_that_nobody_uses_is_closed_and_made_again() {
    let (_world, memory, a, b) = two();
    a.links.request(b.session, nobody(), call("!"), SECOND).await.unwrap();
    assert_eq!(memory.connections("a", "b"), 1);
    tokio::time::sleep(limits::IDLE_WAIT + 2 * SECOND).await;
    assert_eq!(memory.connections("a", "b"), 0);
    a.links.request(b.session, nobody(), call("!"), SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_there_yet_is_reached_once_it_is() {
    let (world, memory) = (World::new(), Memory::new());
    let a = world.node(Arc::new(memory.port("a")), 1, "a");
    let (session, settings) = (world.enter(2, "b"), world.settings(2));
    world.describe_as(session, &settings);
    let begin = async {
        tokio::time::sleep(3 * SECOND).await;
        world.node_with(Arc::new(memory.port("b")), session, &settings)
    };
    let (result, _b) =
        tokio::join!(a.links.request(session, nobody(), call("!"), 10 * SECOND), begin);
    assert!(result.is_ok(), "{result:?}");
}
