//! Nodes on the coordinator within one process, under a clock that stands still until it is moved.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests assert, and run tasks.

#[path = "support/runtime.rs"]
mod runtime;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use innkeeper_cluster::clock::Clock;
use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{Change, Coordinator, Transaction};
use innkeeper_cluster::ownership::timing::{EFFECTS, FAIL_OVER_DEFAULT, Now};
use innkeeper_cluster::ownership::{Command, Event, Gate, Over};
use innkeeper_cluster::{JoinError, Node, Orders, Running, Settings, VERSIONS};
use runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const SHARDS: u16 = 8;
const SECOND: Duration = Duration::from_secs(1);

fn clock() -> Arc<dyn Clock> {
    let now = Instant::now();
    Arc::new(Runtime(now))
}

fn settings(name: &str) -> Settings {
    Settings {
        cluster: "test".to_owned(),
        name: name.to_owned(),
        address: format!("{name}:1"),
        weight: 1,
        shards: SHARDS,
        session: 5 * SECOND,
        fail_over: FAIL_OVER_DEFAULT,
        versions: VERSIONS,
        starts_at_once: innkeeper_cluster::limits::STARTS_AT_ONCE,
    }
}

async fn join(memory: &Memory, name: &str) -> (Node, Orders, Running) {
    Node::join(Arc::new(memory.clone()), clock(), &settings(name)).await.unwrap()
}

/// A node that hands over whatever it is asked to, in a task of its own.
async fn start(memory: &Memory, name: &str) -> (Node, JoinHandle<()>) {
    let (node, orders, running) = join(memory, name).await;
    let hands = hand_over(node.clone(), orders);
    let task = tokio::task::spawn(async {
        tokio::join!(running, hands);
    });
    (node, task)
}

fn open(node: &Node) -> usize {
    (0..SHARDS).filter(|shard| matches!(node.gate(*shard), Gate::Open(_))).count()
}

/// Hands every shard over as soon as it is asked to, for there is nothing in it.
async fn hand_over(node: Node, mut orders: Orders) {
    while let Some(order) = orders.next().await {
        match order {
            Command::Shut { shard, epoch } => node.report(Event::Quiesced { shard, epoch }).await,
            Command::Offer { shard, epoch, .. } => {
                node.report(Event::Accepted { shard, epoch }).await;
            }
            _ => {}
        }
    }
}

async fn until(what: impl Fn() -> bool) {
    let all = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(60 * SECOND, all).await.expect("it does not come about");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_alone_serves_every_shard() {
    let (node, _task) = start(&Memory::new(), "a").await;
    until(|| open(&node) == usize::from(SHARDS)).await;
    assert_eq!(node.members().len(), 1);
}

/// C6
#[tokio::test(start_paused = true)]
async fn a_node_that_comes_is_given_its_share_and_gives_it_back_when_it_drains() {
    let memory = Memory::new();
    let (a, _a) = start(&memory, "a").await;
    until(|| open(&a) == usize::from(SHARDS)).await;
    let (b, _b) = start(&memory, "b").await;
    until(|| open(&b) >= 3 && open(&a) + open(&b) == usize::from(SHARDS)).await;
    b.drain().await;
    assert_eq!(b.over().await, Over::Left);
    until(|| open(&a) == usize::from(SHARDS)).await;
    a.leave().await;
    assert_eq!(a.over().await, Over::Left);
    let left = memory.list("test/node/".to_owned(), SECOND).await.unwrap();
    assert!(left.entries.is_empty());
}

/// C7
#[tokio::test(start_paused = true)]
async fn the_shards_of_a_node_that_died_are_served_within_a_session_and_a_second() {
    let memory = Memory::new();
    let (a, _a) = start(&memory, "a").await;
    let (b, b_task) = start(&memory, "b").await;
    until(|| open(&b) >= 3 && open(&a) + open(&b) == usize::from(SHARDS)).await;
    b_task.abort();
    assert!(b_task.await.is_err());
    assert_eq!(open(&b), 0, "its gates went with it");
    let began = clock();
    until(|| open(&a) == usize::from(SHARDS)).await;
    assert!(began.now().raw <= 6 * SECOND.as_nanos() as u64, "{:?}", began.now());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_of_another_make_is_not_joined() {
    let memory = Memory::new();
    let _first = start(&memory, "a").await;
    let other = |change: fn(&mut Settings)| {
        let mut settings = settings("b");
        change(&mut settings);
        settings
    };
    for (settings, text) in [
        (
            other(|it| it.shards = 9),
            "shards: the cluster has 8, this node 9; \
             start it with 8, or stop all nodes and reconfigure the cluster",
        ),
        (
            other(|it| it.session = 9 * SECOND),
            "session length: the cluster has 5000 ms, this node 9000 ms; \
             start it with 5000 ms, or stop all nodes and reconfigure the cluster",
        ),
        (
            other(|it| it.session = SECOND),
            "session length: expected at least 5000 ms, got 1000 ms; etcd may take 2500 ms to find \
             a new leader (etcd fail-over)",
        ),
        (
            other(|it| it.fail_over = SECOND),
            "etcd fail-over: the cluster has 2500 ms, this node 1000 ms; start it with 2500 ms, or \
             stop all nodes and reconfigure the cluster",
        ),
        (other(|it| it.shards = 0), "shards: expected at least 1, got 0"),
        (
            other(|it| it.name = "a\nb".to_owned()),
            "expected 1 to 255 characters without control characters, got \"a\\nb\"",
        ),
    ] {
        let error = Node::join(Arc::new(memory.clone()), clock(), &settings).await.unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_one_node_s_until_its_session_has_ended() {
    let memory = Memory::new();
    let (node, _task) = start(&memory, "a").await;
    let again = Node::join(Arc::new(memory.clone()), clock(), &settings("a")).await;
    let error = again.unwrap_err();
    assert_eq!(error, JoinError::NameInUse { name: "a".to_owned() });
    let text = "node name in use: `a` is alive; give this node a name of its own, or stop that one";
    assert_eq!(error.to_string(), text);
    node.leave().await;
    node.over().await;
    drop(join(&memory, "a").await);
}

/// C7
#[tokio::test(start_paused = true)]
async fn nodes_that_all_died_at_once_come_back_under_their_names() {
    let memory = Memory::new();
    let (a, a_task) = start(&memory, "a").await;
    let (_b, b_task) = start(&memory, "b").await;
    until(|| open(&a) > 0).await;
    a_task.abort();
    b_task.abort();
    assert!(a_task.await.is_err() && b_task.await.is_err());
    let (a, _a_task) = start(&memory, "a").await;
    until(|| open(&a) == usize::from(SHARDS)).await;
}

/// The runtime's clock, on a machine that has slept for so long.
struct Drowsy(Instant, AtomicU64);

impl Clock for Drowsy {
    fn now(&self) -> Now {
        let slept = self.1.load(Ordering::Relaxed);
        Now { raw: self.0.elapsed().as_nanos() as u64, slept }
    }
}

#[tokio::test(start_paused = true)]
async fn each_time_that_the_gates_shut_counts_once() {
    let clock = Arc::new(Drowsy(Instant::now(), AtomicU64::new(0)));
    let joined = Node::join(Arc::new(Memory::new()), clock.clone(), &settings("a")).await;
    let (node, _orders, running) = joined.unwrap();
    let _session = tokio::task::spawn(running);
    until(|| open(&node) == usize::from(SHARDS)).await;
    assert_eq!(node.times_shut(), 0);
    for times in 1..=3 {
        clock.1.fetch_add(1_000_000_000, Ordering::Relaxed);
        assert_eq!((open(&node), node.times_shut()), (0, times));
        until(|| open(&node) == usize::from(SHARDS)).await;
        assert_eq!(node.times_shut(), times);
    }
}

/// C3
#[tokio::test(start_paused = true)]
async fn a_node_whose_session_is_gone_shuts_its_gates_and_ends() {
    let memory = Memory::new();
    let (node, mut orders, running) = join(&memory, "a").await;
    let session = tokio::task::spawn(running);
    until(|| open(&node) == usize::from(SHARDS)).await;
    let key = format!("test/node/{:016x}", node.session().node.0);
    let delete = Transaction { writes: vec![Change::Delete(key)], ..Transaction::default() };
    memory.commit(delete, SECOND).await.unwrap();
    assert_eq!(session.await.unwrap(), Over::Evicted);
    assert_eq!(open(&node), 0);
    let mut last = None;
    while let Some(order) = orders.next().await {
        last = Some(order);
    }
    assert_eq!(last, Some(Command::End(Over::Evicted)));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_speaks_another_protocol_or_cannot_be_read_is_not_joined() {
    let memory = Memory::new();
    drop(join(&memory, "a").await);
    let key = "test/cfg".to_owned();
    let entry = memory.list(key.clone(), SECOND).await.unwrap().entries.remove(0);
    let text = String::from_utf8(entry.value.unwrap()).unwrap();
    for (text, expected) in [
        (
            text.replace("protocol=2\n", "protocol=3\n"),
            "protocol: the cluster needs version 3, this program speaks 1 to 2; use a release that \
             speaks version 3",
        ),
        ("garbage".to_owned(), "test/cfg cannot be read"),
    ] {
        let put = Change::Put(key.clone(), text.into_bytes());
        let transaction = Transaction { writes: vec![put], ..Transaction::default() };
        memory.commit(transaction, SECOND).await.unwrap();
        let error = Node::join(Arc::new(memory.clone()), clock(), &settings("b")).await;
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}

/// C3, C6: what left before may still be taken by others for a moment.
#[tokio::test(start_paused = true)]
async fn a_node_that_has_given_all_away_keeps_its_session_until_nothing_of_it_is_taken() {
    let memory = Memory::new();
    let (a, _a) = start(&memory, "a").await;
    let (b, _b) = start(&memory, "b").await;
    until(|| open(&b) >= 3 && open(&a) + open(&b) == usize::from(SHARDS)).await;
    b.drain().await;
    until(|| open(&a) == usize::from(SHARDS) && b.remaining() == Duration::ZERO).await;
    let given = Instant::now();
    assert_eq!(b.over().await, Over::Left);
    let kept = given.elapsed();
    // The looks of `until` are a hundredth of a second apart.
    assert!(kept + SECOND / 50 >= EFFECTS && kept <= 2 * EFFECTS, "{kept:?}");
}
