//! The end of an upgrade, as sessions and operators see it.

use std::sync::Arc;
use std::time::Duration;

use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{
    Change, Committed, Coordinator, CoordinatorError, Later, Transaction,
};
use innkeeper_cluster::operator::{self, OperatorError};
use innkeeper_cluster::ownership::Over;
use innkeeper_cluster::ownership::record::Versions;
use innkeeper_cluster::{JoinError, Node, VERSIONS};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::deaf::Deaf;
use crate::front::{Front, Fronted};
use crate::runtime::Runtime;
use crate::{OLD, SHARDS, open, settings, until};

const SECOND: Duration = Duration::from_secs(1);

async fn join(
    coordinator: Arc<dyn Coordinator>,
    name: &str,
    versions: Versions,
) -> Result<(Node, JoinHandle<Over>), JoinError> {
    let settings = settings(name, format!("{name}:1"), versions);
    let clock = Arc::new(Runtime(Instant::now()));
    let (node, mut orders, running) = Node::join(coordinator, clock, &settings).await?;
    tokio::spawn(async move { while orders.next().await.is_some() {} });
    Ok((node, tokio::spawn(running)))
}

/// A cluster of the first version, in which nobody is any more.
async fn begun_by_an_old_node(memory: &Memory) {
    let (old, _task) = join(Arc::new(memory.clone()), "old", OLD).await.unwrap();
    old.leave().await;
    old.over().await;
}

/// A13
#[tokio::test(start_paused = true)]
async fn a_session_goes_on_under_a_raised_protocol_though_it_hears_of_it_by_a_refusal_alone() {
    let memory = Memory::new();
    begun_by_an_old_node(&memory).await;
    let (node, task) = join(Arc::new(Fronted(Deaf(memory.clone()))), "a", VERSIONS).await.unwrap();
    until(|| open(&node) == usize::from(SHARDS)).await;
    operator::finalize(&memory, "test", VERSIONS).await.unwrap();
    // Before it lists everything again, which is after two sessions.
    tokio::time::sleep(7 * SECOND).await;
    assert!(!task.is_finished(), "{:?}", task.await);
    assert!(node.remaining() > 3 * SECOND && open(&node) == usize::from(SHARDS));
    // Whoever begins another generation is still obeyed.
    operator::new_generation(&memory, "test").await.unwrap();
    until(|| task.is_finished()).await;
    assert!(matches!(task.await.unwrap(), Over::Evicted | Over::Rewound));
}

/// A13
#[tokio::test(start_paused = true)]
async fn a_program_that_speaks_only_later_versions_is_told_to_finalize_first() {
    let memory = Memory::new();
    let (old, _task) = join(Arc::new(memory.clone()), "a", OLD).await.unwrap();
    let newest = Versions { oldest: 2, newest: 3 };
    let refused = join(Arc::new(memory.clone()), "b", newest).await.unwrap_err();
    let text = "protocol: the cluster needs version 1, this program speaks 2 to 3; use a release \
                that speaks version 1 and this one's, and finalize the upgrade to that first";
    assert_eq!(refused.to_string(), text);
    let foreign = operator::finalize(&memory, "test", newest).await.unwrap_err();
    assert_eq!(foreign, OperatorError::Foreign { theirs: 1, ours: newest });
    let outdated = operator::finalize(&memory, "test", VERSIONS).await.unwrap_err();
    let text = "version 2 of the protocol: node `a` speaks 1; start them with a release that \
                speaks it, and finalize then";
    assert_eq!(outdated.to_string(), text);
    old.leave().await;
    old.over().await;
    assert_eq!(operator::finalize(&memory, "test", VERSIONS).await.unwrap().protocol, 2);
    // Once more is no harm.
    assert_eq!(operator::finalize(&memory, "test", VERSIONS).await.unwrap().protocol, 2);
    let (agreed, spoken) = operator::versions(&memory, "test").await.unwrap();
    assert_eq!((agreed.protocol, spoken), (2, Vec::new()));
}

/// Lets an old node join between a look and the write that rests on it.
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
            let (_node, _task) = join(Arc::new(self.0.clone()), "late", OLD).await.unwrap();
            self.0.commit(transaction, within).await
        })
    }
}

/// A13
#[tokio::test(start_paused = true)]
async fn an_upgrade_is_not_finalized_over_the_head_of_an_old_node_that_joins_meanwhile() {
    let memory = Memory::new();
    begun_by_an_old_node(&memory).await;
    let raced =
        operator::finalize(&Fronted(Racing(memory.clone())), "test", VERSIONS).await.unwrap_err();
    assert_eq!(raced, OperatorError::Raced);
    assert_eq!(operator::configuration(&memory, "test").await.unwrap().protocol, 1);
}

/// A13
#[tokio::test(start_paused = true)]
async fn a_node_whose_record_cannot_be_read_speaks_nothing() {
    let memory = Memory::new();
    let (node, _task) = join(Arc::new(memory.clone()), "a", VERSIONS).await.unwrap();
    until(|| open(&node) == usize::from(SHARDS)).await;
    let key = "test/node/0000000000000007".to_owned();
    let put = Change::Put(key.clone(), b"?".to_vec());
    let transaction = Transaction { writes: vec![put], ..Transaction::default() };
    memory.commit(transaction, SECOND).await.unwrap();
    let outdated = operator::finalize(&memory, "test", VERSIONS).await.unwrap_err();
    assert_eq!(outdated, OperatorError::Outdated { version: 2, nodes: vec![(key, None)] });
}
