//! The key-value server of the guide, by lines over a socket.

// What a test unwraps is what it asserts.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use innkeeper_examples::kv_guide::{BucketApi, Kv};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(kv: &Kv) -> Client {
        Client(BufReader::new(TcpStream::connect(kv.address).await.unwrap()))
    }

    async fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(60), read).await.expect("no answer").unwrap();
        line
    }

    async fn ask(&mut self, line: &str, expected: &[&str]) {
        self.send(line).await;
        for expected in expected {
            assert_eq!(self.line().await, format!("{expected}\r\n"), "after {line:?}");
        }
    }

    async fn subscriptions(&mut self, bucket: &str, expected: &str) {
        for _ in 0..10_000 {
            self.send(&format!("COUNT SUBSCRIPTIONS {bucket}")).await;
            let count = self.line().await;
            assert_eq!(self.line().await, "OK\r\n");
            if count.trim() == expected {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("never {expected} subscriptions");
    }
}

async fn kv() -> Kv {
    Kv::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

/// KV-01, KV-02, KV-03, KV-04
#[tokio::test(flavor = "multi_thread")]
async fn the_guide_s_session_is_answered_as_in_the_guide() {
    let kv = kv().await;
    let mut client = Client::connect(&kv).await;
    client.ask("GET shopping eggs", &["NOT FOUND"]).await;
    client.ask("CREATE shopping", &["OK"]).await;
    client.ask("CREATE shopping", &["OK"]).await;
    assert_eq!(kv.buckets.count(), 1);
    client.ask("PUT  shopping   eggs 3 ", &["OK"]).await;
    client.ask("GET shopping eggs", &["3", "OK"]).await;
    client.ask("DELETE shopping eggs", &["OK"]).await;
    client.ask("GET shopping eggs", &["", "OK"]).await;
    client.ask("PUT shopping eggs", &["UNKNOWN COMMAND"]).await;
    client.ask("get shopping eggs", &["UNKNOWN COMMAND"]).await;
    assert!(kv.stop().await.is_clean());
}

/// KV-05, KV-06, KV-07: where the guide's subscriptions end without a word, these go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_killed_is_there_again_under_its_name_and_empty() {
    let kv = kv().await;
    let (mut client, mut subscriber) = (Client::connect(&kv).await, Client::connect(&kv).await);
    client.ask("CREATE shopping", &["OK"]).await;
    subscriber.send("SUBSCRIBE shopping").await;
    client.subscriptions("shopping", "1").await;
    client.ask("PUT shopping milk 3", &["OK"]).await;
    let shopping = "shopping".to_owned();
    let bucket = kv.buckets.whereis(&shopping).unwrap();
    bucket.kill();
    bucket.ended().await;
    client.ask("GET shopping milk", &["", "OK"]).await;
    assert_ne!(kv.buckets.get(&shopping).await.unwrap().process().unwrap(), bucket);
    kv.buckets.via(&shopping).put("milk".to_owned(), "4".to_owned()).await.unwrap();
    client.ask("DELETE shopping milk", &["OK"]).await;
    for expected in ["milk SET TO 3\r\n", "milk SET TO 4\r\n", "milk DELETED\r\n"] {
        assert_eq!(subscriber.line().await, expected);
    }
    drop(subscriber);
    client.subscriptions("shopping", "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_connections_and_buckets() {
    let kv = kv().await;
    let (mut client, mut subscriber) = (Client::connect(&kv).await, Client::connect(&kv).await);
    client.ask("CREATE shopping", &["OK"]).await;
    subscriber.send("SUBSCRIBE shopping").await;
    client.subscriptions("shopping", "1").await;
    assert!(kv.stop().await.is_clean());
    assert_eq!((client.line().await.as_str(), subscriber.line().await.as_str()), ("", ""));
    assert_eq!(kv.buckets.count(), 0);
}
