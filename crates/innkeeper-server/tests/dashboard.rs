//! What the dashboard asks: the overview, the list in every order, and who may.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/server.rs"]
mod server;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use server::Server;

fn request(server: &Server, method: Method, path: &str) -> RequestBuilder {
    Client::builder().no_proxy().build().unwrap().request(method, server.url(path))
}

async fn get(server: &Server, path: &str) -> Value {
    request(server, Method::GET, path).send().await.unwrap().json().await.unwrap()
}

async fn start(server: &Server, key: &str, messages: usize) {
    let path = format!("/api/rooms/{key}");
    assert_eq!(request(server, Method::POST, &path).send().await.unwrap().status(), 200);
    for _ in 0..messages {
        let say = request(server, Method::POST, &format!("{path}/messages"));
        let said = say.json(&json!({"user": "ann", "text": "hello"})).send().await.unwrap();
        assert_eq!(said.status(), 200);
    }
}

/// Every key of a list, page by page.
async fn keys(server: &Server, query: &str) -> Vec<String> {
    let (mut keys, mut at) = (Vec::new(), String::new());
    loop {
        let page = get(server, &format!("/api/rooms?limit=3&{query}{at}")).await;
        let rooms = page["rooms"].as_array().unwrap_or_else(|| panic!("{page}"));
        assert!(rooms.len() <= 3, "{page}");
        keys.extend(rooms.iter().map(|room| room["room"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { return keys };
        at = format!("&after={next}");
        if let Some(value) = page["next_value"].as_u64() {
            at += &format!("&after_value={value}");
        }
    }
}

#[tokio::test]
async fn the_list_is_ordered_searched_and_paged_here() {
    let server = Server::start().await;
    let messages = [("Ann", 2), ("ben", 5), ("cat", 2), ("dan", 0), ("eve", 5), ("fay", 1)];
    for (key, said) in messages {
        start(&server, key, said).await;
    }
    assert_eq!(keys(&server, "sort=key").await, ["Ann", "ben", "cat", "dan", "eve", "fay"]);
    let by_messages = ["ben", "eve", "Ann", "cat", "fay", "dan"];
    assert_eq!(keys(&server, "sort=messages").await, by_messages);
    assert_eq!(keys(&server, "contains=AN").await, ["Ann", "dan"]);
    assert_eq!(keys(&server, "contains=an&sort=messages").await, ["Ann", "dan"]);
    assert_eq!(keys(&server, "state=live&prefix=c").await, ["cat"]);
    assert_eq!(keys(&server, "state=parked").await, Vec::<String>::new());
    let by_age = ["Ann", "ben", "cat", "dan", "eve", "fay"];
    assert_eq!(keys(&server, "sort=oldest").await, by_age);
    let newest: Vec<_> = by_age.into_iter().rev().collect();
    assert_eq!(keys(&server, "sort=newest").await, newest);
    for bad in ["sort=size", "after_value=x"] {
        assert_eq!(get(&server, &format!("/api/rooms?{bad}")).await["code"], "bad_request");
    }
}

#[tokio::test]
async fn a_restarted_room_shows_how_it_ended_and_is_another_incarnation() {
    let server = Server::start().await;
    start(&server, "inn", 2).await;
    let before = get(&server, "/api/rooms/inn").await;
    assert_eq!(before["exits"], Value::Null);
    let restart = request(&server, Method::POST, "/api/rooms/inn/restart").send().await.unwrap();
    assert_eq!(restart.status(), 204);
    // Asking waits for the next one.
    start(&server, "inn", 0).await;
    let after = get(&server, "/api/rooms/inn").await;
    assert_ne!(after["incarnation"], before["incarnation"]);
    assert_eq!((&after["restarts"], &after["messages"]), (&json!(1), &json!(0)));
    let exit = json!([{"incarnation": before["incarnation"], "reason": "killed"}]);
    assert_eq!(after["exits"], exit);
    let nobody = request(&server, Method::POST, "/api/rooms/nobody/restart").send().await.unwrap();
    assert_eq!(nobody.status(), 404);
}

#[tokio::test]
async fn the_overview_counts_and_says_what_is_wrong() {
    let server = Server::with(|config| config.max_rooms = 3).await;
    let calm = get(&server, "/api/overview").await;
    assert_eq!((&calm["lints"], &calm["allow_actions"]), (&json!([]), &json!(false)));
    for key in ["a", "b", "c"] {
        start(&server, key, 1).await;
    }
    let full = get(&server, "/api/overview").await;
    assert_eq!((&full["now"]["rooms"], &full["total"]["starts"]), (&json!(3), &json!(3)));
    assert_eq!(full["total"]["calls_ok"], 3);
    assert_eq!(full["state"], "serving");
    let text = "100 % of the rooms that --max-rooms allows are taken.";
    assert_eq!(
        (&full["lints"][0]["text"], &full["lints"][0]["level"]),
        (&json!(text), &json!("bad"))
    );
    assert!(full["uptime_ms"].as_u64() >= calm["uptime_ms"].as_u64());
}

#[tokio::test]
async fn the_tree_shows_who_supervises_whom() {
    let server = Server::start().await;
    start(&server, "inn", 0).await;
    let tree = get(&server, "/api/tree").await;
    assert_eq!((&tree["id"], &tree["kind"]), (&json!("innkeeper"), &json!("supervisor")));
    let of = |child: usize, name: &str| tree["children"][child][name].clone();
    assert_eq!(
        (of(0, "id"), of(0, "count"), of(0, "state")),
        (json!("rooms"), json!(1), json!("live"))
    );
    assert_eq!(
        (of(1, "id"), of(1, "count"), of(1, "kind")),
        (json!("buckets"), json!(0), json!("keyed"))
    );
}

const BOOKS: [(Method, &str); 7] = [
    (Method::GET, "/api/rooms/inn/members"),
    (Method::GET, "/api/overview"),
    (Method::GET, "/api/rooms?sort=messages"),
    (Method::GET, "/api/events"),
    (Method::GET, "/api/tree"),
    (Method::GET, "/dashboard"),
    (Method::POST, "/api/rooms/inn/restart"),
];

#[tokio::test]
async fn nobody_reads_the_books_without_the_token() {
    let server = Server::with(|config| config.admin_token = Some("brass".into())).await;
    start(&server, "inn", 0).await;
    for (method, path) in BOOKS {
        for token in [None, Some("iron"), Some("")] {
            let asked = request(&server, method.clone(), path);
            let asked = token.into_iter().fold(asked, RequestBuilder::bearer_auth);
            assert_eq!(asked.send().await.unwrap().status(), 401, "{path} {token:?}");
        }
        let with = request(&server, method, path).bearer_auth("brass").send().await.unwrap();
        assert!(with.status().is_success(), "{path}: {}", with.status());
    }
    // A browser is shown where to put it, and nothing else.
    let page = request(&server, Method::GET, "/dashboard").header("accept", "text/html,*/*");
    let page = page.send().await.unwrap();
    assert_eq!(page.status(), 401);
    assert!(page.text().await.unwrap().contains("Admin token"));
}

#[tokio::test]
async fn a_page_that_calls_this_server_by_another_name_reads_nothing() {
    let server = Server::start().await;
    start(&server, "inn", 0).await;
    for (method, path) in BOOKS {
        let asked = request(&server, method.clone(), path).header("host", "evil.example");
        assert_eq!(asked.send().await.unwrap().status(), 403, "{path}");
        let foreign = request(&server, method, path).header("origin", "http://evil.example");
        assert_eq!(foreign.send().await.unwrap().status(), 403, "{path}");
    }
}
