//! The way in: what a handshake has to say, and from where it may come.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{Client, Server, within};

/// Shakes hands by bytes; the status and the JSON of a refusal.
async fn knock(server: &Server, query: &str, host: &str, headers: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /socket/websocket{query} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade, close\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = within(stream.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn local(server: &Server) -> String {
    server.address.to_string()
}

#[tokio::test]
async fn a_handshake_without_a_user_a_bad_name_or_an_old_version_is_refused_in_words() {
    let server = Server::start().await;
    let long = format!("?user={}", "x".repeat(65));
    for (query, words) in [
        ("", "expected user=NAME"),
        ("?vsn=2.0.0", "expected user=NAME"),
        ("?user=", "1 to 64 bytes"),
        (long.as_str(), "1 to 64 bytes"),
        ("?user=a%0Ab", "control characters"),
        ("?vsn=1.0.0&user=ann", "expected vsn=2.0.0"),
    ] {
        let (status, problem) = knock(&server, query, &local(&server), "").await;
        assert_eq!((status, &problem["code"]), (400, &"bad_request".into()), "{query}");
        assert_eq!(problem["ran"], "no");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{query}: {detail}");
    }
}

#[tokio::test]
async fn a_handshake_with_a_user_is_let_in_also_without_a_version() {
    let server = Server::start().await;
    for query in ["?user=ann", "?vsn=2.0.0&user=%F0%9F%A6%80", "?user=ann&vsn=2.0.0&more=1"] {
        assert_eq!(knock(&server, query, &local(&server), "").await.0, 101, "{query}");
    }
}

#[tokio::test]
async fn the_subprotocol_of_phoenix_is_taken_where_it_is_offered() {
    let server = Server::start().await;
    let url = format!("ws://{}/socket/websocket?user=ann", server.address);
    let mut request = url.into_client_request().unwrap();
    let offer = "phoenix, base64url.bearer.phx.YWJj";
    request.headers_mut().insert("sec-websocket-protocol", offer.parse().unwrap());
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (_, answer) = within(client_async(request, stream)).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "phoenix");
}

#[tokio::test]
async fn a_page_of_another_origin_is_kept_out() {
    let server = Server::start().await;
    let own = format!("Origin: http://{}\r\n", server.address);
    assert_eq!(knock(&server, "?user=ann", &local(&server), &own).await.0, 101);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost"] {
        let header = format!("Origin: {origin}\r\n");
        let (status, problem) = knock(&server, "?user=ann", &local(&server), &header).await;
        assert_eq!((status, &problem["code"]), (403, &"forbidden".into()), "{origin}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("--allow-origin"), "{detail}");
    }
}

#[tokio::test]
async fn a_foreign_name_for_this_server_is_kept_out() {
    let server = Server::start().await;
    for host in ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io"] {
        let header = format!("Origin: http://{host}\r\n");
        let (status, problem) = knock(&server, "?user=ann", host, &header).await;
        assert_eq!((status, &problem["code"]), (403, &"forbidden".into()), "{host}");
    }
    let localhost = format!("localhost:{}", server.address.port());
    assert_eq!(knock(&server, "?user=ann", &localhost, "").await.0, 101);
}

#[tokio::test]
async fn an_allowed_origin_is_let_in() {
    let allow = |config: &mut innkeeper_server::Config| {
        config.allow_origins = vec!["https://rooms.example".to_owned()];
    };
    let server = Server::with(allow).await;
    let header = "Origin: https://rooms.example\r\n";
    assert_eq!(knock(&server, "?user=ann", "rooms.example", header).await.0, 101);
    assert_eq!(knock(&server, "?user=ann", &local(&server), header).await.0, 101);
    let other = "Origin: http://rooms.example\r\n";
    assert_eq!(knock(&server, "?user=ann", &local(&server), other).await.0, 403);
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_is_told_what_was_expected() {
    let server = Server::start().await;
    let (status, problem) = server.http("GET", "/socket/websocket?user=ann", None).await;
    assert_eq!((status, &problem["code"]), (426, &"bad_request".into()));
}

#[tokio::test]
async fn a_client_is_told_by_its_handshake_why_it_is_refused() {
    let server = Server::start().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let Err(Error::Http(response)) = Client::over(stream, "?vsn=1.0.0&user=ann").await else {
        panic!("it was let in");
    };
    assert_eq!(response.headers()["content-type"], "application/problem+json");
}
