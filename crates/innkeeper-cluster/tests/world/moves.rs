//! Judges what rooms began with, by what they said when they were packed, and by how the records in
//! the coordinator say that their shards changed hands.
//!
//! Looked at in the end, when everything is known: the coordinator's history is read from its
//! store, in the words in which it is written there.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{Coordinator, Entry};

/// What the rooms of one key have said, in order.
#[derive(Clone, Copy, Debug)]
enum Stamp {
    /// One began under an epoch, with the count that it was handed.
    Began(u64, Option<u64>),
    /// It was packed, with this count.
    Packed(u64, u64),
}

/// A cast that was in the mailbox of a room under an epoch, for certain.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    caller: usize,
    epoch: u64,
    id: u64,
}

/// What rooms and those who cast have seen of moves.
#[derive(Default)]
pub(crate) struct Moves {
    stamps: BTreeMap<String, Vec<Stamp>>,
    accepted: BTreeMap<String, Vec<Accepted>>,
    /// When each cast or call was begun, and under which epoch.
    begun: HashMap<u64, (usize, u64)>,
}

/// How a shard came to be owned under an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Nobody had it, or its owner's session was over.
    Claimed,
    /// Its owner claimed it again, and was there all the while.
    Kept,
    /// Its owner, who was there, gave it to another.
    Transferred,
}

/// How shards changed hands, by shard and epoch.
pub(crate) struct History(HashMap<(u16, u64), How>);

/// What was seen of moves that is worth counting.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) transferred: u64,
    pub(crate) kept: u64,
    /// Rooms that began with the very count that was packed, under a later epoch.
    pub(crate) exact: u64,
    /// Casts that were accepted under one epoch and begun under a later.
    pub(crate) carried: u64,
}

impl Moves {
    pub(crate) fn began(&mut self, key: &str, epoch: u64, handed: Option<u64>) {
        self.stamps.entry(key.to_owned()).or_default().push(Stamp::Began(epoch, handed));
    }

    pub(crate) fn packed(&mut self, key: &str, epoch: u64, count: u64) {
        self.stamps.entry(key.to_owned()).or_default().push(Stamp::Packed(epoch, count));
    }

    /// A caller's cast is in the mailbox of a room.
    pub(crate) fn accepted(&mut self, caller: usize, key: &str, epoch: u64, id: u64) {
        let accepted = Accepted { caller, epoch, id };
        self.accepted.entry(key.to_owned()).or_default().push(accepted);
    }

    /// A message was begun.
    pub(crate) fn begun(&mut self, id: u64, epoch: u64) {
        let order = self.begun.len();
        self.begun.entry(id).or_insert((order, epoch));
    }

    /// C6: what was packed came along whole if the shard did, and nothing came where it did not;
    /// what was accepted was begun, in order, unless an owner was lost since.
    pub(crate) fn verdict(
        &self,
        history: &History,
        shard: impl Fn(&str) -> u16,
    ) -> Result<Seen, String> {
        let mut seen = history.seen();
        for (key, stamps) in &self.stamps {
            let of_key = OfKey { key, shard: shard(key), stamps, history };
            seen.exact += of_key.counts()?;
        }
        for (key, accepted) in &self.accepted {
            seen.carried +=
                self.casts(key, accepted, |epoch| history.is_lost(shard(key), epoch))?;
        }
        Ok(seen)
    }

    /// How many of them were begun under a later epoch than they were accepted under.
    fn casts(
        &self,
        key: &str,
        accepted: &[Accepted],
        is_lost: impl Fn(u64) -> bool,
    ) -> Result<u64, String> {
        let mut last: HashMap<usize, usize> = HashMap::new();
        let mut carried = 0;
        for cast @ Accepted { caller, epoch, id } in accepted {
            let Some((order, under)) = self.begun.get(id) else {
                if is_lost(*epoch) {
                    continue;
                }
                return Err(format!("{cast:?} to {key} was accepted, and never begun"));
            };
            carried += u64::from(under > epoch);
            if last.insert(*caller, *order).is_some_and(|before| before > *order) {
                return Err(format!("{cast:?} to {key} was begun before one that came before it"));
            }
        }
        Ok(carried)
    }
}

/// The rooms of one key.
struct OfKey<'a> {
    key: &'a str,
    shard: u16,
    stamps: &'a [Stamp],
    history: &'a History,
}

impl OfKey<'_> {
    /// How many began with the very count that was packed under an earlier epoch.
    fn counts(&self) -> Result<u64, String> {
        let mut exact = 0;
        for (at, stamp) in self.stamps.iter().enumerate() {
            let Stamp::Began(epoch, handed) = *stamp else { continue };
            let before = self.last(epoch, at);
            let expected = match before {
                None => self.brought(epoch)?,
                // It was packed, and stayed.
                Some(Stamp::Packed(_, count)) => Some(count),
                Some(Stamp::Began(..)) => {
                    return Err(format!("{} began twice under {epoch}", self.key));
                }
            };
            if handed != expected {
                let (key, how) = (self.key, self.history.how(self.shard, epoch));
                return Err(format!(
                    "{key} began under {epoch} ({how:?}) with {handed:?}, and not {expected:?}"
                ));
            }
            exact += u64::from(before.is_none() && expected.is_some());
        }
        Ok(exact)
    }

    /// What was said last under an epoch, of what was said before.
    fn last(&self, epoch: u64, before: usize) -> Option<Stamp> {
        let is_of = |stamp: &&Stamp| {
            let (Stamp::Began(of, _) | Stamp::Packed(of, _)) = **stamp;
            of == epoch
        };
        self.stamps[..before].iter().rfind(is_of).copied()
    }

    /// What the first room under an epoch is to begin with.
    fn brought(&self, epoch: u64) -> Result<Option<u64>, String> {
        if self.history.how(self.shard, epoch) == How::Claimed {
            return Ok(None);
        }
        match self.last(epoch - 1, self.stamps.len()) {
            Some(Stamp::Packed(_, count)) => Ok(Some(count)),
            // None had begun, so what there was goes on.
            None => self.brought(epoch - 1),
            Some(Stamp::Began(..)) => {
                Err(format!("{} went on to {epoch}, and was not packed", self.key))
            }
        }
    }
}

impl History {
    /// Of all that was ever written.
    pub(crate) async fn of(memory: &Memory) -> History {
        let mut watch = memory.watch(String::new(), 0, Duration::ZERO).await.unwrap();
        History::read(&watch.next().await.unwrap())
    }

    /// Of records, oldest first.
    fn read(entries: &[Entry]) -> History {
        let mut nodes: HashMap<String, String> = HashMap::new();
        let mut owners: HashMap<u16, (String, String)> = HashMap::new();
        let mut how = HashMap::new();
        for entry in entries {
            let mut path = entry.key.rsplit('/');
            let (name, kind) = (path.next().unwrap_or(""), path.next().unwrap_or(""));
            match (kind, &entry.value) {
                ("node", Some(_)) => drop(nodes.insert(name.to_owned(), entry.created.to_string())),
                ("node", None) => drop(nodes.remove(name)),
                ("shard", Some(value)) => {
                    let text = String::from_utf8_lossy(value);
                    let field = |name: &str| {
                        let mut lines = text.lines().filter_map(|line| line.split_once('='));
                        lines.find(|(of, _)| *of == name).unwrap().1.to_owned()
                    };
                    let (shard, epoch) = (name.parse().unwrap(), field("epoch").parse().unwrap());
                    let owner = (field("owner"), field("created"));
                    let is_there = |(node, created): &(String, String)| {
                        nodes.get(node).is_some_and(|at| at == created)
                    };
                    let came = match owners.get(&shard) {
                        Some(before) if *before == owner => How::Kept,
                        Some(before) if is_there(before) => How::Transferred,
                        Some(_) | None => How::Claimed,
                    };
                    how.insert((shard, epoch), came);
                    owners.insert(shard, owner);
                }
                _ => {}
            }
        }
        History(how)
    }

    /// `None`: there was no such epoch.
    pub(crate) fn find(&self, shard: u16, epoch: u64) -> Option<How> {
        self.0.get(&(shard, epoch)).copied()
    }

    fn how(&self, shard: u16, epoch: u64) -> How {
        self.find(shard, epoch).unwrap()
    }

    /// Whether an owner of a shard was lost after an epoch had begun.
    fn is_lost(&self, shard: u16, after: u64) -> bool {
        let claims = self.0.iter().filter(|(_, how)| **how == How::Claimed);
        claims.into_iter().any(|((of, epoch), _)| *of == shard && *epoch > after)
    }

    fn seen(&self) -> Seen {
        let count = |wanted| self.0.values().filter(|how| **how == wanted).count() as u64;
        Seen { transferred: count(How::Transferred), kept: count(How::Kept), ..Seen::default() }
    }
}
