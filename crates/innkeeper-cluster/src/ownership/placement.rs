//! Decides where each shard should be: weighted rendezvous hashing with a bounded load.
//!
//! Every node computes the same from the same members, so nobody has to be asked. Where two nodes
//! see different members they disagree for a moment, and the transactions of claims settle it.

use super::record::Shard;

/// How much above its fair share a node is given, in percent.
const LOAD_PERCENT: u64 = 110;

/// A node that can be given shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its name, which decides; so a node that is started again is given the same shards.
    pub name: &'a str,
    /// Its share, against the weights of the others. 0: none.
    pub weight: u32,
}

/// For each shard the candidate it should be with, by index. `None` where there is nobody.
///
/// # Guarantees
/// The same for the same candidates in whatever order. No candidate is given more than a tenth
/// above its share, rounded up. When one comes or goes, few shards change between the others: only
/// those that the bound pushes on.
pub fn place(shards: Shard, candidates: &[Candidate<'_>]) -> Vec<Option<usize>> {
    let weights: u64 = candidates.iter().map(|candidate| u64::from(candidate.weight)).sum();
    if weights == 0 {
        return vec![None; usize::from(shards)];
    }
    let bounds: Vec<u64> = candidates
        .iter()
        .map(|candidate| {
            let share = u64::from(shards) * u64::from(candidate.weight) * LOAD_PERCENT;
            share.div_ceil(weights * 100)
        })
        .collect();
    let names: Vec<u64> = candidates.iter().map(|candidate| hash(candidate.name)).collect();
    let mut loads = vec![0_u64; candidates.len()];
    let mut place_one = |shard: Shard| {
        let free = (0..candidates.len()).filter(|&at| loads[at] < bounds[at]);
        let best = free.max_by(|&a, &b| {
            let score = |at: usize| score(names[at], shard, candidates[at].weight);
            score(a).total_cmp(&score(b)).then(candidates[a].name.cmp(candidates[b].name))
        });
        if let Some(at) = best {
            loads[at] += 1;
        }
        best
    };
    (0..shards).map(&mut place_one).collect()
}

/// The shard of a key, by the key's bytes. The same on every node and in every version.
pub fn shard_of(key: &[u8], shards: Shard) -> Shard {
    let mut hash = KeyHash::default();
    hash.write(key);
    hash.shard(shards)
}

/// The hash of a key whose bytes come piece by piece.
#[derive(Clone, Copy, Debug)]
pub struct KeyHash(u64);

impl Default for KeyHash {
    fn default() -> Self {
        KeyHash(FNV_EMPTY)
    }
}

impl KeyHash {
    /// More of the key's bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.0 = fnv(self.0, bytes);
    }

    /// The shard of the key, once all of its bytes were written.
    pub fn shard(self, shards: Shard) -> Shard {
        let wide = u128::from(mix(self.0)) * u128::from(shards);
        // The upper half of the product is below `shards`.
        (wide >> 64) as Shard
    }
}

/// The logarithmic method: a candidate's chance to score highest is as its weight.
fn score(name: u64, shard: Shard, weight: u32) -> f64 {
    let hash = mix(name ^ mix(u64::from(shard) + 1));
    // Between 0 and 1, neither included.
    let fraction = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    f64::from(weight) / -fraction.ln()
}

fn hash(name: &str) -> u64 {
    mix(fnv(FNV_EMPTY, name.as_bytes()))
}

/// What FNV-1a begins with.
const FNV_EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: simple enough to be the same everywhere and for ever.
fn fnv(before: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(before, step)
}

/// The finish of splitmix64: every bit of the input turns half of the output's.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(names: &[&'a str]) -> Vec<Candidate<'a>> {
        names.iter().map(|&name| Candidate { name, weight: 1 }).collect()
    }

    fn where_to<'a>(shards: Shard, candidates: &[Candidate<'a>]) -> Vec<&'a str> {
        place(shards, candidates).into_iter().map(|at| candidates[at.unwrap()].name).collect()
    }

    #[test]
    fn no_node_is_given_more_than_a_tenth_above_its_share() {
        let nodes = named(&["a", "b", "c", "d", "e"]);
        let placed = where_to(1024, &nodes);
        for node in &nodes {
            let load = placed.iter().filter(|name| **name == node.name).count();
            assert!((100..=226).contains(&load), "{}: {load}", node.name);
        }
    }

    #[test]
    fn shards_follow_the_weights() {
        let mut nodes = named(&["a", "b", "c"]);
        nodes[0].weight = 2;
        let placed = where_to(1024, &nodes);
        let load = placed.iter().filter(|name| **name == "a").count();
        assert!((460..=564).contains(&load), "{load}");
        nodes[1].weight = 0;
        assert!(!where_to(1024, &nodes).contains(&"b"));
    }

    #[test]
    fn when_a_node_goes_few_shards_of_the_others_move() {
        let before = where_to(1024, &named(&["a", "b", "c", "d", "e"]));
        let after = where_to(1024, &named(&["a", "b", "d", "e"]));
        let pairs = before.iter().zip(&after);
        let moved = pairs.filter(|(old, new)| **old != "c" && old != new).count();
        assert!(moved < 60, "{moved} of the other nodes' shards moved");
    }

    #[test]
    fn all_nodes_compute_the_same_whatever_the_order_in_which_they_saw_the_others() {
        let mut backwards = named(&["a", "b", "c"]);
        backwards.reverse();
        assert_eq!(where_to(256, &named(&["a", "b", "c"])), where_to(256, &backwards));
    }

    #[test]
    fn without_anybody_nothing_is_placed() {
        assert_eq!(place(2, &[]), [None, None]);
    }

    #[test]
    fn the_shard_of_a_key_never_changes_between_versions() {
        let shards = ["", "lobby", "room:1"].map(|key| shard_of(key.as_bytes(), 1024));
        assert_eq!(shards, [980, 627, 850]);
    }
}
