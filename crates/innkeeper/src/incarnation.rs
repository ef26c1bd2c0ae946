//! How one run of a process is told from every other run, ever.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// One run of a process: from the first instruction of `init` until its state is dropped and every
/// task of its context has ended.
///
/// # Guarantees
/// Never reused: within a program the number only grows, and a random part drawn at its start tells
/// one run of the program from another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(u64);

static BOOT: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("boot"));
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Incarnation {
    /// No incarnation: the number that none ever has.
    pub(crate) const NONE: Incarnation = Incarnation(0);

    pub(crate) fn next() -> Incarnation {
        Incarnation(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn from_number(number: u64) -> Incarnation {
        Incarnation(number)
    }

    /// Its number within this run of the program.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", *BOOT, self.0)
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
    }
}
