//! Keys whose processes run without being asked for, wherever their shards are served.

use std::collections::BTreeSet;

use innkeeper_cluster::ownership::Over;
use tokio::time::sleep;

use super::nodes::{Node, SECOND, Said, Say, World, remembered_key, until};

const KEYS: usize = 1_500;

/// Three nodes on which all of them run.
async fn running() -> (World, [Node; 3]) {
    let mut world = World::new();
    world.remembered = KEYS;
    let nodes = world.nodes::<3>().await;
    until(|| nodes.iter().map(|node| node.rooms.count()).sum::<usize>() == KEYS).await;
    // What has moved while the nodes joined has ended before it began elsewhere.
    assert_eq!(world.house.census.most_of_one_key(), 1);
    (world, nodes)
}

/// That none was ready twice under one right.
fn never_two(world: &World) {
    let started = world.house.started.lock();
    let distinct: BTreeSet<_> = started.iter().collect();
    assert_eq!(distinct.len(), started.len());
}

/// C7: nobody asks for them.
#[tokio::test(start_paused = true)]
async fn remembered_keys_of_a_node_that_is_lost_live_again_elsewhere_at_their_rate() {
    let (world, [a, b, c]) = running().await;
    let before = b.rooms.count() + c.rooms.count();
    let count = || b.rooms.count() + c.rooms.count();
    assert!(KEYS - before > 200, "the first one has {}", KEYS - before);
    a.die().await;
    until(|| count() > before).await;
    let mut last = count();
    while last < KEYS {
        sleep(SECOND / 10).await;
        let now = count();
        // Two nodes, 200 a second each, and what was due at the very instant.
        assert!(now - last <= 40 + 2, "{} within a tenth of a second", now - last);
        last = now;
    }
    never_two(&world);
    for number in 0..KEYS {
        let said = b.rooms.via(&remembered_key(number)).call(Say::Add(1)).await.unwrap();
        assert_eq!(said, Said::Number(1));
    }
    assert_eq!(count(), KEYS);
}

/// C6: without state, too.
#[tokio::test(start_paused = true)]
async fn remembered_keys_of_a_node_that_drains_live_on_elsewhere() {
    let (world, [a, b, c]) = running().await;
    a.cluster.node().drain().await;
    assert_eq!(a.over().await, Over::Left);
    until(|| b.rooms.count() + c.rooms.count() == KEYS).await;
    sleep(60 * SECOND).await;
    assert_eq!(world.house.census.alive(), KEYS);
    assert_eq!(world.house.census.most_of_one_key(), 1);
    never_two(&world);
}
