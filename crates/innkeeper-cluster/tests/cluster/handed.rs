//! Keys that have come to another node with their state, before their processes have begun there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use innkeeper::{
    ChildSpec, Context, ExitReason, Gathered, GetError, Keyed, Message, Outcome, Process, ReplyTo,
    StartError, StartRate, StopError,
};
use innkeeper_cluster::Remote;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::nodes::{Node, SECOND, World, until};

/// What the chests of a test share.
#[derive(Clone)]
struct Vault {
    /// One for each `init` with something that was handed over, of a key that is slow.
    permits: Arc<Semaphore>,
    /// So many of those fail, of keys that fail.
    fails: Arc<AtomicUsize>,
    /// What each had when it ended in order.
    ended: Arc<Mutex<Vec<(String, u64)>>>,
}

/// A process that keeps a sum, and takes it along.
struct Chest {
    key: String,
    vault: Vault,
    sum: u64,
}

/// Adds, and answers the sum.
#[derive(Debug, Serialize, Deserialize)]
struct Put(u64);

impl Message for Put {
    type Reply = u64;
}

impl Remote for Chest {
    const NAME: &'static str = "chest";
}

impl Process for Chest {
    type Args = (String, Vault);
    type Message = Put;

    async fn init((key, vault): &Self::Args, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let handed = ctx.handed().map(|handed| postcard::from_bytes(&handed).unwrap());
        if handed.is_some() && key.starts_with("slow") {
            vault.permits.acquire().await.unwrap().forget();
        }
        let left = |fails: usize| fails.checked_sub(1);
        if handed.is_some()
            && key.starts_with("fails")
            && vault.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok()
        {
            return Err(StartError::failed("told to"));
        }
        if handed.is_some() && key.starts_with("declines") {
            return Err(StartError::ignore());
        }
        Ok(Chest { key: key.clone(), vault: vault.clone(), sum: handed.unwrap_or_default() })
    }

    async fn handle(&mut self, Put(more): Put, reply: ReplyTo<Put>, _: &mut Context<Self>) {
        self.sum += more;
        reply.send(self.sum);
    }

    async fn on_handoff(&mut self, _: &mut Context<Self>) -> Option<Vec<u8>> {
        Some(postcard::to_allocvec(&self.sum).unwrap())
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.vault.ended.lock().push((self.key.clone(), self.sum));
    }
}

impl Vault {
    fn new() -> Vault {
        let (permits, fails) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        Vault { permits, fails, ended: Arc::default() }
    }

    /// The chests on a node, of which there may be so many, and one more each second.
    async fn chests(&self, node: &Node, most: usize) -> Keyed<String, Chest> {
        let vault = self.clone();
        let spec = ChildSpec::new().start_timeout(3_600 * SECOND);
        let chests = Keyed::<String, Chest>::with_args(spec, move |key: &String| {
            (key.clone(), vault.clone())
        });
        let rate = StartRate::per_second(u32::try_from(most).unwrap()).unwrap();
        let chests = chests.max_children(most).start_rate(rate).placed_by(&node.cluster);
        chests.start(&node.supervisor).await.unwrap()
    }
}

/// Keys of one shard that runs on a node, one for each of these names.
fn of_one_shard<const N: usize>(node: &Node, names: [&str; N]) -> [String; N] {
    let shard = node.shard(&node.key());
    names.map(|name| {
        let mut keys = (0..10_000).map(|number| format!("{name}-{number}"));
        keys.find(|key| node.shard(key) == shard).unwrap()
    })
}

/// Puts 7 into chests of a node, and has their shard go to another.
async fn fill_and_give(a: &Node, chests: &Keyed<String, Chest>, b: &Node, keys: &[String]) {
    for key in keys {
        assert_eq!(chests.via(key).call(Put(7)).await.unwrap(), 7);
    }
    a.cluster.node().give(a.shard(&keys[0]), b.cluster.node().session().node).await;
    until(|| b.has(&keys[0])).await;
}

/// C4, P4
#[tokio::test(start_paused = true)]
async fn a_key_that_came_is_found_and_counted_while_the_init_of_another_hangs() {
    let (world, vault) = (World::new(), Vault::new());
    let [a, b] = world.nodes::<2>().await;
    let (on_a, on_b) = (vault.chests(&a, 100).await, vault.chests(&b, 100).await);
    // The slow ones come first, and are more than begin at once.
    let [quick] = of_one_shard(&a, ["z"]);
    let slow = (0..100).map(|number| format!("slow-{number}-"));
    let slow: Vec<_> = slow.map(|name| of_one_shard(&a, [&name])[0].clone()).take(99).collect();
    let keys: Vec<_> = slow.iter().chain([&quick]).cloned().collect();
    fill_and_give(&a, &on_a, &b, &keys).await;
    for scope in [&on_b, &on_a] {
        let found = scope.get(&quick).timeout(SECOND).await;
        assert!(matches!(found, Ok(Outcome::Existing(_))), "{found:?}");
        let late = scope.get(&slow[98]).timeout(SECOND).await;
        assert_eq!(late, Err(GetError::Timeout { waited: SECOND }), "it is there, and not ready");
        let looked = scope.everywhere().timeout(SECOND);
        assert_eq!(looked.count().await, Gathered::whole(100));
        assert!(scope.everywhere().info(&slow[97]).await.unwrap().is_some());
        let page = scope.everywhere().timeout(SECOND).page(.., 1_000).await;
        assert_eq!((page.is_whole(), page.value.rows.len()), (true, 100));
    }
    assert_eq!(on_a.via(&quick).call(Put(1)).await.unwrap(), 8);
    vault.permits.add_permits(99);
    for key in &slow {
        assert_eq!(on_a.via(key).call(Put(1)).await.unwrap(), 8);
    }
}

/// P11: it was let in where it began.
#[tokio::test(start_paused = true)]
async fn keys_that_come_are_not_counted_against_what_may_start() {
    let (world, vault) = (World::new(), Vault::new());
    let [a, b] = world.nodes::<2>().await;
    let (on_a, on_b) = (vault.chests(&a, 10).await, vault.chests(&b, 1).await);
    let keys = of_one_shard(&a, ["a", "b", "c", "d", "e"]);
    assert_eq!(on_b.via(&b.key()).call(Put(1)).await.unwrap(), 1);
    fill_and_give(&a, &on_a, &b, &keys).await;
    until(|| on_b.count() == 6).await;
    for key in &keys {
        assert!(matches!(on_b.get(key).await, Ok(Outcome::Existing(_))));
        assert_eq!(on_a.via(key).call(Put(1)).await.unwrap(), 8);
    }
    // Others are.
    let refused = on_b.get_or_start(&b.keys().nth(1).unwrap()).await;
    assert_eq!(refused, Err(GetError::MaxChildren { max: 1 }));
}

/// C6: though nobody asks.
#[tokio::test(start_paused = true)]
async fn a_process_that_came_and_fails_to_begin_is_tried_again() {
    let (world, vault) = (World::new(), Vault::new());
    let [a, b] = world.nodes::<2>().await;
    let (on_a, on_b) = (vault.chests(&a, 10).await, vault.chests(&b, 10).await);
    let keys = of_one_shard(&a, ["fails", "z"]);
    vault.fails.store(3, Ordering::SeqCst);
    fill_and_give(&a, &on_a, &b, &keys).await;
    until(|| on_b.whereis(&keys[0]).is_some()).await;
    assert_eq!(vault.fails.load(Ordering::SeqCst), 0);
    assert_eq!(on_a.via(&keys[0]).call(Put(1)).await.unwrap(), 8);
}

/// P7: with what it had, and for good.
#[tokio::test(start_paused = true)]
async fn a_key_that_came_is_ended_in_order_before_it_has_begun() {
    let (world, vault) = (World::new(), Vault::new());
    let [a, b] = world.nodes::<2>().await;
    let (on_a, on_b) = (vault.chests(&a, 10).await, vault.chests(&b, 10).await);
    let keys = of_one_shard(&a, ["slow", "slow-too", "fails", "declines", "slow-last"]);
    let [slow, too, fails, declines, last] = &keys;
    vault.fails.store(usize::MAX, Ordering::SeqCst);
    fill_and_give(&a, &on_a, &b, &keys).await;
    let stop = on_a.stop(slow);
    let permit = async {
        tokio::time::sleep(SECOND).await;
        vault.permits.add_permits(4);
    };
    let (stopped, ()) = tokio::join!(stop, permit);
    assert_eq!(stopped, Ok(()));
    assert!(vault.ended.lock().contains(&(slow.clone(), 7)), "with what it had");
    assert_eq!(on_b.get(slow).await, Err(GetError::NotFound));
    // One that cannot begin, and one that does not want to.
    assert_eq!(on_b.stop(fails).await, Ok(()));
    assert_eq!(on_b.get(declines).await, Err(GetError::NotFound));
    // All others.
    let ended = on_a.everywhere().stop_all().await;
    assert_eq!(ended, Gathered::whole(2), "{too} and {last}");
    assert_eq!(vault.ended.lock().len(), 3);
    // Longer than anything is tried again.
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(on_b.count(), 0);
    for key in &keys {
        assert_eq!(on_a.get(key).await, Err(GetError::NotFound));
        assert_eq!(on_a.stop(key).await, Err(StopError::NotFound));
    }
}

/// P7: whoever waits no longer gets what there is ended all the same.
#[tokio::test(start_paused = true)]
async fn a_key_that_came_and_hangs_is_ended_without_what_it_had() {
    let (world, vault) = (World::new(), Vault::new());
    let [a, b] = world.nodes::<2>().await;
    let (on_a, on_b) = (vault.chests(&a, 10).await, vault.chests(&b, 10).await);
    let keys = of_one_shard(&a, ["slow", "slow-too", "slow-last"]);
    fill_and_give(&a, &on_a, &b, &keys).await;
    let stopped = on_b.stop(&keys[0]).timeout(SECOND).await;
    assert!(matches!(stopped, Ok(()) | Err(StopError::StillStopping { .. })), "{stopped:?}");
    until(|| on_b.count() == 2).await;
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(on_b.get(&keys[0]).await, Err(GetError::NotFound));
    // They go on elsewhere as they came.
    vault.permits.add_permits(2);
    for key in &keys[1..] {
        assert_eq!(on_a.via(key).call(Put(1)).await.unwrap(), 8);
    }
}
