//! What operators do by hand, on the coordinator within one process.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests assert, and run tasks.

#[path = "support/deaf.rs"]
mod deaf;
#[path = "support/front.rs"]
mod front;
#[path = "support/runtime.rs"]
mod runtime;

use std::sync::Arc;
use std::time::Duration;

use deaf::Deaf;
use front::{Front, Fronted};
use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{
    Committed, Coordinator, CoordinatorError, Later, Transaction,
};
use innkeeper_cluster::operator::{self, Changes, OperatorError};
use innkeeper_cluster::ownership::timing::FAIL_OVER_DEFAULT;
use innkeeper_cluster::ownership::{Gate, Over};
use innkeeper_cluster::{JoinError, Node, Settings, VERSIONS};
use runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const SHARDS: u16 = 8;
const SECOND: Duration = Duration::from_secs(1);

fn clock() -> Arc<Runtime> {
    Arc::new(Runtime(Instant::now()))
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

async fn start(
    coordinator: &(impl Coordinator + Clone),
    settings: &Settings,
) -> (Node, JoinHandle<Over>) {
    let joined = Node::join(Arc::new(coordinator.clone()), clock(), settings).await;
    let (node, mut orders, running) = joined.unwrap();
    tokio::spawn(async move { while orders.next().await.is_some() {} });
    (node, tokio::spawn(running))
}

fn open(node: &Node) -> usize {
    (0..SHARDS).filter(|shard| matches!(node.gate(*shard), Gate::Open(_))).count()
}

async fn until(what: impl Fn() -> bool) {
    let all = async {
        while !what() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(60 * SECOND, all).await.expect("it does not come about");
}

/// C7
#[tokio::test(start_paused = true)]
async fn a_node_that_is_said_to_be_terminated_is_replaced_before_its_session_is_over() {
    let memory = Memory::new();
    let (a, a_task) = start(&memory, &settings("a")).await;
    let (b, _b) = start(&memory, &settings("b")).await;
    until(|| open(&a) + open(&b) == usize::from(SHARDS)).await;
    a_task.abort();
    let began = Instant::now();
    let clock = clock();
    let refused = operator::evict(&memory, &*clock, "test", "a", false).await.unwrap_err();
    assert_eq!(refused, OperatorError::NotConfirmed { name: "a".to_owned() });
    assert!(refused.to_string().starts_with("node `a` may still act for its shards; "));
    let ended = operator::evict(&memory, &*clock, "test", "a", true).await.unwrap();
    assert_eq!(ended, a.session());
    assert!(began.elapsed() >= SECOND / 2, "what it sent may still be taken");
    until(|| open(&b) == usize::from(SHARDS)).await;
    assert!(began.elapsed() <= SECOND, "{:?}", began.elapsed());
    for name in ["a", "c"] {
        let again = operator::evict(&memory, &*clock, "test", name, true).await;
        assert_eq!(again, Err(OperatorError::NoNode { name: name.to_owned() }));
    }
}

/// A14
#[tokio::test(start_paused = true)]
async fn a_cluster_is_configured_anew_while_nobody_has_a_session() {
    let memory = Memory::new();
    let changes = Changes { shards: Some(16), ..Changes::default() };
    let none = operator::reconfigure(&memory, "test", changes).await.unwrap_err();
    assert_eq!(none.to_string(), "there is no cluster `test`; its first node makes it");
    let (node, _task) = start(&memory, &settings("a")).await;
    until(|| open(&node) == usize::from(SHARDS)).await;
    let live = operator::reconfigure(&memory, "test", changes).await.unwrap_err();
    assert_eq!(live, OperatorError::Live { names: vec!["a".to_owned()] });
    assert!(live.to_string().starts_with("expected no live node, got `a`; stop them all"));
    node.leave().await;
    node.over().await;
    let next = operator::reconfigure(&memory, "test", changes).await.unwrap();
    assert_eq!((next.shards, next.session, next.generation), (16, 5 * SECOND, 2));
    assert_eq!(operator::configuration(&memory, "test").await, Ok(next));
    let old = Node::join(Arc::new(memory.clone()), clock(), &settings("a")).await.unwrap_err();
    assert_eq!(old, JoinError::Differs { what: "shards", theirs: 16, ours: 8 });
    let (node, _task) = start(&memory, &Settings { shards: 16, ..settings("a") }).await;
    until(|| open(&node) == usize::from(SHARDS)).await;
    // Above every epoch that a key can have had in another shard.
    assert!((0..16).all(|shard| node.owner(shard).is_some_and(|owned| owned.epoch > 1 << 40)));
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_nothing_can_be_built_on_is_refused() {
    let memory = Memory::new();
    let (node, _task) = start(&memory, &settings("a")).await;
    node.leave().await;
    node.over().await;
    let reconfigure = async |shards, session| {
        let changes = Changes { shards, session, fail_over: None };
        operator::reconfigure(&memory, "test", changes).await.unwrap_err().to_string()
    };
    let before = operator::configuration(&memory, "test").await;
    assert_eq!(reconfigure(Some(0), None).await, "shards: expected at least 1, got 0");
    let short = reconfigure(None, Some(SECOND)).await;
    assert!(short.starts_with("session length: expected at least"), "{short}");
    assert_eq!(operator::configuration(&memory, "test").await, before);
}

/// Lets somebody join between a look and the write that rests on it.
#[derive(Clone)]
struct Racing(Memory);

impl Front for Racing {
    fn behind(&self) -> &Memory {
        &self.0
    }

    fn commit(
        &self,
        transaction: Transaction,
        within: Duration,
    ) -> Later<'_, Result<Committed, CoordinatorError>> {
        Box::pin(async move {
            let (_node, _task) = start(&self.0, &settings("b")).await;
            self.0.commit(transaction, within).await
        })
    }
}

/// C2: keys change their shards, and must not have an owner in both.
#[tokio::test(start_paused = true)]
async fn a_node_that_joins_meanwhile_is_noticed() {
    let memory = Memory::new();
    let (node, _task) = start(&memory, &settings("a")).await;
    node.leave().await;
    node.over().await;
    let changes = Changes { shards: Some(16), ..Changes::default() };
    let raced = operator::reconfigure(&Fronted(Racing(memory.clone())), "test", changes).await;
    assert_eq!(raced, Err(OperatorError::Raced));
    assert_eq!(operator::configuration(&memory, "test").await.unwrap().shards, 8);
}

/// C2, A10: whatever else it has heard, or not.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_of_an_earlier_generation_is_refused() {
    let memory = Memory::new();
    let (node, task) = start(&Fronted(Deaf(memory.clone())), &settings("a")).await;
    until(|| open(&node) == usize::from(SHARDS)).await;
    operator::new_generation(&memory, "test").await.unwrap();
    let began = Instant::now();
    assert_eq!(task.await.unwrap(), Over::Evicted);
    assert!(began.elapsed() <= 2 * SECOND, "{:?}", began.elapsed());
    assert_eq!(open(&node), 0);
}

/// C2, A10
#[tokio::test(start_paused = true)]
async fn a_node_of_an_earlier_generation_is_over_and_the_next_begins_above_its_epochs() {
    let memory = Memory::new();
    let (node, task) = start(&memory, &settings("a")).await;
    until(|| open(&node) == usize::from(SHARDS)).await;
    let next = operator::new_generation(&memory, "test").await.unwrap();
    assert_eq!(next.generation, 2);
    assert_eq!(task.await.unwrap(), Over::Rewound);
    assert_eq!(open(&node), 0);
    let (again, _task) = start(&memory, &settings("a")).await;
    until(|| open(&again) == usize::from(SHARDS)).await;
    assert!(again.owner(0).unwrap().epoch > 1 << 40);
}
