//! What a shard takes along from one node to the next, as it is written down and sent.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use super::asked;
use crate::frame::{Part, Under};
use crate::limits;
use crate::ownership::record::Epoch;

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
