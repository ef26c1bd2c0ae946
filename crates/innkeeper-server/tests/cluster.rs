//! Two servers that are nodes of one cluster: each is asked about all of it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cluster::{DEALT, SHARDS, World, get};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// What a request is answered: the status, and JSON if there is any.
async fn ask(server: &Server, method: Method, path: &str) -> (u16, Value) {
    let client = Client::builder().no_proxy().build().unwrap();
    let response = client.request(method, server.url(path)).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

/// Starts so many rooms by way of one server; each has so many messages as its number says.
async fn open(server: &Server, rooms: usize) -> Vec<String> {
    let keys: Vec<_> = (0..rooms).map(|n| format!("r{n:02}")).collect();
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(ask(server, Method::POST, &format!("/api/rooms/{key}")).await.0, 200);
        let url = server.url(&format!("/api/rooms/{key}/messages"));
        for _ in 0..n {
            let say = Client::builder().no_proxy().build().unwrap().post(&url);
            let said = say.json(&json!({"user": "ann", "text": "hello"})).send().await.unwrap();
            assert_eq!(said.status(), 200);
        }
    }
    keys
}

/// Every row of a list, page by page.
async fn rows(server: &Server, query: &str) -> Vec<Value> {
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(server, &format!("/api/rooms?limit=3&{query}{after}")).await;
        assert_eq!(page["missing"], Value::Null, "{page}");
        let part = page["rooms"].as_array().unwrap_or_else(|| panic!("{page}"));
        assert!(part.len() <= 3, "{page}");
        rows.extend(part.iter().cloned());
        let Some(next) = page["next"].as_str() else { return rows };
        after = format!("&after={next}");
    }
}

fn keys(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["room"].as_str().unwrap()).collect()
}

/// What does not change while nobody does anything.
fn steady(mut room: Value) -> Value {
    room["uptime_ms"] = Value::Null;
    room
}

/// A key that runs on node `b`.
async fn of_b(a: &Server, keys: &[String]) -> String {
    for key in keys {
        if get(a, &format!("/api/rooms/{key}")).await["node"] == "b" {
            return key.clone();
        }
    }
    panic!("all of {keys:?} run on a");
}

/// C1, C4, NEW-15
#[tokio::test]
async fn rooms_of_all_nodes_are_listed_and_looked_at_from_each() {
    let world = World::default();
    let (a, b) = world.pair().await;
    let all = open(&a, 12).await;
    assert_eq!(ask(&b, Method::POST, "/api/rooms/zebra").await.0, 200);
    let seen = rows(&a, "prefix=r").await;
    assert_eq!(keys(&seen), all);
    for (n, row) in seen.iter().enumerate() {
        assert_eq!(row["messages"], n, "of a room elsewhere too");
        assert!(row["epoch"].as_u64() > Some(0), "{row}");
        let path = format!("/api/rooms/{}", all[n]);
        for server in [&a, &b] {
            assert_eq!(steady(get(server, &path).await), steady(row.clone()));
        }
    }
    let nodes: BTreeSet<_> = seen.iter().map(|row| row["node"].as_str().unwrap()).collect();
    assert_eq!(nodes, BTreeSet::from(["a", "b"]));
    assert_eq!(keys(&rows(&b, "").await).len(), 13);
    let rest = get(&b, "/api/rooms?prefix=r&after=r08").await;
    assert_eq!(keys(rest["rooms"].as_array().unwrap()), ["r09", "r10", "r11"]);
    assert_eq!(rest["next"], Value::Null, "a zebra is no r");
    assert_eq!(keys(&rows(&b, "prefix=zebras").await), [""; 0]);
    assert_eq!(ask(&a, Method::GET, "/api/rooms/nobody").await.0, 404);
}

/// Says hello to a room by a socket of this server, and stays in it.
async fn come_in(server: &Server, user: &str, room: &str) -> impl Sized + use<> {
    let url = format!("ws://{}/socket/websocket?vsn=2.0.0&user={user}", server.http);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let join = json!(["1", "1", format!("room:{room}"), "phx_join", {}]).to_string();
    socket.send(Message::text(join)).await.unwrap();
    let reply = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(reply.contains(r#""status":"ok""#), "{reply}");
    socket
}

#[tokio::test]
async fn who_is_in_a_room_is_told_by_name_with_the_node_they_came_to() {
    let world = World::default();
    let (a, b) = world.pair().await;
    let keys = open(&a, 20).await;
    let room = of_b(&a, &keys).await;
    let _ann = come_in(&a, "ann", &room).await;
    let _bob = (come_in(&a, "bob", &room).await, come_in(&b, "bob", &room).await);
    for server in [&a, &b] {
        let (status, page) = ask(server, Method::GET, &format!("/api/rooms/{room}/members")).await;
        assert_eq!((status, &page["count"]), (200, &json!(2)), "{page}");
        let [ann, bob] = page["members"].as_array().unwrap().as_slice() else { panic!("{page}") };
        assert_eq!((&ann["user"], &ann["nodes"]), (&json!("ann"), &json!(["a"])));
        assert_eq!((&bob["connections"], &bob["nodes"]), (&json!(2), &json!(["a", "b"])));
        assert!(ann["since"].as_str().unwrap().starts_with("20"), "{page}");
    }
    let (status, problem) = ask(&a, Method::GET, "/api/rooms/nobody-asked/members").await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
}

#[tokio::test]
async fn what_only_one_node_can_look_for_is_asked_of_it() {
    let world = World::default();
    let (a, b) = world.pair().await;
    let all = open(&a, 12).await;
    for beyond in ["contains=1", "state=live", "sort=messages"] {
        let (status, problem) = ask(&a, Method::GET, &format!("/api/rooms?{beyond}")).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_request")), "{beyond}");
        assert!(problem["detail"].as_str().unwrap().contains("here=true"), "{problem}");
    }
    let mut both = Vec::new();
    for (server, name) in [(&a, "a"), (&b, "b")] {
        let rows = rows(server, "here=true&contains=R&state=live").await;
        assert!(rows.iter().all(|row| row["node"] == name), "{rows:?}");
        both.extend(keys(&rows).into_iter().map(str::to_owned));
    }
    both.sort();
    assert_eq!(both, all);
}

/// C4: an answer that lacks a part says whose.
#[tokio::test]
async fn whose_rooms_are_missing_is_said() {
    let world = World::default();
    let (a, _b) = world.pair().await;
    let all = open(&a, 12).await;
    let there = of_b(&a, &all).await;
    let mine = rows(&a, "here=true").await;
    world.wires.silence("a:1", "b:1");
    world.wires.silence("b:1", "a:1");
    let path = format!("/api/rooms/{there}");
    let (page, (status, problem), nodes, overview) = tokio::join!(
        get(&a, "/api/rooms"),
        ask(&a, Method::GET, &path),
        get(&a, "/api/nodes"),
        get(&a, "/api/overview"),
    );
    let missing = json!(["node \"b\": no answer by the deadline"]);
    assert_eq!(page["missing"], missing);
    assert_eq!(keys(page["rooms"].as_array().unwrap()), keys(&mine));
    assert_eq!((status, &problem["code"]), (503, &json!("not_delivered")), "{problem}");
    assert_eq!(problem["ran"], "no");
    assert_eq!((&nodes[0]["rooms"], &nodes[1]["rooms"]), (&json!(mine.len()), &Value::Null));
    assert_eq!(overview["everywhere"]["missing"], missing);
    assert_eq!(overview["everywhere"]["rooms"], mine.len());
}

/// C1
#[tokio::test]
async fn a_room_elsewhere_is_restarted_and_stopped() {
    let world = World::default();
    let (a, b) = world.pair().await;
    let key = of_b(&a, &open(&a, 12).await).await;
    let path = format!("/api/rooms/{key}");
    let before = get(&a, &path).await;
    let restart = ask(&a, Method::POST, &format!("{path}/restart")).await;
    assert_eq!(restart.0, 204, "{}", restart.1);
    // Asking waits for the next one.
    assert_eq!(ask(&a, Method::POST, &path).await.1["outcome"], "existing");
    let after = get(&a, &path).await;
    let exit = json!([{"incarnation": before["incarnation"], "reason": "killed"}]);
    assert_eq!((&after["exits"], &after["restarts"]), (&exit, &json!(1)));
    assert_ne!(after["incarnation"], before["incarnation"]);
    assert_eq!(ask(&a, Method::DELETE, &path).await.0, 204);
    for server in [&a, &b] {
        assert_eq!(ask(server, Method::GET, &path).await.0, 404);
    }
    let nobody = ask(&a, Method::POST, &format!("{path}/restart")).await;
    assert_eq!((nobody.0, &nobody.1["code"]), (404, &json!("not_found")));
}

#[tokio::test]
async fn nodes_shards_and_counts_are_of_the_whole_cluster() {
    let world = World::default();
    let (a, b) = world.pair().await;
    open(&a, 12).await;
    for (server, name, other) in [(&a, "a", "b"), (&b, "b", "a")] {
        let nodes = get(server, "/api/nodes").await;
        let of = |name: &str| {
            let nodes = nodes.as_array().unwrap();
            nodes.iter().find(|node| node["node"] == name).unwrap().clone()
        };
        let (this, that) = (of(name), of(other));
        assert_eq!((&this["here"], &that["here"]), (&json!(true), &json!(false)));
        for node in [&this, &that] {
            assert_eq!((&node["state"], &node["weight"]), (&json!("serving"), &json!(1)));
        }
        assert_eq!((&of("a")["shards"], &of("b")["shards"]), (&json!(DEALT.0), &json!(DEALT.1)));
        assert_eq!(this["rooms"].as_u64().unwrap() + that["rooms"].as_u64().unwrap(), 12);
        assert!(this["session_left_ms"].as_u64() > Some(0), "{this}");
        assert_eq!((&that["session_left_ms"], &that["uptime_ms"]), (&Value::Null, &Value::Null));
        let overview = get(server, "/api/overview").await;
        assert_eq!(overview["everywhere"], json!({"cluster": "test", "nodes": 2, "rooms": 12}));
        assert_eq!(overview["now"]["rooms"], this["rooms"], "its own alone");
        let shards = get(server, "/api/shards").await;
        let shards = shards.as_array().unwrap();
        assert_eq!(shards.len(), usize::from(SHARDS));
        assert!(shards.iter().all(|shard| shard["epoch"].as_u64() > Some(0)), "{shards:?}");
    }
}

/// Reads events until one is of this name and about this key; answers its data.
async fn told(events: &mut reqwest::Response, name: &str, key: &str) -> Value {
    let mut text = String::new();
    let reading = async {
        loop {
            text += std::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap();
            let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
            for part in whole.split("\n\n") {
                let data = part.strip_prefix(&format!("event: {name}\ndata: "));
                let data = data.and_then(|data| serde_json::from_str::<Value>(data).ok());
                if let Some(data) = data.filter(|data| data["key"] == key) {
                    return data;
                }
            }
        }
    };
    tokio::time::timeout(server::SOON, reading).await.unwrap()
}

/// C1
#[tokio::test]
async fn events_of_all_nodes_come_from_each_and_so_do_those_of_the_cluster() {
    let world = World::default();
    let (a, b) = world.pair().await;
    let mut events = get_events(&a).await;
    let all = open(&a, 12).await;
    let key = of_b(&a, &all).await;
    let started = told(&mut events, "started", &key).await;
    assert_eq!((&started["node"], &started["kind"]), (&json!("b"), &json!("room")));
    let shards = get(&a, "/api/shards").await;
    let theirs = shards.as_array().unwrap().iter().find(|shard| shard["node"] == "b").unwrap();
    let theirs = theirs["shard"].to_string();
    let mut events = get_events(&a).await;
    assert!(b.drained().await.is_clean());
    let moved = told(&mut events, "moved", &theirs).await;
    let expected = json!({
        "event": "moved", "kind": "shard", "key": theirs, "node": "a", "reason": "from b",
    });
    assert_eq!(moved, expected);
    let left = told(&mut events, "left", "b").await;
    assert_eq!(left, json!({"event": "left", "kind": "node", "key": "b", "node": "b"}));
}

/// C7
#[tokio::test]
async fn that_a_node_died_is_told_and_where_its_shards_went() {
    let world = World::default();
    let (a, b) = world.pair().await;
    let (mut events, mut others) = (get_events(&a).await, get_events(&a).await);
    let shards = get(&a, "/api/shards").await;
    let theirs = shards.as_array().unwrap().iter().find(|shard| shard["node"] == "b").unwrap();
    let theirs = theirs["shard"].to_string();
    b.dies();
    let (evicted, moved) =
        tokio::join!(told(&mut events, "evicted", "b"), told(&mut others, "moved", &theirs),);
    assert_eq!(evicted, json!({"event": "evicted", "kind": "node", "key": "b", "node": "b"}));
    assert_eq!((&moved["node"], &moved["reason"]), (&json!("a"), &json!("from b")));
}

/// C9: it is told, once it is so and once it is over.
#[tokio::test]
async fn that_a_node_cannot_prove_its_session_is_told_and_that_it_can_again() {
    let world = World::default();
    let (a, _b) = world.pair().await;
    let mut events = get_events(&a).await;
    world.is_away.store(true, Relaxed);
    let frozen = told(&mut events, "frozen", "a").await;
    assert_eq!(frozen, json!({"event": "frozen", "kind": "node", "key": "a", "node": "a"}));
    world.is_away.store(false, Relaxed);
    let thawed = told(&mut events, "thawed", "a").await;
    assert_eq!(thawed, json!({"event": "thawed", "kind": "node", "key": "a", "node": "a"}));
}

async fn get_events(server: &Server) -> reqwest::Response {
    let client = Client::builder().no_proxy().build().unwrap();
    client.get(server.url("/api/events")).send().await.unwrap()
}

/// Somebody who has just been let into a room by a server.
async fn enter(server: &Server, key: &str, user: &str) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(server.http).await.unwrap();
    let url = format!("ws://{}/socket/websocket?vsn=2.0.0&user={user}", server.http);
    let (mut socket, _) = client_async(url, stream).await.unwrap();
    let join = json!(["1", "1", format!("room:{key}"), "phx_join", {}]);
    socket.send(Message::text(join.to_string())).await.unwrap();
    let reply = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(reply.contains(r#""status":"ok""#), "{reply}");
    socket
}

/// P16: who closes a socket without a word leaves nothing behind, neither where the socket was nor
/// where the room is.
#[tokio::test]
async fn members_of_a_room_elsewhere_who_are_gone_leave_nothing_behind() {
    const CHURN: usize = 30;
    let world = World::default();
    let (a, b) = world.pair().await;
    let key = of_b(&a, &open(&a, 12).await).await;
    let path = format!("/api/rooms/{key}");
    let _stays = enter(&a, &key, "ann").await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..CHURN {
        drop(enter(&a, &key, "bob").await);
    }
    let gone = async {
        // Of requests and links some come and go.
        while get(&b, &path).await["members"] != 1 || tasks() > before + CHURN / 3 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(server::SOON, gone).await.is_err() {
        panic!("{before} tasks before, {} now: {}", tasks(), get(&b, &path).await);
    }
}

/// C7: nobody has to wait for the end of a session that ended in order.
#[tokio::test]
async fn nodes_that_have_ended_in_order_have_no_session_whether_others_take_their_rooms_or_not() {
    let world = World::default();
    let (a, b) = world.pair().await;
    open(&a, 12).await;
    assert_eq!(world.sessions().await.len(), 2);
    assert!(b.drained().await.is_clean());
    assert_eq!(world.sessions().await.len(), 1);
    assert!(a.drained().await.is_clean());
    assert_eq!(world.sessions().await.len(), 0);
}

/// What is answered to one line of the key-value protocol.
async fn line(server: &Server, line: &str) -> String {
    let mut stream = TcpStream::connect(server.kv).await.unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(server::SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

/// What is answered about whether a server is up, and whether it takes work.
async fn health(server: &Server) -> (u16, u16) {
    let probe = async |path| ask(server, Method::GET, path).await.0;
    let both = async { (probe("/livez").await, probe("/readyz").await) };
    timeout(server::SOON, both).await.unwrap()
}

/// C8: whoever asks a node that is no part of its cluster is answered, before it has joined and
/// after its session is lost.
#[tokio::test]
async fn a_node_that_has_no_session_answers_that_it_lives_and_is_not_ready() {
    let world = World::default();
    world.is_mute.send_replace(true);
    let a = world.node("a").await;
    for round in 0..2 {
        let is_out = async {
            while health(&a).await != (200, 503) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(server::SOON, is_out).await.unwrap();
        let (status, problem) = ask(&a, Method::POST, "/api/rooms/lobby").await;
        assert_eq!((status, &problem["code"]), (503, &json!("not_owner")), "{problem}");
        assert_eq!(problem["ran"], "no");
        let refused = reqwest::get(a.url("/dashboard")).await.unwrap();
        assert_eq!(refused.status(), 503);
        let header = |name: &str| refused.headers()[name].to_str().unwrap();
        assert!(header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(
            (header("x-content-type-options"), header("cache-control")),
            ("nosniff", "no-store")
        );
        assert_eq!(line(&a, "CREATE shopping").await, "ERROR not_owner\r\n");
        assert_eq!(a.was_ready(), round > 0, "it is said once it serves");
        world.is_mute.send_replace(false);
        let is_in = async {
            while health(&a).await != (200, 200) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(server::SOON, is_in).await.unwrap();
        assert_eq!(ask(&a, Method::POST, "/api/rooms/lobby").await.0, 200);
        assert_eq!(line(&a, "CREATE shopping").await, "OK\r\n");
        world.is_mute.send_replace(true);
        world.end_sessions().await;
    }
}

/// KV-08: whichever node it is on, one of the two has to ask the other.
#[tokio::test]
async fn a_bucket_of_another_node_is_found() {
    let world = World::default();
    let (a, b) = world.pair().await;
    for n in 0..8 {
        assert_eq!(line(&a, &format!("CREATE b{n}")).await, "OK\r\n");
        assert_eq!(line(&b, &format!("PUT b{n} eggs {n}")).await, "OK\r\n");
        assert_eq!(line(&a, &format!("GET b{n} eggs")).await, format!("{n}\r\nOK\r\n"));
    }
    assert_eq!(line(&b, "GET nobody eggs").await, "NOT FOUND\r\n");
}

/// C2, NEW-17: nodes that boot at once, and are asked before any of them knows the others.
#[tokio::test]
async fn nodes_that_boot_at_once_have_one_room_for_each_key() {
    let world = World::default();
    let nodes = tokio::join!(world.node("a"), world.node("b"), world.node("c"));
    let post = async |server: &Server, key: &str| {
        let url = server.url(&format!("/api/rooms/{key}/messages"));
        loop {
            let say = Client::builder().no_proxy().build().unwrap().post(&url);
            let said = say.json(&json!({"user": "ann", "text": "hello"})).send().await.unwrap();
            let (status, answer) = (said.status(), said.json::<Value>().await.unwrap());
            if status == 200 {
                return answer["seq"].as_u64().unwrap();
            }
            assert_eq!(answer["ran"], "no", "{answer}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    for key in ["r0", "r1", "r2", "r3", "r4", "r5"] {
        let all =
            async { tokio::join!(post(&nodes.0, key), post(&nodes.1, key), post(&nodes.2, key)) };
        let (a, b, c) = timeout(server::SOON, all).await.unwrap();
        assert_eq!(BTreeSet::from([a, b, c]), BTreeSet::from([1, 2, 3]), "{key}");
    }
}
