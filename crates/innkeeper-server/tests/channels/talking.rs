//! Talking: every member hears every line once, in order, and a push belongs to its join.

use serde_json::{Value, json};

use crate::support::{Client, Frame, Server};

const LOBBY: &str = "room:lobby";

fn said(frames: &[Frame]) -> Vec<u64> {
    frames.iter().filter(|frame| frame.is("said")).map(Frame::seq).collect()
}

#[tokio::test]
async fn what_is_said_is_answered_with_its_number_and_told_to_every_member() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let mut bob = Client::connect(&server, "b%C3%B6b").await;
    let (join, _) = ann.join(LOBBY).await;
    bob.join(LOBBY).await;
    assert_eq!(ann.say(&join, LOBBY, "<b>hé\"llo</b>\n\u{202e}").await.ok(), &json!({ "seq": 1 }));
    for client in [&mut ann, &mut bob] {
        let line = client.event("said").await;
        assert_eq!((line.join_ref, line.reference, line.topic.as_str()), (None, None, LOBBY));
        let at = line.payload["at"].as_str().unwrap();
        let text = "<b>hé\"llo</b>\n\u{202e}";
        assert_eq!(line.payload, json!({ "seq": 1, "from": "ann", "text": text, "at": at }));
    }
}

#[tokio::test]
async fn numbers_are_gapless_for_every_member_however_many_speak() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for n in 0..5 {
        let mut client = Client::connect(&server, &format!("user-{n}")).await;
        let (join, _) = client.join(LOBBY).await;
        clients.push((client, join));
    }
    for n in 0..40 {
        for (client, join) in &mut clients {
            client.begin_say(join, LOBBY, &format!("line {n}")).await;
        }
    }
    for (client, _) in &mut clients {
        let mut seqs = Vec::new();
        while seqs.len() < 200 {
            seqs.push(client.event("said").await.seq());
        }
        assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_pushes_of_one_socket_are_numbered_in_the_order_in_which_they_were_sent() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let (join, _) = ann.join(LOBBY).await;
    let mut pushes = Vec::new();
    for n in 0..200 {
        pushes.push(ann.begin_say(&join, LOBBY, &n.to_string()).await);
    }
    for (n, push) in pushes.iter().enumerate() {
        assert_eq!(ann.reply(push).await.ok(), &json!({ "seq": n + 1 }));
    }
    for n in 0..200 {
        assert_eq!(ann.event("said").await.payload["text"], n.to_string());
    }
}

#[tokio::test]
async fn the_frames_that_a_client_sends_behind_its_join_are_heard_in_the_room() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    // As a client may do that does not wait for the welcome, also where the room has yet to start.
    ann.send_together(&[
        json!(["1", "1", LOBBY, "phx_join", {}]),
        json!(["1", "2", LOBBY, "say", { "text": "at once" }]),
        json!(["1", "3", LOBBY, "phx_leave", {}]),
        json!(["1", "4", LOBBY, "say", { "text": "too late" }]),
        json!(["5", "5", LOBBY, "phx_join", {}]),
        json!(["5", "6", LOBBY, "say", { "text": "again" }]),
        json!(["7", "7", LOBBY, "phx_join", {}]),
        json!(["5", "8", LOBBY, "say", { "text": "for the join before" }]),
        json!(["7", "9", LOBBY, "say", { "text": "for good" }]),
    ])
    .await;
    ann.reply("1").await.ok();
    assert_eq!(ann.reply("2").await.ok(), &json!({ "seq": 1 }));
    assert_eq!(ann.reply("3").await.ok(), &json!({}));
    assert_eq!(ann.reply("4").await.refusal().0, "unjoined");
    assert_eq!(ann.reply("6").await.ok(), &json!({ "seq": 2 }));
    assert_eq!(ann.reply("7").await.ok()["history"].as_array().unwrap().len(), 2);
    assert_eq!(ann.reply("8").await.refusal().0, "unjoined");
    assert_eq!(ann.reply("9").await.ok(), &json!({ "seq": 3 }));
    assert_eq!(server.http("GET", "/api/rooms/lobby", None).await.1["members"], 1);
}

#[tokio::test]
async fn what_is_posted_over_http_is_heard_in_the_room() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let (join, welcome) = ann.join(LOBBY).await;
    ann.say(&join, LOBBY, "one").await.ok();
    let message = json!({ "user": "clerk", "text": "two" });
    let (status, posted) = server.http("POST", "/api/rooms/lobby/messages", Some(message)).await;
    assert_eq!((status, &posted["seq"]), (200, &json!(2)));
    assert_eq!(posted["incarnation"], welcome["incarnation"]);
    let line = ann.take(|frame| frame.is("said") && frame.seq() == 2).await;
    assert_eq!((&line.payload["from"], &line.payload["text"]), (&json!("clerk"), &json!("two")));
}

#[tokio::test]
async fn a_message_up_to_the_limit_is_said_and_a_longer_one_is_refused() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let (join, _) = ann.join(LOBBY).await;
    ann.say(&join, LOBBY, &"x".repeat(4096)).await.ok();
    // Bytes count, not characters.
    for text in ["x".repeat(4097), "é".repeat(2049), "x".repeat(20_000)] {
        let reply = ann.say(&join, LOBBY, &text).await;
        let (code, message, ran) = reply.refusal();
        assert_eq!((code, ran), ("payload_too_large", "no"));
        assert!(message.contains("at most 4096 bytes"), "{message}");
    }
    // Six bytes on the wire for each of the text: what counts is the text.
    let escaped =
        format!(r#"["{join}","e","{LOBBY}","say",{{"text":"{}"}}]"#, "\\u0001".repeat(4096));
    ann.send_raw(tokio_tungstenite::tungstenite::Message::text(escaped)).await;
    assert_eq!(ann.reply("e").await.ok(), &json!({ "seq": 2 }));
    assert_eq!(said(&ann.so_far().await), [1, 2]);
}

#[tokio::test]
async fn an_unknown_event_and_a_payload_that_is_none_are_refused_in_words() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let (join, _) = ann.join(LOBBY).await;
    for (event, payload, words) in [
        ("shout", json!({ "text": "x" }), "unknown event \"shout\""),
        ("said", json!({ "seq": 1 }), "unknown event \"said\""),
        ("presence_diff", json!({}), "unknown event"),
        ("say", json!({}), "missing field `text`"),
        ("say", json!({ "text": 7 }), "expected {\"text\":TEXT}"),
        ("say", json!("text"), "expected {\"text\":TEXT}"),
        ("say", Value::Null, "expected {\"text\":TEXT}"),
    ] {
        let push = ann.send(Some(&join), LOBBY, event, payload).await;
        let reply = ann.reply(&push).await;
        let (code, message, ran) = reply.refusal();
        assert_eq!((code, ran), ("bad_request", "no"), "{event}");
        assert!(message.contains(words), "{event}: {message}");
    }
    assert!(said(&ann.so_far().await).is_empty());
}

#[tokio::test]
async fn whoever_is_not_in_a_room_cannot_speak_in_it() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let mut bob = Client::connect(&server, "bob").await;
    let (join, _) = ann.join(LOBBY).await;
    for (join, topic) in [("1", "room:other"), (join.as_str(), "room:other"), ("x", LOBBY)] {
        let reply = bob.say(join, topic, "psst").await;
        let (code, message, ran) = reply.refusal();
        assert_eq!((code, ran), ("unjoined", "no"), "{topic}");
        assert!(message.contains("join the topic again"), "{message}");
    }
    let push = ann.send(None, LOBBY, "say", json!({ "text": "without a join" })).await;
    assert_eq!(ann.reply(&push).await.refusal().0, "unjoined");
    assert!(said(&ann.so_far().await).is_empty());
}

#[tokio::test]
async fn a_push_for_an_incarnation_that_is_over_is_not_applied_to_the_next() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let mut bob = Client::connect(&server, "bob").await;
    let (old, before) = ann.join(LOBBY).await;
    ann.say(&old, LOBBY, "in the first").await.ok();
    assert_eq!(server.http("DELETE", "/api/rooms/lobby", None).await.0, 204);
    let (_, after) = bob.join(LOBBY).await;
    assert_ne!(before["incarnation"], after["incarnation"]);
    assert_eq!(after["history"], json!([]));
    let reply = ann.say(&old, LOBBY, "for the first").await;
    assert_eq!((reply.refusal().0, reply.refusal().2), ("unjoined", "no"));
    let (new, _) = ann.join(LOBBY).await;
    let reply = ann.say(&old, LOBBY, "for the first").await;
    assert_eq!((reply.refusal().0, reply.refusal().2), ("unjoined", "no"));
    assert_eq!(ann.say(&new, LOBBY, "in the second").await.ok(), &json!({ "seq": 1 }));
    let line = bob.event("said").await;
    assert_eq!((line.seq(), &line.payload["text"]), (1, &json!("in the second")));
}

#[tokio::test]
async fn one_socket_may_be_in_many_rooms_and_they_do_not_mix() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let (one, _) = ann.join("room:one").await;
    let (two, _) = ann.join("room:two").await;
    ann.say(&one, "room:one", "in one").await.ok();
    ann.say(&two, "room:two", "in two").await.ok();
    assert_eq!(ann.say(&one, "room:two", "crosswise").await.refusal().0, "unjoined");
    let frames = ann.so_far().await;
    let lines: Vec<_> = frames.iter().filter(|frame| frame.is("said")).collect();
    let lines: Vec<_> = lines.iter().map(|line| (line.topic.as_str(), line.seq())).collect();
    assert_eq!(lines, [("room:one", 1), ("room:two", 1)]);
}
