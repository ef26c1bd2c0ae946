//! Decides when a program that has no session yet may end the session that still has its name.
//!
//! Its predecessor may have died, and so may everybody else who could have noticed: then nobody but
//! those who want to join is left to end the sessions of the dead. The rule is that of
//! [`peers`](super::peers), with questions that were answered in the place of own heartbeats.

use super::record::{Compare, Key, NodeId, Revision, Txn, Write};
use super::timing::{Now, Timing};

/// The watch over the heartbeat of one session.
#[derive(Clone, Debug)]
pub struct Vigil {
    node: NodeId,
    timing: Timing,
    /// The heartbeat that is known, and since when.
    known: Option<((u64, Revision), Now)>,
    /// When the last question was sent that was answered.
    asked: Option<Now>,
}

/// What follows from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The session is no more.
    Gone,
    /// It has had a heartbeat.
    Alive,
    /// Ask again in a while.
    Wait,
    /// It was silent for all its time: this ends it.
    Evict(Txn),
}

impl Vigil {
    /// Over the session of one start of a program.
    pub fn new(node: NodeId, timing: Timing) -> Vigil {
        Vigil { node, timing, known: None, asked: None }
    }

    /// Takes the answer to a question that was sent at `asked`: the number of the heartbeat and
    /// where it was written, if it is there.
    pub fn hear(&mut self, beat: Option<(u64, Revision)>, asked: Now, now: Now) -> Verdict {
        let Some((count, modified)) = beat else { return Verdict::Gone };
        let gap = self.asked.replace(asked).map(|before| asked.awake_since(before));
        let (known, since) = *self.known.get_or_insert(((count, modified), now));
        if known != (count, modified) {
            return Verdict::Alive;
        }
        if gap.is_some_and(|gap| gap > self.timing.session / 2) {
            // Whoever could not ask for so long cannot tell who could not heartbeat.
            self.known = Some((known, now));
            return Verdict::Wait;
        }
        // The question itself was sent after the time was over.
        if asked.awake_since(since) < self.timing.session {
            return Verdict::Wait;
        }
        let compares = vec![
            Compare::Modified(Key::Beat(self.node), modified),
            Compare::Beat(self.node, count),
        ];
        let writes = vec![Write::Delete(Key::Node(self.node)), Write::Delete(Key::Beat(self.node))];
        Verdict::Evict(Txn { compares, writes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::timing::{FAIL_OVER_DEFAULT, SESSION_DEFAULT};

    fn at(tenths: u64) -> Now {
        Now { raw: tenths * 100_000_000, slept: 0 }
    }

    fn vigil() -> Vigil {
        Vigil::new(NodeId(1), Timing::new(SESSION_DEFAULT, FAIL_OVER_DEFAULT).unwrap())
    }

    #[test]
    fn a_session_that_is_silent_for_its_time_is_ended_by_its_last_heartbeat() {
        let mut vigil = vigil();
        // Learned of at 0.1 s, asked for at 0.
        for tenths in (0..50).step_by(10) {
            let verdict = vigil.hear(Some((3, 7)), at(tenths), at(tenths + 1));
            assert_eq!(verdict, Verdict::Wait);
        }
        assert_eq!(vigil.hear(Some((3, 7)), at(50), at(52)), Verdict::Wait, "asked too early");
        let Verdict::Evict(txn) = vigil.hear(Some((3, 7)), at(51), at(52)) else { panic!() };
        assert!(txn.compares.contains(&Compare::Modified(Key::Beat(NodeId(1)), 7)));
    }

    #[test]
    fn a_heartbeat_or_its_end_is_noticed() {
        let mut vigil = vigil();
        vigil.hear(Some((3, 7)), at(0), at(0));
        assert_eq!(vigil.hear(Some((4, 9)), at(10), at(10)), Verdict::Alive);
        assert_eq!(vigil.hear(None, at(20), at(20)), Verdict::Gone);
    }

    #[test]
    fn after_a_gap_between_answers_it_gets_the_full_time_again() {
        let mut vigil = vigil();
        vigil.hear(Some((3, 7)), at(0), at(0));
        assert_eq!(vigil.hear(Some((3, 7)), at(60), at(60)), Verdict::Wait);
        for tenths in (70..110).step_by(10) {
            assert_eq!(vigil.hear(Some((3, 7)), at(tenths), at(tenths)), Verdict::Wait);
        }
        assert!(matches!(vigil.hear(Some((3, 7)), at(110), at(110)), Verdict::Evict(_)));
    }
}
