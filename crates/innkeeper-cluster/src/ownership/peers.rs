//! Decides when another node's session may be ended: which heartbeat was its last, and for how long
//! that has been known.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::{Compare, Key, Member, NodeId, Record, Revision, Session, Txn, Value, Write};
use super::timing::Now;
use super::{Answer, Command, Ownership, Purpose};

/// The sessions that are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    pub(crate) known: BTreeMap<NodeId, Peer>,
    /// The revision that is known whole: a record that was not listed then was not there then.
    pub(crate) whole: Revision,
    /// When somebody came, went or changed; for who wants to move shards in peace.
    pub(crate) changed: Now,
    /// Where each shard should be, until somebody comes, goes or changes.
    pub(crate) targets: Option<Arc<[Option<NodeId>]>>,
}

/// One session, this node's own among them.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) member: Member,
    pub(crate) created: Revision,
    /// Its latest heartbeat: its number and where it was written. Not known at first, nor of this
    /// node itself.
    pub(crate) beat: Option<(u64, Revision)>,
    /// Since when that has been known.
    pub(crate) since: Now,
}

impl Peers {
    /// Everybody gets the full time again.
    pub(crate) fn wait_anew(&mut self, now: Now) {
        for peer in self.known.values_mut() {
            peer.since = now;
        }
    }

    pub(crate) fn session(&self, node: NodeId) -> Option<Session> {
        self.known.get(&node).map(|peer| Session { node, created: peer.created })
    }

    fn member_seen(&mut self, node: NodeId, record: &Record, member: &Member, now: Now) {
        // A record from before the list that did not have it any more.
        if record.modified <= self.whole && !self.known.contains_key(&node) {
            return;
        }
        let peer = self.known.entry(node).or_insert_with(|| {
            (self.changed, self.targets) = (now, None);
            Peer { member: member.clone(), created: record.created, beat: None, since: now }
        });
        if peer.member != *member && record.modified > self.whole {
            peer.member.clone_from(member);
            (self.changed, self.targets) = (now, None);
        }
    }

    fn beat_seen(&mut self, node: NodeId, record: &Record, count: u64, now: Now) {
        let Some(peer) = self.known.get_mut(&node) else { return };
        if peer.beat.is_none_or(|(_, modified)| record.modified > modified) {
            peer.beat = Some((count, record.modified));
            peer.since = now;
        }
    }

    fn gone(&mut self, node: NodeId, now: Now) {
        if self.known.remove(&node).is_some() {
            (self.changed, self.targets) = (now, None);
        }
    }
}

impl Ownership {
    /// The sessions that are known.
    pub fn members(&self) -> Vec<(Session, Member)> {
        let known = self.peers.known.iter();
        known
            .map(|(node, peer)| {
                (Session { node: *node, created: peer.created }, peer.member.clone())
            })
            .collect()
    }

    /// The sessions alone, in order.
    pub fn sessions(&self) -> Vec<Session> {
        let known = self.peers.known.iter();
        known.map(|(node, peer)| Session { node: *node, created: peer.created }).collect()
    }

    /// What the node of a session says of itself, if the session is known and not over.
    pub fn member(&self, session: Session) -> Option<&Member> {
        let peer = self.peers.known.get(&session.node)?;
        (peer.created == session.created).then_some(&peer.member)
    }

    /// Learns of one record.
    pub(crate) fn seen(&mut self, record: Record, now: Now, commands: &mut Vec<Command>) {
        match (record.key, &record.value) {
            (Key::Node(node), Some(Value::Member(member))) => {
                self.peers.member_seen(node, &record, member, now);
            }
            (Key::Beat(node), Some(Value::Beat(count))) if node != self.own.session.node => {
                self.peers.beat_seen(node, &record, *count, now);
            }
            (Key::Shard(shard), Some(Value::Owned(owned))) => {
                self.owner_seen(shard, *owned, record.modified, commands);
            }
            (Key::Node(node), None) if node == self.own.session.node => {
                self.end(self.over_why(), commands);
            }
            (Key::Node(node), None) => self.gone(node, now, commands),
            // A heartbeat goes with its node; the owner of a shard is never deleted. Anything else
            // is not ours to read.
            (Key::Node(_) | Key::Beat(_) | Key::Shard(_), _) => {}
        }
    }

    /// Learns of all records at once.
    pub(crate) fn listed(
        &mut self,
        revision: Revision,
        records: Vec<Record>,
        now: Now,
        commands: &mut Vec<Command>,
    ) {
        if revision < self.peers.whole {
            return;
        }
        let is_there = |node: &NodeId| records.iter().any(|it| it.key == Key::Node(*node));
        let gone: Vec<_> = self
            .peers
            .known
            .iter()
            // Younger than the list: it cannot be in there.
            .filter(|(node, peer)| peer.created <= revision && !is_there(node))
            .map(|(node, _)| *node)
            .collect();
        let own = self.own.session;
        if own.created <= revision && !is_there(&own.node) {
            return self.end(self.over_why(), commands);
        }
        for node in gone {
            self.gone(node, now, commands);
        }
        // The members first: a heartbeat of nobody is not kept.
        let (members, others): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|it| matches!(it.key, Key::Node(_)));
        for record in members.into_iter().chain(others) {
            self.seen(record, now, commands);
        }
        self.peers.whole = revision;
    }

    fn gone(&mut self, node: NodeId, now: Now, commands: &mut Vec<Command>) {
        self.peers.gone(node, now);
        self.target_gone(node, now, commands);
    }

    /// Ends the sessions that were silent for too long.
    pub(crate) fn evict(&mut self, now: Now, commands: &mut Vec<Command>) {
        if !self.is_proven(now) {
            return;
        }
        let silent: Vec<_> = self
            .peers
            .known
            .iter()
            .filter(|(node, peer)| **node != self.own.session.node && self.is_silent(peer, now))
            .filter_map(|(node, peer)| peer.beat.map(|beat| (*node, beat)))
            .collect();
        for (node, (count, modified)) in silent {
            let under_way = Purpose::Evict(node);
            if self.requests.values().any(|purpose| *purpose == under_way) {
                continue;
            }
            let Session { node: me, created } = self.own.session;
            let txn = Txn {
                compares: vec![
                    Compare::Created(Key::Node(me), created),
                    Compare::Modified(Key::Beat(node), modified),
                    Compare::Beat(node, count),
                ],
                writes: vec![Write::Delete(Key::Node(node)), Write::Delete(Key::Beat(node))],
            };
            self.send(under_way, txn, commands);
        }
    }

    /// Whether a peer has had its full time, and this node has proof that the coordinator took
    /// heartbeats all along: one that was sent after that time was over.
    fn is_silent(&self, peer: &Peer, now: Now) -> bool {
        let session = self.config.timing.session;
        now.awake_since(peer.since) >= session && self.own.proven.awake_since(peer.since) >= session
    }

    pub(crate) fn evict_answered(
        &mut self,
        node: NodeId,
        answer: Answer,
        now: Now,
        commands: &mut Vec<Command>,
    ) {
        match answer {
            Answer::Done(_) => self.gone(node, now, commands),
            // There is a heartbeat that we have not seen, or somebody was faster.
            Answer::Refused => commands.push(Command::List),
            Answer::Unknown => {}
        }
    }
}
