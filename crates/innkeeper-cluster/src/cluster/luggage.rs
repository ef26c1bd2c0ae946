//! What a shard takes along from one node to the next, as it is written down and sent.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::asked;
use crate::frame::{Part, Under};
use crate::limits;
use crate::ownership::record::{Epoch, Owned, Session};

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
    fn weight(&self) -> usize {
        let casts: usize = self.casts.iter().map(Vec::len).sum();
        self.scope.len() + self.key.len() + self.state.as_ref().map_or(0, Vec::len) + casts
    }
}

/// The same in parts, each short enough to be sent. There is always one.
pub(crate) fn parts<'a>(under: Under, bags: impl Iterator<Item = &'a Bag>) -> Option<Vec<Part>> {
    let mut chunks: Vec<Vec<&Bag>> = vec![Vec::new()];
    let mut weight = 0;
    for bag in bags {
        if weight > limits::PART_BYTES {
            chunks.push(Vec::new());
            weight = 0;
        }
        weight += bag.weight();
        chunks.last_mut()?.push(bag);
    }
    let count = u32::try_from(chunks.len()).ok()?;
    let numbered = (0..count).zip(chunks);
    numbered
        .map(|(number, bags)| Some(Part { under, number, count, body: asked::write(&bags)? }))
        .collect()
}

/// What is coming with a shard.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    pub(crate) epoch: Epoch,
    parts: BTreeMap<u32, Vec<Bag>>,
    count: u32,
}

impl Arriving {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Arriving { epoch, ..Arriving::default() }
    }

    /// Whether it may still be of use, now that this record was seen. Where the shard has come here
    /// under its epoch, it is about to be.
    pub(crate) fn is_awaited(&self, owned: Owned, me: Session) -> bool {
        owned.epoch < self.epoch || (owned.epoch == self.epoch && owned.owner == me)
    }

    /// Takes one part.
    pub(crate) fn take(&mut self, part: &Part, bags: Vec<Bag>) {
        self.count = part.count;
        self.parts.insert(part.number, bags);
    }

    /// All of it, if it is all there.
    pub(crate) fn whole(self) -> Option<Vec<Bag>> {
        let is_whole = self.count > 0 && self.parts.len() as u64 == u64::from(self.count);
        is_whole.then(|| self.parts.into_values().flatten().collect())
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
    use super::*;

    fn bag(key: &[u8], state: usize, casts: usize) -> Bag {
        let (scope, key, state) = (b"rooms".to_vec(), key.to_vec(), Some(vec![0; state]));
        Bag { scope, key, version: 1, state, casts: vec![vec![0; 9]; casts] }
    }

    #[test]
    fn whoever_reads_that_a_shard_stays_is_told_which_key_has_the_most() {
        let bags = [bag(b"\x05lobby", 70, 0), bag(b"\x04attic", 60, 2), bag(b"hall", 0, 1)];
        let text = stays(bags.iter(), &"part 3: too long");
        let most = r"key `\x04attic` of scope `rooms`: 60 bytes of state, 2 casts that wait";
        assert!(text.starts_with("part 3: too long; ") && text.contains(most), "{text}");
        assert_eq!(stays([].iter(), &"not there"), "not there");
    }
}
