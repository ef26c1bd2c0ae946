//! Many callers ask for one key at once, again and again; what they were given is counted.
//!
//! The driver knows nothing of what is raced for: a [`Contender`] may be this library, a server, or
//! something broken on purpose, which it has to catch.

pub mod keyed;
pub mod remote;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use innkeeper::testing::Census;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use report::Report;

use crate::clock;

/// Something that has rooms by key.
pub trait Contender: Clone + Send + Sync + 'static {
    /// The address of a room.
    type Room: Send + 'static;

    /// Finds the room of a key, or starts it.
    fn get_or_start(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Answer<Self::Room>, String>> + Send;

    /// Crashes a room.
    fn crash(&self, room: &Self::Room) -> impl Future<Output = ()> + Send;

    /// Has a room stop if nothing waits for it.
    fn stop_if_idle(&self, room: &Self::Room) -> impl Future<Output = ()> + Send;

    /// Ends the room of a key, and returns once the key is free.
    fn stop(&self, key: &str) -> impl Future<Output = ()> + Send;

    /// Counts what is alive, where that can be seen.
    fn census(&self) -> Option<&Census<String>>;
}

/// What a caller was given.
#[derive(Clone, Debug)]
pub struct Answer<R> {
    /// The address.
    pub room: R,
    /// Which run of the room.
    pub incarnation: String,
    /// Whether it was started for this caller.
    pub started: bool,
}

/// How to race.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The key that all ask for; the one of round n, from the second on, is `KEY#n`.
    pub key: String,
    /// How many ask at once.
    pub callers: usize,
    /// How often.
    pub rounds: usize,
    /// Crash, stop, idle-stop and cancel meanwhile.
    pub chaos: bool,
}

impl Plan {
    /// A key of its own for each round, so that rounds cannot help each other.
    fn key(&self, round: usize) -> String {
        if round == 0 { self.key.clone() } else { format!("{}#{}", self.key, round + 1) }
    }
}

/// What one caller saw.
struct Seen {
    incarnation: String,
    started: bool,
    took: Duration,
}

enum Outcome {
    Seen(Seen),
    Refused(String),
    Cancelled,
}

/// Races.
pub async fn run<C: Contender>(contender: &C, plan: &Plan, mut progress: impl FnMut()) -> Report {
    let mut report = Report::new(plan);
    let dice = RandomState::new();
    for round in 0..plan.rounds {
        let key = plan.key(round);
        let outcomes = one_round(contender, plan, &key, &dice).await;
        contender.stop(&key).await;
        count(&mut report, plan, outcomes);
        progress();
    }
    if let Some(census) = contender.census() {
        report.alive_at_once_max = Some(census.most_of_one_key());
        report.alive_after = Some(census.alive());
    }
    report.finish();
    report
}

async fn one_round<C: Contender>(
    contender: &C,
    plan: &Plan,
    key: &str,
    dice: &RandomState,
) -> Vec<Outcome> {
    let (go, _) = watch::channel(false);
    let mut callers = JoinSet::new();
    for caller in 0..plan.callers {
        let (contender, key) = (contender.clone(), key.to_owned());
        let mut go = go.subscribe();
        let roll = dice.hash_one((&key, caller));
        let chaos = plan.chaos;
        callers.spawn(async move {
            // The sender outlives the round.
            let _ = go.wait_for(|go| *go).await;
            if chaos { disturb(&contender, &key, roll).await } else { ask(&contender, &key).await }
        });
    }
    go.send_replace(true);
    let mut outcomes = Vec::with_capacity(plan.callers);
    while let Some(outcome) = callers.join_next().await {
        outcomes.push(outcome.unwrap_or_else(|error| Outcome::Refused(error.to_string())));
    }
    outcomes
}

async fn ask<C: Contender>(contender: &C, key: &str) -> Outcome {
    let began = clock::now();
    match contender.get_or_start(key).await {
        Ok(Answer { incarnation, started, .. }) => {
            Outcome::Seen(Seen { incarnation, started, took: began.elapsed() })
        }
        Err(error) => Outcome::Refused(error),
    }
}

/// Asks, and now and then does something nasty.
async fn disturb<C: Contender>(contender: &C, key: &str, roll: u64) -> Outcome {
    let began = clock::now();
    let asking = contender.get_or_start(key);
    let answer = if roll.is_multiple_of(16) {
        match give_up(asking, roll / 16 % 8).await {
            None => return Outcome::Cancelled,
            Some(answer) => answer,
        }
    } else {
        asking.await
    };
    let took = began.elapsed();
    match answer {
        Ok(Answer { room, incarnation, started }) => {
            match roll >> 32 & 255 {
                0 => contender.crash(&room).await,
                1 | 2 => contender.stop_if_idle(&room).await,
                3 => contender.stop(key).await,
                _ => {}
            }
            Outcome::Seen(Seen { incarnation, started, took })
        }
        Err(error) => Outcome::Refused(error),
    }
}

/// Polls a future a few times and drops it, unless it was done by then.
async fn give_up<F: Future>(future: F, polls: u64) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        if let std::task::Poll::Ready(done) = futures_util::poll!(future.as_mut()) {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}

fn count(report: &mut Report, plan: &Plan, outcomes: Vec<Outcome>) {
    let (mut seen, mut started) = (BTreeSet::new(), BTreeMap::<String, usize>::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Seen(Seen { incarnation, started: told, took }) => {
                report.took(took);
                if told {
                    *started.entry(incarnation.clone()).or_default() += 1;
                }
                seen.insert(incarnation);
            }
            Outcome::Refused(error) => report.refused(error),
            Outcome::Cancelled => report.cancelled += 1,
        }
    }
    let told: usize = started.values().sum();
    report.incarnations += seen.len();
    report.incarnations_in_a_round_max = report.incarnations_in_a_round_max.max(seen.len());
    report.started += told;
    if started.values().any(|told| *told > 1) {
        report.violation("two callers were told that they started the same incarnation");
    }
    // With chaos rooms come and go, and whoever asked first may be gone.
    if !plan.chaos && (seen.len() != 1 || told != 1) {
        let (seen, callers) = (seen.len(), plan.callers);
        report.violation(format!("{callers} callers saw {seen} incarnations, {told} starts"));
    }
}
