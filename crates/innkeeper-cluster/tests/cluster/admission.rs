//! How many processes of a node begin at once, after another was lost above all.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use innkeeper::{ChildSpec, Context, Keyed, StartError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::nodes::{SECOND, Said, Say, World, until};

fn world(starts_at_once: usize) -> World {
    let mut world = World::new();
    world.starts_at_once = NonZeroUsize::new(starts_at_once).unwrap();
    world
}

/// P11, C7
#[tokio::test(start_paused = true)]
async fn ten_thousand_keys_of_a_node_that_is_lost_begin_elsewhere_so_many_at_once() {
    let world = world(16);
    let [a, b] = world.nodes::<2>().await;
    let shards: Vec<_> = (0..super::nodes::SHARDS).filter(|shard| a.owns(*shard)).collect();
    let keys = (0..).map(|number| format!("key-{number}"));
    let keys: Vec<_> = keys.filter(|key| shards.contains(&b.shard(key))).take(10_000).collect();
    let door = world.house.close_door();
    a.die().await;
    let mut asked = JoinSet::new();
    for key in keys {
        let rooms = b.rooms.clone();
        asked.spawn(async move { rooms.get_or_start(&key).await.unwrap().is_started() });
    }
    until(|| door.inside() == 16).await;
    sleep(SECOND).await;
    assert_eq!((door.inside(), world.house.census.ever()), (16, 0));
    // One begins, and the next one comes in.
    door.open.add_permits(1);
    until(|| world.house.census.ever() == 1).await;
    until(|| door.inside() == 16).await;
    door.open.add_permits(9_999);
    assert!(asked.join_all().await.into_iter().all(|started| started));
    assert_eq!((door.most(), world.house.census.ever()), (16, 10_000));
    assert_eq!(world.house.census.most_of_one_key(), 1);
}

/// C7: and what runs there already does not notice either.
#[tokio::test(start_paused = true)]
async fn keys_of_other_nodes_see_no_pause_while_many_wait_to_begin_on_one() {
    let world = world(1);
    let [a, b] = world.nodes::<2>().await;
    let (here, there) = (a.keys().take(50).collect::<Vec<_>>(), b.key());
    let running = a.room(&here[0]).await;
    let door = world.house.close_door();
    let mut asked = JoinSet::new();
    for key in &here[1..] {
        let (rooms, key) = (b.rooms.clone(), key.clone());
        asked.spawn(async move { rooms.get_or_start(&key).await.unwrap().is_started() });
    }
    until(|| door.inside() == 1).await;
    let before = Instant::now();
    assert_eq!(running.call(Say::Add(1)).await.unwrap(), Said::Number(1));
    let (rooms, key) = (a.rooms.clone(), there.clone());
    let other = tokio::spawn(async move { rooms.get_or_start(&key).await.unwrap().is_started() });
    until(|| door.inside() == 2).await;
    assert!(before.elapsed() < SECOND / 10, "{:?}", before.elapsed());
    door.open.add_permits(50);
    assert!(other.await.unwrap());
    assert!(asked.join_all().await.into_iter().all(|started| started));
    assert_eq!(door.most(), 2, "one on each");
}

/// A process that needs the one before it, wherever that is.
struct Link;

type Links = Arc<OnceLock<Keyed<u64, Link>>>;

#[innkeeper::process(remote)]
impl Link {
    async fn init(args: &(u64, Links), _: &mut Context<Self>) -> Result<Self, StartError> {
        let (number, links) = args;
        if let Some(before) = number.checked_sub(1) {
            let links = links.get().ok_or_else(|| StartError::failed("too early"))?;
            let _ = links.get_or_start(&before).await?;
        }
        Ok(Link)
    }

    #[call]
    fn is_there(&mut self) -> bool {
        true
    }
}

/// P12: with one seat on each node, which its asker has.
#[tokio::test(start_paused = true)]
async fn inits_that_need_each_other_across_nodes_do_not_wait_for_a_seat_of_their_askers() {
    let world = world(1);
    let nodes = world.nodes::<2>().await;
    let mut scopes = Vec::new();
    for node in &nodes {
        let links = Links::default();
        let of = links.clone();
        let scope = Keyed::<u64, Link>::with_args(ChildSpec::new(), move |key| (*key, of.clone()));
        let scope = scope.placed_by(&node.cluster).start(&node.supervisor).await.unwrap();
        links.set(scope.clone()).ok().unwrap();
        scopes.push(scope);
    }
    let before = Instant::now();
    // Of two chains that are asked for at once, each has a seat that the other would need.
    let (one, two) = tokio::join!(scopes[0].get_or_start(&40), scopes[1].get_or_start(&39));
    let _ = (one.unwrap(), two.unwrap());
    assert!(before.elapsed() < SECOND, "{:?}", before.elapsed());
    assert_eq!(scopes.iter().map(Keyed::count).sum::<usize>(), 41);
    assert!(scopes.iter().all(|scope| scope.count() > 5), "it went to and fro");
}
