//! Decides what becomes of each shard: claimed, served, moved, given away.

use std::sync::Arc;

use super::placement::{self, Candidate};
use super::record::{
    Compare, Epoch, Key, NodeId, Owned, Revision, Session, Shard, Txn, Value, Write,
};
use super::timing::Now;
use super::{Answer, Command, Ownership, Purpose};

/// How many shards are moved at once, while none of them has to wait: each makes the others' pauses
/// longer.
const AT_ONCE: usize = 2;

/// What this node knows of a shard, and does with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// The newest record that was seen, and where it was written. `None`: never owned.
    pub(crate) known: Option<(Owned, Revision)>,
    pub(crate) phase: Phase,
    /// Since when it is known to have no owner.
    pub(crate) orphan_since: Option<Now>,
    /// It was to go, and has not gone since.
    pub(crate) stayed: Option<Stayed>,
}

/// A shard that was to go to a node and stayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stayed {
    to: NodeId,
    /// When it did last.
    at: Now,
    /// How often, less one.
    again: u32,
}

/// How often the wait is doubled before a shard that stayed is to go to the same node once more. It
/// begins with the time between two heartbeats.
const DOUBLED_MAX: u32 = 5;

/// What this node does with a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Nothing.
    #[default]
    Away,
    /// It asked for it, perhaps to keep it after a transfer that may yet be carried out.
    Claiming(Option<(Epoch, Session)>),
    /// It runs its processes.
    Serving(Epoch),
    /// It begins no more messages, and waits for those that were begun.
    Draining(Epoch, Session),
    /// All is quiet, and the other is getting the state.
    Offered(Epoch, Session),
    /// The transfer was sent.
    Releasing(Epoch, Session),
    /// The transfer was refused, or nobody knows: it is to be claimed again.
    Doubtful(Epoch, Session),
}

impl Ownership {
    /// Whether a shard may be given to that node now, or has stayed too lately.
    fn may_go(&self, shard: Shard, to: NodeId, now: Now) -> bool {
        let stayed = self.shards.get(usize::from(shard)).and_then(|held| held.stayed);
        stayed.filter(|stayed| stayed.to == to).is_none_or(|stayed| {
            let wait = self.config.timing.heartbeat << stayed.again.min(DOUBLED_MAX);
            now.awake_since(stayed.at) >= wait
        })
    }

    fn held(&mut self, shard: Shard) -> Option<&mut Held> {
        self.shards.get_mut(usize::from(shard))
    }

    fn phase(&self, shard: Shard) -> Phase {
        self.shards.get(usize::from(shard)).map_or(Phase::Away, |held| held.phase)
    }

    /// The epoch under which messages of a shard are begun.
    pub(crate) fn serving(&self, shard: Shard) -> Option<Epoch> {
        match self.phase(shard) {
            Phase::Serving(epoch) if self.own.over.is_none() => Some(epoch),
            _ => None,
        }
    }

    /// The epoch under which what was begun may still have effects.
    pub(crate) fn holds(&self, shard: Shard) -> Option<Epoch> {
        match self.phase(shard) {
            Phase::Serving(epoch) | Phase::Draining(epoch, _) => Some(epoch),
            Phase::Away
            | Phase::Claiming(_)
            | Phase::Offered(..)
            | Phase::Releasing(..)
            | Phase::Doubtful(..) => None,
        }
    }

    /// Who owns a shard, as far as is known here.
    pub fn owner(&self, shard: Shard) -> Option<Owned> {
        self.shards.get(usize::from(shard))?.known.map(|(owned, _)| owned)
    }

    pub(crate) fn owns_any(&self) -> bool {
        let me = self.own.session;
        self.shards.iter().any(|held| held.known.is_some_and(|(owned, _)| owned.owner == me))
    }

    /// Learns who owns a shard.
    pub(crate) fn owner_seen(
        &mut self,
        shard: Shard,
        owned: Owned,
        modified: Revision,
        commands: &mut Vec<Command>,
    ) {
        let me = self.own.session;
        let Some(held) = self.held(shard) else { return };
        // Nor is the one that is known already news: a transfer of its epoch may have been sent.
        if held.known.is_some_and(|(_, known)| known >= modified) {
            return;
        }
        held.known = Some((owned, modified));
        (held.orphan_since, held.stayed) = (None, None);
        let Owned { epoch, owner } = owned;
        match held.phase {
            // It is a fact that it became ours under this epoch, and only we can have given it away
            // since. We have not, for this is the first we hear of it; so we may serve it, whatever
            // we asked for and however we learned of it.
            Phase::Away | Phase::Claiming(_) | Phase::Releasing(..) | Phase::Doubtful(..)
                if owner == me =>
            {
                held.phase = Phase::Serving(epoch);
                commands.push(Command::Open { shard, epoch });
            }
            Phase::Releasing(old, to)
            | Phase::Doubtful(old, to)
            | Phase::Claiming(Some((old, to)))
                if owner == to && epoch == old + 1 =>
            {
                held.phase = Phase::Away;
                commands.push(Command::Commit { shard, epoch, to });
            }
            Phase::Away | Phase::Claiming(None) => {}
            _ if owner != me => {
                held.phase = Phase::Away;
                commands.push(Command::Lost { shard });
            }
            _ => {}
        }
    }

    /// Asks for shards that have no owner, and again for those of ours whose transfer failed.
    pub(crate) fn claim(&mut self, now: Now, commands: &mut Vec<Command>) {
        let idle = |held: &Held| matches!(held.phase, Phase::Away | Phase::Doubtful(..));
        if self.peers.whole == 0 || !self.is_proven(now) || !self.shards.iter().any(idle) {
            return;
        }
        let targets = self.targets();
        let mut wanted: Vec<(Option<Session>, Shard)> = Vec::new();
        for shard in 0..self.config.shards {
            let at = usize::from(shard);
            let owner = self.shards[at].known.map(|(owned, _)| owned.owner);
            if self.wants(shard, owner, targets[at], now) {
                wanted.push((owner, shard));
            }
        }
        wanted.sort_unstable();
        let one_owner = wanted.chunk_by(|a, b| a.0 == b.0);
        let claims_max = self.config.claims_max;
        for chunk in one_owner.flat_map(|chunk| chunk.chunks(claims_max)) {
            self.claim_all(chunk[0].0, chunk.iter().map(|(_, shard)| *shard), commands);
        }
    }

    /// Whether a shard is to be claimed now.
    fn wants(
        &mut self,
        shard: Shard,
        owner: Option<Session>,
        target: Option<NodeId>,
        now: Now,
    ) -> bool {
        let me = self.own.session;
        let has_owner = owner.is_some_and(|owner| self.peers.session(owner.node) == Some(owner));
        let (draining, patience) = (self.own.draining, self.config.timing.patience);
        let Some(held) = self.held(shard) else { return false };
        if !matches!(held.phase, Phase::Away | Phase::Doubtful(..)) {
            return false;
        }
        if owner == Some(me) {
            // A transfer that came to nothing, or may yet be carried out: the next epoch kills it.
            return true;
        }
        if has_owner || draining {
            return false;
        }
        let since = *held.orphan_since.get_or_insert(now);
        target == Some(me.node) || now.awake_since(since) >= patience
    }

    /// Asks for shards of one owner in one transaction.
    fn claim_all(
        &mut self,
        owner: Option<Session>,
        shards: impl Iterator<Item = Shard>,
        commands: &mut Vec<Command>,
    ) {
        let (me, floor) = (self.own.session, self.config.floor);
        let mut compares = vec![Compare::Created(Key::Node(me.node), me.created)];
        if let Some(owner) = owner.filter(|owner| *owner != me) {
            compares.push(Compare::Created(Key::Node(owner.node), 0));
        }
        let is_orphan = owner.is_some_and(|owner| owner != me);
        let (mut writes, mut claims) = (Vec::new(), Vec::new());
        for shard in shards {
            let Some(held) = self.held(shard) else { continue };
            let (epoch, modified) = held.known.map_or((0, 0), |(owned, at)| (owned.epoch, at));
            let owned = Owned { epoch: epoch.max(floor) + 1, owner: me };
            held.phase = match held.phase {
                Phase::Doubtful(epoch, to) => Phase::Claiming(Some((epoch, to))),
                _ => Phase::Claiming(None),
            };
            compares.push(Compare::Modified(Key::Shard(shard), modified));
            writes.push(Write::Put(Key::Shard(shard), Value::Owned(owned)));
            claims.push((shard, owned.epoch));
            if is_orphan {
                commands.push(Command::Claim { shard, epoch: owned.epoch });
            }
        }
        self.send(Purpose::Claim(claims), Txn { compares, writes }, commands);
    }

    pub(crate) fn claim_answered(
        &mut self,
        claims: &[(Shard, Epoch)],
        answer: Answer,
        commands: &mut Vec<Command>,
    ) {
        let me = self.own.session;
        for &(shard, epoch) in claims {
            if let Answer::Done(revision) = answer {
                self.owner_seen(shard, Owned { epoch, owner: me }, revision, commands);
            }
            let Some(held) = self.held(shard) else { continue };
            if let Phase::Claiming(given) = held.phase {
                held.phase = given.map_or(Phase::Away, |(epoch, to)| Phase::Doubtful(epoch, to));
            }
        }
        if !matches!(answer, Answer::Done(_)) {
            // Somebody was faster, or nobody knows: look before the next try.
            commands.push(Command::List);
        }
    }

    /// Begins to give a shard away.
    pub(crate) fn move_to(&mut self, shard: Shard, to: NodeId, commands: &mut Vec<Command>) {
        let me = self.own.session;
        let Some(to) = self.peers.session(to).filter(|to| *to != me) else { return };
        let Some(held) = self.held(shard) else { return };
        if let Phase::Serving(epoch) = held.phase {
            held.phase = Phase::Draining(epoch, to);
            commands.push(Command::Shut { shard, epoch });
        }
    }

    /// What was begun has ended: the state can go.
    pub(crate) fn quiesced(&mut self, shard: Shard, epoch: Epoch, commands: &mut Vec<Command>) {
        let Some(held) = self.held(shard) else { return };
        match held.phase {
            Phase::Draining(serving, to) if serving == epoch => {
                held.phase = Phase::Offered(epoch, to);
                commands.push(Command::Offer { shard, epoch: epoch + 1, to });
            }
            _ => {}
        }
    }

    /// The other has the state: the shard can go.
    pub(crate) fn accepted(&mut self, shard: Shard, epoch: Epoch, commands: &mut Vec<Command>) {
        let me = self.own.session;
        let Some(held) = self.held(shard) else { return };
        let Phase::Offered(serving, to) = held.phase else { return };
        let Some((_, modified)) = held.known.filter(|_| serving + 1 == epoch) else { return };
        held.phase = Phase::Releasing(serving, to);
        let owned = Owned { epoch, owner: to };
        let txn = Txn {
            compares: vec![
                Compare::Created(Key::Node(me.node), me.created),
                Compare::Created(Key::Node(to.node), to.created),
                Compare::Modified(Key::Shard(shard), modified),
            ],
            writes: vec![Write::Put(Key::Shard(shard), Value::Owned(owned))],
        };
        self.send(Purpose::Transfer(shard), txn, commands);
    }

    /// The other does not take it. Nothing was sent to the coordinator, so nothing has changed.
    pub(crate) fn shards_stay(
        &mut self,
        shard: Shard,
        epoch: Epoch,
        now: Now,
        commands: &mut Vec<Command>,
    ) {
        let Some(held) = self.held(shard) else { return };
        let (Phase::Draining(serving, to) | Phase::Offered(serving, to)) = held.phase else {
            return;
        };
        if serving + 1 == epoch {
            held.phase = Phase::Serving(serving);
            let before = held.stayed.filter(|stayed| stayed.to == to.node);
            let again = before.map_or(0, |stayed| stayed.again.saturating_add(1));
            held.stayed = Some(Stayed { to: to.node, at: now, again });
            commands.push(Command::Reopen { shard, epoch: serving });
        }
    }

    /// A node is no more: what was to go there stays.
    pub(crate) fn target_gone(&mut self, node: NodeId, now: Now, commands: &mut Vec<Command>) {
        for shard in 0..self.config.shards {
            let (Phase::Draining(epoch, to) | Phase::Offered(epoch, to)) = self.phase(shard) else {
                continue;
            };
            if to.node == node {
                self.shards_stay(shard, epoch + 1, now, commands);
            }
        }
    }

    pub(crate) fn transfer_answered(
        &mut self,
        shard: Shard,
        answer: Answer,
        commands: &mut Vec<Command>,
    ) {
        let Some(held) = self.held(shard) else { return };
        let Phase::Releasing(epoch, to) = held.phase else { return };
        match answer {
            Answer::Done(revision) => {
                let owned = Owned { epoch: epoch + 1, owner: to };
                self.owner_seen(shard, owned, revision, commands);
            }
            // Claimed again, under the next epoch; or seen to have gone.
            Answer::Refused | Answer::Unknown => {
                held.phase = Phase::Doubtful(epoch, to);
                commands.push(Command::List);
            }
        }
    }

    /// Gives away what should be elsewhere, a few at a time, once membership is quiet: now and then
    /// (`is_tick`) one more than goes on by itself, for those on the move may wait for a handler.
    pub(crate) fn balance(&mut self, now: Now, is_tick: bool, commands: &mut Vec<Command>) {
        let timing = &self.config.timing;
        let quiet = self.own.draining || now.awake_since(self.peers.changed) >= timing.quiet;
        if !self.is_proven(now) || !quiet {
            return;
        }
        let moving = |held: &&Held| {
            matches!(
                held.phase,
                Phase::Draining(..)
                    | Phase::Offered(..)
                    | Phase::Releasing(..)
                    | Phase::Doubtful(..)
            )
        };
        let moving = self.shards.iter().filter(moving).count();
        let room = AT_ONCE.saturating_sub(moving).max(usize::from(is_tick));
        let room = room.min(self.config.moves_max.saturating_sub(moving));
        if room == 0 || !self.shards.iter().any(|held| matches!(held.phase, Phase::Serving(_))) {
            return;
        }
        let me = self.own.session.node;
        let targets = self.targets();
        let misplaced: Vec<_> = (0..self.config.shards)
            .filter(|shard| self.serving(*shard).is_some())
            .filter_map(|shard| Some((shard, targets[usize::from(shard)].filter(|to| *to != me)?)))
            .filter(|(shard, to)| self.may_go(*shard, *to, now))
            .take(room)
            .collect();
        for (shard, to) in misplaced {
            self.move_to(shard, to, commands);
        }
    }

    /// Where each shard should be, as of what is known here.
    pub(crate) fn targets(&mut self) -> Arc<[Option<NodeId>]> {
        if let Some(targets) = &self.peers.targets {
            return targets.clone();
        }
        let targets = self.place();
        self.peers.targets = Some(targets.clone());
        targets
    }

    fn place(&self) -> Arc<[Option<NodeId>]> {
        let (nodes, candidates): (Vec<_>, Vec<_>) = self
            .peers
            .known
            .iter()
            .filter(|(_, peer)| !peer.member.draining)
            .map(|(node, peer)| {
                let member = &peer.member;
                (*node, Candidate { name: &member.name, weight: member.weight })
            })
            .unzip();
        let placed = placement::place(self.config.shards, &candidates);
        placed.into_iter().map(|at| at.map(|at| nodes[at])).collect()
    }
}
