//! What leaves is checked as it leaves, and what arrives is taken only while its session is sure to
//! be there. C3

use std::sync::Arc;

use bytes::Bytes;
use innkeeper_cluster::frame::{Lost, Under};
use innkeeper_cluster::links::{Failed, NotExecuted, Origin, Unknown};
use innkeeper_cluster::ownership::Release;
use innkeeper_cluster::ownership::timing::EFFECTS;

use crate::fake::Fake;
use crate::nodes::{SECOND, SESSION, call, message, nobody};
use crate::two;

const UNDER: Under = Under { shard: 5, epoch: 2 };
const FROM_SHARD: Origin = Origin { sender: 5, under: Some(UNDER) };
/// The same sender, under no ownership.
const LOOSE: Origin = Origin { sender: 5, under: None };

/// C3, A4
#[tokio::test(start_paused = true)]
async fn frames_after_the_proof_ran_out_are_refused_until_there_is_a_new_one() {
    let (_world, _memory, a, b) = two();
    a.links.request(b.session, nobody(), call("!"), SECOND).await.unwrap();
    *b.heard.keeps.lock() = true;
    // Its program stood still, or its machine slept, for longer than the other could promise.
    *b.standing.ahead.lock() = SESSION;
    a.links.send(b.session, nobody(), message("cast")).unwrap();
    let result = a.links.request(b.session, nobody(), call("?"), SECOND / 4).await;
    assert_eq!(result, Err(Failed::NotExecuted(NotExecuted::Unproven)));
    assert!(b.heard.calls.lock().is_empty() && b.heard.casts.lock().is_empty());
    assert_eq!(b.links.casts_dropped(), (0, 1));
    tokio::time::sleep(SECOND).await;
    *b.heard.keeps.lock() = false;
    a.links.request(b.session, nobody(), call("!"), SECOND).await.unwrap();
}

/// C3, A4
#[tokio::test(start_paused = true)]
async fn nothing_is_taken_from_a_node_that_cannot_prove_its_session() {
    let (_world, _memory, a, b) = two();
    *a.standing.remaining.lock() = std::time::Duration::ZERO;
    *b.heard.keeps.lock() = true;
    let result = a.links.request(b.session, nobody(), call("?"), SECOND).await;
    assert_eq!(result, Err(Failed::NotExecuted(NotExecuted::Unproven)));
    assert!(b.heard.calls.lock().is_empty());
    // What remains to it is counted from before it was asked, and not for longer than it said.
    *a.standing.remaining.lock() = SECOND;
    tokio::time::sleep(SECOND).await;
    *a.standing.remaining.lock() = std::time::Duration::ZERO;
    *b.standing.ahead.lock() = SECOND;
    let result = a.links.request(b.session, nobody(), call("?"), SECOND / 4).await;
    assert_eq!(result, Err(Failed::NotExecuted(NotExecuted::Unproven)));
    assert!(b.heard.calls.lock().is_empty());
}

/// C3, A4
#[tokio::test(start_paused = true)]
async fn an_answer_from_a_session_in_doubt_is_none() {
    let (_world, _memory, a, b) = two();
    *b.heard.keeps.lock() = true;
    let answer = async {
        b.heard.until(|heard| heard.calls.lock().len() == 1).await;
        *a.standing.ahead.lock() = SESSION;
        let (_, _, answer) = b.heard.calls.lock().pop().unwrap();
        answer.done(None, Bytes::from_static(b"old"));
    };
    let (result, ()) =
        tokio::join!(a.links.request(b.session, nobody(), call("?"), SECOND / 4), answer);
    assert_eq!(result, Err(Failed::Unknown(Unknown::Unproven)));
}

/// C3
#[tokio::test(start_paused = true)]
async fn a_node_whose_session_is_over_is_not_heard_though_it_still_talks() {
    let (world, memory, a, b) = two();
    a.links.request(b.session, nobody(), call("!"), SECOND).await.unwrap();
    *b.heard.keeps.lock() = true;
    // The other has learned of it, and the node itself has not: it has its own view of the world.
    let own_view = world.apart();
    let zombie = own_view.node_with(Arc::new(memory.port("z")), a.session, &own_view.settings(1));
    world.exit(a.session);
    let result = zombie.links.request(b.session, nobody(), call("?"), 2 * SECOND).await;
    let why = "refused: it does not know of this node's session".to_owned();
    assert_eq!(result, Err(Failed::NotExecuted(NotExecuted::Unreachable { why })));
    assert!(b.heard.calls.lock().is_empty());
}

/// A3
#[tokio::test(start_paused = true)]
async fn what_was_made_under_an_ownership_that_is_lost_does_not_leave() {
    let (_world, _memory, a, b) = two();
    *b.heard.keeps.lock() = true;
    a.standing.releases.lock().insert(UNDER, Release::Never);
    a.links.send(b.session, FROM_SHARD, message("cast")).unwrap();
    let result = a.links.request(b.session, FROM_SHARD, call("?"), 60 * SECOND).await;
    assert_eq!(result, Err(Failed::NotExecuted(NotExecuted::Disowned)));
    a.links.send(b.session, LOOSE, message("after")).unwrap();
    b.heard.until(|heard| heard.bodies() == ["after"]).await;
    assert!(b.heard.calls.lock().is_empty());
    assert_eq!(a.links.casts_dropped(), (1, 0));
    assert!(a.standing.leaving.lock().is_empty());
}

/// A3
#[tokio::test(start_paused = true)]
async fn what_cannot_leave_yet_is_kept_in_order_and_holds_up_nobody_else() {
    let (_world, _memory, a, b) = two();
    a.standing.releases.lock().insert(UNDER, Release::Hold);
    for number in 0..100 {
        a.links.send(b.session, FROM_SHARD, message(number.to_string())).unwrap();
    }
    // Behind them, though under no ownership.
    a.links.send(b.session, LOOSE, message("last")).unwrap();
    let other = Origin { sender: 6, under: None };
    a.links.send(b.session, other, message("other")).unwrap();
    b.heard.until(|heard| heard.bodies() == ["other"]).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(b.heard.bodies(), ["other"]);
    a.standing.releases.lock().clear();
    b.heard.until(|heard| heard.casts.lock().len() == 102).await;
    let numbers = (0..100).map(|number| number.to_string());
    let expected: Vec<_> =
        ["other".to_owned()].into_iter().chain(numbers).chain(["last".to_owned()]).collect();
    assert_eq!(b.heard.bodies(), expected);
}

/// A3
#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_any_more_does_not_leave_when_it_could() {
    let (_world, _memory, a, b) = two();
    *b.heard.keeps.lock() = true;
    a.standing.releases.lock().insert(UNDER, Release::Hold);
    let late = a.links.request(b.session, FROM_SHARD, call("late"), SECOND).await;
    assert_eq!(late, Err(Failed::NotExecuted(NotExecuted::Late)));
    let dropped = a.links.request(b.session, FROM_SHARD, call("dropped"), 60 * SECOND);
    assert!(tokio::time::timeout(SECOND, dropped).await.is_err());
    a.standing.releases.lock().clear();
    a.links.send(b.session, FROM_SHARD, message("behind them")).unwrap();
    b.heard.until(|heard| heard.bodies() == ["behind them"]).await;
    assert!(b.heard.calls.lock().is_empty());
}

/// A3
#[tokio::test(start_paused = true)]
async fn an_answer_made_under_an_ownership_that_is_lost_leaves_the_outcome_unknown() {
    let (_world, _memory, a, b) = two();
    *b.heard.keeps.lock() = true;
    b.standing.releases.lock().insert(UNDER, Release::Never);
    let answer = async {
        b.heard.until(|heard| heard.calls.lock().len() == 1).await;
        let (_, _, answer) = b.heard.calls.lock().pop().unwrap();
        answer.done(Some(UNDER), Bytes::from_static(b"stale"));
    };
    let (result, ()) =
        tokio::join!(a.links.request(b.session, nobody(), call("?"), 60 * SECOND), answer);
    assert_eq!(result, Err(Failed::Unknown(Unknown::Lost(Lost::Disowned))));
}

/// A3
#[tokio::test(start_paused = true)]
async fn what_is_leaving_counts_as_such_until_its_bytes_have_left() {
    let (world, memory, a, _b) = two();
    let deaf = Fake::listen(&world, &memory, 3, "deaf");
    // More than the network takes while nobody reads.
    for _ in 0..16 {
        a.links.send(deaf.session, FROM_SHARD, message(vec![0; 60_000])).unwrap();
    }
    let mut wire = deaf.greet().await;
    a.standing.until_leaving(|leaving| leaving > 0).await;
    tokio::time::sleep(SECOND).await;
    assert!(!a.standing.leaving.lock().is_empty(), "the bytes are still here");
    wire.read_all(16 * 60_000).await;
    a.standing.until_leaving(|leaving| leaving == 0).await;
}

/// C3, C7: a session may be ended before its time, by somebody who knows that its program is dead.
#[tokio::test(start_paused = true)]
async fn what_a_process_asks_of_another_is_taken_for_a_moment_after_the_question_only() {
    let (_world, _memory, a, b) = two();
    a.links.request(b.session, FROM_SHARD, call("!"), SECOND).await.unwrap();
    *b.heard.keeps.lock() = true;
    // Its program stood still for longer than that, and for less than the session is proven.
    *b.standing.ahead.lock() = EFFECTS;
    a.links.send(b.session, FROM_SHARD, message("cast")).unwrap();
    let result = a.links.request(b.session, FROM_SHARD, call("?"), SECOND / 10).await;
    assert_eq!(result, Err(Failed::NotExecuted(NotExecuted::Unproven)));
    a.links.send(b.session, LOOSE, message("of the node")).unwrap();
    b.heard.until(|heard| heard.bodies() == ["of the node"]).await;
    assert!(b.heard.calls.lock().is_empty());
    tokio::time::sleep(SECOND / 2).await;
    a.links.send(b.session, FROM_SHARD, message("anew")).unwrap();
    b.heard.until(|heard| heard.bodies() == ["of the node", "anew"]).await;
    assert_eq!(b.links.casts_dropped(), (0, 1));
}
