//! Decides for how long this node's own session is proven: heartbeats, freeze, drain and leave.

use super::record::{Compare, Key, Member, Session, Txn, Value, Write};
use super::timing::{Now, Timing};
use super::{Answer, Command, Over, Ownership, Purpose};

/// How many heartbeats may be unanswered at once.
const BEATS_MAX: usize = 3;

/// This node's session.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) session: Session,
    pub(crate) member: Member,
    /// When the latest heartbeat that succeeded was sent. Not when its answer came: the session was
    /// sure to be there only at some instant in between.
    pub(crate) proven: Now,
    /// When the latest heartbeat was sent, whatever became of it.
    pub(crate) last_sent: Now,
    pub(crate) beats: u64,
    pub(crate) draining: bool,
    /// Whether the others have been told.
    pub(crate) announced: bool,
    /// Since when the gate is shut for good, and the session is about to end.
    pub(crate) leaving: Option<Now>,
    pub(crate) over: Option<Over>,
}

impl Own {
    pub(crate) fn new(session: Session, member: Member, sent: Now) -> Own {
        Own {
            session,
            member,
            proven: sent,
            last_sent: sent,
            beats: 0,
            draining: false,
            announced: false,
            leaving: None,
            over: None,
        }
    }

    /// Shuts the gate for good.
    pub(crate) fn leave_at(&mut self, now: Now) {
        self.leaving.get_or_insert(now);
    }

    pub(crate) fn remaining(&self, timing: &Timing, now: Now) -> u64 {
        if self.over.is_some() || self.leaving.is_some() {
            return 0;
        }
        if now.slept_since(self.proven) > timing.slept_max {
            // It may have been copied, or have missed what others saw: it is to prove itself first.
            return 0;
        }
        timing.open_for().saturating_sub(now.elapsed_since(self.proven))
    }
}

impl Ownership {
    /// Sends a heartbeat when one is due.
    pub(crate) fn beat(&mut self, now: Now, commands: &mut Vec<Command>) {
        let is_due = now.elapsed_since(self.own.last_sent) >= self.config.timing.heartbeat;
        if !is_due || self.own.leaving.is_some() {
            return;
        }
        let is_beat = |purpose: &&Purpose| matches!(purpose, Purpose::Beat { .. });
        if self.requests.values().filter(is_beat).count() >= BEATS_MAX {
            return;
        }
        self.own.last_sent = now;
        self.own.beats += 1;
        let Session { node, created } = self.own.session;
        let txn = Txn {
            compares: vec![Compare::Created(Key::Node(node), created)],
            writes: vec![Write::Put(Key::Beat(node), Value::Beat(self.own.beats))],
        };
        self.send(Purpose::Beat { sent: now }, txn, commands);
    }

    pub(crate) fn beat_answered(
        &mut self,
        sent: Now,
        answer: Answer,
        now: Now,
        commands: &mut Vec<Command>,
    ) {
        match answer {
            Answer::Done(_) if sent.raw > self.own.proven.raw => {
                if sent.awake_since(self.own.proven) > self.config.timing.session / 2 {
                    // Who could not heartbeat for so long cannot tell who else could not.
                    self.peers.wait_anew(now);
                }
                self.own.proven = sent;
            }
            // Nothing new: an earlier one, or nobody knows.
            Answer::Done(_) | Answer::Unknown => {}
            Answer::Refused => self.end(self.over_why(), commands),
        }
    }

    /// Tells the others that nothing is to be given to this node any more, and that it has not died
    /// when its session ends.
    pub(crate) fn drain(&mut self, commands: &mut Vec<Command>) {
        let is_under_way = self.requests.values().any(|purpose| *purpose == Purpose::Announce);
        let goes = self.own.draining || self.own.leaving.is_some();
        if !goes || self.own.announced || is_under_way {
            return;
        }
        self.own.member.draining = true;
        let Session { node, created } = self.own.session;
        let key = Key::Node(node);
        let txn = Txn {
            compares: vec![Compare::Created(key, created)],
            writes: vec![Write::Put(key, Value::Member(self.own.member.clone()))],
        };
        self.send(Purpose::Announce, txn, commands);
    }

    /// Ends the session of a node that is to go, or that has given everything away. Its gate has
    /// shut for good, and nothing that left before is taken any more, before the first word of it
    /// leaves.
    pub(crate) fn leave(&mut self, now: Now, commands: &mut Vec<Command>) {
        if self.own.draining && self.own.announced && !self.owns_any() {
            self.own.leave_at(now);
        }
        let Some(since) = self.own.leaving else { return };
        let is_taken = now.awake_since(since) < self.config.timing.effects;
        if is_taken || self.requests.values().any(|it| *it == Purpose::Leave) {
            return;
        }
        let Session { node, created } = self.own.session;
        let key = Key::Node(node);
        let txn = Txn {
            compares: vec![Compare::Created(key, created)],
            writes: vec![Write::Delete(key), Write::Delete(Key::Beat(node))],
        };
        self.send(Purpose::Leave, txn, commands);
    }

    /// What it means that the session is no more.
    pub(crate) fn over_why(&self) -> Over {
        if self.own.leaving.is_some() { Over::Left } else { Over::Evicted }
    }

    pub(crate) fn leave_answered(&mut self, answer: Answer, commands: &mut Vec<Command>) {
        match answer {
            // Refused: an earlier try that nobody answered was carried out.
            Answer::Done(_) | Answer::Refused => self.end(Over::Left, commands),
            Answer::Unknown => {}
        }
    }
}
