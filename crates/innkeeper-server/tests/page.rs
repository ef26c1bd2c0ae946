//! The rooms page over HTTP: everything comes from the binary, and nothing in it is inline.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use innkeeper_server::{Config, Listeners};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server that ends when dropped.
struct Server {
    address: SocketAddr,
    _run: JoinSet<()>,
}

async fn serve() -> Server {
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = http.local_addr().unwrap();
    let mut config = Config::default();
    config.max_message_bytes = 777;
    let mut run = JoinSet::new();
    run.spawn(async move {
        let listeners = Listeners { http, kv: None };
        innkeeper_server::run(listeners, config, std::future::pending(), || {}).await.unwrap();
    });
    Server { address, _run: run }
}

struct Answer {
    status: u16,
    kind: String,
    policy: String,
    text: String,
}

async fn get(server: &Server, path: &str) -> Answer {
    let answer = reqwest::get(format!("http://{}{path}", server.address)).await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let (kind, policy) = (header("content-type"), header("content-security-policy"));
    assert_eq!(header("x-content-type-options"), "nosniff");
    let status = answer.status().as_u16();
    Answer { status, kind, policy, text: answer.text().await.unwrap() }
}

/// What stands between two marks, wherever it does.
fn between<'a>(text: &'a str, before: &str, after: char) -> BTreeSet<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
}

#[tokio::test]
async fn each_page_allows_only_its_own_files_and_has_nothing_inline() {
    let server = serve().await;
    for path in ["/", "/dashboard"] {
        let page = get(&server, path).await;
        assert_eq!((page.status, page.kind.as_str()), (200, "text/html; charset=utf-8"));
        assert!(page.policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
        assert!(page.policy.contains("frame-ancestors 'none'"), "{}", page.policy);
        assert!(!page.policy.contains("unsafe"), "{}", page.policy);
        for inline in ["<style", " style=", " onclick=", " onload=", "javascript:", "://"] {
            assert!(!page.text.contains(inline), "{path}: {inline}");
        }
        let scripts = page.text.matches("<script").count();
        assert_eq!(scripts, page.text.matches("<script type=\"module\" src=\"/assets/").count());
    }
}

#[tokio::test]
async fn the_page_knows_the_longest_message_of_its_server() {
    let page = get(&serve().await, "/").await;
    assert!(page.text.contains("data-max-message-bytes=\"777\""));
    assert!(!page.text.contains('{'), "a place was not filled in");
}

#[tokio::test]
async fn every_file_that_the_page_names_is_there_and_none_makes_html_of_text() {
    let server = serve().await;
    let mut to_see: Vec<String> = Vec::new();
    for path in ["/", "/dashboard"] {
        let page = get(&server, path).await;
        to_see.extend(between(&page.text, "\"/assets/", '"').into_iter().map(str::to_owned));
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = to_see.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let asset = get(&server, &format!("/assets/{name}")).await;
        let kind = match name.rsplit('.').next().unwrap() {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("what is {other}?"),
        };
        assert_eq!((asset.status, asset.kind.as_str()), (200, kind), "{name}");
        for dangerous in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("] {
            assert!(!asset.text.contains(dangerous), "{name}: {dangerous}");
        }
        to_see.extend(between(&asset.text, "from \"./", '"').into_iter().map(str::to_owned));
    }
    // The rooms page and the dashboard, all they are made of, and nothing besides.
    assert_eq!(seen.len(), 19, "{seen:?}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_found_in_our_words() {
    let answer = get(&serve().await, "/assets/secret.js").await;
    assert_eq!((answer.status, answer.kind.as_str()), (404, "application/problem+json"));
    assert!(answer.text.contains("\"not_found\"") && answer.text.contains("secret.js"));
}
