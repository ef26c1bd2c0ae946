//! Decides when the session of a program that is known to have ended may be ended, and how.
//!
//! Such a program begins nothing any more. But what its processes asked of others' may still be on
//! its way, and receivers take that for a while
//! ([`Timing::effects`](super::timing::Timing::effects)): so long nobody may become its successor.

use super::record::{Compare, Key, Session, Txn, Write};
use super::timing::Now;

/// The end of the program that a session belonged to, known for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    session: Session,
    /// When it was known, on the clock of whoever knows it.
    since: Now,
}

impl Death {
    /// The program of that session had ended before `since` was read.
    pub fn new(session: Session, since: Now) -> Death {
        Death { session, since }
    }

    /// The session.
    pub fn session(&self) -> Session {
        self.session
    }

    /// For how long, in nanoseconds, something that it sent may still be taken.
    pub fn wait(&self, effects: u64, now: Now) -> u64 {
        effects.saturating_sub(now.awake_since(self.since))
    }

    /// What ends the session: this very one, and no other start of a program.
    pub fn burial(&self) -> Txn {
        let Session { node, created } = self.session;
        let key = Key::Node(node);
        Txn {
            compares: vec![Compare::Created(key, created)],
            writes: vec![Write::Delete(key), Write::Delete(Key::Beat(node))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::NodeId;
    use super::*;

    #[test]
    fn the_dead_are_buried_when_nothing_of_theirs_is_taken_and_nobody_else_is() {
        let session = Session { node: NodeId(1), created: 7 };
        let at = |raw| Now { raw, slept: 0 };
        let death = Death::new(session, at(100));
        assert_eq!((death.wait(50, at(100)), death.wait(50, at(149))), (50, 1));
        assert_eq!(death.wait(50, at(150)), 0);
        // Sleep of the machine here is none of those who take.
        assert_eq!(death.wait(50, Now { raw: 100, slept: 50 }), 50);
        assert_eq!(death.burial().compares, [Compare::Created(Key::Node(NodeId(1)), 7)]);
    }
}
