//! All processes of a scope, seen and ended from any node.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use innkeeper::{
    Away, ChildSpec, Context, Gathered, Keyed, Message, Missing, NoAnswer, Page, Process, ReplyTo,
    StartError, State,
};
use innkeeper_cluster::ownership::Gate;
use innkeeper_cluster::{Cluster, Remote};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::nodes::{Node, SECOND, SHARDS, Said, Say, World, until};

const ALL: (Bound<String>, Bound<String>) = (Bound::Unbounded, Bound::Unbounded);

fn keys(page: &Page<String>) -> Vec<&str> {
    page.rows.iter().map(|row| row.key.as_str()).collect()
}

/// Starts so many rooms, on whatever nodes; answers their keys in order.
async fn open(node: &Node, rooms: usize) -> Vec<String> {
    let mut keys: Vec<_> = (0..rooms).map(|number| format!("room-{number}")).collect();
    for key in &keys {
        let _ = node.room(key).await;
    }
    keys.sort();
    keys
}

/// All pages of a range, of so many keys each.
async fn paged(node: &Node, limit: usize) -> Vec<String> {
    let (mut all, mut from) = (Vec::new(), Bound::Unbounded);
    loop {
        let page = node.rooms.everywhere().page((from, Bound::Unbounded), limit).await;
        assert!(page.is_whole(), "{page:?}");
        assert!(page.value.rows.len() <= limit);
        all.extend(keys(&page.value).into_iter().map(str::to_owned));
        match page.value.next {
            Some(next) => from = Bound::Excluded(next),
            None => return all,
        }
    }
}

fn owner<'a>(nodes: &'a [Node], key: &str) -> &'a Node {
    nodes.iter().find(|node| node.has(key)).unwrap()
}

/// C1, C4: the program of one node.
#[tokio::test(start_paused = true)]
async fn all_keys_are_counted_and_listed_in_order_from_every_node() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    let all = open(&nodes[0], 50).await;
    for node in &nodes {
        assert!(node.rooms.count() < 50, "its own alone");
        assert_eq!(node.rooms.everywhere().count().await, Gathered::whole(50));
        let others = nodes.iter().filter(|other| other.name != node.name);
        let others = others.map(|other| (Some(other.name.as_str()), other.rooms.count()));
        let counts = node.rooms.everywhere().count_by_node().await.value;
        let counts: Vec<_> = counts.iter().map(|at| (at.node.as_deref(), at.keys)).collect();
        let own = std::iter::once((None, node.rooms.count()));
        assert_eq!(counts, own.chain(others).collect::<Vec<_>>());
        for limit in [1, 7, 50, 51] {
            assert_eq!(paged(node, limit).await, all, "pages of {limit}");
        }
        let page = node.rooms.everywhere().page(ALL, 100).await;
        for row in &page.value.rows {
            let runs_on = owner(&nodes, &row.key);
            let name = row.info.node.as_deref().unwrap_or(&node.name);
            assert_eq!(name, runs_on.name);
            assert_eq!(row.info.node.is_none(), node.has(&row.key));
            let room = runs_on.rooms.info(&row.key).unwrap();
            assert_eq!(row.info.incarnation, room.incarnation);
            assert_eq!((row.info.epoch, &row.info.name), (room.epoch, &room.name));
            assert_eq!(row.info.state, Some(State::Live));
        }
        // A search by prefix.
        let range = (Bound::Included("room-4".to_owned()), Bound::Unbounded);
        let page = node.rooms.everywhere().page(range, 11).await;
        let expected = all.iter().skip_while(|key| key.as_str() < "room-4").take(11);
        assert_eq!(keys(&page.value), expected.collect::<Vec<_>>());
        let none = node.rooms.everywhere().page("x".to_owned().., 11).await;
        assert!(none.is_whole() && none.value.rows.is_empty() && none.value.next.is_none());
    }
}

/// C8, NEW-18: whose part it is, and nothing is made up for it.
#[tokio::test(start_paused = true)]
async fn an_answer_that_lacks_the_part_of_a_silent_node_says_so_at_its_deadline() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    let all = open(&nodes[0], 40).await;
    let [a, _, c] = &nodes;
    let others: Vec<_> = all.iter().filter(|key| !c.has(key)).collect();
    world.wires.silence("node-0:1", "node-2:1");
    world.wires.silence("node-2:1", "node-0:1");
    let missing = [Missing::Node { name: "node-2".to_owned(), why: NoAnswer::Late }];
    let began = Instant::now();
    let looked = || a.rooms.everywhere().timeout(SECOND);
    let page = looked().page(ALL, 100).await;
    assert!(began.elapsed() < SECOND + SECOND / 10);
    assert_eq!((keys(&page.value).len(), &page.missing[..]), (others.len(), &missing[..]));
    assert_eq!(keys(&page.value), others);
    let count = looked().count().await;
    assert_eq!(count, Gathered { value: others.len(), missing: missing.to_vec() });
    let there = all.iter().find(|key| c.has(key)).unwrap();
    assert_eq!(looked().info(there).await.unwrap_err(), NoAnswer::Late);
    assert!(looked().info(others[0]).await.unwrap().is_some(), "of another node");
    world.wires.heal("node-0:1", "node-2:1");
    world.wires.cut("node-0:1", "node-2:1");
    assert_eq!(a.rooms.everywhere().count().await, Gathered::whole(40));
}

/// C4: nothing is missing once others act for the keys of a node that is gone.
#[tokio::test(start_paused = true)]
async fn a_question_outlasts_the_end_of_a_node_if_its_asker_does() {
    let world = World::new();
    let [a, b, c] = world.nodes::<3>().await;
    open(&a, 40).await;
    let left = a.rooms.count() + b.rooms.count();
    c.die().await;
    assert!(left < 40);
    let soon = a.rooms.everywhere().timeout(SECOND / 10).count().await;
    let why = NoAnswer::Away(Away::Unreachable);
    assert_eq!(soon.missing, [Missing::Node { name: "node-2".to_owned(), why }]);
    let late = a.rooms.everywhere().timeout(20 * SECOND).count().await;
    assert_eq!(late, Gathered::whole(left));
    assert_eq!(a.open() + b.open(), usize::from(SHARDS));
}

/// A key on one node that goes to another, and the question of a third that reaches one of the two
/// late: `asked_late`.
async fn listed_while_it_moves(asked_late: &str) -> (Gathered<Page<String>>, String) {
    let world = World::new();
    let [a, b, c] = world.nodes::<3>().await;
    let key = a.key();
    let (_, _) = (a.room(&key).await, b.room(&b.key()).await);
    // The links are there, and what is seen of the shards is the same everywhere.
    assert_eq!(c.rooms.everywhere().count().await, Gathered::whole(2));
    world.wires.delay("node-2:1", &format!("{asked_late}:1"), SECOND);
    let page = c.rooms.everywhere().page(ALL, 10);
    let moved = async {
        tokio::time::sleep(SECOND / 10).await;
        a.cluster.node().give(a.shard(&key), b.cluster.node().session().node).await;
        until(|| b.has(&key)).await;
        assert!(b.room(&key).await.is_alive());
    };
    let (page, ()) = tokio::join!(page, moved);
    (page, key)
}

/// C1, C6: seen at its first owner, and then at its second, which was not asked for it.
#[tokio::test(start_paused = true)]
async fn a_key_that_moves_to_a_node_which_is_asked_later_is_listed_once() {
    let (page, key) = listed_while_it_moves("node-1").await;
    assert!(page.is_whole(), "{page:?}");
    assert_eq!(keys(&page.value).iter().filter(|of| **of == key).count(), 1);
    assert_eq!(page.value.rows.len(), 2);
}

/// C1, C4, C6: at its second owner before it came there, and at its first when it was gone.
#[tokio::test(start_paused = true)]
async fn a_key_that_moves_from_a_node_which_is_asked_later_is_listed_once() {
    let (page, key) = listed_while_it_moves("node-0").await;
    assert!(page.is_whole(), "{page:?}");
    assert_eq!(keys(&page.value).iter().filter(|of| **of == key).count(), 1);
    assert_eq!(page.value.rows.len(), 2);
}

/// C4, C6: it goes from the very node that is looking through its keys.
#[tokio::test(start_paused = true)]
async fn keys_that_go_while_they_are_looked_at_are_found_where_they_went() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let shard = a.shard(&a.key());
    let of_shard: Vec<_> = a.keys().filter(|key| a.shard(key) == shard).take(200).collect();
    for key in &of_shard {
        let _ = a.room(key).await;
    }
    let page = a.rooms.everywhere().page(ALL, 1_000);
    let moved = async {
        a.cluster.node().give(shard, b.cluster.node().session().node).await;
        while !b.has(&of_shard[0]) {
            tokio::task::yield_now().await;
        }
        for key in &of_shard {
            let _ = b.room(key).await;
        }
    };
    let (page, ()) = tokio::join!(page, moved);
    let mut of_shard = of_shard.clone();
    of_shard.sort();
    assert!(page.is_whole());
    assert_eq!(keys(&page.value), of_shard);
}

/// C1, C6: pages while shards go to and fro.
#[tokio::test(start_paused = true)]
async fn no_key_is_listed_twice_while_a_node_drains() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    let all = open(&nodes[0], 60).await;
    nodes[2].cluster.node().drain().await;
    let mut is_moved = false;
    while !is_moved {
        is_moved = nodes[2].open() == 0;
        let page = nodes[0].rooms.everywhere().page(ALL, 100).await;
        let keys = keys(&page.value);
        assert!(keys.is_sorted_by(|a, b| a < b), "twice, or out of order: {keys:?}");
        assert!(page.is_whole() && keys.iter().all(|key| all.iter().any(|of| of == key)));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// C1: from any node, and none is left on any.
#[tokio::test(start_paused = true)]
async fn all_processes_are_ended_from_one_node() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    open(&nodes[0], 30).await;
    assert_eq!(nodes[1].rooms.everywhere().stop_all().await, Gathered::whole(30));
    assert_eq!((world.house.census.alive(), world.house.ended.lock().len()), (0, 30));
    assert_eq!(nodes[2].rooms.everywhere().count().await, Gathered::whole(0));
    // A part of it, and it says so.
    open(&nodes[0], 30).await;
    world.wires.silence("node-1:1", "node-2:1");
    let ended = nodes[1].rooms.everywhere().timeout(SECOND).stop_all().await;
    let there = nodes[2].rooms.count();
    assert_eq!(ended.value, 30 - there);
    assert_eq!(ended.missing, [Missing::Node { name: "node-2".to_owned(), why: NoAnswer::Late }]);
    assert_eq!(world.house.census.alive(), there);
}

/// C8: a process that does not end in time is not waited for longer than the caller does.
#[tokio::test(start_paused = true)]
async fn who_ends_all_processes_waits_no_longer_than_said() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let key = a.key();
    let room = a.room(&key).await;
    room.cast(Say::Hold("gate".to_owned())).await.unwrap();
    world.house.reached.notified().await;
    let ended = b.rooms.everywhere().timeout(SECOND).stop_all().await;
    assert_eq!(ended.missing, [Missing::Node { name: a.name.clone(), why: NoAnswer::Late }]);
    let ended = a.rooms.everywhere().timeout(SECOND).stop_all().await;
    assert_eq!(ended.missing, [Missing::Here(NoAnswer::Late)]);
    world.house.gate("gate").notify_one();
    assert_eq!(a.rooms.everywhere().stop_all().await.missing, []);
    assert_eq!(world.house.census.alive(), 0);
}

/// C8: where it is answered, too.
#[tokio::test(start_paused = true)]
async fn a_question_about_all_ends_with_its_askers_time_where_it_is_answered() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let room = a.room(&a.key()).await;
    room.cast(Say::Hold("gate".to_owned())).await.unwrap();
    world.house.reached.notified().await;
    assert!(b.rooms.everywhere().count().await.is_whole());
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..10 {
        let ended = b.rooms.everywhere().timeout(SECOND / 10).stop_all().await;
        assert!(!ended.is_whole());
    }
    tokio::time::sleep(SECOND).await;
    assert!(tasks() < before + 3, "{} more", tasks() - before);
    world.house.gate("gate").notify_one();
}

#[derive(Serialize, Deserialize)]
struct Gauge {
    guests: u64,
    doors: AtomicU64,
}

/// A process that shows something of itself.
struct Inn(Arc<Gauge>);

#[innkeeper::process(remote, exposes = Gauge)]
impl Inn {
    async fn init(ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let gauge = Arc::new(Gauge { guests: 7, doors: AtomicU64::new(1) });
        ctx.expose(gauge.clone());
        Ok(Inn(gauge))
    }

    #[call]
    fn build(&mut self) -> u64 {
        self.0.doors.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// C1: what it is about, and what it lets others see.
#[tokio::test(start_paused = true)]
async fn a_process_is_looked_at_from_every_node_with_what_it_exposes() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    let mut inns = Vec::new();
    for node in &nodes {
        let scope = Keyed::<String, Inn>::with_args(ChildSpec::new(), |_| ());
        inns.push(scope.placed_by(&node.cluster).start(&node.supervisor).await.unwrap());
    }
    let key = "inn".to_owned();
    for scope in &inns {
        assert!(scope.everywhere().info(&key).await.unwrap().is_none(), "it starts none");
    }
    let inn = inns[0].get_or_start(&key).await.unwrap().process().unwrap();
    assert_eq!(inn.build().await.unwrap(), 2);
    let home = owner(&nodes, &key);
    for (node, scope) in nodes.iter().zip(&inns) {
        let info = scope.everywhere().info(&key).await.unwrap().unwrap();
        assert_eq!((info.incarnation, info.epoch), (inn.incarnation(), inn.epoch()));
        assert_eq!(info.node.as_deref().unwrap_or(&node.name), home.name);
        assert_eq!(info.name, "Inn \"inn\"");
        let gauge = info.exposed::<Gauge>().unwrap();
        assert_eq!((gauge.guests, gauge.doors.load(Ordering::Relaxed)), (7, 2));
        let page = scope.everywhere().page(ALL, 9).await;
        assert_eq!(page.value.rows[0].info.exposed::<Gauge>().unwrap().guests, 7);
    }
    // A room of which much is known.
    let room = nodes[0].room(&key).await;
    let crashed = room.call(Say::Panic).await;
    assert!(crashed.is_err());
    let room = nodes[0].room(&key).await;
    room.cast(Say::Hold("gate".to_owned())).await.unwrap();
    world.house.reached.notified().await;
    for number in 0..3 {
        room.cast(Say::Note(number)).await.unwrap();
    }
    until(|| home.rooms.info(&key).unwrap().mailbox_len == 3).await;
    for node in &nodes {
        let info = node.rooms.everywhere().info(&key).await.unwrap().unwrap();
        assert_eq!((info.mailbox_len, info.restarts, info.state), (3, 1, Some(State::Live)));
        assert!(info.exits[0].reason.to_string().contains("told to panic"), "{:?}", info.exits);
        assert!(info.exposed.is_none(), "a room exposes nothing");
    }
    world.house.gate("gate").notify_one();
    assert_eq!(room.call(Say::Add(1)).await.unwrap(), Said::Number(1));
}

/// More than what is sent at once, and pages of all of it.
#[tokio::test(start_paused = true)]
async fn a_page_of_long_keys_is_cut_where_one_node_has_sent_enough() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let mut all: Vec<_> =
        (0..500).map(|number| format!("{number:05}{}", "-".repeat(5_000))).collect();
    for key in &all {
        let _ = a.room(key).await;
    }
    all.sort();
    assert!(a.rooms.count() > 220, "more than a frame");
    assert_eq!(paged(&b, 1_000).await, all);
}

/// A process of the next version of the program.
struct Next;

#[derive(Serialize, Deserialize)]
struct Never;

impl Message for Never {
    type Reply = ();
}

impl Remote for Next {
    const NAME: &'static str = "room";
    const VERSION: u32 = 2;
}

impl Process for Next {
    type Args = ();
    type Message = Never;

    async fn init(_: &(), _: &mut Context<Self>) -> Result<Self, StartError> {
        Ok(Next)
    }

    async fn handle(&mut self, _: Never, reply: ReplyTo<Never>, _: &mut Context<Self>) {
        reply.send(());
    }
}

/// C8: nobody waits for what will not come.
#[tokio::test(start_paused = true)]
async fn a_node_with_another_version_is_missing_at_once() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let scope = Keyed::<String, Next>::with_args(ChildSpec::new(), |_| ()).name("mixed");
    let next = scope.placed_by(&a.cluster).start(&a.supervisor).await.unwrap();
    let why = |why| Missing::Node { name: b.name.clone(), why };
    let looked = next.everywhere().timeout(SECOND).count().await;
    assert_eq!(looked.missing, [why(NoAnswer::Away(Away::NotOwner))], "it has no such scope");
    let house = world.house.clone();
    let scope = Keyed::<String, crate::nodes::Room>::with_args(ChildSpec::new(), move |key| {
        (key.clone(), house.clone())
    });
    let scope = scope.name("mixed").placed_by(&b.cluster);
    let _old = scope.start(&b.supervisor).await.unwrap();
    let began = Instant::now();
    let looked = next.everywhere().count().await;
    assert_eq!(looked.missing, [why(NoAnswer::Away(Away::Incompatible))]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

fn roster(cluster: &Cluster) -> Vec<(String, usize, bool)> {
    let nodes = cluster.nodes().into_iter();
    nodes.map(|node| (node.name, node.shards, node.draining)).collect()
}

/// What a screen of nodes and shards shows.
#[tokio::test(start_paused = true)]
async fn the_nodes_and_shards_of_a_cluster_are_seen_from_each_of_them() {
    let world = World::new();
    let [a, b, c] = world.nodes::<3>().await;
    let seen: Vec<_> =
        [&a, &b, &c].iter().map(|node| (node.name.clone(), node.open(), false)).collect();
    for node in [&a, &b, &c] {
        until(|| roster(&node.cluster) == seen).await;
        for other in node.cluster.nodes() {
            assert_eq!((other.address, other.weight), (format!("{}:1", other.name), 1));
            assert_eq!(other.proven_for.is_some(), other.name == node.name);
            assert!(other.proven_for.is_none_or(|left| left > SECOND && left < 5 * SECOND));
        }
        let shards = node.cluster.shards();
        assert_eq!(shards.len(), usize::from(SHARDS));
        for shard in &shards {
            let is_own = shard.owner.as_deref() == Some(&node.name);
            assert_eq!(shard.gate == Gate::Open(shard.epoch), is_own, "{shard:?}");
        }
    }
    b.cluster.node().drain().await;
    until(|| roster(&a.cluster).iter().any(|(name, _, draining)| *name == b.name && *draining))
        .await;
    until(|| a.cluster.nodes().len() == 2).await;
    c.die().await;
    until(|| a.cluster.shards().iter().any(|shard| shard.owner.is_none())).await;
    until(|| a.cluster.shards().iter().all(|shard| shard.gate == Gate::Open(shard.epoch))).await;
    assert_eq!(roster(&a.cluster), [(a.name.clone(), usize::from(SHARDS), false)]);
}
