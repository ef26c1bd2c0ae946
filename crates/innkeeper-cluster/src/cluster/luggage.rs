//! What a shard takes along from one node to the next, as it is written down and sent.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::asked;
use crate::frame::{Part, Under};
use crate::limits;
use crate::ownership::record::{Epoch, Owned, Session};
use crate::ownership::timing::Now;

/// What the process of one key takes along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bag {
    pub(crate) scope: Vec<u8>,
    pub(crate) key: Vec<u8>,
    /// Of the process that packed it.
    pub(crate) version: u32,
    pub(crate) state: Option<Vec<u8>>,
    pub(crate) casts: Vec<Vec<u8>>,
}

impl fmt::Display for Bag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scope, key) = (self.scope.escape_ascii(), self.key.escape_ascii());
        let (state, casts) = (self.state.as_ref().map_or(0, Vec::len), self.casts.len());
        write!(f, "key `{key}` of scope `{scope}`: {state} bytes of state, {casts} casts that wait")
    }
}

/// Why a shard stays whose state was not taken, and what can be done about it.
pub(crate) fn stays<'a>(bags: impl Iterator<Item = &'a Bag>, why: &dyn fmt::Display) -> String {
    let Some(most) = bags.max_by_key(|bag| bag.weight()) else { return why.to_string() };
    format!(
        "{why}; the most comes with {most}; if that is too much, have its `on_handoff` take less"
    )
}

impl Bag {
    /// The same in pieces, each short enough for a part; together, in order, they are it again.
    fn pieces(&self) -> Vec<Bag> {
        let empty = self.empty();
        let mut pieces = Vec::new();
        match &self.state {
            Some(state) if !state.is_empty() => {
                let chunks = state.chunks(limits::PART_BYTES);
                pieces.extend(chunks.map(|it| Bag { state: Some(it.to_vec()), ..empty.clone() }));
            }
            state => pieces.push(Bag { state: state.clone(), ..empty.clone() }),
        }
        for cast in &self.casts {
            let is_short = |last: &&mut Bag| last.weight() + cast.len() <= limits::PART_BYTES;
            match pieces.last_mut().filter(is_short) {
                Some(last) => last.casts.push(cast.clone()),
                None => pieces.push(Bag { casts: vec![cast.clone()], ..empty.clone() }),
            }
        }
        pieces
    }

    /// Of the same process, with nothing in it.
    fn empty(&self) -> Bag {
        let Bag { scope, key, version, .. } = self;
        let (scope, key) = (scope.clone(), key.clone());
        Bag { scope, key, version: *version, state: None, casts: Vec::new() }
    }

    /// Puts the next piece of the same to it.
    fn append(&mut self, next: Bag) {
        if let Some(state) = next.state {
            self.state.get_or_insert_default().extend(state);
        }
        self.casts.extend(next.casts);
    }

    fn is_of(&self, other: &Bag) -> bool {
        (&self.scope, &self.key) == (&other.scope, &other.key)
    }

    fn weight(&self) -> usize {
        let casts: usize = self.casts.iter().map(Vec::len).sum();
        self.scope.len() + self.key.len() + self.state.as_ref().map_or(0, Vec::len) + casts
    }
}

/// The same in parts, each short enough to be sent. There is always one.
pub(crate) fn parts<'a>(
    under: Under,
    attempt: u64,
    bags: impl Iterator<Item = &'a Bag>,
) -> Option<Vec<Part>> {
    let mut chunks: Vec<Vec<Bag>> = vec![Vec::new()];
    let mut weight = 0;
    for piece in bags.flat_map(Bag::pieces) {
        if weight > 0 && weight + piece.weight() > limits::PART_BYTES {
            chunks.push(Vec::new());
            weight = 0;
        }
        weight += piece.weight();
        chunks.last_mut()?.push(piece);
    }
    let count = u32::try_from(chunks.len()).ok()?;
    let numbered = (0..count).zip(chunks);
    numbered
        .map(|(number, bags)| {
            Some(Part { under, attempt, number, count, body: asked::write(&bags)? })
        })
        .collect()
}

/// What is coming with a shard.
#[derive(Debug)]
pub(crate) struct Arriving {
    pub(crate) epoch: Epoch,
    /// Which try of the sender it is.
    attempt: u64,
    /// Each with its share of what may arrive at a node.
    parts: BTreeMap<u32, (Vec<Bag>, OwnedSemaphorePermit)>,
    count: u32,
    /// When the last part came.
    pub(crate) at: Now,
}

impl Arriving {
    pub(crate) fn new(epoch: Epoch, attempt: u64, at: Now) -> Self {
        Arriving { epoch, attempt, parts: BTreeMap::new(), count: 0, at }
    }

    /// How it stands to a part: less if that is of a later try than all that has come, greater if
    /// it is of an earlier one, which has been given up.
    pub(crate) fn cmp(&self, part: &Part) -> Ordering {
        (self.epoch, self.attempt).cmp(&(part.under.epoch, part.attempt))
    }

    /// Whether it may still be of use, now that this record was seen. Where the shard has come here
    /// under its epoch, it is about to be.
    pub(crate) fn is_awaited(&self, owned: Owned, me: Session) -> bool {
        owned.epoch < self.epoch || (owned.epoch == self.epoch && owned.owner == me)
    }

    /// Takes one part.
    pub(crate) fn take(
        &mut self,
        part: &Part,
        bags: Vec<Bag>,
        share: OwnedSemaphorePermit,
        at: Now,
    ) {
        (self.count, self.at) = (part.count, at);
        self.parts.insert(part.number, (bags, share));
    }

    /// All of it, if it is all there.
    pub(crate) fn whole(self) -> Option<Vec<Bag>> {
        let is_whole = self.count > 0 && self.parts.len() as u64 == u64::from(self.count);
        let mut whole: Vec<Bag> = Vec::new();
        for piece in self.parts.into_values().flat_map(|(bags, _)| bags) {
            match whole.last_mut().filter(|last| last.is_of(&piece)) {
                Some(last) => last.append(piece),
                None => whole.push(piece),
            }
        }
        is_whole.then_some(whole)
    }
}

/// What the processes of a shard had under an epoch, for those that come after them.
#[derive(Debug, Default)]
pub(crate) struct Luggage {
    pub(crate) epoch: Epoch,
    /// By scope and key. In order, for simulations repeat.
    bags: BTreeMap<(Vec<u8>, Vec<u8>), Bag>,
}

impl Luggage {
    pub(crate) fn new(epoch: Epoch, bags: Vec<Bag>) -> Luggage {
        let mut luggage = Luggage { epoch, bags: BTreeMap::new() };
        luggage.add(bags);
        luggage
    }

    /// Adds what comes after that: a process that was not ready yet had only casts of its own.
    pub(crate) fn add(&mut self, bags: Vec<Bag>) {
        for bag in bags {
            match self.bags.entry((bag.scope.clone(), bag.key.clone())) {
                Entry::Vacant(place) => drop(place.insert(bag)),
                Entry::Occupied(mut before) => before.get_mut().casts.extend(bag.casts),
            }
        }
    }

    pub(crate) fn bag(&self, scope: &[u8], key: &[u8]) -> Option<&Bag> {
        self.bags.get(&(scope.to_vec(), key.to_vec()))
    }

    pub(crate) fn take(&mut self, scope: &[u8], key: &[u8]) -> Option<Bag> {
        self.bags.remove(&(scope.to_vec(), key.to_vec()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bags.is_empty()
    }

    /// Scopes and keys.
    pub(crate) fn keys(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.bags.keys().cloned().collect()
    }

    pub(crate) fn bags(&self) -> impl Iterator<Item = &Bag> {
        self.bags.values()
    }

    pub(crate) fn into_bags(self) -> Vec<Bag> {
        self.bags.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    const UNDER: Under = Under { shard: 3, epoch: 8 };

    fn bag(key: &str, state: Option<usize>, casts: &[usize]) -> Bag {
        let bytes = |length: usize| (0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>();
        Bag {
            scope: b"rooms".to_vec(),
            key: key.as_bytes().to_vec(),
            version: 1,
            state: state.map(bytes),
            casts: casts.iter().map(|length| bytes(*length)).collect(),
        }
    }

    fn arrived(parts: &[Part]) -> Option<Vec<Bag>> {
        let shares = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let mut arriving = Arriving::new(UNDER.epoch, 1, Now::default());
        for part in parts {
            assert!(part.body.len() < limits::FRAME_BYTES_MAX / 2, "{}", part.body.len());
            let share = shares.clone().try_acquire_owned().unwrap();
            arriving.take(part, asked::read(&part.body).unwrap(), share, Now::default());
        }
        arriving.whole()
    }

    #[test]
    fn what_is_cut_into_parts_is_the_same_again_and_nothing_without_one_of_them() {
        let part = limits::PART_BYTES;
        let bags = [
            bag("a", None, &[]),
            bag("b", Some(0), &[0, 0]),
            bag("c", Some(part), &[part, 1]),
            bag("d", Some(3 * part + 1), &[part / 2; 5]),
            bag("e", Some(1), &[2; 1_000]),
        ];
        let parts = parts(UNDER, 1, bags.iter()).unwrap();
        assert!(parts.len() > 5, "{}", parts.len());
        assert_eq!(arrived(&parts).unwrap(), bags);
        let backwards: Vec<_> = parts.iter().rev().cloned().collect();
        assert_eq!(arrived(&backwards).unwrap(), bags);
        let twice: Vec<_> = parts.iter().chain(&parts).cloned().collect();
        assert_eq!(arrived(&twice).unwrap(), bags);
        for without in 0..parts.len() {
            let mut some = parts.clone();
            some.remove(without);
            assert_eq!(arrived(&some), None);
        }
        assert_eq!(arrived(&super::parts(UNDER, 1, [].iter()).unwrap()), Some(Vec::new()));
    }

    #[test]
    fn whoever_reads_that_a_shard_stays_is_told_which_key_has_the_most() {
        let most = bag("\u{4}attic", Some(60), &[9, 9]);
        let bags = [bag("\u{5}lobby", Some(70), &[]), most, bag("hall", Some(0), &[9])];
        let text = stays(bags.iter(), &"part 3: too long");
        let most = r"key `\x04attic` of scope `rooms`: 60 bytes of state, 2 casts that wait";
        assert!(text.starts_with("part 3: too long; ") && text.contains(most), "{text}");
        assert_eq!(stays([].iter(), &"not there"), "not there");
    }
}
