//! A planned move, step by step: at each of them what is sent is lost, late or doubled, or one of
//! the two nodes dies.

use std::collections::HashMap;
use std::time::Duration;

use innkeeper::CallError;
use innkeeper_cluster::Cluster;
use innkeeper_cluster::ownership::Gate;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::clerk::Rule;
use super::moves::{History, How, Seen};
use super::nodes::{Node, SECOND, Said, Say, World, shard_of, until};
use super::tap::{Fate, Passing};

/// How far the move has come.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A message that was begun is not done.
    Draining,
    /// A process is asked what it takes along.
    Packing,
    /// This part of what it takes along is under way.
    Part(u32),
    /// The word is under way that it was taken.
    Taken(u32),
    /// The transfer is under way to the coordinator.
    Asked,
    /// It was carried out, and the answer is under way.
    Answered,
}

/// What goes wrong then.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Sent(Fate),
    OwnerDies,
    TargetDies,
}

/// How many processes the shard has, each of which makes a part of its own.
const ROOMS: usize = 3;
/// What each of them takes along, in bytes.
const LOAD: usize = 300 << 10;
/// C7: D and a second.
const ANSWERS: Duration = Duration::from_secs(6);

use Fate::{Doubled, Late, Lost};
use Fault::{OwnerDies, Sent, TargetDies};

/// How the shard has its next epoch then. `None`: it stays, under the one that it has.
fn expected(step: Step, fault: Fault) -> Option<How> {
    match (step, fault) {
        // What was written is not undone by anybody's death.
        (Step::Answered, _) => Some(How::Transferred),
        (_, OwnerDies) => Some(How::Claimed),
        (_, Sent(Doubled)) => Some(How::Transferred),
        // It may have been carried out, so it is made impossible.
        (Step::Asked, _) => Some(How::Kept),
        _ => None,
    }
}

#[allow(clippy::print_stdout)] // What was measured is told with it.
async fn at_each_step(steps: &[Step], faults: &[Fault]) {
    for &step in steps {
        for &fault in faults {
            let (answered, Seen { transferred, kept, exact, carried }) = one(step, fault).await;
            println!(
                "{step:?}, {fault:?}: answers again after {answered:?}; {transferred} moves, \
                 {kept} kept, {exact} rooms as they were, {carried} casts came along"
            );
        }
    }
}

/// C2, C3, C6, C7
#[tokio::test(start_paused = true)]
async fn either_node_dies_while_a_shard_is_packed() {
    at_each_step(&[Step::Draining, Step::Packing], &[OwnerDies, TargetDies]).await;
}

/// C2, C3, C6, C7
#[tokio::test(start_paused = true)]
async fn a_part_of_what_a_shard_takes_along_is_lost_late_or_doubled_or_a_node_dies() {
    let parts = [Step::Part(0), Step::Part(1), Step::Part(2)];
    at_each_step(&parts, &[Sent(Lost), Sent(Late), Sent(Doubled), OwnerDies, TargetDies]).await;
}

/// C2, C3, C6, C7
#[tokio::test(start_paused = true)]
async fn the_word_that_a_part_was_taken_is_lost_late_or_doubled_or_a_node_dies() {
    let taken = [Step::Taken(0), Step::Taken(1), Step::Taken(2)];
    at_each_step(&taken, &[Sent(Lost), Sent(Late), Sent(Doubled), OwnerDies, TargetDies]).await;
}

/// C2, C3, C6, C7
#[tokio::test(start_paused = true)]
async fn a_transfer_is_lost_late_or_doubled_or_a_node_dies() {
    let faults = [Sent(Lost), Sent(Late), Sent(Doubled), OwnerDies, TargetDies];
    at_each_step(&[Step::Asked], &faults).await;
}

/// C2, C3, C6, C7
#[tokio::test(start_paused = true)]
async fn the_answer_to_a_transfer_is_lost_or_a_node_dies() {
    at_each_step(&[Step::Answered], &[Sent(Lost), OwnerDies, TargetDies]).await;
}

/// C6: the first comes to nothing when all of it has arrived; the second has less to bring.
#[tokio::test(start_paused = true)]
async fn a_move_that_is_tried_again_brings_what_there_is_then_and_nothing_from_before() {
    let world = World::new();
    let [a, b, _c] = world.nodes::<3>().await;
    let (key, epoch) = begin_something(&world, &a).await;
    let (shard, target) = (shard_of(&key), b.cluster.node().session().node);
    world.tap.rule(Passing::Taken(ROOMS as u32 - 1), Lost);
    world.house.gate("hold").notify_one();
    a.cluster.node().give(shard, target).await;
    world.tap.reached.notified().await;
    until(|| a.has(&key)).await;
    for key in keys_of(shard) {
        let _ = a.room(&key).await.call(Say::Load(0)).await.unwrap();
    }
    a.room(&key).await.call(Say::Step(5)).await.unwrap();
    a.cluster.node().give(shard, target).await;
    until(|| b.has(&key)).await;
    let _ = b.room(&key).await;
    let history = History::of(&world.memory).await;
    assert_eq!(history.find(shard, epoch + 1), Some(How::Transferred));
    let seen = world.house.moves.lock().verdict(&history, shard_of).unwrap();
    assert!(seen.exact >= 1, "{seen:?}");
}

/// C6: what is under way of the first try arrives in the midst of the second.
#[tokio::test(start_paused = true)]
async fn a_part_of_an_earlier_try_that_comes_late_is_not_mixed_into_a_later_one() {
    let world = World::new();
    let [a, b, _c] = world.nodes::<3>().await;
    let (key, epoch) = begin_something(&world, &a).await;
    let (shard, target) = (shard_of(&key), b.cluster.node().session().node);
    // Each room makes two: this is the one with the count of the second.
    world.tap.rule(Passing::Part(2), Late);
    world.house.gate("hold").notify_one();
    a.cluster.node().give(shard, target).await;
    world.tap.reached.notified().await;
    until(|| a.has(&key)).await;
    // The same number of parts, and in each of them something else.
    for key in keys_of(shard) {
        a.room(&key).await.call(Say::Step(5)).await.unwrap();
    }
    world.tap.rule(Passing::Part(3), Fate::Slow);
    a.cluster.node().give(shard, target).await;
    until(|| b.has(&key)).await;
    for key in keys_of(shard) {
        let _ = b.room(&key).await;
    }
    let history = History::of(&world.memory).await;
    assert_eq!(history.find(shard, epoch + 1), Some(How::Transferred));
    let seen = world.house.moves.lock().verdict(&history, shard_of).unwrap();
    assert_eq!(seen.exact, ROOMS as u64, "{seen:?}");
}

/// Lets one go wrong. Answers after how long the key answers again, and what came along.
async fn one(step: Step, fault: Fault) -> (Duration, Seen) {
    let world = World::new();
    let [a, b, c] = world.nodes::<3>().await;
    let (key, epoch) = begin_something(&world, &a).await;
    let shard = shard_of(&key);
    let clusters = [&a, &b, &c].map(|node| node.cluster.clone());
    let mut watching = JoinSet::new();
    watching.spawn(at_most_one_gate(clusters, shard));
    prepare(&world, step, fault);
    let calls = tokio::spawn(call_it(c.rooms.clone(), key.clone()));

    a.cluster.node().give(shard, b.cluster.node().session().node).await;
    until(|| !a.has(&key)).await;
    let hold = world.house.gate("hold");
    match step {
        Step::Draining => {}
        Step::Packing => {
            hold.notify_one();
            world.house.reached.notified().await;
        }
        Step::Part(_) | Step::Taken(_) => {
            hold.notify_one();
            world.tap.reached.notified().await;
        }
        Step::Asked | Step::Answered => {
            hold.notify_one();
            world.clerk.reached.notified().await;
        }
    }
    let since = Instant::now();
    let (mut a, mut b) = (Some(a), Some(b));
    match fault {
        OwnerDies => a.take().unwrap().die().await,
        TargetDies => b.take().unwrap().die().await,
        Sent(_) => {}
    }
    hold.notify_one();
    world.house.gate("packing").notify_one();
    let told = calls.await.unwrap();
    assert!(watching.try_join_next().is_none(), "{step:?} {fault:?}: two gates were open");

    let history = History::of(&world.memory).await;
    assert_eq!(history.find(shard, epoch + 1), expected(step, fault), "{step:?} {fault:?}");
    let verdict = world.house.moves.lock().verdict(&history, shard_of);
    let seen = verdict.unwrap_or_else(|why| panic!("{step:?} {fault:?}: {why}"));
    if expected(step, fault) == Some(How::Transferred) && !matches!(fault, TargetDies) {
        assert!(seen.exact >= ROOMS as u64, "{step:?} {fault:?}: {seen:?}");
    }
    check_calls(&world, &told, &format!("{step:?} {fault:?}"));
    let answers = told.iter().filter(|it| matches!(it.outcome, Outcome::Replied));
    let first = answers.map(|it| it.ended).filter(|ended| *ended > since).min();
    let answered = first.unwrap_or_else(|| panic!("{step:?} {fault:?}: it never answers")) - since;
    assert!(answered <= ANSWERS, "{step:?} {fault:?}: it answers after {answered:?}");
    (answered, seen)
}

/// Rooms of one shard that have something to take along; one of them is at something, and casts
/// wait for it. Answers that one's key, and the epoch.
async fn begin_something(world: &World, node: &Node) -> (String, u64) {
    let keys = keys_of(shard_of(&node.keeping_key()));
    for key in &keys {
        let _ = node.room(key).await.call(Say::Load(LOAD)).await.unwrap();
    }
    let (key, room) = (keys[0].clone(), node.room(&keys[0]).await);
    room.call(Say::Step(1)).await.unwrap();
    room.cast(Say::Hold("hold".to_owned())).await.unwrap();
    world.house.reached.notified().await;
    for id in 2..5 {
        room.cast(Say::Step(id)).await.unwrap();
        world.house.moves.lock().accepted(0, &key, room.epoch(), id);
    }
    (key, room.epoch())
}

/// Keys of a shard whose rooms take something along.
fn keys_of(shard: u16) -> Vec<String> {
    let keys = (0..100_000).map(|number| format!("keeps-{number}"));
    keys.filter(|key| shard_of(key) == shard).take(ROOMS).collect()
}

/// Sees to it that it goes wrong there.
fn prepare(world: &World, step: Step, fault: Fault) {
    // Who dies has said nothing more.
    let fate = match fault {
        Sent(fate) => fate,
        OwnerDies | TargetDies => Lost,
    };
    match step {
        Step::Draining => {}
        Step::Packing => world.house.pack_slowly(),
        Step::Part(number) => world.tap.rule(Passing::Part(number), fate),
        Step::Taken(number) => world.tap.rule(Passing::Taken(number), fate),
        Step::Asked => world.clerk.rule(Rule::Asked(fate)),
        Step::Answered => world.clerk.rule(Rule::Unanswered),
    }
}

/// Ends if two nodes may act for a shard at once.
async fn at_most_one_gate(clusters: [Cluster; 3], shard: u16) {
    let is_open = |it: &&Cluster| matches!(it.node().gate(shard), Gate::Open(_));
    while clusters.iter().filter(is_open).count() <= 1 {
        sleep(Duration::from_millis(5)).await;
    }
}

/// What became of a call.
enum Outcome {
    Replied,
    NotDelivered,
    Unknown,
}

struct Told {
    id: u64,
    outcome: Outcome,
    ended: Instant,
}

/// Calls the room of a key again and again from another node.
async fn call_it(rooms: innkeeper::Keyed<String, super::nodes::Room>, key: String) -> Vec<Told> {
    let mut calls = JoinSet::new();
    for id in 100..250 {
        let (rooms, key) = (rooms.clone(), key.clone());
        calls.spawn(async move {
            let outcome = match rooms.via(&key).call(Say::Step(id)).timeout(2 * SECOND).await {
                Ok(Said::Number(_)) => Outcome::Replied,
                Ok(said) => panic!("{said:?}"),
                Err(CallError::NotDelivered { .. }) => Outcome::NotDelivered,
                Err(_) => Outcome::Unknown,
            };
            Told { id, outcome, ended: Instant::now() }
        });
        sleep(SECOND / 10).await;
    }
    calls.join_all().await
}

/// Each ran once, not at all, or at most once, as its caller was told; and nothing ran under an
/// epoch after something had under a later.
fn check_calls(world: &World, told: &[Told], what: &str) {
    let (mut times, mut last) = (HashMap::new(), HashMap::new());
    for (key, epoch, id) in world.house.begun.lock().iter() {
        *times.entry(*id).or_insert(0) += 1;
        let before = last.insert(key.clone(), *epoch).unwrap_or(0);
        assert!(before <= *epoch, "{what}: {key} ran under {epoch} after {before}");
    }
    for call in told {
        let times = times.get(&call.id).copied().unwrap_or(0);
        let is_right = match call.outcome {
            Outcome::Replied => times == 1,
            Outcome::NotDelivered => times == 0,
            Outcome::Unknown => times <= 1,
        };
        assert!(is_right, "{what}: call {} ran {times} times", call.id);
    }
}
