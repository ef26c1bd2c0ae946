//! Traces as a collector gets them: over OTLP, from the real program, from one node and from two.

#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/collector.rs"]
mod collector;
#[cfg(feature = "cluster")]
#[path = "support/etcd.rs"]
mod etcd;
#[cfg(feature = "cluster")]
#[path = "support/missing.rs"]
mod missing;
#[path = "support/program.rs"]
mod program;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use collector::{Collector, Seen};
use program::Program;

/// The trace of whoever asks.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Says something in a room, as a part of [`TRACE`], and answers with what came back.
fn say(at: &Program, room: &str) -> String {
    let body = r#"{"user":"ann","text":"hello"}"#;
    let (host, length) = (&at.http, body.len());
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!(
        "POST /api/rooms/{room}/messages HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Ends it in order, as a service manager does.
fn end(node: Program) -> String {
    node.signal("TERM");
    let (status, said) = node.ended();
    assert!(status.success(), "{status}\n{said}");
    said
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn one<'a>(spans: &'a [Seen], what: &str, is: impl Fn(&Seen) -> bool) -> &'a Seen {
    let found: Vec<_> = spans.iter().filter(|span| is(span)).collect();
    assert!(!found.is_empty(), "no {what} among {spans:#?}");
    found[0]
}

#[test]
fn a_collector_gets_the_spans_of_a_server_by_its_end() {
    let collector = Collector::start();
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("OTEL_SERVICE_NAME", "chat")];
    let server = Program::told("127.0.0.1:0", &["--node=one"], &variables);
    let answer = say(&server, "lobby");
    assert!(answer.contains("200 OK"), "{answer}");
    // Not before: what waits to be sent is sent now.
    end(server);
    let spans = collector.seen();
    let request = one(&spans, "request", |span| span.name == "request");
    assert_eq!(hex(&request.trace), TRACE, "it is not a part of its client's trace");
    assert_eq!(hex(&request.parent), "00f067aa0ba902b7");
    assert_eq!(request.service.as_deref(), Some("chat"));
    assert_eq!(request.instance.as_deref(), Some("one"));
    assert_eq!(request.says("path").as_deref(), Some("/api/rooms/lobby/messages"));
    assert_eq!(request.says("status").as_deref(), Some("200"));
    let handle = one(&spans, "handle", |span| span.name == "handle" && span.trace == request.trace);
    assert_eq!(handle.parent, request.id, "{handle:#?}");
    assert!(handle.says("key").unwrap().contains("lobby"), "{handle:#?}");
    assert_eq!(handle.says("process").as_deref(), Some("rooms"));
    assert_eq!(handle.says("epoch"), None, "there is no epoch on one node");
}

#[test]
fn a_server_is_not_held_up_by_a_collector_that_never_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let server =
        Program::told("127.0.0.1:0", &[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str())]);
    say(&server, "lobby");
    let said = end(server);
    assert!(said.contains("the last traces were not sent"), "{said}");
}

#[test]
fn nothing_is_sent_where_the_sdk_is_disabled() {
    let collector = Collector::start();
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("OTEL_SDK_DISABLED", "true")];
    let server = Program::told("127.0.0.1:0", &[], &variables);
    say(&server, "lobby");
    end(server);
    assert!(collector.seen().is_empty(), "{:#?}", collector.seen());
}

#[cfg(feature = "cluster")]
#[test]
fn a_trace_goes_from_node_to_node() {
    let found = etcd::Etcd::start();
    let Some(etcd) = missing::or_skip("traces from node to node", found) else { return };
    let collector = Collector::start();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())];
    let etcd_at = format!("--etcd={}", etcd.url);
    let start = |name: &str| {
        let node = format!("--node={name}");
        let flags = ["--cluster=test", "--insecure-cluster", "--listen=127.0.0.1:0", "--shards=8"];
        let flags = [&flags[..], &[&node, &etcd_at]].concat();
        Program::told("127.0.0.1:0", &flags, &variables)
    };
    let (a, b) = (start("a"), start("b"));
    // Some of so many rooms are on the other node, once that has its half of the shards.
    let on_b = (0..200).find_map(|n| {
        let (room, answer) = (format!("room-{n}"), say(&a, &format!("room-{n}")));
        std::thread::sleep(std::time::Duration::from_millis(if n % 8 == 7 { 500 } else { 0 }));
        let shown = look(&a, &room);
        (answer.contains("200 OK") && shown.contains(r#""node":"b""#)).then_some(room)
    });
    let room = on_b.expect("no room is on the other node");
    end(b);
    end(a);
    let spans = collector.seen();
    let path = format!("/api/rooms/{room}/messages");
    let request = one(&spans, "request", |span| span.says("path").as_deref() == Some(&path));
    assert_eq!((request.says("node").as_deref(), hex(&request.trace).as_str()), (Some("a"), TRACE));
    let of = |name: &'static str| {
        move |span: &Seen| span.name == name && span.says("node").as_deref() == Some("b")
    };
    let handle = one(&spans, "handle", |span| {
        of("handle")(span) && span.says("key").is_some_and(|key| key.contains(&room))
    });
    assert_eq!(handle.trace, request.trace, "{handle:#?}");
    let asked = one(&spans, "asked", |span| of("asked")(span) && span.id == handle.parent);
    assert_eq!(asked.trace, request.trace);
    assert_eq!(asked.instance.as_deref(), Some("b"));
    for span in [handle, asked] {
        assert!(span.says("shard").is_some_and(|shard| shard.parse::<u16>().unwrap() < 8));
        assert!(span.says("epoch").is_some_and(|epoch| epoch.parse::<u64>().unwrap() > 0));
    }
}

#[cfg(feature = "cluster")]
fn look(at: &Program, room: &str) -> String {
    let mut stream = TcpStream::connect(&at.http).unwrap();
    let host = &at.http;
    let request =
        format!("GET /api/rooms/{room} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
