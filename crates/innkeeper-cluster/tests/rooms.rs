//! T2, with processes: rooms by key on the nodes of a simulated cluster, in which everything fails
//! by a seed, and callers on every node who write down what they were told.
//!
//! A seed is two minutes of virtual time with three nodes, eight shards and as many keys. The
//! judgement is `oracle.rs`, which knows neither nodes nor sessions, only what rooms did and what
//! callers saw. A seed that fails is printed, and replays:
//! `INNKEEPER_SEED=17 cargo test -p innkeeper-cluster --test rooms`. `INNKEEPER_SEEDS=1000` looks
//! at so many.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests assert, and run tasks.

#[path = "rooms/callers.rs"]
mod callers;
#[path = "rooms/mistaken.rs"]
mod mistaken;
#[path = "world/moves.rs"]
mod moves;
#[path = "rooms/oracle.rs"]
mod oracle;
#[path = "rooms/program.rs"]
mod program;
#[path = "world/world.rs"]
mod world;

use std::sync::Arc;

use innkeeper_cluster::net::memory::Memory as Wires;
use moves::History;
use oracle::{Counts, Oracle};
use program::Program;
use tokio::task::JoinSet;
use world::host::Host;
use world::{NODES, QUIET, World, all_hold, in_virtual_time};

const KEYS: usize = 8;

/// How the world is wrong, to see that the oracle notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// What rooms show others leaves unchecked.
    NoSecondCheck,
    /// Messages are begun while the session is in doubt.
    NoFirstCheck,
    /// One node's clocks run at half speed.
    SlowClock,
}

/// Runs one seed. `Err`: what was wrong.
fn run(seed: u64, mistake: Mistake) -> Result<Counts, String> {
    in_virtual_time(async {
        let world = World::new(seed, mistake == Mistake::SlowClock);
        let (oracle, wires) = (Oracle::new(), Wires::new());
        let program = |host: &Arc<Host>| {
            let parts = (host.clone(), world.network.clone(), wires.clone());
            Arc::new(Program::new(parts, oracle.clone(), mistake))
        };
        let programs: Vec<_> = world.hosts.iter().map(program).collect();
        let mut tasks = JoinSet::new();
        for program in &programs {
            tasks.spawn(program.clone().run());
        }
        let mut calls = JoinSet::new();
        for _ in 0..2 * NODES {
            let dice = world.dice.fork();
            calls.spawn(callers::call(programs.clone(), oracle.clone(), dice));
        }
        for caller in 0..NODES {
            let dice = world.dice.fork();
            calls.spawn(callers::cast(caller, programs.clone(), oracle.clone(), dice));
        }
        world.suffer(|dice| callers::break_wires(wires.clone(), dice)).await;
        callers::heal_wires(&wires);
        tokio::time::sleep(QUIET).await;
        calls.shutdown().await;
        callers::call_each(&programs, &oracle).await;
        tasks.shutdown().await;
        oracle.verdict(&History::of(&world.network.memory).await)
    })
}

/// C1, C2, C3, C4, C6, C7, NEW-16, G-10
#[test]
fn no_seed_shows_a_caller_two_owners_or_a_lost_answer() {
    all_hold(12, 12, |seed| run(seed, Mistake::None));
}

fn finds(mistake: Mistake) -> bool {
    (0..40).any(|seed| run(seed, mistake).is_err())
}

/// C3: the controls.
#[test]
fn answers_that_are_not_checked_are_noticed() {
    assert!(finds(Mistake::NoSecondCheck));
}

#[test]
fn messages_that_are_begun_in_doubt_are_noticed() {
    assert!(finds(Mistake::NoFirstCheck));
}

#[test]
fn a_clock_that_is_too_slow_is_noticed() {
    assert!(finds(Mistake::SlowClock));
}
