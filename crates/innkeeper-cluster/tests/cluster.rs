//! Processes by key on the nodes of a cluster, within one process: the code that asks is that of
//! one node.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests assert, and run tasks.

#[path = "cluster/admission.rs"]
mod admission;
#[path = "cluster/apart.rs"]
mod apart;
#[path = "cluster/arriving.rs"]
mod arriving;
#[path = "cluster/clerk.rs"]
mod clerk;
#[path = "support/front.rs"]
mod front;
#[path = "cluster/handed.rs"]
mod handed;
#[path = "cluster/hearing.rs"]
mod hearing;
#[path = "cluster/listening.rs"]
mod listening;
#[path = "world/moves.rs"]
mod moves;
#[path = "cluster/moving.rs"]
mod moving;
#[path = "cluster/names.rs"]
mod names;
#[path = "cluster/nodes.rs"]
mod nodes;
#[path = "cluster/overdue.rs"]
mod overdue;
#[path = "cluster/panics.rs"]
mod panics;
#[path = "cluster/remembered.rs"]
mod remembered;
#[path = "support/runtime.rs"]
mod runtime;
#[path = "cluster/steps.rs"]
mod steps;
#[path = "cluster/stuck.rs"]
mod stuck;
#[path = "cluster/tap.rs"]
mod tap;
#[path = "cluster/view.rs"]
mod view;

use std::time::Duration;

use innkeeper::{
    Away, CallError, ChildSpec, ExitReason, GetError, Keyed, NotDelivered, Outcome, StartError,
    StopError, Unknown,
};
use innkeeper_cluster::ClusterEvent;
use innkeeper_cluster::coordinator::{Change, Coordinator, Transaction};
use innkeeper_cluster::ownership::{Gate, Over};
use nodes::{Node, SECOND, SHARDS, Said, Say, World, until};

/// A process made by the macro.
struct Tally(u64);

#[innkeeper::process(remote)]
impl Tally {
    async fn init() -> Result<Self, StartError> {
        Ok(Tally(0))
    }

    /// Adds.
    #[call]
    fn add(&mut self, more: u64) -> u64 {
        self.0 += more;
        self.0
    }

    #[cast]
    fn clear(&mut self) {
        self.0 = 0;
    }
}

/// C1: the program of one node, but for one line.
#[tokio::test(start_paused = true)]
async fn a_process_of_the_macro_is_talked_to_by_its_methods_from_every_node() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    let mut scopes = Vec::new();
    for node in &nodes {
        let tallies = Keyed::<String, Tally>::with_args(ChildSpec::new(), |_| ());
        scopes.push(tallies.placed_by(&node.cluster).start(&node.supervisor).await.unwrap());
    }
    let key = "visits".to_owned();
    for (sum, scope) in (1..).zip(&scopes) {
        let tally = scope.get_or_start(&key).await.unwrap().process().unwrap();
        assert_eq!(tally.add(1).await.unwrap(), 2 * sum - 1);
        assert_eq!(scope.via(&key).add(1).await.unwrap(), 2 * sum);
    }
    scopes[0].via(&key).clear().await.unwrap();
    assert_eq!(scopes[1].via(&key).add(1).await.unwrap(), 1);
}

/// C1, C4, NEW-15
#[tokio::test(start_paused = true)]
async fn a_process_is_found_from_every_node_wherever_it_was_started() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    for owner in &nodes {
        let key = owner.key();
        let mut found = Vec::new();
        for node in &nodes {
            found.push(node.rooms.get_or_start(&key).await.unwrap());
        }
        assert!(found[0].is_started() && !found[1].is_started() && !found[2].is_started());
        let found: Vec<_> = found.into_iter().map(|found| found.process().unwrap()).collect();
        assert!(found.iter().all(|process| *process == found[0]));
        assert!(found.iter().all(|process| process.epoch() > 0));
        for (sum, process) in (1..).zip(&found) {
            assert_eq!(process.call(Say::Add(1)).await.unwrap(), Said::Number(sum));
        }
        for node in &nodes {
            let via = node.rooms.via(&key);
            via.cast(Say::Note(7)).await.unwrap();
            assert_eq!(via.call(Say::Epoch).await.unwrap(), Said::Number(found[0].epoch()));
            assert_eq!(node.rooms.get(&key).await.unwrap(), Outcome::Existing(found[0].clone()));
        }
        let noted = found[0].call(Say::Noted).await.unwrap();
        assert_eq!(noted, Said::Numbers(vec![7, 7, 7]));
    }
    assert_eq!((world.house.census.alive(), world.house.census.ever()), (3, 3));
}

/// C1
#[tokio::test(start_paused = true)]
async fn a_process_is_stopped_from_any_node_and_its_key_is_free_then() {
    let world = World::new();
    let [a, b, _c] = world.nodes::<3>().await;
    let key = a.key();
    let first = b.room(&key).await;
    b.rooms.stop(&key).await.unwrap();
    assert_eq!(world.house.census.alive(), 0);
    assert_eq!(*world.house.ended.lock(), [(key.clone(), ExitReason::Shutdown)]);
    assert_eq!(b.rooms.stop(&key).await, Err(StopError::NotFound));
    assert_eq!(b.rooms.get(&key).await, Err(GetError::NotFound));
    let late = first.call(Say::Add(1)).await;
    assert!(matches!(
        late,
        Err(CallError::NotDelivered { message: Say::Add(1), why: NotDelivered::Ended })
    ));
    assert_ne!(b.room(&key).await, first);
}

/// C1: what an `init` says is told to whoever asked, wherever.
#[tokio::test(start_paused = true)]
async fn a_start_that_fails_or_declines_says_so_on_every_node() {
    let world = World::new();
    for node in &world.nodes::<3>().await {
        let asked = node.rooms.get_or_start(&"declines".to_owned()).await;
        assert_eq!(asked, Ok(Outcome::Ignored));
        let asked = node.rooms.get_or_start(&"fails".to_owned()).await;
        assert_eq!(asked, Err(GetError::InitFailed(ExitReason::failed("told to"))));
        let called = node.rooms.via(&"fails".to_owned()).call(Say::Epoch).await;
        let Err(CallError::NotDelivered { why: NotDelivered::NoProcess(why), .. }) = called else {
            panic!("{called:?}");
        };
        assert_eq!(why, GetError::InitFailed(ExitReason::failed("told to")));
    }
}

/// C2, NEW-17
#[tokio::test(start_paused = true)]
async fn nodes_that_join_at_once_have_every_shard_once() {
    let world = World::new();
    let joined = tokio::join!(world.node("a"), world.node("b"), world.node("c"));
    let nodes = [joined.0, joined.1, joined.2];
    until(|| nodes.iter().map(Node::open).sum::<usize>() == usize::from(SHARDS)).await;
    for number in 0..30 {
        let key = format!("key-{number}");
        let (a, b, c) = tokio::join!(nodes[0].room(&key), nodes[1].room(&key), nodes[2].room(&key));
        assert!(a == b && b == c, "{key}");
    }
    assert_eq!(world.house.census.most_of_one_key(), 1);
}

/// C2, P2, V1-11
#[tokio::test(start_paused = true)]
async fn a_thousand_who_ask_on_all_nodes_at_once_are_given_one_process_each_key() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    let mut asks = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let rooms = nodes[number % 3].rooms.clone();
        asks.spawn(async move {
            let key = format!("key-{}", number / 3 % 20);
            let outcome = rooms.get_or_start(&key).await.unwrap();
            (key, outcome.is_started(), outcome.process().unwrap().incarnation())
        });
    }
    let all = asks.join_all().await;
    for number in 0..20 {
        let key = format!("key-{number}");
        let of_key: Vec<_> = all.iter().filter(|(of, ..)| *of == key).collect();
        assert_eq!(of_key.iter().filter(|(_, started, _)| *started).count(), 1);
        assert!(of_key.iter().all(|(_, _, incarnation)| *incarnation == of_key[0].2));
    }
    assert_eq!((world.house.census.ever(), world.house.census.most_of_one_key()), (20, 1));
}

/// P9, C1: to one key, from one node.
#[tokio::test(start_paused = true)]
async fn what_is_said_to_a_process_elsewhere_arrives_in_order() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let key = a.key();
    let room = b.room(&key).await;
    for number in 0..100 {
        room.cast(Say::Note(number)).await.unwrap();
    }
    let noted = room.call(Say::Noted).await.unwrap();
    assert_eq!(noted, Said::Numbers((0..100).collect()));
}

/// C1: the outcomes of a call.
#[tokio::test(start_paused = true)]
async fn a_call_to_another_node_ends_in_a_reply_or_not_delivered_or_unknown() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let key = a.key();
    let via = b.rooms.via(&key);
    assert_eq!(via.call(Say::Add(2)).await.unwrap(), Said::Number(2));
    let crashed = via.call(Say::Panic).await;
    assert!(matches!(crashed, Err(CallError::Unknown(Unknown::Crashed))), "{crashed:?}");
    // Begun, and not answered in time.
    let late = via.call(Say::Hold("gate".to_owned())).timeout(SECOND).await;
    assert!(matches!(late, Err(CallError::Unknown(Unknown::Timeout))), "{late:?}");
    // Not begun in time: the process still holds.
    let waited = via.call(Say::Add(1)).timeout(SECOND).await;
    let is_fine = match &waited {
        Err(CallError::NotDelivered { message: Say::Add(1), why: NotDelivered::Timeout }) => true,
        // Its withdrawal and the end of the caller's patience cross on the wire.
        Err(CallError::Unknown(Unknown::Timeout)) => true,
        _ => false,
    };
    assert!(is_fine, "{waited:?}");
    world.house.gate("gate").notify_one();
    assert_eq!(via.call(Say::Add(2)).await.unwrap(), Said::Number(2), "it was withdrawn");
}

/// C1
#[tokio::test(start_paused = true)]
async fn a_call_whose_link_breaks_is_unknown_and_whose_owner_is_out_of_reach_not_delivered() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let key = a.key();
    let via = b.rooms.via(&key);
    let begun = via.call(Say::Hold("gate".to_owned()));
    let cut = async {
        world.house.reached.notified().await;
        world.wires.unplug("node-0:1");
        world.wires.cut("node-0:1", "node-1:1");
    };
    let (begun, ()) = tokio::join!(begun, cut);
    assert!(matches!(begun, Err(CallError::Unknown(Unknown::Unreachable))), "{begun:?}");
    let next = via.call(Say::Add(1)).timeout(SECOND).await;
    let Err(CallError::NotDelivered { message: Say::Add(1), why }) = next else {
        panic!("{next:?}");
    };
    assert!(
        matches!(why, NotDelivered::Away(Away::Unreachable) | NotDelivered::Timeout),
        "{why:?}"
    );
}

/// C3, C7
#[tokio::test(start_paused = true)]
async fn the_keys_of_a_node_that_died_are_served_by_others_under_a_higher_epoch() {
    let world = World::new();
    let [a, b, c] = world.nodes::<3>().await;
    let key = a.key();
    let before = b.room(&key).await;
    assert_eq!(before.call(Say::Add(5)).await.unwrap(), Said::Number(5));
    a.die().await;
    let via = c.rooms.via(&key);
    // Whoever asks meanwhile waits, within the time that it gives.
    let sum = via.call(Say::Add(1)).timeout(10 * SECOND).await.unwrap();
    assert_eq!(sum, Said::Number(1));
    let after = b.room(&key).await;
    assert!(after.epoch() > before.epoch() && after != before);
    until(|| b.open() + c.open() == usize::from(SHARDS)).await;
}

/// C2: they sit idle, and nothing else would tell them.
#[tokio::test(start_paused = true)]
async fn the_processes_of_a_node_that_was_evicted_end_with_its_session() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let keys: Vec<_> = a.keys().take(10).collect();
    for key in &keys {
        let _ = b.room(key).await;
    }
    let key = format!("test/node/{:016x}", a.cluster.node().session().node.0);
    let delete = Transaction { writes: vec![Change::Delete(key)], ..Transaction::default() };
    world.memory.commit(delete, SECOND).await.unwrap();
    assert_eq!(a.over().await, Over::Evicted);
    until(|| world.house.census.alive() == 0).await;
    assert!(world.house.ended.lock().is_empty(), "no terminate runs");
    // They begin anew elsewhere, when somebody asks.
    assert_eq!(b.room(&keys[0]).await.call(Say::Add(1)).await.unwrap(), Said::Number(1));
}

/// C7
#[tokio::test(start_paused = true)]
async fn others_are_told_that_a_node_was_evicted_and_where_its_shards_went() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let theirs = b.open();
    let mut events = a.cluster.events();
    b.die().await;
    until(|| a.open() == usize::from(SHARDS)).await;
    let evicted = ClusterEvent::Evicted { node: "node-1".to_owned() };
    assert_eq!(events.recv().await.unwrap(), evicted);
    for _ in 0..theirs {
        let ClusterEvent::Moved { shard, epoch, from, to } = events.recv().await.unwrap() else {
            panic!("expected that a shard has moved");
        };
        assert_eq!((from.as_deref(), to.as_deref()), (Some("node-1"), Some("node-0")));
        assert_eq!(a.cluster.node().gate(shard), Gate::Open(epoch));
    }
    assert!(events.is_empty());
}

/// C7: it did not die, though it gives nothing away.
#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_at_once_says_so_before() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let mut events = a.cluster.events();
    b.cluster.node().leave().await;
    assert_eq!(b.over().await, Over::Left);
    let left = ClusterEvent::Left { node: "node-1".to_owned() };
    assert_eq!(events.recv().await.unwrap(), left);
}

/// C5: nothing is written for a key, however many begin.
#[tokio::test(start_paused = true)]
async fn ten_thousand_keys_begin_and_only_heartbeats_are_written() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let records = async || {
        let all = world.memory.list("test/".to_owned(), SECOND).await.unwrap();
        let kept = all.entries.into_iter().filter(|entry| !entry.key.starts_with("test/hb/"));
        (all.revision, kept)
    };
    let ((before, kept), began) = (records().await, tokio::time::Instant::now());
    for number in 0..10_000 {
        let _ = [&a, &b][number % 2].room(&format!("key-{number}")).await;
    }
    assert_eq!(world.house.census.alive(), 10_000);
    tokio::time::sleep(3 * SECOND).await;
    let ((after, same), seconds) = (records().await, began.elapsed().as_secs());
    assert!(kept.eq(same), "records other than of heartbeats were written");
    let most = 2 * (seconds + 1);
    assert!((2..=most).contains(&(after - before)), "{} in {seconds} s", after - before);
}

/// C6: without state: it ends in order, and begins anew where it goes.
#[tokio::test(start_paused = true)]
async fn a_node_that_drains_ends_its_processes_in_order_and_callers_wait_for_the_next() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let keys: Vec<_> = a.keys().take(20).collect();
    for key in &keys {
        let _ = b.room(key).await;
    }
    a.cluster.node().drain().await;
    let mut calls = tokio::task::JoinSet::new();
    for key in keys.clone() {
        let rooms = b.rooms.clone();
        calls.spawn(async move {
            for _ in 0..20 {
                rooms.via(&key).call(Say::Add(1)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    calls.join_all().await;
    let why: Vec<_> = world.house.ended.lock().iter().map(|(_, why)| why.clone()).collect();
    assert_eq!(why, vec![ExitReason::Shutdown; 20]);
    assert_eq!(a.over().await, Over::Left);
    assert_eq!(world.house.census.most_of_one_key(), 1);
    assert_eq!(b.open(), usize::from(SHARDS));
}

/// C3, C9
#[tokio::test(start_paused = true)]
async fn the_end_of_a_process_elsewhere_is_noticed_and_so_is_that_of_its_node() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let mut keys = a.keys();
    let (stopped, killed, lost) =
        (keys.next().unwrap(), keys.next().unwrap(), keys.next().unwrap());
    let room = b.room(&stopped).await;
    let end = tokio::task::spawn(async move { room.ended().await });
    tokio::time::sleep(SECOND / 10).await;
    a.rooms.stop(&stopped).await.unwrap();
    assert_eq!(end.await.unwrap(), ExitReason::Shutdown);
    let room = b.room(&killed).await;
    room.kill();
    assert_eq!(room.ended().await, ExitReason::Killed);
    let room = b.room(&lost).await;
    let end = tokio::task::spawn(async move { room.ended().await });
    tokio::time::sleep(SECOND / 10).await;
    drop(keys);
    a.die().await;
    assert_eq!(end.await.unwrap(), ExitReason::Unreachable);
}

/// C6
#[tokio::test(start_paused = true)]
async fn a_process_that_moves_takes_its_state_and_the_casts_that_waited_along() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let key = a.keeping_key();
    let before = b.room(&key).await;
    assert_eq!(before.call(Say::Add(5)).await.unwrap(), Said::Number(5));
    // It is in the midst of something, and something waits for it.
    before.cast(Say::Hold("gate".to_owned())).await.unwrap();
    world.house.reached.notified().await;
    let via = b.rooms.via(&key);
    for number in 0..3 {
        via.cast(Say::Note(number)).await.unwrap();
    }
    let mut waits = Box::pin(via.call(Say::Noted));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(waits.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    a.cluster.node().drain().await;
    until(|| !a.has(&key)).await;
    world.house.gate("gate").notify_one();
    assert_eq!(waits.await.unwrap(), Said::Numbers(vec![0, 1, 2]));
    assert_eq!(via.call(Say::Add(1)).await.unwrap(), Said::Number(6));
    let after = b.room(&key).await;
    assert!(after.epoch() > before.epoch() && after != before);
    assert!(world.house.ended.lock().is_empty(), "no terminate runs");
    assert_eq!(world.house.census.most_of_one_key(), 1);
    assert_eq!(a.over().await, Over::Left);
}

/// C6: shards that were claimed together have the same epoch, and are not the same.
#[tokio::test(start_paused = true)]
async fn a_shard_that_moves_leaves_the_processes_of_the_others_alone() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let moves = a.keeping_key();
    let stays = a.keys().find(|key| a.shard(key) != a.shard(&moves)).unwrap();
    let (moved, stayed) = (a.room(&moves).await, a.room(&stays).await);
    assert_eq!(moved.epoch(), stayed.epoch());
    let _ = stayed.call(Say::Add(5)).await.unwrap();
    a.cluster.node().give(a.shard(&moves), b.cluster.node().session().node).await;
    until(|| b.has(&moves)).await;
    assert_eq!(b.room(&stays).await, stayed);
    assert_eq!(stayed.call(Say::Add(1)).await.unwrap(), Said::Number(6));
    assert!(world.house.ended.lock().is_empty(), "it was ended");
}

/// C6
#[tokio::test(start_paused = true)]
async fn a_process_whose_shard_stays_after_all_goes_on_with_its_state() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let key = a.keeping_key();
    let before = a.room(&key).await;
    assert_eq!(before.call(Say::Add(5)).await.unwrap(), Said::Number(5));
    // Its state cannot get there.
    world.wires.silence("node-0:1", "node-1:1");
    let node = a.cluster.node();
    node.give(a.shard(&key), b.cluster.node().session().node).await;
    until(|| !a.has(&key)).await;
    let sum = a.rooms.via(&key).call(Say::Add(1)).timeout(10 * SECOND).await;
    assert_eq!(sum.unwrap(), Said::Number(6));
    assert_eq!(a.room(&key).await.epoch(), before.epoch());
    assert_eq!(world.house.census.most_of_one_key(), 1);
}

/// C6: they begin where they are now, though nobody asks for them.
#[tokio::test(start_paused = true)]
async fn processes_that_took_something_along_begin_by_themselves() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let key = a.keeping_key();
    let _ = a.room(&key).await.call(Say::Add(5)).await.unwrap();
    a.cluster.node().drain().await;
    assert_eq!(a.over().await, Over::Left);
    until(|| b.rooms.whereis(&key).is_some()).await;
    assert_eq!(world.house.census.alive(), 1);
}
