//! What happens to the processes of all nodes, heard on one of them.

use std::collections::BTreeMap;

use innkeeper::{ChildSpec, Event, ExitReason, Heard, Hearing, Keyed, Supervisor, Tidings, What};
use tokio::time::timeout;

use crate::nodes::{Node, Room, SECOND, World, until};

/// The next thing that is heard and that this is true of.
async fn next<T>(
    hearing: &mut Hearing<String>,
    mut wanted: impl FnMut(Heard<String>) -> Option<T>,
) -> T {
    let heard = async {
        loop {
            if let Some(found) = wanted(hearing.next().await.unwrap()) {
                return found;
            }
        }
    };
    timeout(60 * SECOND, heard).await.expect("it is not heard")
}

/// A process that is ready for the first time, and on which node.
fn ready(heard: Heard<String>) -> Option<(String, Option<String>)> {
    let node = heard.node.map(|node| node.to_string());
    match heard.what {
        Tidings::Event(Event { key, what: What::Ready { again: false, .. }, .. }) => {
            Some((key, node))
        }
        Tidings::Event(_) => None,
        other => panic!("{other:?} of {node:?}"),
    }
}

/// Starts one room of a node after the other until one is heard of: which, and what is heard.
async fn first_heard(
    node: &Node,
    hearing: &mut Hearing<String>,
) -> (String, (String, Option<String>)) {
    for key in node.keys() {
        let _ = node.room(&key).await;
        if let Ok(heard) = timeout(SECOND, next(hearing, ready)).await {
            return (key, heard);
        }
    }
    panic!("{} is not heard", node.name);
}

/// C1
#[tokio::test(start_paused = true)]
async fn what_happens_on_any_node_is_heard_on_each_with_its_name() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    for listener in &nodes {
        let mut hearing = listener.rooms.everywhere().events().await;
        let keys: Vec<_> = (0..30).map(|n| format!("{}-{n}", listener.name)).collect();
        for key in &keys {
            let _ = nodes[0].room(key).await;
        }
        let mut heard = BTreeMap::new();
        while heard.len() < keys.len() {
            let (key, node) = next(&mut hearing, ready).await;
            assert_eq!(heard.insert(key, node), None);
        }
        for key in &keys {
            let runs_on = nodes.iter().find(|node| node.has(key)).unwrap();
            let name = (runs_on.name != listener.name).then(|| runs_on.name.clone());
            assert_eq!(heard[key], name);
        }
        let room = nodes[0].room(&keys[7]).await;
        nodes[0].rooms.stop(&keys[7]).await.unwrap();
        let stopped = |heard: Heard<String>| match heard.what {
            Tidings::Event(Event { key, incarnation, what: What::Stopped(why), .. }) => {
                Some((key, incarnation, why))
            }
            _ => None,
        };
        let expected = (keys[7].clone(), room.incarnation(), ExitReason::Shutdown);
        assert_eq!(next(&mut hearing, stopped).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_said_once_and_what_comes_after_it_is_heard() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let mut hearing = a.rooms.everywhere().events().await;
    world.wires.cut("node-0:1", "node-1:1");
    let deaf = Heard { node: Some("node-1".into()), what: Tidings::Deaf };
    assert_eq!(next(&mut hearing, Some).await, deaf);
    let (started, heard) = first_heard(&b, &mut hearing).await;
    assert_eq!(heard, (started, Some("node-1".to_owned())));
}

/// C8
#[tokio::test(start_paused = true)]
async fn a_silent_node_holds_up_nobody_who_wants_to_listen_and_is_said_not_to_be_heard() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    world.wires.silence("node-0:1", "node-1:1");
    world.wires.silence("node-1:1", "node-0:1");
    let mut hearing = timeout(60 * SECOND, a.rooms.everywhere().events()).await.unwrap();
    let deaf = Heard { node: Some(b.name.as_str().into()), what: Tidings::Deaf };
    assert_eq!(next(&mut hearing, Some).await, deaf);
    let key = a.key();
    let _ = a.room(&key).await;
    assert_eq!(next(&mut hearing, ready).await, (key, None));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_later_is_heard_too() {
    let world = World::new();
    let [a, _b] = world.nodes::<2>().await;
    let mut hearing = a.rooms.everywhere().events().await;
    let c = world.node("node-2").await;
    until(|| c.open() > 0).await;
    let (started, heard) = first_heard(&c, &mut hearing).await;
    assert_eq!(heard, (started, Some("node-2".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_take_what_is_heard_is_told_how_much_was_missed() {
    let world = World::new();
    let [a, _b] = world.nodes::<2>().await;
    let mut hearing = a.rooms.everywhere().events().await;
    let (mut all, mut heard, mut missed) = (0, 0, 0);
    let mut keys = a.keys();
    for key in keys.by_ref().take(1_500) {
        let _ = a.room(&key).await;
        a.rooms.stop(&key).await.unwrap();
        // It starts, is ready, and ends.
        all += 3;
    }
    let last = keys.next().unwrap();
    let _ = a.room(&last).await;
    loop {
        match hearing.next().await.unwrap().what {
            Tidings::Event(event) => {
                heard += 1;
                if event.key == last && matches!(event.what, What::Ready { .. }) {
                    break;
                }
            }
            Tidings::Missed(more) => missed += more,
            deaf => panic!("{deaf:?}"),
        }
    }
    assert!(missed > 0 && heard + missed == all + 2, "{heard} heard, {missed} missed of {all}");
}

/// How many tasks there are in the runtime.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// P16: and whatever listens for it is gone.
#[tokio::test(start_paused = true)]
async fn who_listens_hears_the_end_of_the_scope_here_and_nothing_is_left_of_it() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let (mut scopes, mut supervisors) = (Vec::new(), Vec::new());
    for node in [&a, &b] {
        let (supervisor, house) = (Supervisor::new().start().await.unwrap(), world.house.clone());
        let scope = Keyed::<String, Room>::with_args(ChildSpec::new(), move |key: &String| {
            (key.clone(), house.clone())
        });
        let scope = scope.name("more").placed_by(&node.cluster);
        scopes.push(scope.start(&supervisor).await.unwrap());
        supervisors.push(supervisor);
    }
    assert!(scopes[0].everywhere().count().await.is_whole());
    let before = tasks();
    let mut hearing = scopes[0].everywhere().events().await;
    assert!(tasks() > before);
    let _ = supervisors.remove(0).shutdown(SECOND).await;
    drop(scopes.remove(0));
    let end = async { while hearing.next().await.is_some() {} };
    timeout(SECOND, end).await.expect("it goes on");
    until(|| tasks() <= before).await;
}
