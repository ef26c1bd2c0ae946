//! Those who call rooms from the nodes, and what goes wrong between the nodes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use innkeeper::{CallError, Outcome};
use innkeeper_cluster::net::memory::Memory as Wires;
use tokio::time::{Instant, sleep, timeout};

use crate::KEYS;
use crate::oracle::{Oracle, Seen};
use crate::program::{Add, Program, address};
use crate::world::NODES;
use crate::world::dice::Dice;

/// Calls rooms, now from this node and now from that. Never ends.
pub(crate) async fn call(programs: Vec<Arc<Program>>, oracle: Oracle, dice: Dice) {
    loop {
        sleep(dice.ms(1, 400)).await;
        let from = dice.below(NODES as u64) as usize;
        let Some(rooms) = programs[from].rooms() else { continue };
        let key = format!("room-{}", dice.below(KEYS as u64));
        let within = dice.ms(200, 6_000);
        if dice.one_in(10) {
            let before = oracle.answered(&key);
            if let Ok(Outcome::Started(process) | Outcome::Existing(process)) =
                rooms.get_or_start(&key).timeout(within).await
            {
                oracle.found(&key, before, process.epoch());
            }
            continue;
        }
        let takes = if dice.one_in(20) { dice.ms(0, 4_000) } else { dice.ms(0, 50) };
        let (id, before) = oracle.asked(&key);
        let began = Instant::now();
        let via = rooms.via(&key);
        let call = via.call(Add { id, takes }).timeout(within);
        // A call ends by its deadline, whatever happens.
        let Ok(outcome) = timeout(within + Duration::from_secs(1), call).await else {
            oracle.wrong(format!("a call from node {from} to {key} never ended"));
            continue;
        };
        let seen = match outcome {
            Ok(added) => Seen::Reply { is_here: added.node == from, added },
            Err(CallError::NotDelivered { .. }) => Seen::NotDelivered,
            Err(_) => Seen::Unknown,
        };
        oracle.told(&key, id, before, seen, began);
    }
}

/// Casts to rooms on whichever node they run, a few at a time. Never ends.
pub(crate) async fn cast(caller: usize, programs: Vec<Arc<Program>>, oracle: Oracle, dice: Dice) {
    loop {
        sleep(dice.ms(1, 400)).await;
        let Some(rooms) = programs[dice.below(NODES as u64) as usize].rooms() else { continue };
        let key = format!("room-{}", dice.below(KEYS as u64));
        for _ in 0..1 + dice.below(3) {
            // Of one that is here it is certain that it was taken.
            let Some(process) = rooms.whereis(&key) else { break };
            let (id, _) = oracle.asked(&key);
            let add = Add { id, takes: dice.ms(0, 20) };
            if process.cast(add).await.is_ok() {
                oracle.accepted(caller, &key, process.epoch(), id);
            }
        }
    }
}

/// Calls each room once, while all is well: it answers.
pub(crate) async fn call_each(programs: &[Arc<Program>], oracle: &Oracle) {
    // Others may have left calls behind that take a while.
    let within = Duration::from_secs(10);
    for number in 0..KEYS {
        let (key, from) = (format!("room-{number}"), number % NODES);
        let Some(rooms) = programs[from].rooms() else {
            oracle.wrong(format!("node {from} is not there though all is well"));
            continue;
        };
        let (id, _) = oracle.asked(&key);
        let add = Add { id, takes: Duration::ZERO };
        if let Err(why) = rooms.via(&key).call(add).timeout(within).await {
            oracle.wrong(format!("{key} does not answer node {from} though all is well: {why}"));
        }
    }
}

/// What goes wrong between the nodes. Never ends.
pub(crate) async fn break_wires(wires: Wires, dice: Dice) -> Infallible {
    loop {
        sleep(dice.ms(500, 5_000)).await;
        let one = dice.below(NODES as u64) as usize;
        let other = (one + 1 + dice.below(NODES as u64 - 1) as usize) % NODES;
        let (one, other) = (address(one), address(other));
        match dice.below(3) {
            0 => wires.cut(&one, &other),
            1 => {
                wires.silence(&one, &other);
                sleep(dice.ms(200, 8_000)).await;
                wires.heal(&one, &other);
            }
            _ => {
                wires.delay(&one, &other, dice.ms(1, 2_000));
                sleep(dice.ms(200, 4_000)).await;
                wires.delay(&one, &other, Duration::ZERO);
            }
        }
    }
}

/// All is well between the nodes.
pub(crate) fn heal_wires(wires: &Wires) {
    for one in 0..NODES {
        for other in (0..NODES).filter(|other| *other != one) {
            wires.heal(&address(one), &address(other));
            wires.delay(&address(one), &address(other), Duration::ZERO);
        }
    }
}
