//! What a race showed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::race::Plan;

/// How many different violations and errors are kept in words.
const WORDS_MAX: usize = 10;

/// What a race showed.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// How many asked at once.
    pub callers: usize,
    /// How often.
    pub rounds: usize,
    /// Whether rooms were crashed, stopped and abandoned meanwhile.
    pub chaos: bool,
    /// Incarnations seen, in all rounds.
    pub incarnations: usize,
    /// The most that were seen in one round: 1, without chaos.
    pub incarnations_in_a_round_max: usize,
    /// Callers who were told that they started one.
    pub started: usize,
    /// Live processes of the key at once, from construction to drop, at most: 1. Not known of a
    /// server.
    pub alive_at_once_max: Option<usize>,
    /// Live processes after the race: 0.
    pub alive_after: Option<usize>,
    /// Callers who gave up, as planned.
    pub cancelled: usize,
    /// Callers who were refused, by why.
    pub refused: BTreeMap<String, usize>,
    /// How long a caller waited, in microseconds: half of them no longer than this.
    pub p50_us: u64,
    /// And 99 of 100.
    pub p99_us: u64,
    /// What must not be, in words.
    pub violations: Vec<String>,
    #[serde(skip)]
    times_us: Vec<u64>,
}

impl Report {
    pub(crate) fn new(plan: &Plan) -> Self {
        let Plan { callers, rounds, chaos, .. } = plan.clone();
        Report { callers, rounds, chaos, ..Report::default() }
    }

    /// Whether the promise was kept.
    pub fn is_kept(&self) -> bool {
        self.violations.is_empty()
    }

    pub(crate) fn took(&mut self, took: Duration) {
        self.times_us.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn refused(&mut self, error: String) {
        if self.refused.len() < WORDS_MAX || self.refused.contains_key(&error) {
            *self.refused.entry(error).or_default() += 1;
        }
    }

    pub(crate) fn violation(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.violations.len() < WORDS_MAX && !self.violations.contains(&what) {
            self.violations.push(what);
        }
    }

    /// Draws the conclusions.
    pub(crate) fn finish(&mut self) {
        self.times_us.sort_unstable();
        self.p50_us = percentile(&self.times_us, 50);
        self.p99_us = percentile(&self.times_us, 99);
        if let Some(alive) = self.alive_at_once_max.filter(|alive| *alive > 1) {
            self.violation(format!("{alive} processes of one key were alive at once"));
        }
        if let Some(alive) = self.alive_after.filter(|alive| *alive > 0) {
            self.violation(format!("{alive} processes were alive after their keys were free"));
        }
        if !self.chaos && !self.refused.is_empty() {
            self.violation("callers were refused");
        }
    }
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).copied().unwrap_or(0)
}
