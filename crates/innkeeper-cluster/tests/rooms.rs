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
#[path = "simulation/dice.rs"]
mod dice;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/host.rs"]
mod host;
#[path = "rooms/mistaken.rs"]
mod mistaken;
#[path = "rooms/oracle.rs"]
mod oracle;
#[path = "rooms/program.rs"]
mod program;

use std::sync::Arc;
use std::time::Duration;

use dice::Dice;
use faults::{Faults, Network};
use host::Host;
use innkeeper_cluster::net::memory::Memory as Wires;
use oracle::{Counts, Oracle};
use program::Program;

const NODES: usize = 3;
const SHARDS: u16 = 8;
const KEYS: usize = 8;
const FAULTY: Duration = Duration::from_secs(100);
const QUIET: Duration = Duration::from_secs(20);

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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let dice = Dice::new(seed);
        let oracle = Oracle::new();
        let (network, wires) = (Network::new(dice.fork()), Wires::new());
        let is_slow = |at: usize| mistake == Mistake::SlowClock && at == 0;
        let hosts: Vec<Arc<Host>> =
            (0..NODES).map(|at| Arc::new(Host::new(at, &dice, is_slow(at)))).collect();
        let programs: Vec<_> = hosts
            .iter()
            .map(|host| {
                let parts = (host.clone(), network.clone(), wires.clone());
                Arc::new(Program::new(parts, oracle.clone(), mistake))
            })
            .collect();
        let mut tasks = tokio::task::JoinSet::new();
        for program in &programs {
            tasks.spawn(program.clone().run());
        }
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..2 * NODES {
            calls.spawn(callers::call(programs.clone(), oracle.clone(), dice.fork()));
        }
        let faults = Faults { dice: dice.fork(), network: network.clone(), hosts: hosts.clone() };
        let broken = callers::break_wires(wires.clone(), dice.fork());
        let wrong = async { tokio::join!(faults.run(), broken) };
        tokio::time::timeout(FAULTY, wrong).await.unwrap_err();
        network.heal();
        callers::heal_wires(&wires);
        hosts.iter().for_each(|host| host.heal());
        tokio::time::sleep(QUIET).await;
        calls.shutdown().await;
        callers::call_each(&programs, &oracle).await;
        tasks.shutdown().await;
        oracle.verdict()
    })
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("INNKEEPER_SEED") {
        return seed..seed + 1;
    }
    0..number("INNKEEPER_SEEDS").unwrap_or(default)
}

/// C1, C2, C3, C4, C7, NEW-16, G-10
#[test]
fn no_seed_shows_a_caller_two_owners_or_a_lost_answer() {
    let (mut all, mut wrong) = (Counts::default(), Vec::new());
    let seeds = seeds(12);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        match run(seed, Mistake::None) {
            Ok(counts) => all.add(&counts),
            Err(what) => wrong.push(format!("INNKEEPER_SEED={seed}: {what}")),
        }
    }
    println!("{count} seeds: {all:?}");
    assert!(wrong.is_empty(), "{} of {count} seeds:\n{}", wrong.len(), wrong.join("\n"));
    if count >= 12 {
        all.assert_every_outcome_occurred();
    }
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
