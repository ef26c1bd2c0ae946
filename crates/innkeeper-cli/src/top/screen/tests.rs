//! The screen, drawn without a terminal.

use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::*;

fn overview(uptime_ms: u64, calls: u64, lints: serde_json::Value) -> Overview {
    serde_json::from_value(json!({
        "node": "n1", "version": "0.1.0", "state": "serving", "uptime_ms": uptime_ms,
        "allow_actions": false,
        "now": {"rooms": 2, "buckets": 1, "websocket_connections": 7, "memory_bytes": 52_428_800},
        "total": {"calls_ok": calls, "starts": 2, "restarts": 0, "calls_not_delivered": 0},
        "limits": {}, "lints": lints,
        "census": {"age_ms": 0, "took_ms": 0, "states": {"live": 2}, "members": 7, "waiting": 0},
    }))
    .unwrap()
}

fn room(key: &str, state: &str, messages: u64) -> RoomInfo {
    serde_json::from_value(json!({
        "room": key, "incarnation": "1-1", "epoch": 0, "node": "n1", "state": state,
        "members": 3, "messages": messages, "restarts": 0, "uptime_ms": 61_000, "mailbox_len": 0,
    }))
    .unwrap()
}

fn drawn(screen: &Screen) -> String {
    let mut terminal = Terminal::new(TestBackend::new(96, 12)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    as_text(terminal.backend().buffer())
}

fn screen() -> Screen {
    let mut screen = Screen::new("http://127.0.0.1:4000".to_owned());
    let rooms = || vec![room("lobby", "live", 41), room("a\u{1b}[2Jb", "parked", 0)];
    for (second, calls) in [0, 10, 40, 20, 80].into_iter().enumerate() {
        let overview = overview(1_000 * second as u64, 100 * second as u64 + calls, json!([]));
        screen.see(Look { overview, rooms: rooms() });
    }
    screen
}

#[test]
fn it_shows_how_it_goes_and_the_rooms_and_takes_no_orders_from_a_key() {
    assert_snapshot!(drawn(&screen()));
}

#[test]
fn what_is_wrong_stands_above() {
    let mut screen = screen();
    let lints = json!([
        {"code": "parked", "level": "bad", "rooms": ["inn"],
         "text": "1 room crashed too often and is parked for a while."},
    ]);
    screen.see(Look { overview: overview(9_000, 0, lints), rooms: Vec::new() });
    assert!(drawn(&screen).contains("!! 1 room crashed too often and is parked for a while. inn"));
    screen.miss(&"nobody answers there\nsecond line");
    assert!(drawn(&screen).contains("nobody answers there"));
}

#[test]
fn orders_go_round() {
    let mut screen = screen();
    assert_eq!(screen.sort(), "messages");
    screen.order(-1);
    assert_eq!(screen.sort(), "key");
    screen.order(1);
    screen.order(1);
    assert_eq!(screen.sort(), "members");
}

#[test]
fn a_server_that_was_started_again_begins_anew() {
    let mut screen = screen();
    assert_eq!(screen.rates[0].len(), 4);
    screen.see(Look { overview: overview(5, 3, json!([])), rooms: Vec::new() });
    assert!(screen.rates[0].is_empty());
}
