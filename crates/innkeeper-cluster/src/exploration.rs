//! Explores every state that a few nodes with the shipped [`ownership`](crate::ownership) can get
//! into within stated bounds, against a coordinator, clocks and a network that may do their worst.
//!
//! Part of the unit tests, and, built with optimization by `tests/exploration.rs`, a program of its
//! own together with the very files of `ownership`, or with a mistake put into them.

mod acts;
mod canon;
mod world;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use acts::Act;
use world::World;

/// How far the exploration goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How many nodes there are.
    pub(crate) nodes: usize,
    /// The highest epoch that may be written.
    pub(crate) epochs: u64,
    /// Whether programs die.
    pub(crate) crashes: bool,
    /// How many starts there may be beyond the first of each node.
    pub(crate) restarts: u8,
    /// How many requests of one node may be under way.
    pub(crate) requests: usize,
    /// How many requests that a node waits for no longer may still be under way.
    pub(crate) lost: usize,
    /// How many requests may be carried out a second time.
    pub(crate) repeats: u8,
    /// Whether shards are moved on purpose.
    pub(crate) moves: bool,
    /// Whether nodes leave on purpose.
    pub(crate) leaves: bool,
    /// Whether the sessions of programs that are known to have died are ended for it.
    pub(crate) burials: bool,
    /// Whether handlers call processes on the other node.
    pub(crate) frames: bool,
    /// Whether a list may be old when it is heard.
    pub(crate) stale: bool,
    /// Whether the first node owns the shard at the start.
    pub(crate) owned: bool,
    /// After how many states to stop, with a result that says so.
    pub(crate) states: usize,
}

/// What is to be reached, or nothing was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Served,
    ServedAgain,
    Evicted,
    Frozen,
    HeldReleased,
    Transferred,
    ClaimedAgain,
    Left,
    FrameTaken,
    FrameRefused,
    Buried,
}

pub(crate) const GOALS: [Goal; 11] = [
    Goal::Served,
    Goal::ServedAgain,
    Goal::Evicted,
    Goal::Frozen,
    Goal::HeldReleased,
    Goal::Transferred,
    Goal::ClaimedAgain,
    Goal::Left,
    Goal::FrameTaken,
    Goal::FrameRefused,
    Goal::Buried,
];

impl Goal {
    pub(crate) fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// What an exploration found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) states: usize,
    /// Whether there was nothing left to look at.
    pub(crate) whole: bool,
    pub(crate) goals: u16,
    /// What is wrong, and how it comes about.
    pub(crate) violation: Option<(&'static str, Vec<Act>)>,
}

/// Looks at every state, those that are few steps away first.
pub(crate) fn explore(bounds: &Bounds) -> Found {
    let first = World::new(bounds);
    let mut seen: HashSet<u128, BuildHasherDefault<Known>> = HashSet::default();
    seen.insert(canon::digest(&first));
    let mut steps: Vec<(u32, Act)> = vec![(0, Act::Advance)];
    let mut queue = VecDeque::from([(0_u32, first)]);
    let mut goals = 0;
    while let Some((at, world)) = queue.pop_front() {
        for act in acts::possible(&world, bounds) {
            let mut next = world.clone();
            let wrong = acts::perform(&mut next, act).or_else(|| next.wrong());
            goals |= next.goals;
            if let Some(wrong) = wrong {
                let mut trace = vec![act];
                let mut at = at;
                while at != 0 {
                    let (before, act) = steps[at as usize];
                    trace.push(act);
                    at = before;
                }
                trace.reverse();
                let violation = Some((wrong, trace));
                return Found { states: seen.len(), whole: false, goals, violation };
            }
            next.goals = 0;
            if next.is_within(bounds) && seen.insert(canon::digest(&next)) {
                queue.push_back((steps.len() as u32, next));
                steps.push((at, act));
            }
        }
        if seen.len() >= bounds.states {
            return Found { states: seen.len(), whole: false, goals, violation: None };
        }
    }
    Found { states: seen.len(), whole: true, goals, violation: None }
}

/// The keys of the set are digests already.
#[derive(Default)]
struct Known(u64);

impl Hasher for Known {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (whole, _) = bytes.as_chunks::<8>();
        self.0 = whole.iter().fold(self.0, |hash, it| hash ^ u64::from_le_bytes(*it));
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reached = GOALS.iter().filter(|goal| self.goals & goal.bit() != 0);
        let whole = if self.whole { "whole" } else { "part" };
        write!(f, "states={} space={whole} goals=", self.states)?;
        f.debug_list().entries(reached).finish()?;
        match &self.violation {
            None => f.write_str(" violation=none"),
            Some((what, trace)) => {
                write!(f, " violation={what:?} after {} steps: {trace:?}", trace.len())
            }
        }
    }
}

/// The spaces that `tests/exploration.rs` names, up to a number of states.
///
/// # Panics
/// If there is none of that name.
pub(crate) fn named(name: &str, states: usize) -> Bounds {
    let base = Bounds {
        nodes: 2,
        epochs: 2,
        crashes: true,
        restarts: 0,
        requests: 1,
        lost: 1,
        repeats: 0,
        moves: false,
        leaves: false,
        burials: false,
        frames: false,
        stale: false,
        owned: true,
        states,
    };
    match name {
        "calm" => Bounds { lost: 0, crashes: false, ..base },
        "core" => Bounds { lost: 0, ..base },
        "sessions" => base,
        "pairs" => Bounds { lost: 0, requests: 2, crashes: false, ..base },
        "restart" => Bounds { lost: 0, restarts: 1, owned: false, ..base },
        "handover" => Bounds { lost: 0, moves: true, crashes: false, ..base },
        "move" => Bounds { epochs: 3, moves: true, crashes: false, ..base },
        "leave" => Bounds { lost: 0, leaves: true, crashes: false, ..base },
        "frames" => Bounds { lost: 0, frames: true, crashes: false, ..base },
        "farewell" => Bounds { lost: 0, frames: true, leaves: true, crashes: false, ..base },
        "burial" => Bounds { lost: 0, frames: true, burials: true, ..base },
        "stale" => Bounds { stale: true, owned: false, ..base },
        "three" => Bounds { nodes: 3, lost: 0, ..base },
        "all" => Bounds {
            epochs: 3,
            restarts: 1,
            requests: 2,
            repeats: 1,
            moves: true,
            leaves: true,
            burials: true,
            stale: true,
            owned: false,
            ..base
        },
        _ => panic!("no space of that name: {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACES: [&str; 10] = [
        "sessions", "restart", "move", "leave", "frames", "farewell", "burial", "stale", "three",
        "all",
    ];

    #[test]
    fn the_first_states_of_every_exploration_hold() {
        for name in SPACES {
            let found = explore(&named(name, 2_000));
            assert!(found.violation.is_none(), "{name}: {found}");
        }
    }
}
