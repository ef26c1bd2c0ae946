//! What came along with a shard stays with it until a process has had it.

use innkeeper::{ExitReason, GetError};

use super::moves::History;
use super::nodes::{Init, Node, Said, Say, World, shard_of, until};

/// A key whose room on the first node has counted to one, and takes that along.
async fn counted(node: &Node) -> (String, u16) {
    let key = node.keeping_key();
    assert_eq!(node.room(&key).await.call(Say::Step(1)).await.unwrap(), Said::Number(1));
    let shard = shard_of(&key);
    (key, shard)
}

/// C6: the one that the shard's arrival has begun, and the next by whoever asks.
#[tokio::test(start_paused = true)]
async fn an_init_that_fails_leaves_what_was_handed_to_it_to_the_next() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let (key, shard) = counted(&a).await;
    world.house.plan_inits([Init::Fail, Init::Fail]);
    a.cluster.node().give(shard, b.cluster.node().session().node).await;
    until(|| b.has(&key) && world.house.inits_left() < 2).await;
    let failed = b.rooms.get_or_start(&key).await;
    assert_eq!(failed, Err(GetError::InitFailed(ExitReason::failed("told to"))));
    assert_eq!(b.room(&key).await.call(Say::Step(2)).await.unwrap(), Said::Number(2));
    let history = History::of(&world.memory).await;
    assert_eq!(world.house.moves.lock().verdict(&history, shard_of).unwrap().exact, 1);
}

/// C6
#[tokio::test(start_paused = true)]
async fn what_no_process_has_had_yet_goes_on_with_its_shard() {
    let world = World::new();
    let [a, b, c] = world.nodes::<3>().await;
    let (key, shard) = counted(&a).await;
    a.room(&key).await.cast(Say::Step(2)).await.unwrap();
    // It begins to arrive, and is not ready when the shard goes on.
    world.house.plan_inits([Init::Hold]);
    a.cluster.node().give(shard, b.cluster.node().session().node).await;
    world.house.reached.notified().await;
    assert!(b.has(&key));
    b.cluster.node().give(shard, c.cluster.node().session().node).await;
    until(|| c.has(&key)).await;
    let room = c.room(&key).await;
    assert_eq!(room.call(Say::Step(3)).await.unwrap(), Said::Number(3));
    let history = History::of(&world.memory).await;
    assert_eq!(world.house.moves.lock().verdict(&history, shard_of).unwrap().exact, 1);
}
