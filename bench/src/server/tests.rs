//! The crowd against a server of ours in this process.

use innkeeper_server::{Config, Listeners};
use tokio::net::TcpListener;

use super::child::Peer;
use super::crowd::{Crowd, Heard};
use super::shape::Shape;

/// What a crowd heard in a server of ours.
async fn crowd(shape: Shape) -> Heard {
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = http.local_addr().unwrap().to_string();
    let mut config = Config::default();
    (config.starts_per_second, config.starts_per_client) = (0, 0);
    let listeners = Listeners { http, kv: None };
    let server = innkeeper_server::run(listeners, config, std::future::pending(), || {});
    let crowd = async {
        let crowd = Crowd::come_in(Peer::Ours, &address, &shape).await.unwrap();
        crowd.talk().await;
        crowd.leave().await
    };
    tokio::select! {
        heard = crowd => heard,
        _ = server => unreachable!("it is not told to end"),
    }
}

#[tokio::test]
async fn two_hundred_members_hear_each_message_once_and_in_order() {
    let shape = Shape { rooms: 20, members: 10, slow: false, seconds: 2 };
    let heard = crowd(shape).await;
    assert!(heard.is_whole(), "{heard:?}");
    assert_eq!((heard.members, heard.delivered), (200, 400));
    assert_eq!(heard.latencies_us.len(), 400);
}

#[tokio::test]
async fn a_member_that_does_not_read_is_dropped_and_the_others_hear_all() {
    let shape = Shape { rooms: 2, members: 3, slow: true, seconds: 10 };
    let heard = crowd(shape).await;
    assert!(heard.is_whole(), "{heard:?}");
    assert_eq!((heard.members, heard.dropped), (16, 1));
    assert_eq!(heard.delivered, 2 * 3 * 10 + 9 * 2500);
}
