//! Joining and leaving: what a welcome holds, who is seen, and who is not let in.

use std::collections::{BTreeSet, HashSet};

use innkeeper_server::limits;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Client, Frame, Server};

const LOBBY: &str = "room:lobby";

/// The names and the number of connections in a presence payload.
fn users(payload: &Value) -> Vec<(String, usize)> {
    let users = payload.as_object().unwrap().iter();
    let users = users.map(|(user, entry)| (user.clone(), entry["metas"].as_array().unwrap().len()));
    users.collect()
}

fn user(name: &str, connections: usize) -> Vec<(String, usize)> {
    vec![(name.to_owned(), connections)]
}

#[tokio::test]
async fn a_join_is_welcomed_with_the_room_its_incarnation_and_its_history() {
    let server = Server::with(|config| config.node = "inn".to_owned()).await;
    let mut ann = Client::connect(&server, "ann").await;
    let (_, welcome) = ann.join(LOBBY).await;
    let incarnation = welcome["incarnation"].as_str().unwrap();
    assert!(!incarnation.is_empty());
    let expected = json!({
        "room": "lobby", "incarnation": incarnation, "epoch": 0, "node": "inn", "history": [],
    });
    assert_eq!(welcome, expected);
    let (status, room) = server.http("GET", "/api/rooms/lobby", None).await;
    assert_eq!((status, &room["incarnation"]), (200, &welcome["incarnation"]));
    assert_eq!(room["members"], 1);
}

#[tokio::test]
async fn a_reply_names_the_join_the_push_and_the_topic() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let join = ann.begin_join(LOBBY).await;
    let reply = ann.next().await.unwrap();
    assert_eq!((&reply.join_ref, &reply.reference), (&Some(join.clone()), &Some(join.clone())));
    assert_eq!((reply.topic.as_str(), reply.event.as_str()), (LOBBY, "phx_reply"));
    let push = ann.begin_say(&join, LOBBY, "hello").await;
    let reply = ann.reply(&push).await;
    assert_eq!((reply.join_ref, reply.topic.as_str()), (Some(join), LOBBY));
}

#[tokio::test]
async fn the_history_of_a_join_is_the_last_hundred_lines_in_order() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let (join, _) = ann.join(LOBBY).await;
    for n in 1..=limits::HISTORY + 5 {
        ann.say(&join, LOBBY, &format!("line {n}")).await.ok();
    }
    let mut bob = Client::connect(&server, "bob").await;
    let (_, welcome) = bob.join(LOBBY).await;
    let history = welcome["history"].as_array().unwrap();
    let seqs: Vec<_> = history.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (6..=105).collect::<Vec<_>>());
    assert_eq!((&history[0]["from"], &history[0]["text"]), (&json!("ann"), &json!("line 6")));
    let at = history[0]["at"].as_str().unwrap();
    assert!(at.ends_with('Z') && at.contains('T'), "{at}");
}

#[tokio::test]
async fn who_joins_is_told_once_who_is_there_and_the_others_who_came() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    ann.join(LOBBY).await;
    let state = ann.event("presence_state").await;
    assert_eq!(users(&state.payload), user("ann", 1));
    let mut bob = Client::connect(&server, "bob").await;
    bob.join(LOBBY).await;
    let state = bob.event("presence_state").await;
    assert_eq!(users(&state.payload), [("ann".to_owned(), 1), ("bob".to_owned(), 1)]);
    let meta = &state.payload["bob"]["metas"][0];
    assert!(meta["phx_ref"].is_string() && meta["online_at"].is_string(), "{meta}");
    let came =
        |frame: &Frame| frame.is("presence_diff") && !frame.payload["joins"]["bob"].is_null();
    let diff = ann.take(came).await;
    assert_eq!(diff.payload, json!({ "joins": { "bob": { "metas": [meta] } }, "leaves": {} }));
    // Its own diff may follow, but never a second state.
    assert!(!bob.so_far().await.iter().any(|frame| frame.is("presence_state")));
}

#[tokio::test]
async fn many_who_join_at_once_all_end_up_knowing_all() {
    const MANY: usize = 200;
    let server = Server::start().await;
    let mut clients = Vec::new();
    for n in 0..MANY {
        clients.push(Client::connect(&server, &format!("user{n}")).await);
    }
    for client in &mut clients {
        client.begin_join(LOBBY).await;
    }
    for client in &mut clients {
        let mut known = BTreeSet::new();
        let mut told = false;
        while known.len() < MANY {
            let frame = client.next().await.unwrap();
            match frame.event.as_str() {
                "presence_state" => {
                    assert!(!told, "a second list");
                    told = true;
                    known.extend(users(&frame.payload));
                }
                "presence_diff" => {
                    assert!(told, "a change came before the list");
                    known.extend(users(&frame.payload["joins"]));
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_user_with_two_connections_is_one_user_until_the_last_one_goes() {
    let server = Server::start().await;
    let mut bob = Client::connect(&server, "bob").await;
    bob.join(LOBBY).await;
    let mut first = Client::connect(&server, "ann").await;
    let (join, _) = first.join(LOBBY).await;
    let mut second = Client::connect(&server, "ann").await;
    second.join(LOBBY).await;
    let state = second.event("presence_state").await;
    assert_eq!(users(&state.payload), [("ann".to_owned(), 2), ("bob".to_owned(), 1)]);
    let metas = state.payload["ann"]["metas"].as_array().unwrap();
    assert_ne!(metas[0]["phx_ref"], metas[1]["phx_ref"]);
    first.leave(&join, LOBBY).await.ok();
    let gone =
        |frame: &Frame| frame.is("presence_diff") && !frame.payload["leaves"]["ann"].is_null();
    let diff = bob.take(gone).await;
    assert_eq!(users(&diff.payload["leaves"]), user("ann", 1));
    let mut cy = Client::connect(&server, "cy").await;
    cy.join(LOBBY).await;
    let state = cy.event("presence_state").await;
    assert_eq!(users(&state.payload)[0], ("ann".to_owned(), 1));
    drop(second);
    bob.take(gone).await;
}

#[tokio::test]
async fn a_leave_is_answered_closed_and_ends_the_talk() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let mut bob = Client::connect(&server, "bob").await;
    let (join, _) = ann.join(LOBBY).await;
    let (bobs, _) = bob.join(LOBBY).await;
    ann.so_far().await;
    let left = ann.leave(&join, LOBBY).await;
    assert_eq!(left.ok(), &json!({}));
    let closed = ann.event("phx_close").await;
    assert_eq!((closed.join_ref, closed.topic.as_str()), (Some(join.clone()), LOBBY));
    bob.say(&bobs, LOBBY, "is anybody there?").await.ok();
    assert!(!ann.so_far().await.iter().any(|frame| frame.is("said")));
    assert_eq!(ann.say(&join, LOBBY, "I am gone").await.refusal().0, "unjoined");
}

#[tokio::test]
async fn nothing_is_heard_of_a_room_once_it_was_left() {
    let server = Server::start().await;
    let mut bob = Client::connect(&server, "bob").await;
    let (bobs, _) = bob.join(LOBBY).await;
    for _ in 0..20 {
        let mut ann = Client::connect(&server, "ann").await;
        let (join, _) = ann.join(LOBBY).await;
        for n in 0..20 {
            bob.begin_say(&bobs, LOBBY, &format!("line {n}")).await;
        }
        ann.leave(&join, LOBBY).await.ok();
        ann.event("phx_close").await;
        // Only what came after the close is left to be looked at.
        ann.passed.clear();
        bob.so_far().await;
        assert_eq!(ann.so_far().await, []);
    }
}

#[tokio::test]
async fn leaving_what_one_is_not_in_is_no_error() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    assert_eq!(ann.leave("7", LOBBY).await.ok(), &json!({}));
    let (join, _) = ann.join(LOBBY).await;
    ann.leave(&join, LOBBY).await.ok();
    assert_eq!(ann.leave(&join, LOBBY).await.ok(), &json!({}));
    assert_eq!(server.http("GET", "/api/rooms/lobby", None).await.1["members"], 0);
}

#[tokio::test]
async fn a_stale_leave_does_not_end_the_join_that_came_after_it() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let (old, _) = ann.join(LOBBY).await;
    let (new, _) = ann.join(LOBBY).await;
    ann.leave(&old, LOBBY).await;
    ann.say(&new, LOBBY, "still here").await.ok();
}

#[tokio::test]
async fn a_second_join_of_a_topic_takes_the_place_of_the_first() {
    let server = Server::with(|config| config.max_members = 1).await;
    let mut ann = Client::connect(&server, "ann").await;
    let (first, _) = ann.join(LOBBY).await;
    ann.say(&first, LOBBY, "one").await.ok();
    // There is room for one: the second join is let in only in the place of the first.
    let (second, _) = ann.join(LOBBY).await;
    assert_ne!(first, second);
    let closed = ann.event("phx_close").await;
    assert_eq!(closed.join_ref.as_deref(), Some(first.as_str()));
    ann.so_far().await;
    assert_eq!(ann.say(&first, LOBBY, "two").await.refusal().0, "unjoined");
    assert_eq!(ann.say(&second, LOBBY, "three").await.ok(), &json!({ "seq": 2 }));
    let said: Vec<_> = ann.so_far().await.into_iter().filter(|frame| frame.is("said")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(server.http("GET", "/api/rooms/lobby", None).await.1["members"], 1);
}

#[tokio::test]
async fn a_socket_that_joins_again_and_again_hears_every_line_once() {
    let server = Server::start().await;
    let mut bob = Client::connect(&server, "bob").await;
    let (bobs, _) = bob.join(LOBBY).await;
    let mut ann = Client::connect(&server, "ann").await;
    for n in 0..50 {
        bob.begin_say(&bobs, LOBBY, &format!("line {n}")).await;
        ann.begin_join(LOBBY).await;
    }
    bob.so_far().await;
    let mut heard = HashSet::new();
    let mut joined = 0;
    for frame in ann.so_far().await {
        if frame.is("said") {
            assert!(heard.insert(frame.seq()), "line {} came twice", frame.seq());
        } else if frame.is("phx_reply") {
            let history = frame.ok()["history"].as_array().unwrap();
            // What the welcome holds was said before it, and nothing of it comes afterwards.
            heard.extend(history.iter().map(|line| line["seq"].as_u64().unwrap()));
            joined += 1;
        }
    }
    assert!(joined > 0);
    assert_eq!(server.http("GET", "/api/rooms/lobby", None).await.1["members"], 2);
}

#[tokio::test]
async fn a_topic_that_is_no_room_and_a_bad_key_are_refused_in_words() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let long = format!("room:{}", "x".repeat(256));
    for (topic, code, words) in [
        ("lobby", "bad_request", "expected a topic \"room:KEY\""),
        ("phoenix", "bad_request", "expected a topic \"room:KEY\""),
        ("room:", "bad_key", "got an empty one"),
        ("room:a\nb", "bad_key", "control characters"),
        (long.as_str(), "bad_key", "got 256 bytes"),
    ] {
        let join = ann.begin_join(topic).await;
        let reply = ann.reply(&join).await;
        let (found, message, ran) = reply.refusal();
        assert_eq!((found, ran), (code, "no"), "{topic:?}");
        assert!(message.contains(words), "{topic:?}: {message}");
        assert_eq!(reply.topic, topic);
    }
    assert_eq!(server.http("GET", "/api/rooms", None).await.1["rooms"], json!([]));
}

#[tokio::test]
async fn every_key_that_is_allowed_can_be_joined() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let longest = "é".repeat(127);
    for key in ["a b/c?d#e%f", "🦀", "room:room:", "\u{202e}rtl", "\"\\", longest.as_str()] {
        let (_, welcome) = ann.join(&format!("room:{key}")).await;
        assert_eq!(welcome["room"], key);
    }
}

#[tokio::test]
async fn a_full_room_lets_nobody_in_until_somebody_goes() {
    let server = Server::with(|config| config.max_members = 2).await;
    let mut ann = Client::connect(&server, "ann").await;
    let mut bob = Client::connect(&server, "bob").await;
    let mut cy = Client::connect(&server, "cy").await;
    ann.join(LOBBY).await;
    let (bobs, _) = bob.join(LOBBY).await;
    let join = cy.begin_join(LOBBY).await;
    let reply = cy.reply(&join).await;
    let (code, message, ran) = reply.refusal();
    assert_eq!((code, ran), ("too_many_members", "no"));
    assert!(message.contains("2 members"), "{message}");
    assert_eq!(cy.say(&join, LOBBY, "let me in").await.refusal().0, "unjoined");
    bob.leave(&bobs, LOBBY).await.ok();
    cy.join(LOBBY).await;
}

#[tokio::test]
async fn starts_are_limited_per_client_and_rooms_in_all() {
    let server = Server::with(|config| config.starts_per_client = 1).await;
    let mut ann = Client::connect(&server, "ann").await;
    ann.join("room:first").await;
    let join = ann.begin_join("room:second").await;
    let reply = ann.reply(&join).await;
    let (code, _, ran) = reply.refusal();
    assert_eq!((code, ran), ("rate_limited", "no"));
    // A room that is there already costs nothing.
    Client::connect(&server, "bob").await.join("room:first").await;

    let server = Server::with(|config| config.max_rooms = 1).await;
    let mut ann = Client::connect(&server, "ann").await;
    ann.join("room:first").await;
    let join = ann.begin_join("room:second").await;
    let reply = ann.reply(&join).await;
    assert_eq!((reply.refusal().0, reply.refusal().2), ("max_rooms", "no"));
}

#[tokio::test]
async fn a_flood_of_joins_on_one_socket_stops_at_the_bound_and_all_are_answered() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    let mut joins = Vec::new();
    for n in 0..limits::TOPICS_PER_SOCKET + 20 {
        joins.push(ann.begin_join(&format!("room:{n}")).await);
    }
    let mut refused = 0;
    for join in &joins {
        let reply = ann.reply(join).await;
        if reply.payload["status"] == "error" {
            assert_eq!(reply.refusal().0, "rate_limited");
            refused += 1;
        }
    }
    assert_eq!(refused, 20);
    // Whoever leaves one may join another.
    ann.leave(&joins[0], "room:0").await.ok();
    ann.join("room:another").await;
}

#[tokio::test]
async fn rooms_that_have_ended_do_not_count_against_a_socket() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server, "ann").await;
    for n in 0..limits::TOPICS_PER_SOCKET {
        ann.join(&format!("room:{n}")).await;
    }
    assert_eq!(server.http("DELETE", "/api/rooms/3", None).await.0, 204);
    ann.event("phx_close").await;
    ann.join("room:another").await;
}

#[tokio::test]
async fn two_hundred_sockets_that_join_at_once_meet_in_one_incarnation() {
    let server = Server::start().await;
    let mut joins = JoinSet::new();
    for n in 0..200 {
        let mut client = Client::connect(&server, &format!("user-{n}")).await;
        joins.spawn(async move {
            let (_, welcome) = client.join(LOBBY).await;
            (welcome["incarnation"].clone(), client)
        });
    }
    let joined = joins.join_all().await;
    let incarnations: HashSet<_> = joined.iter().map(|(incarnation, _)| incarnation).collect();
    assert_eq!(incarnations.len(), 1);
    assert_eq!(server.http("GET", "/api/rooms/lobby", None).await.1["members"], 200);
}
