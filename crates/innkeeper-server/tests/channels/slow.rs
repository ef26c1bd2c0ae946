//! A member who does not read: dropped, told why, and waited for by nobody.

use std::time::Duration;

use innkeeper_server::limits;
use serde_json::json;

use crate::support::{Client, End, Frame, Server};

const LOBBY: &str = "room:lobby";

/// Talks until the member who does not read is gone; how much was said.
async fn talk_until_gone(ann: &mut Client, join: &str, user: &str) -> u64 {
    let text = "x".repeat(4096);
    let gone = |frame: &Frame| !frame.payload["leaves"][user].is_null();
    for seq in 1..=5_000 {
        // Answered at once, also while somebody else does not read.
        assert_eq!(ann.say(join, LOBBY, &text).await.ok(), &json!({ "seq": seq }));
        let was_seen = ann.passed.iter().any(gone);
        ann.passed.clear();
        if was_seen {
            return seq;
        }
    }
    panic!("the member who does not read is still there");
}

#[tokio::test]
async fn a_member_who_does_not_read_is_dropped_as_slow_and_nobody_waits_for_it() {
    let server = Server::with_small_buffers().await;
    let mut ann = Client::connect(&server, "ann").await;
    let mut slow = Client::with_small_buffers(&server, "slow").await;
    let (anns, _) = ann.join(LOBBY).await;
    let (join, first) = slow.join(LOBBY).await;
    // Well before the server gives up on the socket itself.
    let talk = talk_until_gone(&mut ann, &anns, "slow");
    let said = tokio::time::timeout(limits::WRITE_TIMEOUT / 2, talk).await.unwrap();
    assert!(said >= 100, "dropped after {said} lines, though there is place for more");

    // It reads again: everything up to where it was dropped, without a gap, and then why.
    let dropped = slow.event("phx_error").await;
    assert_eq!(dropped.payload, json!({ "reason": "slow_consumer" }));
    assert_eq!((dropped.join_ref, dropped.topic.as_str()), (Some(join.clone()), LOBBY));
    let seqs: Vec<_> =
        slow.passed.iter().filter(|frame| frame.is("said")).map(Frame::seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert!(seqs.len() as u64 <= said);

    // The socket lives; it may join again, and finds the same incarnation.
    slow.passed.clear();
    assert_eq!(slow.say(&join, LOBBY, "hm?").await.refusal().0, "unjoined");
    let (join, again) = slow.join(LOBBY).await;
    assert_eq!(first["incarnation"], again["incarnation"]);
    slow.say(&join, LOBBY, "back again").await.ok();
}

#[tokio::test]
async fn a_socket_that_is_never_read_again_is_cut_after_the_write_timeout() {
    let server = Server::with_small_buffers().await;
    let mut ann = Client::connect(&server, "ann").await;
    let mut slow = Client::with_small_buffers(&server, "slow").await;
    let (anns, _) = ann.join(LOBBY).await;
    slow.join(LOBBY).await;
    talk_until_gone(&mut ann, &anns, "slow").await;
    tokio::time::pause();
    tokio::time::sleep(limits::WRITE_TIMEOUT + Duration::from_secs(1)).await;
    tokio::time::resume();
    let (frames, end) = slow.rest().await;
    assert_eq!(end, End::Cut);
    assert!(!frames.iter().any(|frame| frame.is("phx_error")));
}
