//! A drain in the midst of talk: nothing that was answered ok is missing from what anybody heard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::support::{Client, End, Frame, Server, within};

const LOBBY: &str = "room:lobby";
const MEMBERS: usize = 10;

/// Keeps the talk at the pace of the slowest member, so that none is dropped as too slow.
struct Pace {
    places: Semaphore,
    heard_by: Mutex<BTreeMap<u64, usize>>,
    heard_by_all: watch::Sender<u64>,
}

impl Pace {
    fn new() -> Arc<Pace> {
        let (heard_by_all, _) = watch::channel(0);
        // Fewer than a member may be behind.
        Arc::new(Pace { places: Semaphore::new(200), heard_by: Mutex::default(), heard_by_all })
    }

    /// Whether one more line may be said.
    fn may_go(&self) -> bool {
        self.places.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_ok()
    }

    fn heard(&self, seq: u64) {
        let mut heard_by = self.heard_by.lock().unwrap();
        let count = heard_by.entry(seq).or_default();
        *count += 1;
        if *count == MEMBERS {
            heard_by.remove(&seq);
            self.places.add_permits(1);
            self.heard_by_all.send_replace(seq);
        }
    }
}

/// What one member knows: which of its pushes were answered how, and what it heard.
struct Witness {
    ok: Vec<u64>,
    refused: Vec<Value>,
    heard: Vec<u64>,
    end: End,
}

/// Talks until the socket ends, a few pushes ahead of the answers.
async fn talk_until_the_end(mut client: Client, join: String, pace: Arc<Pace>) -> Witness {
    let mut witness = Witness { ok: vec![], refused: vec![], heard: vec![], end: End::Cut };
    let mut open = 0;
    loop {
        while open < 8 && pace.may_go() {
            let push = json!([join, "p", LOBBY, "say", { "text": "on and on" }]);
            // Once the server has said goodbye nothing can be sent any more; what it said before
            // can still be read.
            if !client.try_send(push.to_string().into()).await {
                break;
            }
            open += 1;
        }
        match client.next().await {
            Ok(frame) if frame.is("said") => {
                pace.heard(frame.seq());
                witness.heard.push(frame.seq());
            }
            Ok(frame) if frame.is("phx_reply") => {
                open -= 1;
                note_reply(&mut witness, &frame);
            }
            Ok(frame) => assert!(frame.event.starts_with("presence"), "{frame:?}"),
            Err(end) => {
                witness.end = end;
                return witness;
            }
        }
    }
}

fn note_reply(witness: &mut Witness, reply: &Frame) {
    if reply.payload["status"] == "ok" {
        witness.ok.push(reply.ok()["seq"].as_u64().unwrap());
    } else {
        witness.refused.push(reply.payload["response"].clone());
    }
}

/// Drains a server on which all members talk; how many of their pushes were refused.
async fn drain_in_the_midst_of_talk() -> usize {
    let server = Server::start().await;
    let pace = Pace::new();
    let mut members = Vec::new();
    for n in 0..MEMBERS {
        let mut client = Client::connect(&server, &format!("user-{n}")).await;
        let (join, _) = client.join(LOBBY).await;
        members.push((client, join));
    }
    let mut talkers = JoinSet::new();
    for (client, join) in members {
        talkers.spawn(talk_until_the_end(client, join, pace.clone()));
    }
    let mut heard_by_all = pace.heard_by_all.subscribe();
    within(heard_by_all.wait_for(|seq| *seq > 300)).await.unwrap();
    let drained = server.drain();
    let witnesses = within(talkers.join_all()).await;
    assert!(drained.await.is_clean());
    check(&witnesses);
    witnesses.iter().map(|witness| witness.refused.len()).sum()
}

fn check(witnesses: &[Witness]) {
    let last = witnesses[0].heard.len() as u64;
    for witness in witnesses {
        assert_eq!(witness.end, End::Close(1012, "service restart".to_owned()));
        // Gapless, and the same for everybody to the end.
        assert_eq!(witness.heard, (1..=last).collect::<Vec<_>>());
        for refusal in &witness.refused {
            assert_eq!((&refusal["code"], &refusal["ran"]), (&json!("draining"), &json!("no")));
        }
    }
    let mut answered: Vec<_> = witnesses.iter().flat_map(|witness| &witness.ok).collect();
    answered.sort();
    // Every line was answered, to one of them.
    assert_eq!(answered, (1..=last).collect::<Vec<_>>().iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_tells_every_member_all_that_was_answered_ok_before_it_closes_with_1012() {
    // A push has to come between the first moment of a drain and the last: mostly one does.
    for _ in 0..20 {
        if drain_in_the_midst_of_talk().await > 0 {
            return;
        }
    }
    panic!("no push was ever refused as draining");
}
