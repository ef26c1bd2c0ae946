//! What waits for a link is bounded, in order, put together for few writes, and shared fairly.

use innkeeper_cluster::frame::Frame;
use innkeeper_cluster::limits;
use innkeeper_cluster::links::{Failed, NotExecuted, Origin, Unknown};

use crate::fake::{Fake, Raw};
use crate::nodes::{SECOND, SESSION, call, message, nobody};
use crate::two;

fn from(sender: u64) -> Origin {
    Origin { sender, under: None }
}

#[tokio::test(start_paused = true)]
async fn what_one_sender_says_arrives_in_order() {
    let (_world, memory, a, b) = two();
    memory.delay("a", "b", SECOND / 100);
    for number in 0..5_000_u32 {
        let body = number.to_le_bytes().to_vec();
        a.links.send(b.session, from(u64::from(number % 7)), message(body)).unwrap();
        if number % 1_000 == 0 {
            tokio::time::sleep(SECOND / 50).await;
        }
    }
    b.heard.until(|heard| heard.casts.lock().len() == 5_000).await;
    let heard = b.heard.bodies();
    let numbers = heard.iter().map(|body| u32::from_le_bytes(body[..].try_into().unwrap()));
    for sender in 0..7 {
        let of_sender: Vec<_> = numbers.clone().filter(|number| number % 7 == sender).collect();
        assert!(of_sender.is_sorted(), "sender {sender}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_put_together_for_few_writes() {
    let (_world, memory, a, b) = two();
    a.links.request(b.session, nobody(), call("!"), SECOND).await.unwrap();
    let before = memory.writes("a", "b");
    for number in 0..1_000_u64 {
        a.links.send(b.session, from(number), message(vec![0; 64])).unwrap();
    }
    b.heard.until(|heard| heard.casts.lock().len() == 1_000).await;
    let writes = memory.writes("a", "b") - before;
    assert!(writes <= 5, "{writes} writes for 1000 casts of 64 bytes");
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_floods_fills_its_own_lane_and_nobody_else_s() {
    let (_world, memory, a, b) = two();
    memory.silence("a", "b");
    let flood = |sender| {
        let sent = (0..u64::MAX).find_map(|count| {
            let full = a.links.send(b.session, from(sender), message(vec![0; 64])).err();
            full.map(|why| (count, why))
        });
        sent.unwrap()
    };
    let (count, why) = flood(1);
    assert_eq!(why, NotExecuted::Full);
    assert!(count <= limits::LANE_FRAMES_MAX as u64, "{count}");
    a.links.send(b.session, from(2), message("mine")).unwrap();
    memory.heal("a", "b");
    b.heard.until(|heard| heard.bodies().iter().any(|body| body == "mine")).await;
    let at = b.heard.bodies().iter().position(|body| body == "mine").unwrap();
    assert!((at as u64) < count / 10, "{at} of {count} went first");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_reading_costs_a_bounded_amount_and_holds_up_no_other() {
    let (world, memory, a, b) = two();
    let deaf = Fake::listen(&world, &memory, 3, "deaf");
    let pending = a.links.request(deaf.session, from(9), call("?"), 60 * SECOND);
    let test = async {
        let _wire = deaf.greet().await;
        let mut taken = 0;
        let full = loop {
            match a.links.send(deaf.session, from(1), message(vec![0; 10_000])) {
                Ok(()) => taken += 10_000,
                Err(why) => break why,
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(full, NotExecuted::Full);
        // What waits, what is being written, and what the network has.
        assert!(taken <= limits::LANE_BYTES_MAX + (1 << 20), "{taken} bytes");
        a.links.request(b.session, nobody(), call("!"), SECOND).await.unwrap();
        tokio::time::sleep(SESSION + SECOND).await;
    };
    let (result, ()) = tokio::join!(pending, test);
    let why = "nothing could be written for the length of a session".to_owned();
    assert_eq!(result, Err(Failed::Unknown(Unknown::Cut { why })));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_asks_and_does_not_read_its_answers_is_cut_off() {
    let (world, memory, a, b) = two();
    let me = world.enter(3, "fake");
    let mut raw = Raw::connect(&memory, "a").await;
    raw.begin(me, &a, u64::MAX).await;
    let ask = async {
        let mut id = 0;
        loop {
            id += 1;
            let request = call(vec![0; 100_000]);
            let mut bytes = Vec::new();
            let frame = Frame::Request { id, wait_ms: 1_000, under: None, request };
            innkeeper_cluster::frame::encode(&frame, &mut bytes).unwrap();
            if raw.try_say_bytes(&bytes).await.is_err() {
                break id;
            }
        }
    };
    let asked = tokio::time::timeout(60 * SECOND, ask).await.expect("it is served for ever");
    assert!(asked > 1);
    b.links.request(a.session, nobody(), call("!"), SECOND).await.unwrap();
}
