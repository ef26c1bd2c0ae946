//! Who gets in, how much of the server one of them can have, and what a browser is told.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/server.rs"]
mod server;

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use innkeeper_server::{Authority, Denied, Jwt, Permit, Tls};
use jsonwebtoken::{EncodingKey, Header, encode};
use reqwest::Client;
use serde_json::{Value, json};
use server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{client_async, connect_async};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn token(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

async fn signed() -> Server {
    let jwt = Jwt::from_key(SECRET).unwrap();
    Server::with(|config| config.authority = Some(Arc::new(jwt))).await
}

async fn post(server: &Server, room: &str, body: Value) -> (u16, Value) {
    let client = Client::builder().no_proxy().build().unwrap();
    let url = server.url(&format!("/api/rooms/{room}/messages"));
    let response = client.post(url).json(&body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn socket_url(server: &Server, user: &str, token: &str) -> String {
    let port = server.http.port();
    format!("ws://127.0.0.1:{port}/socket/websocket?vsn=2.0.0&user={user}&token={token}")
}

/// Joins a room, and answers the reply's payload.
async fn join(server: &Server, token: &str, room: &str) -> Value {
    let (mut socket, _) = connect_async(socket_url(server, "ann", token)).await.unwrap();
    let frame = json!(["1", "1", format!("room:{room}"), "phx_join", {}]).to_string();
    socket.send(Message::text(frame)).await.unwrap();
    let reply = socket.next().await.unwrap().unwrap().into_text().unwrap();
    serde_json::from_str::<Value>(&reply).unwrap()[4].take()
}

#[tokio::test]
async fn where_names_are_signed_nobody_speaks_under_anothers() {
    let server = signed().await;
    let ann = token(&json!({"sub": "ann", "rooms": ["team-*"]}));
    let say = |user: &str, token: &str| json!({"user": user, "text": "hi", "token": token});
    assert_eq!(post(&server, "team-1", say("ann", &ann)).await.0, 200);
    for (room, body, status, code) in [
        ("team-1", json!({"user": "ann", "text": "hi"}), 401, "unauthorized"),
        ("team-1", say("bob", &ann), 401, "unauthorized"),
        ("team-1", say("ann", "x.y.z"), 401, "unauthorized"),
        ("other", say("ann", &ann), 403, "forbidden"),
    ] {
        let (got, problem) = post(&server, room, body).await;
        assert_eq!((got, &problem["code"], &problem["ran"]), (status, &json!(code), &json!("no")));
        assert!(!problem.to_string().contains(&ann), "{problem}");
    }
}

#[tokio::test]
async fn where_names_are_signed_a_socket_joins_what_its_token_is_for() {
    let server = signed().await;
    let ann = token(&json!({"sub": "ann", "rooms": ["team-*"]}));
    assert_eq!(join(&server, &ann, "team-1").await["status"], "ok");
    let refused = join(&server, &ann, "other").await;
    assert_eq!(
        (&refused["status"], &refused["response"]["code"]),
        (&json!("error"), &json!("forbidden"))
    );
    for (user, token) in [("ann", ""), ("bob", ann.as_str()), ("ann", "x.y.z")] {
        let refused = connect_async(socket_url(&server, user, token)).await.unwrap_err();
        let Error::Http(response) = refused else { panic!("{refused}") };
        assert_eq!(response.status(), 401, "{user}");
    }
}

/// An embedder's own idea of who somebody is.
#[derive(Debug)]
struct Friends;

impl Authority for Friends {
    fn admit(&self, user: &str, _: Option<&str>) -> Result<Permit, Denied> {
        match user {
            "ann" => Ok(Permit { rooms: Some(vec!["garden".to_owned()]), until: None }),
            _ => Err(Denied("you are no friend".to_owned())),
        }
    }
}

#[tokio::test]
async fn an_embedder_decides_who_somebody_is() {
    let server = Server::with(|config| config.authority = Some(Arc::new(Friends))).await;
    let say = |user: &str| json!({"user": user, "text": "hi"});
    assert_eq!(post(&server, "garden", say("ann")).await.0, 200);
    assert_eq!(post(&server, "cellar", say("ann")).await.0, 403);
    let (status, problem) = post(&server, "garden", say("eve")).await;
    assert_eq!((status, &problem["detail"]), (401, &json!("you are no friend")));
}

#[tokio::test]
async fn no_setting_shows_a_secret() {
    let mut config = innkeeper_server::Config::default();
    config.admin_token = Some("hunter2".into());
    config.authority = Some(Arc::new(Jwt::from_key(SECRET).unwrap()));
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("0123456789"), "{shown}");
}

/// Sends bytes as they are, and reads until the server closes.
async fn raw(stream: &mut TcpStream, request: &[u8]) -> String {
    let mut answer = Vec::new();
    let _ = stream.write_all(request).await;
    let _ = timeout(server::SOON, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let server = Server::with(|config| config.connections_per_client = 2).await;
    let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(TcpStream::connect(("127.0.0.1", server.http.port())).await.unwrap());
    }
    let mut third = TcpStream::connect(("127.0.0.1", server.http.port())).await.unwrap();
    assert_eq!(raw(&mut third, request).await, "");
    // One of them ends, and another has its place.
    assert!(raw(&mut held[0], request).await.starts_with("HTTP/1.1 200"));
    loop {
        let mut next = TcpStream::connect(("127.0.0.1", server.http.port())).await.unwrap();
        // The end of the one before may not have been seen yet.
        if raw(&mut next, request).await.starts_with("HTTP/1.1 200") {
            break;
        }
    }
}

#[tokio::test]
async fn a_socket_counts_as_a_connection_for_as_long_as_it_is_open() {
    let server = Server::with(|config| config.connections_per_client = 1).await;
    let url = format!("ws://{}/socket/websocket?user=ann", server.http);
    let (mut socket, _) = connect_async(&url).await.unwrap();
    assert!(connect_async(&url).await.is_err(), "a second one came in");
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    // The end of the one before may not have been seen yet.
    while connect_async(&url).await.is_err() {}
}

#[tokio::test]
async fn headers_and_bodies_have_their_bounds() {
    let server = Server::start().await;
    let connect = || TcpStream::connect(("127.0.0.1", server.http.port()));
    let mut many = b"GET / HTTP/1.1\r\nhost: localhost\r\n".to_vec();
    (0..100).for_each(|n| many.extend(format!("x-{n}: 1\r\n").into_bytes()));
    many.extend(b"\r\n");
    let answer = raw(&mut connect().await.unwrap(), &many).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let long = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(70_000));
    let answer = raw(&mut connect().await.unwrap(), long.as_bytes()).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    // A body that is announced and does not come holds nothing for long.
    let slow = "POST /api/rooms/a/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\
                connection: close\r\n\r\n{\"user\"";
    let answer = raw(&mut connect().await.unwrap(), slow.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("bad_request"), "{answer}");
}

#[tokio::test]
async fn every_answer_tells_a_browser_what_it_may() {
    let server = Server::start().await;
    for path in ["/", "/dashboard", "/api/nodes", "/metrics", "/nowhere", "/assets/rooms.js"] {
        let answer = reqwest::get(server.url(path)).await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap();
        assert!(header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{path}");
        let kept = if path.starts_with("/assets") { "no-cache" } else { "no-store" };
        assert_eq!(header("cache-control"), kept, "{path}");
        assert!(!answer.headers().contains_key("strict-transport-security"));
    }
}

#[tokio::test]
async fn over_tls_it_is_the_same_server_and_nothing_is_said_in_the_clear() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    assert!(Tls::from_pem(b"", key.as_bytes()).unwrap_err().contains("no certificate"));
    assert!(Tls::from_pem(chain.as_bytes(), b"").unwrap_err().contains("no private key"));
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = other.signing_key.serialize_pem();
    assert!(Tls::from_pem(chain.as_bytes(), other.as_bytes()).is_err());

    let server = Server::with(|config| config.tls = Some(tls)).await;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let client = client.with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", server.http.port())).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect(name.clone(), stream).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age"), "{answer}");

    let mut clear = TcpStream::connect(("127.0.0.1", server.http.port())).await.unwrap();
    assert!(!raw(&mut clear, request).await.contains("HTTP"));

    // A socket too, with answers longer than one record.
    let stream = TcpStream::connect(("127.0.0.1", server.http.port())).await.unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    let url = "ws://localhost/socket/websocket?user=ann";
    let (mut socket, _) = client_async(url, stream).await.unwrap();
    let join = json!(["1", "1", "room:a", "phx_join", {}]).to_string();
    socket.send(Message::text(join)).await.unwrap();
    for n in 0..100 {
        let text = "x".repeat(4000);
        let say = json!(["1", n.to_string(), "room:a", "say", { "text": text }]).to_string();
        socket.send(Message::text(say)).await.unwrap();
    }
    let mut said = 0;
    while said < 100 {
        let text = timeout(server::SOON, socket.next()).await.unwrap().unwrap().unwrap();
        said += usize::from(text.to_text().unwrap().contains(r#""said""#));
    }
}
