//! The commands that look at a server, against real servers: load, check, events, top.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/program.rs"]
mod program;

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

use program::{Program, innkeeper};
use serde_json::Value;

fn ran(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = innkeeper().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// What a command prints as JSON, and its exit code.
fn json(args: &[&str]) -> (i32, Value) {
    let (code, printed, said) = ran(&[args, &["--format", "json"]].concat());
    let value = serde_json::from_str(&printed);
    (code, value.unwrap_or_else(|error| panic!("{args:?}: {error}: {printed}{said}")))
}

fn ask(method: reqwest::Method, url: String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked = runtime.block_on(client.request(method, url).send()).unwrap();
    assert!(asked.status().is_success(), "{}", asked.status());
}

fn start(server: &Program, room: &str) {
    ask(reqwest::Method::POST, server.url(&format!("/api/rooms/{room}")));
}

#[test]
fn a_load_is_verified_to_the_last_delivery() {
    let server = Program::start(&[]);
    let url = server.url("");
    let plan = ["--rooms", "4", "--members", "3", "--rate", "300", "--duration", "1s"];
    let (code, report) = json(&[&["load", "--url", &url], &plan[..]].concat());
    assert_eq!(code, 0, "{report}");
    let sent = report["sent"].as_u64().unwrap();
    // A loaded machine may talk less; whatever was said was heard by all three.
    assert!(sent > 0, "{report}");
    assert_eq!(report["delivered"], 3 * sent);
    assert_eq!((&report["members"], &report["broken"]), (&12.into(), &0.into()));
    assert!(report["delivery_us"]["p99"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn a_load_of_nobody_says_so() {
    let (code, _, said) = ran(&["load", "--url", "http://127.0.0.1:9", "--rooms", "1"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("127.0.0.1:9") && said.contains("try: "), "{said}");
}

#[test]
fn a_room_that_ends_in_the_midst_of_a_load_is_told_of() {
    let server = Program::start(&[]);
    let mut load = innkeeper();
    load.args(["load", "--rooms", "1", "--members", "2", "--duration", "3s", "--format", "json"]);
    load.args(["--url", &server.url("")]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let load = load.spawn().unwrap();
    let members = || {
        let (_, room) = json(&["rooms", "show", "load-0", "--url", &server.url("")]);
        room["members"] == 2
    };
    let there = || ran(&["rooms", "show", "load-0", "--url", &server.url("")]).0 == 0;
    while !(there() && members()) {}
    ask(reqwest::Method::POST, server.url("/api/rooms/load-0/restart"));
    let output = load.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report}");
    let violations = report["violations"].to_string();
    assert!(violations.contains("the room ended: phx_error"), "{report}");
}

#[test]
fn a_key_that_is_alive_twice_is_found() {
    let (one, two) = (Program::start(&[]), Program::start(&[]));
    for n in 0..5 {
        start(&one, &format!("one-{n}"));
        start(&two, &format!("two-{n}"));
    }
    let (a, b) = (one.url(""), two.url(""));
    let check = ["check", "--url", &a, "--url", &b];
    let (code, report) = json(&check);
    assert_eq!((code, &report["rooms"], &report["servers"]), (0, &10.into(), &2.into()));
    // The same server twice tells of the same incarnations, which is no harm.
    assert_eq!(json(&["check", "--url", &a, "--url", &a]).0, 0);
    start(&one, "lobby");
    start(&two, "lobby");
    let (code, report) = json(&check);
    assert_eq!(code, 1, "{report}");
    assert_eq!(report["alive_twice"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["alive_twice"][0]["room"], "lobby");
    assert_eq!(report["alive_twice"][0]["incarnations"].as_array().unwrap().len(), 2);
    let (_, table, _) = ran(&check);
    assert!(table.contains("ALIVE TWICE  lobby: "), "{table}");
}

#[test]
fn events_come_as_they_happen_a_line_each() {
    let server = Program::start(&[]);
    let mut events = innkeeper();
    events.args(["events", "--follow", "--format", "json", "--url", &server.url("")]);
    let mut events = events.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    let (told, heard) = std::sync::mpsc::sync_channel(1);
    let reader = std::thread::spawn(move || {
        let first = lines.next().unwrap().unwrap();
        told.send(()).unwrap();
        first
    });
    // It may not listen yet when the first one starts.
    while heard.try_recv().is_err() {
        start(&server, "inn");
        ask(reqwest::Method::DELETE, server.url("/api/rooms/inn"));
    }
    let event: Value = serde_json::from_str(&reader.join().unwrap()).unwrap();
    assert_eq!((&event["key"], &event["kind"]), (&"inn".into(), &"room".into()));
    events.kill().unwrap();
    events.wait().unwrap();
    // Without --follow it ends by itself.
    assert_eq!(ran(&["events", "--url", &server.url("")]), (0, String::new(), String::new()));
}

#[test]
fn one_look_of_top_is_printed_where_there_is_no_terminal() {
    let server = Program::start(&[]);
    start(&server, "inn");
    let (code, look) = json(&["top", "--url", &server.url("")]);
    assert_eq!((code, &look["overview"]["now"]["rooms"]), (0, &1.into()));
    assert_eq!(look["rooms"][0]["room"], "inn");
    let (code, table, _) = ran(&["top", "--url", &server.url("")]);
    assert!(code == 0 && table.contains("ROOM") && table.contains("inn"), "{table}");
    let (_, plain, _) = ran(&["top", "--format", "plain", "--url", &server.url("")]);
    assert!(plain.contains("\nrooms\t1\n"), "{plain}");
}

#[test]
fn every_result_is_json_where_it_is_asked_for() {
    let server = Program::start(&[]);
    start(&server, "inn");
    let url = server.url("");
    let commands: [&[&str]; 6] = [
        &["rooms", "list", "--url", &url],
        &["rooms", "show", "inn", "--url", &url],
        &["race", "--callers", "5", "--rounds", "1"],
        &["check", "--url", &url],
        &["top", "--url", &url],
        &["config", "show"],
    ];
    for command in commands {
        assert_eq!(json(command).0, 0, "{command:?}");
    }
    // A stop has nothing to tell but that it is done.
    assert_eq!(json(&["rooms", "stop", "inn", "--url", &url]).0, 0);
}
