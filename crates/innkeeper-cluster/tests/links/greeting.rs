//! Who is taken, who is not, and what both are told.

use std::sync::Arc;

use innkeeper_cluster::frame::{self, Frame, Hello, LENGTH_BYTES, MAGIC, Refusal};
use innkeeper_cluster::limits;
use innkeeper_cluster::links::{Failed, LinkSettings, NotExecuted};
use innkeeper_cluster::net::memory::Memory;
use innkeeper_cluster::ownership::record::Versions;

use crate::fake::{Raw, hello};
use crate::nodes::{Node, SECOND, World, call, nobody};
use crate::two;

/// Two nodes of which the second was made in another way.
fn apart(change: impl Fn(&mut LinkSettings)) -> (World, Node, Node) {
    let (world, memory) = (World::new(), Memory::new());
    let a = world.node(Arc::new(memory.port("a")), 1, "a");
    let mut settings = world.settings(2);
    change(&mut settings);
    let session = world.enter(2, "b");
    let b = world.node_with(Arc::new(memory.port("b")), session, &settings);
    (world, a, b)
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_version_is_refused_and_both_versions_are_named() {
    let (_world, a, b) = apart(|settings| {
        settings.versions = Versions { oldest: 3, newest: 4 };
    });
    let refused = a.links.request(b.session, nobody(), call("?"), 60 * SECOND).await.unwrap_err();
    let refusal = Refusal::Versions { here: (3, 4), there: (1, 2) };
    assert_eq!(refused, Failed::NotExecuted(NotExecuted::Refused(refusal)));
    assert_eq!(
        refused.to_string(),
        "not delivered: the other node refused: no common protocol version: it speaks 3 to 4, this \
         node 1 to 2; upgrade the older one"
    );
    assert!(b.links.request(a.session, nobody(), call("?"), 60 * SECOND).await.is_err());
}

/// A13
#[tokio::test(start_paused = true)]
async fn nodes_of_neighbouring_versions_speak_the_highest_that_both_know() {
    for (oldest, newest) in [(1, 1), (2, 2), (2, 3), (1, 9)] {
        let (_world, a, b) = apart(|settings| settings.versions = Versions { oldest, newest });
        a.links.request(b.session, nobody(), call("?"), SECOND).await.unwrap();
        b.links.request(a.session, nobody(), call("?"), SECOND).await.unwrap();
    }
}

/// A13: what a later release adds to a frame is skipped.
#[tokio::test(start_paused = true)]
async fn a_frame_with_something_behind_its_end_is_taken() {
    let (world, memory, a, _b) = two();
    let me = world.enter(3, "fake");
    let mut raw = Raw::connect(&memory, "a").await;
    raw.begin(me, &a, u64::MAX).await;
    let mut bytes = Vec::new();
    let message = crate::nodes::message("with more");
    frame::encode(&Frame::Cast { under: None, message }, &mut bytes).unwrap();
    bytes.extend([1, 2, 3]);
    let length = u32::try_from(bytes.len() - LENGTH_BYTES).unwrap();
    bytes[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    raw.say_bytes(&bytes).await;
    a.heard.until(|heard| heard.bodies() == ["with more"]).await;
}

/// A12: a connection that says to speak less than its record, so that nobody asks it to sign.
#[tokio::test(start_paused = true)]
async fn whoever_says_to_speak_less_than_their_record_is_refused() {
    let (_world, memory, a, b) = two();
    let mut raw = Raw::connect(&memory, "a").await;
    raw.say_bytes(&MAGIC).await;
    raw.say(&Frame::Hello(hello(b.session, &a))).await;
    let refusal = Refusal::Start { name: "node-2".to_owned() };
    assert_eq!(raw.hear().await, Frame::Refused(refusal));
    assert_eq!(raw.try_hear().await, None);
}

/// A12
#[tokio::test(start_paused = true)]
async fn whoever_does_not_sign_where_it_has_to_is_left() {
    let (_world, memory, a, b) = two();
    let mut raw = Raw::connect(&memory, "a").await;
    raw.say_bytes(&MAGIC).await;
    raw.say(&Frame::Hello(Hello { versions: (1, 2), ..hello(b.session, &a) })).await;
    raw.say(&Frame::Cast { under: None, message: crate::nodes::message("unsigned") }).await;
    assert_eq!(raw.try_hear().await, None);
    assert!(a.heard.casts.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_cluster_is_refused_at_once_and_by_name() {
    let (_world, a, b) = apart(|settings| settings.cluster = "other".to_owned());
    let refused = a.links.request(b.session, nobody(), call("?"), 60 * SECOND).await.unwrap_err();
    let text = "not delivered: the other node refused: it is of the cluster `other`, this node of \
                `test`";
    assert_eq!(refused.to_string(), text);
}

#[tokio::test(start_paused = true)]
async fn another_node_at_the_address_is_not_the_one_that_was_meant() {
    let (world, memory, a, b) = two();
    // Started anew: another session at the same address.
    let before = world.enter(7, "b");
    let refused = a.links.request(before, nobody(), call("?"), SECOND).await.unwrap_err();
    let text = "not delivered: no connection: refused: another node is at that address";
    assert_eq!(refused.to_string(), text);
    assert!(b.heard.calls.lock().is_empty());
    drop(memory);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_that_of_the_session_is_refused() {
    let (world, memory, a, _b) = two();
    let me = world.enter(3, "fake");
    let mut raw = Raw::connect(&memory, "a").await;
    let mut hello = hello(me, &a);
    hello.name = "node-2".to_owned();
    raw.say_bytes(&MAGIC).await;
    raw.say(&Frame::Hello(hello)).await;
    let refusal = Refusal::Name { name: "node-2".to_owned() };
    assert_eq!(raw.hear().await, Frame::Refused(refusal));
    assert_eq!(raw.try_hear().await, None);
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_greet_as_links_do_is_left_and_harms_nobody() {
    let (world, memory, a, b) = two();
    let me = world.enter(3, "fake");
    let mut too_long = MAGIC.to_vec();
    too_long.extend((limits::HELLO_BYTES_MAX as u32 + 1).to_le_bytes());
    let mut garbled = MAGIC.to_vec();
    garbled.extend([4, 0, 0, 0, 250, 250, 250, 250]);
    let mut early = MAGIC.to_vec();
    innkeeper_cluster::frame::encode(&Frame::Ask { nonce: 1 }, &mut early).unwrap();
    let http = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    for bytes in [http, too_long, garbled, early, MAGIC[..3].to_vec(), Vec::new()] {
        let mut raw = Raw::connect(&memory, "a").await;
        raw.say_bytes(&bytes).await;
        let closed = tokio::time::timeout(limits::CONNECT_WAIT + SECOND, raw.try_hear());
        assert_eq!(closed.await.expect("it is kept waiting"), None);
    }
    // Nor does one who greets well and then sends what is none.
    for bytes in [vec![255; 64], vec![1, 0, 0, 0, 99], vec![0, 0, 0, 0]] {
        let mut raw = Raw::connect(&memory, "a").await;
        raw.begin(me, &a, u64::MAX).await;
        raw.say_bytes(&bytes).await;
        assert_eq!(raw.try_hear().await, None);
    }
    b.links.request(a.session, nobody(), call("!"), SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_of_a_session_takes_the_place_of_the_first() {
    let (world, memory, a, _b) = two();
    let me = world.enter(3, "fake");
    let mut first = Raw::connect(&memory, "a").await;
    first.begin(me, &a, u64::MAX).await;
    let mut second = Raw::connect(&memory, "a").await;
    second.begin(me, &a, u64::MAX).await;
    assert_eq!(first.try_hear().await, None);
    let message = crate::nodes::message("from the second");
    second.say(&Frame::Cast { under: None, message }).await;
    a.heard.until(|heard| heard.bodies() == ["from the second"]).await;
}
