//! The key-value protocol, by lines over real sockets: the grammar of the guide, byte for byte.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)] // Tests.

#[path = "support/server.rs"]
mod server;

use server::{SOON, Server};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.kv).await.unwrap();
        Client { stream: BufReader::new(stream) }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    /// The next line, with its end.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(SOON, self.stream.read_line(&mut line)).await.expect("no answer").unwrap();
        line
    }

    /// Sends a line and reads as many lines as are expected.
    async fn ask(&mut self, line: &str, expected: &[&str]) {
        self.send(format!("{line}\r\n").as_bytes()).await;
        for expected in expected {
            assert_eq!(self.line().await, format!("{expected}\r\n"), "after {line:?}");
        }
    }

    async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        timeout(SOON, self.stream.read_to_end(&mut rest)).await.expect("still open").is_ok()
            && rest.is_empty()
    }
}

/// KV-01, KV-02
#[tokio::test]
async fn what_was_put_can_be_read_until_it_is_deleted() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.ask("CREATE shopping", &["OK"]).await;
    client.ask("CREATE shopping", &["OK"]).await;
    client.ask("PUT shopping eggs 3", &["OK"]).await;
    client.ask("GET shopping eggs", &["3", "OK"]).await;
    client.ask("DELETE shopping eggs", &["OK"]).await;
    client.ask("GET shopping eggs", &["", "OK"]).await;
    client.ask("DELETE shopping eggs", &["OK"]).await;
    assert!(server.drained().await.is_clean());
}

/// KV-03, KV-04
#[tokio::test]
async fn unknown_commands_and_buckets_leave_the_connection_usable() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    for line in ["HELLO", "", "   ", "create a", "CREATE", "CREATE a b", "GET a", "PUT a b"] {
        client.ask(line, &["UNKNOWN COMMAND"]).await;
    }
    for line in ["PUT a b c", "GET a b", "DELETE a b", "SUBSCRIBE a", "COUNT SUBSCRIPTIONS a"] {
        client.ask(line, &["NOT FOUND"]).await;
    }
    client.ask("  CREATE \t a  ", &["OK"]).await;
    client.ask("PUT  a   b  c ", &["OK"]).await;
    client.ask("GET a b", &["c", "OK"]).await;
}

#[tokio::test]
async fn lines_may_end_in_lf_and_come_in_pieces_or_many_at_once() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    for piece in ["CRE", "ATE a", "\n"] {
        client.send(piece.as_bytes()).await;
    }
    assert_eq!(client.line().await, "OK\r\n");
    client.send(b"PUT a k 1\nGET a k\r\nGET a k\n").await;
    for expected in ["OK\r\n", "1\r\n", "OK\r\n", "1\r\n", "OK\r\n"] {
        assert_eq!(client.line().await, expected);
    }
}

/// KV-05
#[tokio::test]
async fn a_subscriber_hears_of_the_changes_of_others() {
    let server = Server::start().await;
    let (mut subscriber, mut other) =
        (Client::connect(&server).await, Client::connect(&server).await);
    other.ask("CREATE shopping", &["OK"]).await;
    subscriber.send(b"SUBSCRIBE shopping\r\n").await;
    subscribers(&mut other, "shopping", 1).await;
    other.ask("PUT shopping milk 3", &["OK"]).await;
    other.ask("GET shopping milk", &["3", "OK"]).await;
    other.ask("DELETE shopping milk", &["OK"]).await;
    other.ask("DELETE shopping milk", &["OK"]).await;
    // What a subscriber says from now on is thrown away.
    subscriber.send(b"GET shopping milk\r\n").await;
    for expected in ["milk SET TO 3\r\n", "milk DELETED\r\n", "milk DELETED\r\n"] {
        assert_eq!(subscriber.line().await, expected);
    }
}

/// Waits until a bucket counts so many subscriptions.
async fn subscribers(client: &mut Client, bucket: &str, expected: usize) {
    for _ in 0..10_000 {
        client.send(format!("COUNT SUBSCRIPTIONS {bucket}\r\n").as_bytes()).await;
        let count: usize = client.line().await.trim().parse().unwrap();
        assert_eq!(client.line().await, "OK\r\n");
        if count == expected {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never {expected} subscriptions");
}

/// KV-06
#[tokio::test]
async fn a_subscription_ends_with_its_connection() {
    let server = Server::start().await;
    let (mut subscriber, mut other) =
        (Client::connect(&server).await, Client::connect(&server).await);
    other.ask("CREATE shopping", &["OK"]).await;
    subscriber.send(b"SUBSCRIBE shopping\n").await;
    subscribers(&mut other, "shopping", 1).await;
    drop(subscriber);
    subscribers(&mut other, "shopping", 0).await;
}

#[tokio::test]
async fn buckets_and_rooms_have_key_spaces_of_their_own() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.ask("CREATE lobby", &["OK"]).await;
    let room = reqwest::get(server.url("/api/rooms/lobby")).await.unwrap();
    assert_eq!(room.status(), 404);
}

#[tokio::test]
async fn a_line_over_64_kib_is_refused_and_closes_only_its_connection() {
    let server = Server::start().await;
    let (mut client, mut other) = (Client::connect(&server).await, Client::connect(&server).await);
    other.ask("CREATE a", &["OK"]).await;
    let longest = format!("PUT a k {}", "v".repeat(64 * 1024 - 8));
    other.ask(&longest[..64 * 1024 - 1], &["OK"]).await;
    // Ten megabytes without an end: written by a task of its own, as nobody reads them all.
    let (read, mut write) = client.stream.into_inner().into_split();
    let writing = tokio::spawn(async move {
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..10 {
            if write.write_all(&chunk).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    let mut answer = String::new();
    let mut read = BufReader::new(read);
    timeout(SOON, read.read_to_string(&mut answer)).await.expect("no answer").unwrap();
    assert_eq!(answer, "ERROR line_too_long\r\n");
    writing.await.unwrap();
    other.ask("GET a none", &["", "OK"]).await;
    client = Client::connect(&server).await;
    client.ask("GET a none", &["", "OK"]).await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused_and_the_connection_stays() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.send(b"CREATE \xff\xfe\r\n").await;
    assert_eq!(client.line().await, "ERROR bad_request\r\n");
    client.ask("CREATE a\u{7f}b", &["ERROR bad_key"]).await;
    client.ask(&format!("CREATE {}", "k".repeat(256)), &["ERROR bad_key"]).await;
    client.ask("CREATE é", &["OK"]).await;
    client.ask("PUT é ключ 値", &["OK"]).await;
    client.ask("GET é ключ", &["値", "OK"]).await;
}

#[tokio::test]
async fn a_half_closed_connection_gets_all_its_answers_and_no_half_command_runs() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.send(b"CREATE a\nPUT a k 1\nGET a k\nPUT a k 2").await;
    client.stream.get_mut().shutdown().await.unwrap();
    let mut answers = String::new();
    timeout(SOON, client.stream.read_to_string(&mut answers)).await.unwrap().unwrap();
    assert_eq!(answers, "OK\r\nOK\r\n1\r\nOK\r\n");
    Client::connect(&server).await.ask("GET a k", &["1", "OK"]).await;
}

#[tokio::test]
async fn starts_over_the_rate_and_the_limit_are_refused_by_code() {
    let server = Server::with(|config| {
        config.starts_per_client = 2;
        config.max_rooms = 1;
    })
    .await;
    let mut client = Client::connect(&server).await;
    client.ask("CREATE a", &["OK"]).await;
    client.ask("CREATE b", &["ERROR max_rooms"]).await;
    client.ask("CREATE a", &["OK"]).await;
    let server = Server::with(|config| config.starts_per_client = 2).await;
    let mut client = Client::connect(&server).await;
    client.ask("CREATE a", &["OK"]).await;
    client.ask("CREATE b", &["OK"]).await;
    client.ask("CREATE c", &["ERROR rate_limited"]).await;
    client.ask("CREATE a", &["OK"]).await;
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_dropped_and_nobody_waits_for_it() {
    let server = Server::start().await;
    let (mut slow, mut other) = (Client::connect(&server).await, Client::connect(&server).await);
    other.ask("CREATE a", &["OK"]).await;
    slow.send(b"SUBSCRIBE a\n").await;
    subscribers(&mut other, "a", 1).await;
    // More than the sockets' buffers and the queue hold together.
    let value = "v".repeat(32 * 1024);
    let mut puts = 0;
    loop {
        other.ask(&format!("PUT a k {value}"), &["OK"]).await;
        puts += 1;
        other.send(b"COUNT SUBSCRIPTIONS a\n").await;
        let count = other.line().await;
        other.line().await;
        if count == "0\r\n" {
            break;
        }
        assert!(puts < 10_000, "never dropped");
    }
    let mut all = String::new();
    timeout(SOON, slow.stream.read_to_string(&mut all)).await.expect("still open").unwrap();
    assert!(all.ends_with("ERROR slow_consumer\r\n"));
    let lines = all.lines().count() - 1;
    assert!(lines < puts && all.lines().take(lines).all(|line| line.starts_with("k SET TO v")));
}

#[tokio::test]
async fn a_drain_closes_idle_connections_and_subscribers() {
    let server = Server::start().await;
    let (mut idle, mut subscriber) =
        (Client::connect(&server).await, Client::connect(&server).await);
    idle.ask("CREATE a", &["OK"]).await;
    subscriber.send(b"SUBSCRIBE a\n").await;
    subscribers(&mut idle, "a", 1).await;
    assert!(server.drained().await.is_clean());
    assert!(idle.is_closed().await);
    assert!(subscriber.is_closed().await);
}
