//! A look at every room, made only while somebody asks for it, and what is wrong there in words.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use innkeeper::{Gathered, Keyed, NodeCount, ProcessInfo, State};
use innkeeper_api::{CensusInfo, Level, Lint, RoomKey};
use tokio::sync::Mutex;

use crate::clock;
use crate::limits;
use crate::room::{Gauge, Room};

/// The looks at all rooms: the last one, and as much of earlier ones as it is compared with.
#[derive(Default)]
pub(crate) struct Census {
    /// Held while a look is made: whoever asks meanwhile gets that one.
    looks: Mutex<Looks>,
    /// Likewise, of the rooms of all nodes.
    counts: Mutex<Option<Counts>>,
}

/// How many rooms each node has.
struct Counts {
    at: Instant,
    took: Duration,
    of: Arc<Gathered<Vec<NodeCount>>>,
}

#[derive(Default)]
struct Looks {
    last: Option<Arc<Look>>,
    /// Restarts by room at earlier looks, the oldest first.
    past: VecDeque<(Instant, Restarts)>,
}

/// How often each room was restarted so far that ever was.
#[derive(Clone, Debug, Default)]
struct Restarts {
    by_room: HashMap<RoomKey, u64>,
    /// There were more rooms than are remembered.
    is_cut: bool,
}

/// What one look showed.
#[derive(Debug, Default)]
pub(crate) struct Look {
    at: Option<Instant>,
    took: Duration,
    states: BTreeMap<&'static str, u64>,
    members: u64,
    waiting: u64,
    stuck: Found,
    parked: Found,
    full: Found,
    slow_start: Found,
    slow_stop: Found,
    restarting: Found,
    restarts: Restarts,
}

/// Rooms of which something is true: how many, and some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    count: u64,
    rooms: Vec<String>,
}

impl Census {
    /// A look that is fresh enough, or a new one. However often it is asked for, looking takes no
    /// more than a small part of the time.
    ///
    /// # Cancel safety
    /// A look that is dropped midway is as if it had not begun.
    pub(crate) async fn latest(&self, rooms: &Keyed<RoomKey, Room>) -> Arc<Look> {
        let mut looks = self.looks.lock().await;
        if let Some(last) = looks.last.as_ref().filter(|last| last.age() < fresh_for(last.took)) {
            return last.clone();
        }
        let began = clock::now();
        let mut look = Look { at: Some(began), ..Look::default() };
        rooms
            .visit(|key, info| {
                let info = info();
                if let Some(state) = info.state {
                    look.add(key, state, &info);
                }
            })
            .await;
        look.took = began.elapsed();
        looks.compare(&mut look, began);
        let look = Arc::new(look);
        looks.last = Some(look.clone());
        look
    }

    /// How many rooms each node of the cluster has; a fresh count, as with looks.
    ///
    /// # Cancel safety
    /// A count that is dropped midway is as if it had not begun.
    pub(crate) async fn counts(
        &self,
        rooms: &Keyed<RoomKey, Room>,
    ) -> Arc<Gathered<Vec<NodeCount>>> {
        let mut counts = self.counts.lock().await;
        if let Some(last) = &*counts {
            // To wait for somebody who does not answer is no work.
            let took = if last.of.is_whole() { last.took } else { Duration::ZERO };
            if last.at.elapsed() < fresh_for(took) {
                return last.of.clone();
            }
        }
        let at = clock::now();
        let of = rooms.everywhere().timeout(limits::COUNT_TIMEOUT).count_by_node().await;
        let of = Arc::new(of);
        *counts = Some(Counts { at, took: at.elapsed(), of: of.clone() });
        of
    }
}

/// How long something is fresh that took so long.
fn fresh_for(took: Duration) -> Duration {
    limits::CENSUS_EVERY.max(took * limits::CENSUS_REST)
}

impl Looks {
    /// Finds the rooms that restart often: those that did so within the last minute of looks.
    fn compare(&mut self, look: &mut Look, now: Instant) {
        while self.past.front().is_some_and(|(at, _)| now - *at > limits::RESTARTS_WITHIN) {
            self.past.pop_front();
        }
        if let Some((_, before)) = self.past.front() {
            look.restarting = before.often_since(&look.restarts);
        }
        self.past.push_back((now, look.restarts.clone()));
    }
}

impl Restarts {
    fn note(&mut self, key: &RoomKey, restarts: u64) {
        if self.by_room.len() < limits::RESTARTING_ROOMS {
            self.by_room.insert(key.clone(), restarts);
        } else {
            self.is_cut = true;
        }
    }

    /// The rooms that were restarted more often than they should be between this and `later`.
    fn often_since(&self, later: &Restarts) -> Found {
        let mut found = Found::default();
        for (key, restarts) in &later.by_room {
            let before = match self.by_room.get(key) {
                Some(before) => *before,
                None if self.is_cut => continue,
                None => 0,
            };
            if restarts.saturating_sub(before) > limits::RESTARTS_OFTEN {
                found.add(key);
            }
        }
        found
    }
}

impl Look {
    fn add(&mut self, key: &RoomKey, state: State, info: &ProcessInfo) {
        *self.states.entry(state.word()).or_default() += 1;
        self.members += info.exposed::<Gauge>().map_or(0, |gauge| gauge.members());
        self.waiting += info.mailbox_len as u64;
        let is_slow = info.age > limits::SLOW;
        match state {
            State::Parked => self.parked.add(key),
            State::Starting if is_slow => self.slow_start.add(key),
            State::Stopping if info.stuck => self.stuck.add(key),
            State::Stopping if is_slow => self.slow_stop.add(key),
            _ => {}
        }
        if info.mailbox_len >= innkeeper::limits::MAILBOX_CAPACITY as usize {
            self.full.add(key);
        }
        if info.restarts > 0 {
            self.restarts.note(key, info.restarts);
        }
    }

    fn age(&self) -> Duration {
        self.at.map_or(Duration::MAX, |at| at.elapsed())
    }

    pub(crate) fn info(&self) -> CensusInfo {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        CensusInfo {
            age_ms: millis(self.age()),
            took_ms: millis(self.took),
            states: self.states.iter().map(|(state, n)| ((*state).to_owned(), *n)).collect(),
            members: self.members,
            waiting: self.waiting,
        }
    }

    /// What is wrong, the worst first.
    pub(crate) fn lints(&self) -> Vec<Lint> {
        let slow = limits::SLOW.as_secs();
        let often = limits::RESTARTS_OFTEN;
        let all = [
            (
                Level::Bad,
                "stuck",
                &self.stuck,
                "is told to end, but its code is stuck",
                "are told to end, but their code is stuck".to_owned(),
            ),
            (
                Level::Bad,
                "parked",
                &self.parked,
                "crashed too often and is parked for a while",
                "crashed too often and are parked for a while".to_owned(),
            ),
            (
                Level::Bad,
                "mailbox_full",
                &self.full,
                "has a full mailbox and takes no more",
                "have full mailboxes and take no more".to_owned(),
            ),
            (
                Level::Warn,
                "restarting",
                &self.restarting,
                &format!("restarts more than {often} times a minute"),
                format!("restart more than {often} times a minute"),
            ),
            (
                Level::Warn,
                "slow_start",
                &self.slow_start,
                &format!("has been starting for more than {slow} s"),
                format!("have been starting for more than {slow} s"),
            ),
            (
                Level::Warn,
                "slow_stop",
                &self.slow_stop,
                &format!("has been stopping for more than {slow} s"),
                format!("have been stopping for more than {slow} s"),
            ),
        ];
        let found = all.into_iter().filter(|(_, _, found, ..)| found.count > 0);
        found
            .map(|(level, code, found, one, many)| Lint {
                code: code.to_owned(),
                level,
                text: found.sentence(one, &many),
                rooms: found.rooms.clone(),
            })
            .collect()
    }
}

impl Found {
    fn add(&mut self, key: &RoomKey) {
        self.count += 1;
        if self.rooms.len() < limits::LINT_ROOMS {
            self.rooms.push(key.to_string());
        }
    }

    fn sentence(&self, one: &str, many: &str) -> String {
        match self.count {
            1 => format!("1 room {one}."),
            count => format!("{count} rooms {many}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> RoomKey {
        name.parse().unwrap()
    }

    fn restarts(of: &[(&str, u64)]) -> Restarts {
        let mut restarts = Restarts::default();
        for (name, times) in of {
            restarts.note(&key(name), *times);
        }
        restarts
    }

    fn look(of: &[(&str, u64)]) -> Look {
        Look { restarts: restarts(of), ..Look::default() }
    }

    #[test]
    fn rooms_that_restart_often_within_a_minute_are_told_of() {
        let (mut looks, began) = (Looks::default(), clock::now());
        let mut first = look(&[("old", 90)]);
        looks.compare(&mut first, began);
        assert_eq!(first.lints(), []);
        let mut next = look(&[("old", 91), ("new", 6), ("calm", 5)]);
        looks.compare(&mut next, began + Duration::from_secs(30));
        let lints = next.lints();
        assert_eq!(lints[0].text, "1 room restarts more than 5 times a minute.");
        assert_eq!((&lints[0].rooms[..], lints.len()), (&["new".to_owned()][..], 1));
        // A minute later that is over.
        let mut last = look(&[("old", 91), ("new", 6), ("calm", 5)]);
        looks.compare(&mut last, began + Duration::from_secs(91));
        assert_eq!(last.lints(), []);
    }

    #[test]
    fn no_more_rooms_are_remembered_than_the_bound_and_none_is_wronged() {
        let mut before = Restarts::default();
        for n in 0..=limits::RESTARTING_ROOMS {
            before.note(&key(&n.to_string()), 9);
        }
        assert!(before.by_room.len() <= limits::RESTARTING_ROOMS);
        // Whether this one was restarted before cannot be told.
        let last = limits::RESTARTING_ROOMS.to_string();
        assert_eq!(before.often_since(&restarts(&[(&last, 9)])), Found::default());
    }

    #[test]
    fn the_worst_comes_first_and_some_rooms_are_named() {
        let mut look = Look::default();
        for n in 0..20 {
            look.slow_start.add(&key(&n.to_string()));
        }
        look.parked.add(&key("inn"));
        let lints = look.lints();
        assert_eq!(lints[0].text, "1 room crashed too often and is parked for a while.");
        assert_eq!(lints[1].text, "20 rooms have been starting for more than 10 s.");
        assert_eq!(lints[1].rooms.len(), limits::LINT_ROOMS);
    }
}
