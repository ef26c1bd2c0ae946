//! The HTTP API, by requests over real sockets: every path, every refusal.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)] // Tests.

#[path = "support/server.rs"]
mod server;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

async fn json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

async fn ask(server: &Server, method: Method, path: &str) -> (u16, Value) {
    json(client().request(method, server.url(path)).send().await.unwrap()).await
}

async fn post(server: &Server, path: &str, body: Value) -> (u16, Value) {
    json(client().post(server.url(path)).json(&body).send().await.unwrap()).await
}

/// Sends bytes as they are, and reads until the server closes.
async fn raw(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.http.port())).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_room_is_started_once_and_found_after() {
    let server = Server::start().await;
    let (status, started) = ask(&server, Method::POST, "/api/rooms/lobby").await;
    assert_eq!(status, 200);
    assert_eq!(started["room"], "lobby");
    assert_eq!((&started["epoch"], &started["outcome"]), (&json!(0), &json!("started")));
    assert_eq!(started["node"], "local");
    let (_, found) = ask(&server, Method::POST, "/api/rooms/lobby").await;
    assert_eq!(found["outcome"], "existing");
    assert_eq!(found["incarnation"], started["incarnation"]);
    assert!(server.drained().await.is_clean());
}

#[tokio::test]
async fn a_look_never_starts_a_room() {
    let server = Server::start().await;
    for _ in 0..2 {
        let (status, problem) = ask(&server, Method::GET, "/api/rooms/lobby").await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
        assert_eq!(problem["ran"], "no");
    }
    let (_, started) = ask(&server, Method::POST, "/api/rooms/lobby").await;
    let (status, shown) = ask(&server, Method::GET, "/api/rooms/lobby").await;
    assert_eq!(status, 200);
    assert_eq!(shown["incarnation"], started["incarnation"]);
    assert_eq!((&shown["state"], &shown["members"]), (&json!("live"), &json!(0)));
    for number in ["messages", "restarts", "mailbox_len", "epoch"] {
        assert_eq!(shown[number], 0, "{number}");
    }
    assert!(shown["uptime_ms"].is_u64());
}

#[tokio::test]
async fn a_stopped_room_is_gone_and_its_key_is_free() {
    let server = Server::start().await;
    let (_, first) = ask(&server, Method::POST, "/api/rooms/lobby").await;
    let stopped = client().delete(server.url("/api/rooms/lobby")).send().await.unwrap();
    assert_eq!(stopped.status(), StatusCode::NO_CONTENT);
    let (status, _) = ask(&server, Method::GET, "/api/rooms/lobby").await;
    assert_eq!(status, 404);
    let (status, problem) = ask(&server, Method::DELETE, "/api/rooms/lobby").await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
    let (_, second) = ask(&server, Method::POST, "/api/rooms/lobby").await;
    assert_eq!(second["outcome"], "started");
    assert_ne!(second["incarnation"], first["incarnation"]);
}

#[tokio::test]
async fn messages_are_numbered_without_a_gap_and_start_the_room() {
    let server = Server::start().await;
    for seq in 1..=5 {
        let body = json!({"user": "ann", "text": format!("line {seq}")});
        let (status, posted) = post(&server, "/api/rooms/lobby/messages", body).await;
        assert_eq!((status, &posted["seq"]), (200, &json!(seq)));
    }
    let (_, shown) = ask(&server, Method::GET, "/api/rooms/lobby").await;
    assert_eq!(shown["messages"], 5);
}

#[tokio::test]
async fn keys_are_percent_encoded_and_bad_ones_are_refused() {
    let server = Server::start().await;
    for (path, key) in [("a%20b", "a b"), ("%F0%9F%A6%80", "🦀"), ("a%2Fb", "a/b"), ("%25", "%")]
    {
        let (status, started) = ask(&server, Method::POST, &format!("/api/rooms/{path}")).await;
        assert_eq!((status, &started["room"]), (200, &json!(key)), "{path}");
    }
    let long = "x".repeat(256);
    for path in ["a%0Ab", "%FF", long.as_str(), "%C3"] {
        let (status, problem) = ask(&server, Method::POST, &format!("/api/rooms/{path}")).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_key")), "{path}");
        assert!(problem["detail"].as_str().unwrap().starts_with("expected a"), "{problem}");
    }
}

#[tokio::test]
async fn bodies_that_make_no_sense_are_refused_in_words() {
    let server = Server::start().await;
    let path = "/api/rooms/lobby/messages";
    for body in [
        json!({}),
        json!({"user": "ann"}),
        json!({"user": "ann", "text": 1}),
        json!({"user": "", "text": "x"}),
        json!({"user": "a\nb", "text": "x"}),
        json!({"user": "x".repeat(65), "text": "x"}),
        json!({"user": "ann", "text": "x", "texxt": "y"}),
        json!([1, 2]),
    ] {
        let (status, problem) = post(&server, path, body.clone()).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_request")), "{body}");
    }
    let broken = client().post(server.url(path)).body("{\"user\":").send().await.unwrap();
    let (status, problem) = json(broken).await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_request")));
    // Nothing of this started a room.
    assert_eq!(ask(&server, Method::GET, "/api/rooms/lobby").await.0, 404);
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused() {
    let server = Server::with(|config| config.max_message_bytes = 10).await;
    let path = "/api/rooms/lobby/messages";
    let body = json!({"user": "ann", "text": "é".repeat(5)});
    assert_eq!(post(&server, path, body).await.0, 200);
    let body = json!({"user": "ann", "text": "é".repeat(6)});
    let (status, problem) = post(&server, path, body).await;
    assert_eq!((status, &problem["code"]), (413, &json!("payload_too_large")));
    assert!(problem["detail"].as_str().unwrap().contains("at most 10 bytes, got 12"), "{problem}");
    let huge = json!({"user": "ann", "text": "x".repeat(5_000_000)});
    let (status, problem) = post(&server, path, huge).await;
    assert_eq!((status, &problem["code"]), (413, &json!("payload_too_large")));
}

#[tokio::test]
async fn the_list_is_paged_in_the_order_of_the_keys() {
    let server = Server::start().await;
    for n in 0..25 {
        ask(&server, Method::POST, &format!("/api/rooms/a{n:02}")).await;
        ask(&server, Method::POST, &format!("/api/rooms/b{n:02}")).await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/rooms?prefix=b&limit=10{after}");
        let (status, page) = ask(&server, Method::GET, &path).await;
        assert_eq!(status, 200);
        let rooms = page["rooms"].as_array().unwrap();
        assert!(rooms.len() <= 10);
        seen.extend(rooms.iter().map(|room| room["room"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..25).map(|n| format!("b{n:02}")).collect::<Vec<_>>());
    for bad in ["limit=0", "limit=1001", "limit=many", "after=", "order=down"] {
        let (status, problem) = ask(&server, Method::GET, &format!("/api/rooms?{bad}")).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_request")), "{bad}");
    }
}

#[tokio::test]
async fn with_all_rooms_taken_an_existing_one_still_answers() {
    let server = Server::with(|config| config.max_rooms = 2).await;
    for key in ["a", "b"] {
        assert_eq!(ask(&server, Method::POST, &format!("/api/rooms/{key}")).await.0, 200);
    }
    let (status, problem) = ask(&server, Method::POST, "/api/rooms/c").await;
    assert_eq!(
        (status, &problem["code"], &problem["ran"]),
        (503, &json!("max_rooms"), &json!("no"))
    );
    assert_eq!(ask(&server, Method::POST, "/api/rooms/a").await.1["outcome"], "existing");
}

#[tokio::test]
async fn too_many_starts_are_refused_with_a_time_to_come_back() {
    let server = Server::with(|config| config.starts_per_client = 3).await;
    for n in 0..3 {
        assert_eq!(ask(&server, Method::POST, &format!("/api/rooms/r{n}")).await.0, 200);
    }
    let url = server.url("/api/rooms/r3");
    let refused = client().post(url).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "rate_limited");
    // What is there costs nothing.
    assert_eq!(ask(&server, Method::POST, "/api/rooms/r0").await.1["outcome"], "existing");
    assert_eq!(ask(&server, Method::GET, "/api/rooms/r3").await.0, 404);
}

#[tokio::test]
async fn pages_of_strangers_and_foreign_names_may_not_act() {
    let server = Server::start().await;
    let port = server.http.port();
    let own = format!("http://127.0.0.1:{port}");
    for (origin, status) in [
        (own.as_str(), 200),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:1", 403),
    ] {
        let request = client().post(server.url("/api/rooms/lobby")).header("origin", origin);
        let (got, body) = json(request.send().await.unwrap()).await;
        assert_eq!(got, status, "{origin}: {body}");
        if status == 403 {
            assert_eq!(body["code"], "forbidden");
        }
    }
    // DNS rebinding: our address under their name.
    for line in ["POST /api/rooms/x", "DELETE /api/rooms/x"] {
        let head = "HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\ncontent-length: 0";
        let answer = raw(&server, &format!("{line} {head}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(answer.contains("\"code\":\"forbidden\""), "{answer}");
    }
    assert_eq!(ask(&server, Method::GET, "/api/rooms/x").await.0, 404);
}

#[tokio::test]
async fn allowed_origins_may_act() {
    let server =
        Server::with(|config| config.allow_origins = vec!["https://rooms.example".into()]).await;
    let request = client().post(server.url("/api/rooms/lobby"));
    let request = request.header("origin", "https://rooms.example");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn off_loopback_only_an_admin_may_list_stop_and_listen() {
    let admin_paths = [
        (Method::GET, "/api/rooms"),
        (Method::GET, "/api/events"),
        (Method::DELETE, "/api/rooms/x"),
    ];
    let without = Server::on("0.0.0.0:0", |_| {}).await;
    let with = Server::on("0.0.0.0:0", |config| config.admin_token = Some("secret".into())).await;
    for (method, path) in admin_paths {
        for server in [&without, &with] {
            let (status, problem) = ask(server, method.clone(), path).await;
            assert_eq!((status, &problem["code"]), (401, &json!("unauthorized")), "{path}");
        }
        for (token, status) in [("secret", false), ("Secret", true), ("secre", true), ("", true)] {
            let request = client().request(method.clone(), with.url(path)).bearer_auth(token);
            let got = request.send().await.unwrap().status();
            assert_eq!(got == StatusCode::UNAUTHORIZED, status, "{path} with {token:?}");
        }
    }
    // What users do needs no token.
    assert_eq!(ask(&with, Method::POST, "/api/rooms/x").await.0, 200);
    assert_eq!(ask(&with, Method::GET, "/api/rooms/x").await.0, 200);
}

#[tokio::test]
async fn events_tell_of_starts_and_stops_with_reasons() {
    let server = Server::start().await;
    let mut events = client().get(server.url("/api/events")).send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    ask(&server, Method::POST, "/api/rooms/lobby").await;
    client().delete(server.url("/api/rooms/lobby")).send().await.unwrap();
    let mut text = String::new();
    let reading = async {
        while !text.contains("event: stopped") || !text.ends_with("\n\n") {
            text += std::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap();
        }
    };
    tokio::time::timeout(server::SOON, reading).await.unwrap();
    let said = |name: &str| {
        let data = text.split(&format!("event: {name}\ndata: ")).nth(1).unwrap();
        serde_json::from_str::<Value>(data.lines().next().unwrap()).unwrap()
    };
    let started = said("started");
    assert_eq!((&started["kind"], &started["key"]), (&json!("room"), &json!("lobby")));
    assert_eq!(said("stopped")["reason"], "shutdown");
    assert_eq!(said("stopped")["incarnation"], started["incarnation"]);
    // An open stream does not hold up the end.
    assert!(server.drained().await.is_clean());
}

#[tokio::test]
async fn health_says_what_it_looked_at() {
    let server = Server::start().await;
    let text = async |path: &str| {
        let response = client().get(server.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(text("/livez").await, (200, "ok".into()));
    assert_eq!(text("/readyz").await, (200, "ok".into()));
    let (status, verbose) = text("/readyz?verbose").await;
    assert_eq!((status, verbose.contains("[+]draining ok")), (200, true), "{verbose}");
}

#[tokio::test]
async fn one_node_shows_itself_and_its_one_shard() {
    let server = Server::with(|config| config.node = "n7".into()).await;
    let (_, nodes) = ask(&server, Method::GET, "/api/nodes").await;
    assert_eq!((&nodes[0]["node"], &nodes[0]["state"]), (&json!("n7"), &json!("serving")));
    let (_, shards) = ask(&server, Method::GET, "/api/shards").await;
    assert_eq!((&shards[0]["node"], &shards[0]["epoch"]), (&json!("n7"), &json!(0)));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_in_our_words() {
    let server = Server::start().await;
    let (status, problem) = ask(&server, Method::GET, "/nowhere").await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
    let (status, problem) = ask(&server, Method::PUT, "/api/rooms/lobby").await;
    assert_eq!((status, &problem["code"]), (405, &json!("bad_request")));
    let (status, problem) = ask(&server, Method::GET, "/socket/websocket?vsn=2.0.0&user=a").await;
    assert_eq!((status, &problem["code"]), (426, &json!("bad_request")));
}

#[tokio::test]
async fn half_a_request_and_garbage_hold_up_nobody() {
    let server = Server::start().await;
    let mut half = TcpStream::connect(server.http).await.unwrap();
    half.write_all(b"POST /api/rooms/lobby HTTP/1.1\r\nhost: 127").await.unwrap();
    let garbage = raw(&server, "\x16\x03\x01\x02\x00 nonsense\r\n\r\n").await;
    assert!(garbage.is_empty() || garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    assert_eq!(ask(&server, Method::POST, "/api/rooms/lobby").await.0, 200);
    assert!(server.drained().await.is_clean());
}

#[tokio::test]
async fn metrics_have_help_type_and_units_and_no_keys() {
    let server = Server::start().await;
    ask(&server, Method::POST, "/api/rooms/very-secret-key").await;
    let response = client().get(server.url("/metrics")).send().await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = response.text().await.unwrap();
    assert!(!text.contains("very-secret-key"));
    assert!(text.contains("innkeeper_processes{kind=\"room\"} 1\n"), "{text}");
    assert!(text.contains("innkeeper_starts_total{outcome=\"started\"} 1\n"), "{text}");
    let described = |kind: &str, sample: &str| {
        let name = sample.split(['{', ' ']).next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        [name, base.unwrap_or(name)].iter().any(|name| text.contains(&format!("# {kind} {name} ")))
    };
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(described("HELP", sample) && described("TYPE", sample), "{sample}");
        let value = sample.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{sample}");
    }
    for counter in text.lines().filter_map(|line| line.strip_suffix(" counter")) {
        assert!(counter.ends_with("_total"), "{counter}");
    }
}

#[tokio::test]
async fn a_draining_server_says_so() {
    let mut server = Server::start().await;
    let url = server.url("/readyz?verbose");
    // A connection that is open already; new ones are not taken any more.
    let client = client();
    client.get(server.url("/livez")).send().await.unwrap().text().await.unwrap();
    server.begin_drain();
    // It may be closed before it can say anything, which says it too.
    if let Ok(answer) = client.get(url).send().await {
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status == StatusCode::OK || text.contains("[-]draining failed"), "{text}");
    }
    assert!(server.drained().await.is_clean());
}
