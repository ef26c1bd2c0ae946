//! A crowd: many members in many rooms, every message to every one of them, once and in order, with
//! one among them who does not read.
//!
//! `INNKEEPER_CROWD=10000 cargo test --release -p innkeeper-cli --test crowd` for the full size.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)] // Tests.

#[path = "support/member.rs"]
mod member;
#[path = "support/program.rs"]
mod program;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use member::{Heard, Member};
use program::Program;
use serde_json::json;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

const PER_ROOM: usize = 10;
const SAYS: u64 = 5;

fn crowd() -> usize {
    std::env::var("INNKEEPER_CROWD").map_or(500, |text| text.parse().unwrap())
}

/// What one member saw of its room.
struct Seen {
    room: usize,
    incarnation: String,
    said: Vec<(u64, String)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_reaches_every_member_once_and_in_order() {
    let members = crowd();
    let server = Program::start(&["--starts-per-client", "0", "--starts-per-second", "0"]);
    let all_in = Arc::new(Barrier::new(members));
    let connecting = Arc::new(Semaphore::new(200));
    let mut crowd = JoinSet::new();
    for n in 0..members {
        let (address, all_in) = (server.http.clone(), all_in.clone());
        let connecting = connecting.clone();
        crowd.spawn(async move {
            let place = connecting.acquire_owned().await.unwrap();
            let (room, user) = (n / PER_ROOM, format!("user{n}"));
            let topic = format!("room:crowd{room}");
            let mut member = Member::connect(&address, &user).await;
            let joined = member.join(&topic).await;
            drop(place);
            all_in.wait().await;
            let incarnation = joined["incarnation"].as_str().unwrap().to_owned();
            let said = talk(&mut member, &topic, &user).await;
            Seen { room, incarnation, said }
        });
    }
    let collect = async {
        let mut rooms: HashMap<usize, Vec<Seen>> = HashMap::new();
        while let Some(seen) = crowd.join_next().await {
            let seen = seen.unwrap();
            rooms.entry(seen.room).or_default().push(seen);
        }
        rooms
    };
    let rooms = tokio::time::timeout(Duration::from_secs(240), collect).await.expect("lost");
    let per_member = server.resident() / members as u64;
    println!("{members} members in {} rooms, {per_member} bytes resident each", rooms.len());
    for (room, seen) in rooms {
        check(room, &seen);
    }
}

/// Says its part, and listens until everybody in the room has.
async fn talk(member: &mut Member, topic: &str, user: &str) -> Vec<(u64, String)> {
    for n in 0..SAYS {
        let text = format!("{user} {n}");
        member.push(n + 1, topic, "say", json!({ "text": text })).await;
    }
    let (mut said, mut ok) = (Vec::new(), 0);
    while said.len() < PER_ROOM * SAYS as usize || ok < SAYS {
        match member.hear().await {
            Heard::Frame(frame) if frame[3] == "said" => {
                let seq = frame[4]["seq"].as_u64().unwrap();
                said.push((seq, frame[4]["text"].as_str().unwrap().to_owned()));
            }
            Heard::Frame(frame) if frame[3] == "phx_reply" => {
                assert_eq!(frame[4]["status"], "ok", "{frame}");
                ok += 1;
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("{user} was closed with {code:?}"),
        }
    }
    said
}

fn check(room: usize, seen: &[Seen]) {
    assert_eq!(seen.len(), PER_ROOM);
    for member in seen {
        assert_eq!(member.incarnation, seen[0].incarnation, "two rooms {room}");
        // The same lines in the same order for all, numbered from 1 without a gap.
        assert_eq!(member.said, seen[0].said, "room {room}");
    }
    let numbers: Vec<u64> = seen[0].said.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "room {room}");
    let mut texts: Vec<_> = seen[0].said.iter().map(|(_, text)| text.as_str()).collect();
    // Each sender's own lines in the order they were sent.
    for user in texts.iter().map(|text| text.split(' ').next().unwrap()) {
        let own: Vec<_> =
            texts.iter().filter(|text| text.split(' ').next() == Some(user)).collect();
        assert!(own.is_sorted(), "{own:?}");
    }
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), PER_ROOM * SAYS as usize, "room {room}: a line twice, or lost");
}

/// Says more than all buffers hold while one member does not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_does_not_read_is_dropped_and_no_room_waits_for_it() {
    let server = Program::start(&[]);
    let mut stalled = Member::connect(&server.http, "stalled").await;
    stalled.join("room:a").await;
    let mut speaker = Member::connect(&server.http, "speaker").await;
    speaker.join("room:a").await;
    let text = "x".repeat(4096);
    let (mut said, mut ok, mut left) = (0, 0, false);
    while !left || said < ok {
        speaker.push(ok + 1, "room:a", "say", json!({ "text": text })).await;
        let answered = ok + 1;
        while ok < answered {
            match speaker.hear().await {
                Heard::Frame(frame) if frame[3] == "phx_reply" && frame[1] != "0" => {
                    assert_eq!(frame[4]["response"]["seq"], answered, "{frame}");
                    ok += 1;
                }
                Heard::Frame(frame) if frame[3] == "said" => said += 1,
                Heard::Frame(frame) if frame[3] == "presence_diff" => {
                    left |= frame[4]["leaves"].get("stalled").is_some();
                }
                Heard::Frame(_) => {}
                Heard::Closed(code) => panic!("the speaker was closed with {code:?}"),
            }
        }
        assert!(ok < 50_000, "never dropped");
    }
    // What it had not read by then, in order, and then why there is no more.
    let mut next = 1;
    loop {
        match stalled.hear().await {
            Heard::Frame(frame) if frame[3] == "said" => {
                assert_eq!(frame[4]["seq"], next);
                next += 1;
            }
            Heard::Frame(frame) if frame[3] == "phx_error" => {
                assert_eq!(frame[4]["reason"], "slow_consumer");
                break;
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed with {code:?} before it was told why"),
        }
    }
    assert!(next <= ok);
}
