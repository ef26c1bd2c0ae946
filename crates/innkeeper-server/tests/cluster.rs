//! Two servers that are nodes of one cluster: each is asked about all of it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/server.rs"]
mod server;

use std::collections::BTreeSet;

use cluster::{DEALT, SHARDS, World, get};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use server::Server;
use tokio_tungstenite::tungstenite::Message;

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

/// C1, C4
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
    let client = Client::builder().no_proxy().build().unwrap();
    let mut events = client.get(a.url("/api/events")).send().await.unwrap();
    let all = open(&a, 12).await;
    let key = of_b(&a, &all).await;
    let started = told(&mut events, "started", &key).await;
    assert_eq!((&started["node"], &started["kind"]), (&json!("b"), &json!("room")));
    let shards = get(&a, "/api/shards").await;
    let theirs = shards.as_array().unwrap().iter().find(|shard| shard["node"] == "b").unwrap();
    let theirs = theirs["shard"].to_string();
    let mut events = client.get(a.url("/api/events")).send().await.unwrap();
    assert!(b.drained().await.is_clean());
    let moved = told(&mut events, "moved", &theirs).await;
    let expected = json!({
        "event": "moved", "kind": "shard", "key": theirs, "node": "a", "reason": "from b",
    });
    assert_eq!(moved, expected);
}
