//! Links between nodes on the network within one process, where everything goes wrong on demand.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests assert, and run tasks.

#[path = "links/fair.rs"]
mod fair;
#[path = "links/fake.rs"]
mod fake;
#[path = "links/fence.rs"]
mod fence;
#[path = "links/greeting.rs"]
mod greeting;
#[path = "links/nodes.rs"]
mod nodes;
#[path = "links/outcomes.rs"]
mod outcomes;
#[path = "links/subscriptions.rs"]
mod subscriptions;

use std::sync::Arc;

use innkeeper_cluster::net::memory::Memory;
use nodes::{Node, World};

/// Two nodes that know each other, at the addresses `a` and `b`.
fn two() -> (World, Memory, Node, Node) {
    let (world, memory) = (World::new(), Memory::new());
    let a = world.node(Arc::new(memory.port("a")), 1, "a");
    let b = world.node(Arc::new(memory.port("b")), 2, "b");
    (world, memory, a, b)
}
