//! What a planned move costs whoever asks meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use innkeeper::limits::HANDOFF_BYTES_MAX;
use innkeeper::{ChildSpec, Context, ExitReason, Keyed, StartError, What};
use innkeeper_cluster::limits::FRAME_BYTES_MAX;
use innkeeper_cluster::ownership::Over;
use tokio::task::{JoinSet, spawn};
use tokio::time::{Instant, sleep};

use super::nodes::{Node, Room, Said, Say, World, until};

/// How long the handlers take that run when the moves begin.
const RUNNING: Duration = Duration::from_millis(200);

/// C6: how long a key may be without an answer beyond that.
const PAUSE: Duration = Duration::from_millis(50);

/// One key in each shard of a node.
fn one_of_each(node: &Node) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for key in node.keys() {
        if keys.iter().all(|other| node.shard(other) != node.shard(&key)) {
            keys.push(key);
        }
    }
    keys
}

/// Asks for a key again and again for so long, and answers how long the longest wait was.
async fn longest_wait(rooms: Keyed<String, Room>, key: String, lasts: Duration) -> Duration {
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    while began.elapsed() < lasts {
        let asked = Instant::now();
        rooms.via(&key).call(Say::Add(1)).await.unwrap();
        longest = longest.max(asked.elapsed());
        sleep(Duration::from_millis(3)).await;
    }
    longest
}

/// C6: all shards of a node move while it is asked from everywhere.
#[tokio::test(start_paused = true)]
async fn whoever_asks_for_a_key_that_moves_waits_for_its_running_handler_and_hardly_longer() {
    let world = World::new();
    let [a, b, c] = world.nodes::<3>().await;
    let keys = one_of_each(&a);
    let mut holding = JoinSet::new();
    for key in &keys {
        let via = a.rooms.via(key);
        holding.spawn(async move { via.call(Say::Hold("gate".to_owned())).await.unwrap() });
        world.house.reached.notified().await;
    }
    a.cluster.node().drain().await;
    until(|| !keys.iter().any(|key| a.has(key))).await;
    // Each key by callers of its own, so that no wait hides another.
    let mut callers = JoinSet::new();
    for key in &keys {
        for node in [&a, &b, &c].repeat(5) {
            callers.spawn(longest_wait(node.rooms.clone(), key.clone(), 2 * RUNNING));
        }
    }
    sleep(RUNNING).await;
    world.house.gate("gate").notify_waiters();
    let waits = callers.join_all().await;
    let longest = *waits.iter().max().unwrap();
    assert!((RUNNING..=RUNNING + PAUSE).contains(&longest), "{waits:?}");
    assert_eq!(holding.join_all().await.len(), keys.len());
    assert_eq!(a.over().await, Over::Left);
}

/// C5: how often other nodes are asked for one answer.
#[tokio::test(start_paused = true)]
async fn a_call_is_one_hop_and_after_a_change_at_most_three() {
    let world = World::new();
    let [a, b, c] = world.nodes::<3>().await;
    let asked = || [&a, &b, &c].iter().map(|node| node.cluster.traffic().asked).sum::<u64>();
    let keys: Vec<_> = a.keys().take(20).collect();
    for (nth, key) in keys.iter().enumerate() {
        let before = asked();
        b.room(key).await;
        assert_eq!(asked(), before + 1, "a start is one hop");
        for sum in 1..=3 {
            let said = b.rooms.via(key).call(Say::Add(1)).await.unwrap();
            assert_eq!((said, asked()), (Said::Number(sum), before + 1 + sum), "{nth}");
        }
    }
    for key in one_of_each(&a) {
        let (holding, asking) = (a.rooms.via(&key), b.rooms.via(&key));
        let holding = spawn(async move { holding.call(Say::Hold("gate".to_owned())).await });
        world.house.reached.notified().await;
        let to = c.cluster.node().session().node;
        a.cluster.node().give(a.shard(&key), to).await;
        until(|| !a.has(&key)).await;
        let on_the_way = asked();
        let told = spawn(async move { asking.call(Say::Epoch).await });
        sleep(RUNNING).await;
        world.house.gate("gate").notify_waiters();
        told.await.unwrap().unwrap();
        holding.await.unwrap().unwrap();
        // Besides, the next owner was asked to take what comes along.
        let hops = asked() - on_the_way - 1;
        assert!(c.has(&key) && hops <= 3, "{hops} hops");
        let settled = asked();
        b.rooms.via(&key).call(Say::Epoch).await.unwrap();
        assert_eq!(asked(), settled + 1, "the map is current again");
    }
}

/// Asks a room something, when it is asked itself.
struct Asker {
    rooms: Keyed<String, Room>,
}

#[innkeeper::process(remote)]
impl Asker {
    async fn init(rooms: &Keyed<String, Room>) -> Result<Self, StartError> {
        Ok(Asker { rooms: rooms.clone() })
    }

    #[call]
    async fn ask(&mut self, key: String) -> bool {
        self.rooms.via(&key).call(Say::Epoch).await.is_ok()
    }
}

/// C3: what is said from within a process is not kept where it was said to, until its sender may
/// have lost its right.
#[tokio::test(start_paused = true)]
async fn what_a_process_asks_of_a_key_that_moves_does_not_wait_there() {
    let world = World::new();
    let [a, _b, c] = world.nodes::<3>().await;
    let rooms = c.rooms.clone();
    let askers = Keyed::<String, Asker>::with_args(ChildSpec::new(), move |_| rooms.clone());
    let askers = askers.placed_by(&c.cluster).start(&c.supervisor).await.unwrap();
    let (asker, key) = (c.key(), a.key());
    let _ = askers.get_or_start(&asker).await.unwrap();
    let holding = a.rooms.via(&key);
    let holding = spawn(async move { holding.call(Say::Hold("gate".to_owned())).await });
    world.house.reached.notified().await;
    a.cluster.node().give(a.shard(&key), c.cluster.node().session().node).await;
    until(|| !a.has(&key)).await;
    let asked = || c.cluster.traffic().asked;
    let before = asked();
    let beside = c.rooms.via(&key);
    let beside = spawn(async move { beside.call(Say::Epoch).await });
    sleep(RUNNING).await;
    assert_eq!(asked(), before + 1, "nobody's question waits where it is decided");
    let within = askers.via(&asker);
    let within = spawn(async move { within.ask(key).await });
    sleep(RUNNING).await;
    assert!(asked() > before + 3, "{} questions", asked() - before);
    world.house.gate("gate").notify_waiters();
    holding.await.unwrap().unwrap();
    beside.await.unwrap().unwrap();
    assert!(within.await.unwrap().unwrap());
}

/// Keeps bytes, and takes them along.
#[derive(Default)]
struct Hoard {
    bytes: Vec<u8>,
    /// Whether the one before could save what it had by itself.
    ended: Arc<AtomicBool>,
}

#[innkeeper::process(remote)]
impl Hoard {
    async fn init(ended: &Arc<AtomicBool>, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        Ok(Hoard { bytes: ctx.handed().unwrap_or_default(), ended: ended.clone() })
    }

    /// So many bytes, each different from those near it. Answers with what they add up to.
    #[call]
    fn fill(&mut self, count: usize) -> u64 {
        self.bytes = (0..count).map(|at| (at * 31 % 251) as u8).collect();
        self.sum().1
    }

    /// How many there are, and what they add up to: in another order it is something else.
    #[call]
    fn sum(&mut self) -> (usize, u64) {
        let add = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        (self.bytes.len(), self.bytes.iter().fold(0, add))
    }

    async fn on_handoff(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.bytes))
    }

    async fn terminate(&mut self, _: &ExitReason) {
        self.ended.store(true, Relaxed);
    }
}

/// C6: up to its bound, whatever fits into a frame.
#[tokio::test(start_paused = true)]
async fn a_state_is_handed_over_in_parts_and_one_beyond_the_bound_is_not() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let ended = Arc::new(AtomicBool::new(false));
    let mut scopes = Vec::new();
    for node in [&a, &b] {
        let ended = ended.clone();
        let hoards = Keyed::<String, Hoard>::with_args(ChildSpec::new(), move |_| ended.clone());
        let hoards = hoards.name("hoards").placed_by(&node.cluster);
        scopes.push(hoards.start(&node.supervisor).await.unwrap());
    }
    let key = a.key();
    let (small, large) = (3 * FRAME_BYTES_MAX + 7, HANDOFF_BYTES_MAX + 1);
    let sum = scopes[1].via(&key).fill(small).await.unwrap();
    a.cluster.node().give(a.shard(&key), b.cluster.node().session().node).await;
    until(|| b.has(&key)).await;
    assert_eq!(scopes[0].via(&key).sum().await.unwrap(), (small, sum));
    assert!(!ended.load(Relaxed), "what is handed over need not be saved");
    let _ = scopes[1].via(&key).fill(large).await.unwrap();
    let mut events = scopes[1].events();
    b.cluster.node().give(b.shard(&key), a.cluster.node().session().node).await;
    until(|| a.has(&key)).await;
    assert_eq!(scopes[0].via(&key).sum().await.unwrap(), (0, 0));
    assert!(ended.load(Relaxed), "it could save what it had");
    let told = |what: What| what == What::StateTooLarge { bytes: large };
    let all = std::iter::from_fn(|| events.try_recv().ok());
    assert_eq!(all.filter(|event| told(event.what.clone())).count(), 1);
}
