//! For tests: an oracle that counts what is alive, from construction to drop.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts the live states of each key, by their construction and drop, and not by asking anybody.
///
/// # Examples
/// ```
/// let census = innkeeper::testing::Census::new();
/// let room = census.enter("lobby");
/// assert_eq!((census.alive(), census.most_of_one_key()), (1, 1));
/// let second = census.enter("lobby");
/// drop((room, second));
/// assert_eq!((census.alive(), census.most_of_one_key(), census.ever()), (0, 2, 2));
/// ```
#[derive(Debug)]
pub struct Census<K> {
    counts: Arc<Mutex<Counts<K>>>,
}

#[derive(Debug)]
struct Counts<K> {
    alive: HashMap<K, usize>,
    most: usize,
    ever: u64,
}

/// One live state; keep it in the state and drop it with it.
pub struct Alive {
    leave: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Census<K> {
    /// A census that has seen nothing.
    pub fn new() -> Self {
        let counts = Counts { alive: HashMap::new(), most: 0, ever: 0 };
        Census { counts: Arc::new(Mutex::new(counts)) }
    }

    /// A state of `key` begins: call it first in `init`.
    #[must_use = "it counts as alive only while this is kept"]
    pub fn enter(&self, key: K) -> Alive {
        let mut counts = self.counts.lock();
        counts.ever += 1;
        let alive = counts.alive.entry(key.clone()).or_default();
        *alive += 1;
        counts.most = (*alive).max(counts.most);
        drop(counts);
        let counts = self.counts.clone();
        let leave = move || {
            let mut counts = counts.lock();
            if let Some(alive) = counts.alive.get_mut(&key) {
                *alive -= 1;
                if *alive == 0 {
                    counts.alive.remove(&key);
                }
            }
        };
        Alive { leave: Some(Box::new(leave)) }
    }

    /// How many states are alive now.
    pub fn alive(&self) -> usize {
        self.counts.lock().alive.values().sum()
    }

    /// How many states of one key were ever alive at once: more than one, and it was broken.
    pub fn most_of_one_key(&self) -> usize {
        self.counts.lock().most
    }

    /// How many states there ever were.
    pub fn ever(&self) -> u64 {
        self.counts.lock().ever
    }
}

impl<K> Clone for Census<K> {
    fn clone(&self) -> Self {
        Census { counts: self.counts.clone() }
    }
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Default for Census<K> {
    fn default() -> Self {
        Census::new()
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            leave();
        }
    }
}

impl fmt::Debug for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alive")
    }
}
