//! Links between nodes on the network within one process, where everything goes wrong on demand.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests assert, and run tasks.

#[path = "links/nodes.rs"]
mod nodes;

use std::sync::Arc;

use innkeeper_cluster::net::memory::Memory;
use nodes::{Node, SECOND, World, call, message, nobody};

fn two() -> (World, Memory, Node, Node) {
    let (world, memory) = (World::new(), Memory::new());
    let a = world.node(Arc::new(memory.port("a")), 1, "a");
    let b = world.node(Arc::new(memory.port("b")), 2, "b");
    (world, memory, a, b)
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_and_a_cast_arrives() {
    let (_world, _memory, a, b) = two();
    let response = a.links.request(b.session, nobody(), call("ping"), SECOND).await.unwrap();
    assert_eq!(&response.body[..], b"ping");
    a.links.send(b.session, nobody(), message("told")).unwrap();
    b.heard.until(|heard| heard.bodies() == ["told"]).await;
}
