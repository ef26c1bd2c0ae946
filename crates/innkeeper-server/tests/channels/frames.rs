//! Frames: what is read, what is refused, and with which code a socket is closed.

use std::time::Duration;

use innkeeper_server::limits;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as RawFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::{Client, End, Server};

const LOBBY: &str = "room:lobby";

fn raw_text(bytes: &[u8]) -> Message {
    Message::Frame(RawFrame::message(bytes.to_vec(), OpCode::Data(Data::Text), true))
}

#[tokio::test]
async fn a_heartbeat_is_answered() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let beat = ann.send(None, "phoenix", "heartbeat", json!({})).await;
    let reply = ann.next().await.unwrap();
    assert_eq!((reply.join_ref.as_deref(), reply.reference), (None, Some(beat)));
    assert_eq!((reply.topic.as_str(), reply.event.as_str()), ("phoenix", "phx_reply"));
    assert_eq!(reply.payload, json!({ "status": "ok", "response": {} }));
}

#[tokio::test]
async fn broken_json_and_binary_frames_are_answered_and_change_nothing() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let (join, _) = ann.join(LOBBY).await;
    ann.so_far().await;
    let deep = "[".repeat(10_000);
    for message in [
        Message::text(""),
        Message::text("{"),
        Message::text("null"),
        Message::text("[]"),
        Message::text(r#"{"topic":"room:lobby","event":"say"}"#),
        Message::text(r#"["1","2","room:lobby","say"]"#),
        Message::text(r#"["1","2","room:lobby","say",{},1]"#),
        Message::text(r#"[1,2,"room:lobby","say",{}]"#),
        Message::text(r#"["1","2",null,"say",{}]"#),
        Message::text(r#"["1","2","room:lobby","say",{"text":"\ud800"}"#),
        Message::text(deep),
        Message::binary(b"\x00\x01\x02".to_vec()),
        Message::binary(Vec::new()),
    ] {
        ann.send_raw(message.clone()).await;
        let reply = ann.next().await.unwrap();
        let (code, words, ran) = reply.refusal();
        assert_eq!((code, ran), ("bad_request", "no"), "{message:?}");
        assert!(words.starts_with("expected"), "{words}");
        assert_eq!((reply.topic.as_str(), reply.reference), ("phoenix", None));
    }
    ann.say(&join, LOBBY, "none the worse").await.ok();
}

#[tokio::test]
async fn a_client_that_sends_only_nonsense_is_hung_up_on() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    for _ in 0..limits::BAD_FRAMES {
        ann.send_raw(Message::text("nonsense")).await;
    }
    let (frames, end) = ann.rest().await;
    assert_eq!(frames.len(), limits::BAD_FRAMES as usize);
    assert!(matches!(end, End::Close(1008, _)), "{end:?}");
}

#[tokio::test]
async fn a_frame_over_the_size_is_told_so_and_closed() {
    let server = Server::start().await;
    for size in [50 << 10, 100 << 10, 1 << 20] {
        let mut ann = Client::connect(&server, "ann").await;
        let (join, _) = ann.join(LOBBY).await;
        ann.begin_say(&join, LOBBY, "before").await;
        // It may be closed before all of it is sent.
        ann.try_send(Message::text("x".repeat(size))).await;
        let (frames, end) = ann.rest().await;
        assert!(matches!(end, End::Close(1009, _)), "{size} bytes: {end:?}");
        assert!(frames.iter().any(|frame| frame.is("said")), "{size} bytes: {frames:?}");
    }
}

#[tokio::test]
async fn text_that_is_no_utf_8_is_closed_as_such() {
    let server = Server::start().await;
    for bytes in
        [&b"\xff\xfe"[..], b"[\"1\",\"1\",\"room:\xc3\x28\",\"phx_join\",{}]", b"\xed\xa0\x80"]
    {
        let mut ann = Client::connect(&server, "ann").await;
        ann.send_raw(raw_text(bytes)).await;
        let (frames, end) = ann.rest().await;
        assert_eq!(frames, []);
        assert!(matches!(end, End::Close(1007, _)), "{end:?}");
    }
}

#[tokio::test]
async fn a_message_in_pieces_is_put_together_and_pings_are_answered_meanwhile() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let (join, _) = ann.join(LOBBY).await;
    let text = format!(r#"["{join}","p","{LOBBY}","say",{{"text":"in pieces"}}]"#);
    let (first, rest) = text.as_bytes().split_at(10);
    let (second, third) = rest.split_at(10);
    let piece = |bytes: &[u8], data, last| {
        Message::Frame(RawFrame::message(bytes.to_vec(), OpCode::Data(data), last))
    };
    ann.send_raw(piece(first, Data::Text, false)).await;
    ann.send_raw(Message::Ping(vec![7].into())).await;
    ann.send_raw(piece(second, Data::Continue, false)).await;
    ann.send_raw(piece(third, Data::Continue, true)).await;
    assert_eq!(ann.reply("p").await.ok(), &json!({ "seq": 1 }));
}

#[tokio::test]
async fn pieces_that_are_too_much_together_are_closed() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let piece = |data| {
        let bytes = vec![b'x'; 8 << 10];
        Message::Frame(RawFrame::message(bytes, OpCode::Data(data), false))
    };
    ann.try_send(piece(Data::Text)).await;
    for _ in 0..8 {
        ann.try_send(piece(Data::Continue)).await;
    }
    assert!(matches!(ann.rest().await.1, End::Close(1009, _)));
}

#[tokio::test]
async fn a_socket_that_is_silent_is_closed_and_a_heartbeat_keeps_it() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    ann.join(LOBBY).await;
    ann.so_far().await;
    tokio::time::pause();
    for _ in 0..5 {
        sleep(limits::SOCKET_SILENCE - Duration::from_secs(10)).await;
        ann.send_in_any_time(r#"[null,"b","phoenix","heartbeat",{}]"#).await;
        assert_eq!(ann.read_in_any_time().await.unwrap().reference.as_deref(), Some("b"));
    }
    let early = limits::SOCKET_SILENCE - Duration::from_secs(1);
    assert!(timeout(early, ann.read_in_any_time()).await.is_err());
    let end = timeout(limits::SOCKET_SILENCE * 2, ann.read_in_any_time()).await.unwrap();
    assert!(matches!(end, Err(End::Close(1001, _))), "{end:?}");
}
