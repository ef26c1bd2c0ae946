//! Decides whether what comes over a link from another node may still have an effect here.
//!
//! The sender of a call may have lost its session after it sent it, and its successor may already
//! be at work. So the receiver keeps a fence of its own: it asks, every now and then, how long the
//! sender can still prove its session, and counts from *before* it asked. Whatever it takes before
//! that time is over was taken before the sender's gate shut, and so before anybody could claim the
//! sender's shards.

use super::timing::{Now, RATE_PERCENT};

/// How many questions may be without an answer.
const ASKED_MAX: usize = 4;

/// A question by its number.
pub type Nonce = u64;

/// The receiver's side of one link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Link {
    pub(crate) next: Nonce,
    /// Questions without an answer, and when they were asked.
    pub(crate) asked: Vec<(Nonce, Now)>,
    /// From when on, and for how long.
    pub(crate) proven: Option<(Now, u64)>,
}

impl Link {
    /// Asks the sender for how long it can prove its session. The clock was read before this is
    /// sent.
    pub fn ask(&mut self, now: Now) -> Nonce {
        let nonce = self.next;
        self.next += 1;
        if self.asked.len() == ASKED_MAX {
            self.asked.remove(0);
        }
        self.asked.push((nonce, now));
        nonce
    }

    /// The sender's answer: what remained, in nanoseconds, when it read the question.
    pub fn told(&mut self, nonce: Nonce, remaining: u64) {
        let Some(at) = self.asked.iter().position(|(asked, _)| *asked == nonce) else { return };
        let (_, asked) = self.asked.remove(at);
        // Questions from before this one: their answers would say less.
        self.asked.drain(..at);
        self.proven = Some((asked, by_any_clock(remaining)));
    }

    /// Whether a frame may be taken now.
    pub fn accepts(&self, now: Now) -> bool {
        self.proven.is_some_and(|(from, remaining)| now.elapsed_since(from) < remaining)
    }

    /// Whether what a process over there asks of one here may be taken now. For `effects` after the
    /// question only ([`Timing::effects`](super::timing::Timing::effects)): the sender's session
    /// may be ended before its time, by somebody who knows that it is no more.
    pub fn accepts_effect(&self, now: Now, effects: u64) -> bool {
        let is_fresh = |from| now.elapsed_since(from) < by_any_clock(effects);
        self.accepts(now) && self.proven.is_some_and(|(from, _)| is_fresh(from))
    }
}

/// What is left of a time on the sender's clock if ours is slower than that.
fn by_any_clock(time: u64) -> u64 {
    time - time / 100 * 2 * RATE_PERCENT
}
