//! How one run of a process is told from every other run, ever.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// One run of a process: from the first instruction of `init` until its state is dropped and every
/// task of its context has ended.
///
/// # Guarantees
/// Never reused: within a program they only grow, from where a random draw at its start puts the
/// first. So those of one key are told apart across starts of the program and across nodes, with
/// the certainty of 62 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(u64);

/// Where this run of the program begins to count; room is left above.
static FIRST: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("boot") >> 2 | 1);
static STARTED: AtomicU64 = AtomicU64::new(0);

impl Incarnation {
    /// No incarnation: the one that none ever is.
    pub(crate) const NONE: Incarnation = Incarnation(0);

    pub(crate) fn next() -> Incarnation {
        Incarnation(*FIRST + STARTED.fetch_add(1, Ordering::Relaxed))
    }

    /// As it was written down with [`to_bits`](Self::to_bits), here or on another node.
    pub const fn from_bits(bits: u64) -> Incarnation {
        Incarnation(bits)
    }

    /// For writing it down. 0 is none.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The how-many-eth of this run of the program it is, from 1 on. Of one from elsewhere it says
    /// nothing.
    pub fn number(self) -> u64 {
        self.0.wrapping_sub(*FIRST).wrapping_add(1)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_only_grow_and_none_is_never_given_out() {
        let (a, b) = (Incarnation::next(), Incarnation::next());
        assert!(Incarnation::NONE < a && a < b);
        assert!(a.number() < b.number());
    }

    #[test]
    fn what_was_written_down_is_the_same_incarnation() {
        let a = Incarnation::next();
        assert_eq!(Incarnation::from_bits(a.to_bits()), a);
    }
}
