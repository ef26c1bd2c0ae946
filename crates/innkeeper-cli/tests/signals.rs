//! SIGTERM under load: what was answered ok reached everybody, everything else is refused by name.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)] // Tests.

#[path = "support/member.rs"]
mod member;
#[path = "support/program.rs"]
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use member::{Heard, Member};
use program::Program;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const ROOMS: usize = 8;
const PER_ROOM: usize = 6;

/// What one member saw until it was closed.
#[derive(Default)]
struct Seen {
    room: usize,
    said: BTreeSet<u64>,
    ok: BTreeSet<u64>,
    refused: BTreeMap<String, u64>,
    unanswered: u64,
    closed: Option<u16>,
}

/// Pushes one line after the other until it is refused, then listens until it is closed.
async fn talk(mut member: Member, room: usize, answered: Arc<AtomicU64>) -> Seen {
    let topic = format!("room:r{room}");
    let mut seen = Seen { room, ..Seen::default() };
    let mut reference = 1;
    member.push(reference, &topic, "say", json!({"text": "x"})).await;
    seen.unanswered += 1;
    loop {
        let frame = match member.hear().await {
            Heard::Closed(code) => {
                seen.closed = code;
                return seen;
            }
            Heard::Frame(frame) => frame,
        };
        if frame[3] == "said" {
            seen.said.insert(frame[4]["seq"].as_u64().unwrap());
        }
        if frame[3] != "phx_reply" {
            continue;
        }
        seen.unanswered -= 1;
        let response = &frame[4]["response"];
        if frame[4]["status"] == "ok" {
            seen.ok.insert(response["seq"].as_u64().unwrap());
            answered.fetch_add(1, Ordering::Relaxed);
            reference += 1;
            member.push(reference, &topic, "say", json!({"text": "x"})).await;
            seen.unanswered += 1;
        } else {
            assert_eq!(response["ran"], "no", "{frame}");
            *seen.refused.entry(response["code"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_loses_nothing_that_was_answered() {
    let server = Program::start(&[]);
    let all_in = Arc::new(Barrier::new(ROOMS * PER_ROOM));
    let answered = Arc::new(AtomicU64::new(0));
    let mut talking = JoinSet::new();
    for n in 0..ROOMS * PER_ROOM {
        let (address, all_in, answered) = (server.http.clone(), all_in.clone(), answered.clone());
        talking.spawn(async move {
            let mut member = Member::connect(&address, &format!("u{n}")).await;
            member.join(&format!("room:r{}", n % ROOMS)).await;
            all_in.wait().await;
            talk(member, n % ROOMS, answered).await
        });
    }
    while answered.load(Ordering::Relaxed) < 500 {
        tokio::task::yield_now().await;
    }
    server.signal("TERM");
    let (status, log) = tokio::task::spawn_blocking(move || server.ended()).await.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    let seen = talking.join_all().await;
    for member in &seen {
        assert_eq!(member.closed, Some(1012));
        assert_eq!(member.unanswered, 0, "a push was left without an answer");
        assert!(member.refused.keys().all(|code| code == "draining"), "{:?}", member.refused);
    }
    for room in 0..ROOMS {
        let members = || seen.iter().filter(|member| member.room == room);
        let ok: BTreeSet<u64> = members().flat_map(|member| member.ok.clone()).collect();
        for member in members() {
            let missing: Vec<_> = ok.difference(&member.said).collect();
            assert!(missing.is_empty(), "answered ok and not told: {missing:?}");
            assert!(member.said.iter().copied().eq(1..=member.said.len() as u64), "a gap");
        }
    }
    assert!(seen.iter().all(|member| member.refused.values().sum::<u64>() == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    let server = Program::start(&["--drain-timeout", "1h"]);
    // A connection that does not end by itself holds the drain up.
    let mut member = Member::connect(&server.http, "ann").await;
    member.join("room:a").await;
    let stuck = std::net::TcpStream::connect(&server.http).unwrap();
    std::io::Write::write_all(&mut &stuck, b"POST /api/rooms/a HTTP/1.1\r\nhost: 1").unwrap();
    server.signal("INT");
    while let Heard::Frame(_) = member.hear().await {}
    server.signal("INT");
    let (status, log) = tokio::task::spawn_blocking(move || server.ended()).await.unwrap();
    // It may have come to its end by itself in between.
    assert!(status.code() == Some(2) || status.code() == Some(0), "{status}: {log}");
}
