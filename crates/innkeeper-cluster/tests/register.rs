//! What a node asks of the coordinator, and what it makes of one that cannot be trusted any more.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests assert, and run tasks.

#[path = "support/front.rs"]
mod front;
#[path = "support/runtime.rs"]
mod runtime;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use front::{Front, Fronted};
use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{
    Committed, Coordinator, CoordinatorError, Later, Transaction,
};
use innkeeper_cluster::ownership::timing::FAIL_OVER_DEFAULT;
use innkeeper_cluster::ownership::{Gate, Over};
use innkeeper_cluster::{Node, Settings, VERSIONS};
use runtime::Runtime;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// Counts what is written, and can be put back to an older state.
#[derive(Default)]
struct Counting {
    memory: Memory,
    commits: AtomicUsize,
    is_rewound: AtomicBool,
}

impl Front for Counting {
    fn behind(&self) -> &Memory {
        &self.memory
    }

    fn commit(
        &self,
        transaction: Transaction,
        within: Duration,
    ) -> Later<'_, Result<Committed, CoordinatorError>> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        if self.is_rewound.load(Ordering::Relaxed) {
            let error = CoordinatorError::Rewound("by the test".to_owned());
            return Box::pin(async { Err(error) });
        }
        self.memory.commit(transaction, within)
    }
}

/// A node that is alone with as many shards as there usually are.
async fn start(coordinator: Arc<Fronted<Counting>>) -> (Node, tokio::task::JoinHandle<Over>) {
    let settings = Settings {
        cluster: "test".to_owned(),
        name: "a".to_owned(),
        address: "a:1".to_owned(),
        weight: 1,
        shards: 1_024,
        session: 5 * SECOND,
        fail_over: FAIL_OVER_DEFAULT,
        versions: VERSIONS,
        starts_at_once: innkeeper_cluster::limits::STARTS_AT_ONCE,
    };
    let clock = Arc::new(Runtime(Instant::now()));
    let (node, mut orders, running) = Node::join(coordinator, clock, &settings).await.unwrap();
    tokio::spawn(async move { while orders.next().await.is_some() {} });
    (node, tokio::spawn(running))
}

/// C5
#[tokio::test(start_paused = true)]
async fn a_node_writes_once_a_second_however_much_it_serves() {
    let coordinator = Arc::new(Fronted(Counting::default()));
    let (node, _session) = start(coordinator.clone()).await;
    sleep(10 * SECOND).await;
    let open = (0..1_024).filter(|shard| matches!(node.gate(*shard), Gate::Open(_))).count();
    let before = coordinator.0.commits.load(Ordering::Relaxed);
    // Its join, one claim for each 120 shards, and heartbeats.
    assert!(open == 1_024 && before <= 2 + 9 + 11, "{open} shards after {before} writes");
    sleep(60 * SECOND).await;
    let writes = coordinator.0.commits.load(Ordering::Relaxed) - before;
    assert!((50..=60).contains(&writes), "{writes} writes in a minute");
}

/// C2
#[tokio::test(start_paused = true)]
async fn a_coordinator_that_was_put_back_ends_the_session_at_once() {
    let coordinator = Arc::new(Fronted(Counting::default()));
    let (node, session) = start(coordinator.clone()).await;
    sleep(10 * SECOND).await;
    coordinator.0.is_rewound.store(true, Ordering::Relaxed);
    assert_eq!(session.await.unwrap(), Over::Rewound);
    assert!((0..1_024).all(|shard| node.gate(shard) == Gate::Shut));
}
