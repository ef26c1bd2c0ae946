//! Ends: a room is stopped, a client goes without a word, the server drains.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::support::{Client, End, Frame, Server};

const LOBBY: &str = "room:lobby";

#[tokio::test]
async fn a_room_that_an_admin_stops_is_closed_for_every_member_and_told_so() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let mut bob = Client::connect(&server, "bob").await;
    let (anns, first) = ann.join(LOBBY).await;
    let (bobs, _) = bob.join(LOBBY).await;
    assert_eq!(server.http("DELETE", "/api/rooms/lobby", None).await.0, 204);
    for (client, join) in [(&mut ann, &anns), (&mut bob, &bobs)] {
        let closed = client.event("phx_close").await;
        assert_eq!((closed.join_ref.as_ref(), closed.topic.as_str()), (Some(join), LOBBY));
    }
    assert_eq!(server.http("GET", "/api/rooms/lobby", None).await.0, 404);
    assert_eq!(server.http("DELETE", "/api/rooms/lobby", None).await.0, 404);
    let (_, second) = ann.join(LOBBY).await;
    assert_ne!(first["incarnation"], second["incarnation"]);
    // Nobody is told twice.
    assert!(!bob.so_far().await.iter().any(|frame| frame.is("phx_close")));
}

#[tokio::test]
async fn a_client_that_goes_without_a_word_is_seen_to_leave() {
    let server = Server::start().await;
    let mut bob = Client::connect(&server, "bob").await;
    bob.join(LOBBY).await;
    let left = |frame: &Frame| !frame.payload["leaves"]["ann"].is_null();
    for abrupt in [false, true] {
        let mut ann = Client::connect(&server, "ann").await;
        ann.join(LOBBY).await;
        if abrupt {
            // A reset instead of an end.
            ann.stream().set_zero_linger().unwrap();
        }
        drop(ann);
        bob.take(left).await;
    }
    assert_eq!(server.http("GET", "/api/rooms/lobby", None).await.1["members"], 1);
}

#[tokio::test]
async fn a_goodbye_is_answered_in_kind_also_in_the_midst_of_talk() {
    let server = Server::start().await;
    let mut bob = Client::connect(&server, "bob").await;
    bob.join(LOBBY).await;
    let mut ann = Client::connect(&server, "ann").await;
    let (join, _) = ann.join(LOBBY).await;
    for n in 0..20 {
        ann.begin_say(&join, LOBBY, &n.to_string()).await;
    }
    let frame = CloseFrame { code: 1000.into(), reason: "enough".into() };
    ann.send_raw(Message::Close(Some(frame))).await;
    assert!(matches!(ann.rest().await.1, End::Close(1000, _)));
    for n in 1..=20 {
        assert_eq!(bob.event("said").await.seq(), n);
    }
}

#[tokio::test]
async fn what_was_sent_before_a_socket_was_half_closed_is_still_said() {
    let server = Server::start().await;
    let mut bob = Client::connect(&server, "bob").await;
    bob.join(LOBBY).await;
    let mut ann = Client::connect(&server, "ann").await;
    let (join, _) = ann.join(LOBBY).await;
    for n in 0..50 {
        ann.begin_say(&join, LOBBY, &n.to_string()).await;
    }
    ann.stream().shutdown().await.unwrap();
    for n in 1..=50 {
        assert_eq!(bob.event("said").await.seq(), n);
    }
    bob.take(|frame| !frame.payload["leaves"]["ann"].is_null()).await;
    let (_, end) = ann.rest().await;
    assert!(matches!(end, End::Close(1000, _) | End::Cut), "{end:?}");
}

#[tokio::test]
async fn a_connection_that_never_shakes_hands_does_not_hold_the_drain() {
    let server = Server::start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"GET /socket/webso").await.unwrap();
    let mut ann = Client::connect(&server, "ann").await;
    ann.join(LOBBY).await;
    // The head of a request may take its time; here that passes at once.
    tokio::time::pause();
    let drained = server.drain().await;
    assert!(drained.is_clean(), "{drained:?}");
    assert!(matches!(ann.rest().await.1, End::Close(1012, _)));
    assert!(matches!(idle.read(&mut [0]).await, Ok(0)));
}
