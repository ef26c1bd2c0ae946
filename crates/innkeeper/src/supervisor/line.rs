//! Decides in what order the children of a supervisor end and begin again after a crash.
//!
//! Pure: the children of one supervisor in the order of their start, what is known of each, and the
//! *round* that is under way. Whoever reports what happened to a child carries out what is due.
//!
//! A round begins when a child has ended and is held. First those who have to end with it do, one
//! by one, the last one first; then all who are held begin again, one by one, the first one first,
//! each once the one before it is ready. A crash in the midst of it makes the round begin again
//! with whom that concerns.

use std::time::Duration;

/// Whom a supervisor restarts when one of its children has to be (OTP's strategies).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// That child.
    #[default]
    OneForOne,
    /// All: the others are ended first, the last one first.
    OneForAll,
    /// That child and those that were started after it, which are ended first, the last one first.
    RestForOne,
}

impl Strategy {
    /// OTP's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Strategy::OneForOne => "one_for_one",
            Strategy::OneForAll => "one_for_all",
            Strategy::RestForOne => "rest_for_one",
        }
    }
}

/// When a supervisor ends because its significant children have (OTP's `auto_shutdown`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AutoShutdown {
    /// Never.
    #[default]
    Never,
    /// When the first of them has ended by itself and is not restarted.
    AnySignificant,
    /// When the last of them has.
    AllSignificant,
}

/// Where a child is, as far as its siblings are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// Known, but not running and not about to.
    Down,
    /// It runs, or starts for the first time.
    Up,
    /// Told to end because of a sibling.
    Ending,
    /// It has ended, and waits for its turn to begin again.
    Held,
    /// It begins again.
    Resuming,
}

#[derive(Debug)]
struct Place<T> {
    at: u64,
    child: T,
    temporary: bool,
    significant: bool,
    run: Run,
    /// It is ending by itself, and not to be restarted.
    leaving: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Those from this place on are to end.
    Ending { from: u64 },
    /// Those that are held are to begin again.
    Resuming,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due<T> {
    /// End this child, which then waits to be resumed.
    Hold(T),
    /// End this child for good: it is temporary.
    End(T),
    /// Let this child begin again.
    Resume(T, Duration),
    /// End the supervisor: its significant children have ended.
    ShutDown,
}

/// The children of one supervisor, in the order of their start.
#[derive(Debug)]
pub(crate) struct Line<T> {
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    places: Vec<Place<T>>,
    round: Option<Round>,
    /// The longest wait before the next of them begins again.
    after: Duration,
    /// There while the supervisor runs, and is not about to end.
    is_open: bool,
    shuts_down: bool,
}

impl<T: Clone> Line<T> {
    pub(crate) fn new(strategy: Strategy, auto_shutdown: AutoShutdown) -> Self {
        Line {
            strategy,
            auto_shutdown,
            places: Vec::new(),
            round: None,
            after: Duration::ZERO,
            is_open: false,
            shuts_down: false,
        }
    }

    /// The supervisor begins: nothing runs.
    pub(crate) fn open(&mut self) {
        for place in &mut self.places {
            (place.run, place.leaving) = (Run::Down, false);
        }
        (self.round, self.after) = (None, Duration::ZERO);
        (self.is_open, self.shuts_down) = (true, false);
    }

    /// The supervisor ends: nothing is due any more.
    pub(crate) fn close(&mut self) {
        (self.is_open, self.round) = (false, None);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Puts a child in at its place, if that is free: mostly at the end.
    pub(crate) fn put(&mut self, at: u64, child: T, temporary: bool, significant: bool) {
        let index = self.places.partition_point(|place| place.at < at);
        if self.places.get(index).is_none_or(|place| place.at != at) {
            let (run, leaving) = (Run::Down, false);
            self.places.insert(index, Place { at, child, temporary, significant, run, leaving });
        }
    }

    /// The children with their places, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        self.places.iter().map(|place| (place.at, &place.child))
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Takes a child out.
    pub(crate) fn remove(&mut self, at: u64) -> Option<T> {
        let index = self.places.iter().position(|place| place.at == at)?;
        Some(self.places.remove(index).child)
    }

    /// Whom a round that is under way waits for.
    pub(crate) fn waits_for(&self) -> Option<&T> {
        self.round?;
        let busy = |place: &&Place<T>| matches!(place.run, Run::Ending | Run::Resuming);
        let held = |place: &&Place<T>| place.run == Run::Held;
        let places = &self.places;
        let place = places.iter().find(busy).or_else(|| places.iter().find(held))?;
        Some(&place.child)
    }

    /// A child is started by itself.
    pub(crate) fn started(&mut self, at: u64) {
        if let Some(place) = self.place(at) {
            (place.run, place.leaving) = (Run::Up, false);
        }
    }

    /// Whether a child was told to end because of a sibling: what it exits with is of no matter.
    pub(crate) fn is_told_to_end(&self, at: u64) -> bool {
        let told = |place: &Place<T>| place.at == at && place.run == Run::Ending;
        self.is_open && self.places.iter().any(told)
    }

    /// A child is ending by itself, and is not to be restarted.
    pub(crate) fn leaving(&mut self, at: u64) {
        if let Some(place) = self.place(at) {
            place.leaving = true;
        }
    }

    /// The wait before a child begins again that is about to end by itself.
    pub(crate) fn delay(&mut self, after: Duration) {
        self.after = self.after.max(after);
    }

    /// A child has ended and waits.
    pub(crate) fn held(&mut self, at: u64) {
        let strategy = self.strategy;
        let Some(place) = self.place(at) else {
            return;
        };
        let was = std::mem::replace(&mut place.run, Run::Held);
        if was == Run::Ending {
            return;
        }
        let from = if strategy == Strategy::OneForAll { 0 } else { at };
        let from = match self.round {
            Some(Round::Ending { from: begun }) => from.min(begun),
            // Those that are still held end no more: they are resumed after this one or before it,
            // as their places say.
            Some(Round::Resuming) | None => from,
        };
        self.round = Some(Round::Ending { from });
    }

    /// A child is ready.
    pub(crate) fn ready(&mut self, at: u64) {
        if let Some(place) = self.place(at)
            && place.run != Run::Ending
        {
            place.run = Run::Up;
        }
    }

    /// A child has ended for good.
    pub(crate) fn gone(&mut self, at: u64) {
        let Some(place) = self.place(at) else {
            return;
        };
        place.run = Run::Down;
        if !(place.significant && std::mem::take(&mut place.leaving)) {
            return;
        }
        let runs = |place: &Place<T>| place.significant && place.run != Run::Down;
        self.shuts_down |= match self.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !self.places.iter().any(runs),
        };
    }

    /// What is to be done next; `None` if nothing is, or something has to happen first.
    pub(crate) fn due(&mut self) -> Option<Due<T>> {
        if !self.is_open {
            return None;
        }
        if std::mem::take(&mut self.shuts_down) {
            return Some(Due::ShutDown);
        }
        if let Round::Ending { from } = self.round? {
            let mut to_end = self.places.iter_mut().rev().filter(|place| place.at >= from);
            let found = to_end.find(|place| !matches!(place.run, Run::Down | Run::Held));
            match found {
                Some(place) if place.run == Run::Ending => return None,
                Some(place) => {
                    place.run = Run::Ending;
                    let child = place.child.clone();
                    let end = if place.temporary { Due::End } else { Due::Hold };
                    return Some(end(child));
                }
                None => self.round = Some(Round::Resuming),
            }
        }
        if self.places.iter().any(|place| place.run == Run::Resuming) {
            return None;
        }
        let Some(place) = self.places.iter_mut().find(|place| place.run == Run::Held) else {
            self.round = None;
            return None;
        };
        place.run = Run::Resuming;
        Some(Due::Resume(place.child.clone(), std::mem::take(&mut self.after)))
    }

    fn place(&mut self, at: u64) -> Option<&mut Place<T>> {
        self.places.iter_mut().find(|place| place.at == at)
    }
}

#[cfg(test)]
mod tests;
