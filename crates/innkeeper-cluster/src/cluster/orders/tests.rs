//! What is done about orders, of two nodes within one process.

#![allow(clippy::disallowed_methods)] // The clock is the runtime's, which tests hold still.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Cluster;
use crate::coordinator::memory::Memory;
use crate::coordinator::{Change, Coordinator, Transaction};
use crate::limits;
use crate::net::memory::Memory as Wires;
use crate::ownership::timing::{FAIL_OVER_DEFAULT, Now};
use crate::{Settings, VERSIONS};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Runtime(Instant);

impl crate::clock::Clock for Runtime {
    fn now(&self) -> Now {
        Now { raw: self.0.elapsed().as_nanos() as u64, slept: 0 }
    }
}

async fn join(name: &str, memory: &Memory, wires: &Wires, began: Instant) -> Cluster {
    let settings = Settings {
        cluster: "test".to_owned(),
        name: name.to_owned(),
        address: format!("{name}:1"),
        weight: 1,
        shards: 8,
        session: 5 * SECOND,
        fail_over: FAIL_OVER_DEFAULT,
        versions: VERSIONS,
        starts_at_once: limits::STARTS_AT_ONCE,
    };
    let net = Arc::new(wires.port(&settings.address));
    let (coordinator, clock) = (Arc::new(memory.clone()), Arc::new(Runtime(began)));
    let (cluster, session) = Cluster::join(coordinator, clock, net, &settings).await.unwrap();
    let inner = cluster.inner.clone();
    inner.tasks.lock().spawn(async move {
        let _ = session.await;
    });
    cluster
}

async fn until(what: impl Fn() -> bool) {
    let all = async {
        while !what() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(120 * SECOND, all).await.expect("it does not come about");
}

/// P11: what arrives has a bound. The shard stays meanwhile, and goes when there is room again;
/// what was sent in vain makes room.
#[tokio::test(start_paused = true)]
async fn a_shard_stays_where_it_is_while_too_much_arrives_elsewhere() {
    let (memory, wires, began) = (Memory::new(), Wires::new(), Instant::now());
    let a = join("a", &memory, &wires, began).await;
    let b = join("b", &memory, &wires, began).await;
    let open = |cluster: &Cluster| {
        let node = cluster.node();
        (0..8).filter(|shard| matches!(node.gate(*shard), Gate::Open(_))).count()
    };
    until(|| open(&a) + open(&b) == 8 && open(&b) > 0).await;
    let shard = (0..8).find(|shard| a.node().gate(*shard) != Gate::Shut).unwrap();
    let epoch = a.node().owner(shard).unwrap().epoch;
    // Another move is under way, and its last part has just come.
    let vain = (0..8).find(|it| b.node().gate(*it) == Gate::Shut && *it != shard).unwrap();
    let now = b.node().now();
    let mut arriving = Arriving::new(b.node().owner(vain).unwrap().epoch + 1, 1, now);
    let part = Part {
        under: Under { shard: vain, epoch: arriving.epoch },
        attempt: 1,
        number: 0,
        count: 2,
        body: Bytes::new(),
    };
    let all = b.inner.share(limits::ARRIVING_BYTES_MAX).unwrap();
    arriving.take(&part, Vec::new(), all, now);
    *b.inner.desks[usize::from(vain)].arriving.lock() = Some(arriving);
    let to = b.node().session().node;
    a.node().give(shard, to).await;
    sleep(SECOND).await;
    assert_eq!(a.node().gate(shard), Gate::Open(epoch), "it stays, under the same epoch");
    sleep(limits::ARRIVING_WAIT).await;
    a.node().give(shard, to).await;
    until(|| b.node().gate(shard) == Gate::Open(epoch + 1)).await;
}

/// P16: as after a node that died in the midst of giving.
#[tokio::test(start_paused = true)]
async fn what_came_with_a_shard_is_dropped_when_that_goes_elsewhere() {
    let (memory, wires, began) = (Memory::new(), Wires::new(), Instant::now());
    let a = join("a", &memory, &wires, began).await;
    let b = join("b", &memory, &wires, began).await;
    let shard = 0;
    let epoch_at = |node: &Cluster| node.node().owner(shard).map_or(0, |owned| owned.epoch);
    until(|| epoch_at(&a) > 0 && epoch_at(&a) == epoch_at(&b)).await;
    sleep(5 * SECOND).await;
    let other = if a.node().gate(shard) == Gate::Shut { &a } else { &b };
    let epoch = epoch_at(other) + 1;
    let body = asked::write(&Vec::<Bag>::new()).unwrap();
    let part = Part { under: Under { shard, epoch }, attempt: 1, number: 0, count: 2, body };
    assert!(other.inner.arrive(&part));
    let has_it = || other.inner.desks[usize::from(shard)].arriving.lock().is_some();
    assert!(has_it());
    // Its owner claims it once more.
    let key = format!("test/shard/{shard:05}");
    let entries = memory.list(key.clone(), SECOND).await.unwrap().entries;
    let entry = entries.into_iter().find(|entry| entry.key == key).unwrap();
    let text = String::from_utf8(entry.value.unwrap().to_vec()).unwrap();
    let text = text.replace(&format!("epoch={}\n", epoch - 1), &format!("epoch={epoch}\n"));
    let claim =
        Transaction { writes: vec![Change::Put(key, text.into())], ..Transaction::default() };
    assert!(memory.commit(claim, SECOND).await.unwrap().done);
    until(|| epoch_at(other) == epoch && !has_it()).await;
}
