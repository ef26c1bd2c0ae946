//! Code of users that panics where their keys and messages are written down, read and copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use innkeeper::{
    Away, CallError, ChildSpec, Context, Keyed, Message, NotDelivered, Process, ReplyTo, StartError,
};
use innkeeper_cluster::Remote;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::Notify;

use crate::nodes::{Node, SECOND, World, until};

/// Panics where it is written down.
#[derive(Debug)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("told to panic where it is written down");
    }
}

impl<'de> Deserialize<'de> for Unwritable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Unwritable)
    }
}

/// Panics where it is read.
#[derive(Debug)]
struct Unreadable;

impl Serialize for Unreadable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("told to panic where it is read");
    }
}

/// Panics where it is copied, while it is told to.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Brittle(String);

static IS_BRITTLE: AtomicBool = AtomicBool::new(false);
static IS_BROKEN: AtomicBool = AtomicBool::new(false);

impl Clone for Brittle {
    fn clone(&self) -> Self {
        if IS_BRITTLE.load(Ordering::SeqCst) {
            IS_BROKEN.store(true, Ordering::SeqCst);
            panic!("told to panic where it is copied");
        }
        Brittle(self.0.clone())
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum Say {
    Count,
    /// Says that it is there, then waits for the gate.
    Hold,
    Unwritable(Unwritable),
    Unreadable(Unreadable),
}

impl Message for Say {
    type Reply = u64;
}

/// What the processes of a test share.
#[derive(Clone, Default)]
struct Gate {
    reached: Arc<Notify>,
    opened: Arc<Notify>,
}

struct Counter {
    gate: Gate,
    count: u64,
}

impl Remote for Counter {
    const NAME: &'static str = "counter";
}

impl Process for Counter {
    type Args = Gate;
    type Message = Say;

    async fn init(gate: &Gate, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let handed = ctx.handed().map(|handed| postcard::from_bytes(&handed).unwrap());
        Ok(Counter { gate: gate.clone(), count: handed.unwrap_or_default() })
    }

    async fn handle(&mut self, said: Say, reply: ReplyTo<Say>, _: &mut Context<Self>) {
        if let Say::Hold = said {
            self.gate.reached.notify_one();
            self.gate.opened.notified().await;
        }
        self.count += 1;
        reply.send(self.count);
    }

    async fn on_handoff(&mut self, _: &mut Context<Self>) -> Option<Vec<u8>> {
        Some(postcard::to_allocvec(&self.count).unwrap())
    }
}

async fn counters<K>(node: &Node, gate: &Gate) -> Keyed<K, Counter>
where
    K: innkeeper::Key + Ord + Serialize + for<'de> Deserialize<'de>,
{
    let gate = gate.clone();
    let counters = Keyed::<K, Counter>::with_args(ChildSpec::new(), move |_| gate.clone());
    counters.placed_by(&node.cluster).start(&node.supervisor).await.unwrap()
}

/// C8, P4: it costs the message, and neither the shard nor the keys that go with it.
#[tokio::test(start_paused = true)]
async fn a_shard_moves_though_a_message_that_waits_cannot_be_written_down() {
    let (world, gate) = (World::new(), Gate::default());
    let [a, b] = world.nodes::<2>().await;
    let (on_a, on_b) = (counters::<String>(&a, &gate).await, counters::<String>(&b, &gate).await);
    let key = a.key();
    on_a.via(&key).cast(Say::Hold).await.unwrap();
    gate.reached.notified().await;
    on_a.via(&key).cast(Say::Unwritable(Unwritable)).await.unwrap();
    on_a.via(&key).cast(Say::Count).await.unwrap();
    a.cluster.node().give(a.shard(&key), b.cluster.node().session().node).await;
    until(|| !a.has(&key)).await;
    gate.opened.notify_one();
    until(|| b.has(&key)).await;
    assert_eq!(on_b.via(&key).call(Say::Count).await.unwrap(), 3);
}

/// C8
#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_ends_no_other_call_between_its_nodes() {
    let (world, gate) = (World::new(), Gate::default());
    let [a, b] = world.nodes::<2>().await;
    let (_on_a, on_b) = (counters::<String>(&a, &gate).await, counters::<String>(&b, &gate).await);
    let mut keys = a.keys();
    let (holds, other) = (keys.next().unwrap(), keys.next().unwrap());
    let (via, bad) = (on_b.via(&holds), on_b.via(&other));
    let meanwhile = async {
        gate.reached.notified().await;
        let read = bad.call(Say::Unreadable(Unreadable)).timeout(SECOND).await;
        let Err(CallError::NotDelivered { why, .. }) = read else { panic!("{read:?}") };
        assert_eq!(why, NotDelivered::Away(Away::Incompatible));
        gate.opened.notify_one();
    };
    let (held, ()) = tokio::join!(via.call(Say::Hold), meanwhile);
    assert_eq!(held.unwrap(), 1);
}

/// C8: nobody knows what of it still runs, so it stays.
#[tokio::test(start_paused = true)]
async fn a_shard_whose_keys_cannot_be_copied_stays_and_is_served() {
    let (world, gate) = (World::new(), Gate::default());
    let [a, b] = world.nodes::<2>().await;
    let (on_a, _on_b) =
        (counters::<Brittle>(&a, &gate).await, counters::<Brittle>(&b, &gate).await);
    let key = Brittle(a.key());
    assert_eq!(on_a.via(&key).call(Say::Count).await.unwrap(), 1);
    let via = on_a.via(&key);
    IS_BRITTLE.store(true, Ordering::SeqCst);
    a.cluster.node().give(a.shard(&key.0), b.cluster.node().session().node).await;
    until(|| IS_BROKEN.load(Ordering::SeqCst) && a.has(&key.0)).await;
    IS_BRITTLE.store(false, Ordering::SeqCst);
    assert_eq!(via.call(Say::Count).timeout(SECOND).await.unwrap(), 1, "it began anew");
}
