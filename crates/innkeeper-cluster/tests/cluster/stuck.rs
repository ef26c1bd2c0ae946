//! A shard that is to go, and whose processes do not end.

use std::sync::Arc;

use innkeeper::{ChildSpec, ExitReason, Keyed, Shutdown, StartError};
use innkeeper_cluster::{ClusterEvent, limits};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::nodes::{Say, World, until};

/// A process that ends when it is let go, however long that takes.
struct Stubborn(Arc<Notify>);

#[innkeeper::process(remote)]
impl Stubborn {
    async fn init(go: &Arc<Notify>) -> Result<Self, StartError> {
        Ok(Stubborn(go.clone()))
    }

    #[call]
    fn is_there(&mut self) -> bool {
        true
    }

    async fn terminate(&mut self, _: &ExitReason) {
        self.0.notified().await;
    }
}

/// A7, P14
#[tokio::test(start_paused = true)]
async fn a_shard_whose_process_does_not_end_stays_and_says_whom_it_waits_for() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let go = Arc::new(Notify::new());
    let mut scopes = Vec::new();
    for node in [&a, &b] {
        let (go, spec) = (go.clone(), ChildSpec::new().shutdown(Shutdown::Infinity));
        let scope = Keyed::<String, Stubborn>::with_args(spec, move |_| go.clone());
        scopes.push(scope.placed_by(&node.cluster).start(&node.supervisor).await.unwrap());
    }
    let key = a.key();
    assert!(scopes[0].via(&key).is_there().await.unwrap());
    let shard = a.shard(&key);
    let seen = || a.cluster.shards().remove(usize::from(shard)).draining;
    assert_eq!(seen(), None);
    let mut events = a.cluster.events();
    a.cluster.node().give(shard, b.cluster.node().session().node).await;
    until(|| seen().is_some()).await;
    assert_eq!(seen().unwrap().stuck, [""; 0], "it may be about to end");
    sleep(2 * limits::STUCK_AFTER).await;
    let processes = vec![format!("Stubborn {key:?}")];
    assert_eq!(seen().unwrap().stuck, processes);
    let stuck = ClusterEvent::Stuck { shard, processes };
    assert_eq!(events.try_recv().unwrap(), stuck);
    // It is nobody's meanwhile, and all else goes on.
    assert!(!a.has(&key) && !b.has(&key));
    let other = a.keys().next().unwrap();
    let _ = b.rooms.via(&other).call(Say::Epoch).await.unwrap();
    go.notify_one();
    until(|| b.has(&key)).await;
    assert_eq!(seen(), None);
    assert!(scopes[0].via(&key).is_there().await.unwrap());
}
