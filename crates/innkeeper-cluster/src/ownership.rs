//! Decides whether this node may run a shard now: events in, commands out.
//!
//! Pure: no clock, no lock, no I/O; whoever carries out the commands says what the clocks show. It
//! is built on the standard library alone, so that the explorer of its states compiles these very
//! files, and so that each seeded mistake is a patch of them.
//!
//! # Why at most one node's gate is open for a shard at any instant
//! 1. An owner's gate is open only while `now < sent + D - g`, where `sent` was read before a
//!    heartbeat was sent that succeeded ([`session`]). A heartbeat succeeds only if the session's
//!    record is there.
//! 2. A peer deletes that record only in a transaction that finds the very heartbeat which the peer
//!    learned of at least D before, on its own clock ([`peers`]). So no later heartbeat has
//!    succeeded, and the owner's gate has shut. Nobody creates the record again.
//! 3. Epoch `e + 1` of a shard is written either by a claim, which finds the session of the owner
//!    of `e` absent, or by the owner of `e` itself: a transfer, which it sends only after its gate
//!    for the shard has shut, or a claim of its own to keep the shard after that ([`shards`]). The
//!    gate opens again only under the later epoch, whose record makes the transfer impossible.
//!
//! ```text
//!          claim, or a record that names us        Move             Quiesced          Accepted
//!   Away ---------------------------------> Serving ----> Draining --------> Offered ---------+
//!     ^  ^                                     ^             |                  |             |
//!     |  |                                     +--- the target is gone, or declines           |
//!     |  +----------- a record that names another ------------------------- Releasing <-------+
//!     +--- refused or unknown: claimed again under the next epoch ----------------+
//! ```

pub mod link;
pub mod peers;
pub mod placement;
pub mod proof;
pub mod record;
pub mod session;
pub mod shards;
pub mod timing;
pub mod vigil;

use std::collections::BTreeMap;

use peers::Peers;
use record::{Epoch, Member, NodeId, Record, Revision, Session, Shard, Txn};
use session::Own;
use shards::Held;
use timing::{Now, Timing};

/// The number of a request, unique within one node's start.
pub type RequestId = u64;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but that time has passed.
    Tick,
    /// What became of a request.
    Answered {
        /// Which.
        request: RequestId,
        /// What became of it.
        answer: Answer,
    },
    /// A record as it once was. A hint: it may be old.
    Seen(Record),
    /// All records as they were at one revision. A hint as well.
    Listed {
        /// At which.
        revision: Revision,
        /// All of them.
        records: Vec<Record>,
    },
    /// This shard is to go to that node.
    Move {
        /// Which.
        shard: Shard,
        /// Where to.
        to: NodeId,
    },
    /// All shards are to go, and then the node.
    Drain,
    /// The node is to go at once; what still runs here has lost.
    Leave,
    /// What the coordinator keeps is not what it was: nothing is certain any more.
    Rewound,
    /// No handler of a shard runs any more, and no output of one is under way.
    Quiesced {
        /// Which.
        shard: Shard,
        /// Under which ownership.
        epoch: Epoch,
    },
    /// The node that a shard was offered to has all that it needs.
    Accepted {
        /// Which.
        shard: Shard,
        /// The epoch that it would serve under.
        epoch: Epoch,
    },
    /// The node that a shard was offered to does not take it, or does not answer.
    Declined {
        /// Which.
        shard: Shard,
        /// The epoch that it would have served under.
        epoch: Epoch,
    },
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// All comparisons held, and everything was written at this revision.
    Done(Revision),
    /// A comparison did not hold; nothing was written.
    Refused,
    /// It may have been carried out, or may still be.
    Unknown,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send this to the coordinator, and report what becomes of it.
    Send {
        /// Its number.
        request: RequestId,
        /// What it says.
        txn: Txn,
    },
    /// Read all records, and report them.
    List,
    /// The shard is being claimed, for its last owner is gone: what that has sent along for this
    /// epoch, in vain, is not to be used.
    Claim {
        /// Which.
        shard: Shard,
        /// The epoch that is asked for.
        epoch: Epoch,
    },
    /// The shard is served now, under this epoch.
    Open {
        /// Which.
        shard: Shard,
        /// Under which ownership.
        epoch: Epoch,
    },
    /// Take no more messages for the shard, and report when it is quiet.
    Shut {
        /// Which.
        shard: Shard,
        /// Under which ownership.
        epoch: Epoch,
    },
    /// The shard stays after all: take messages again.
    Reopen {
        /// Which.
        shard: Shard,
        /// Under which ownership.
        epoch: Epoch,
    },
    /// Send the shard's state to that node, and report whether it has it.
    Offer {
        /// Which.
        shard: Shard,
        /// The epoch that the other would serve under.
        epoch: Epoch,
        /// Whom.
        to: Session,
    },
    /// The other owns the shard, and has had all of it before: forget what is still kept here.
    Commit {
        /// Which.
        shard: Shard,
        /// The epoch that the other serves under.
        epoch: Epoch,
        /// Whom.
        to: Session,
    },
    /// The shard is somebody else's, and nobody asks for what still waits here.
    Lost {
        /// Which.
        shard: Shard,
    },
    /// The session is over, and everything that ran under it ends.
    End(Over),
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Over {
    /// Its record is gone: others were right not to wait any longer. Or the cluster was configured
    /// anew, and a heartbeat noticed that first.
    Evicted,
    /// It gave everything away and left.
    Left,
    /// The coordinator was put back to an older state, or is another one; or the cluster was
    /// configured anew.
    Rewound,
}

/// Whether a message of a shard may be begun now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Yes, under this epoch.
    Open(Epoch),
    /// Not now: the session cannot be proven. It may be again, with the state as it is.
    Frozen(Epoch),
    /// No: the shard is not served here.
    Shut,
}

/// Whether an output may leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// Yes.
    Now,
    /// Not now; it is kept, in order.
    Hold,
    /// Never: the ownership it was made under is no more.
    Never,
}

/// What a request was for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// A heartbeat, sent then.
    Beat { sent: Now },
    /// The end of a peer's session.
    Evict(NodeId),
    /// Shards without an owner, or ours whose transfer came to nothing.
    Claim(Vec<(Shard, Epoch)>),
    /// A shard that goes to another node.
    Transfer(Shard),
    /// The word that this node is draining.
    Announce,
    /// The end of our own session.
    Leave,
}

/// What does not change during a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The deadlines.
    pub timing: Timing,
    /// How many shards there are.
    pub shards: Shard,
    /// How many shards one transaction may claim.
    pub claims_max: usize,
    /// How many shards may be on the move at once.
    pub moves_max: usize,
    /// The epoch above which this session claims: higher than any that was given before the
    /// coordinator was put back to an older state.
    pub floor: Epoch,
}

/// One node's view of who owns what, for the length of one session.
#[derive(Clone, Debug)]
pub struct Ownership {
    pub(crate) config: Config,
    pub(crate) own: Own,
    pub(crate) peers: Peers,
    pub(crate) shards: Vec<Held>,
    pub(crate) requests: BTreeMap<RequestId, Purpose>,
    pub(crate) next_request: RequestId,
}

impl Ownership {
    /// A session that has just been registered; `sent` was read before that was sent.
    pub fn new(config: Config, session: Session, member: Member, sent: Now) -> Ownership {
        let shards = vec![Held::default(); usize::from(config.shards)];
        let own = Own::new(session, member, sent);
        let peers = Peers::default();
        let (requests, next_request) = (BTreeMap::new(), 0);
        Ownership { config, own, peers, shards, requests, next_request }
    }

    /// Takes one event and answers what is to be done about it.
    pub fn apply(&mut self, event: Event, now: Now) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.own.over.is_some() {
            return commands;
        }
        match event {
            Event::Tick => self.tick(now, &mut commands),
            Event::Answered { request, answer } => {
                self.answered(request, answer, now, &mut commands);
            }
            Event::Seen(record) => self.seen(record, now, &mut commands),
            Event::Listed { revision, records } => {
                self.listed(revision, records, now, &mut commands);
            }
            Event::Move { shard, to } => self.move_to(shard, to, &mut commands),
            Event::Drain => self.own.draining = true,
            Event::Leave => self.own.leave_at(now),
            Event::Rewound => self.end(Over::Rewound, &mut commands),
            Event::Quiesced { shard, epoch } => self.quiesced(shard, epoch, &mut commands),
            Event::Accepted { shard, epoch } => self.accepted(shard, epoch, &mut commands),
            Event::Declined { shard, epoch } => {
                self.shards_stay(shard, epoch, now, &mut commands);
            }
        }
        commands
    }

    /// Whether a message of a shard may be begun now.
    pub fn gate(&self, shard: Shard, now: Now) -> Gate {
        match self.serving(shard) {
            Some(epoch) if self.is_proven(now) => Gate::Open(epoch),
            Some(epoch) => Gate::Frozen(epoch),
            None => Gate::Shut,
        }
    }

    /// Whether an output that was made under this ownership may leave now.
    pub fn release(&self, shard: Shard, epoch: Epoch, now: Now) -> Release {
        if self.own.over.is_some() || self.holds(shard) != Some(epoch) {
            Release::Never
        } else if self.is_proven(now) {
            Release::Now
        } else {
            Release::Hold
        }
    }

    /// Whether the session can be proven to be there now.
    pub fn is_proven(&self, now: Now) -> bool {
        self.remaining(now) > 0
    }

    /// For how long from now on the session can be proven without another heartbeat, in
    /// nanoseconds.
    pub fn remaining(&self, now: Now) -> u64 {
        self.own.remaining(&self.config.timing, now)
    }

    /// The session.
    pub fn session(&self) -> Session {
        self.own.session
    }

    /// Why the session is over, if it is.
    pub fn over(&self) -> Option<Over> {
        self.own.over
    }

    fn tick(&mut self, now: Now, commands: &mut Vec<Command>) {
        self.beat(now, commands);
        self.evict(now, commands);
        self.claim(now, commands);
        self.balance(now, true, commands);
        self.drain(commands);
        self.leave(now, commands);
    }

    fn answered(
        &mut self,
        request: RequestId,
        answer: Answer,
        now: Now,
        commands: &mut Vec<Command>,
    ) {
        // An answer that comes a second time means nothing.
        let Some(purpose) = self.requests.remove(&request) else {
            return;
        };
        match purpose {
            Purpose::Beat { sent } => self.beat_answered(sent, answer, now, commands),
            Purpose::Evict(node) => self.evict_answered(node, answer, now, commands),
            Purpose::Claim(claims) => self.claim_answered(&claims, answer, commands),
            Purpose::Transfer(shard) => {
                self.transfer_answered(shard, answer, commands);
                // There is room for the next one.
                self.balance(now, false, commands);
            }
            Purpose::Announce => self.own.announced |= matches!(answer, Answer::Done(_)),
            Purpose::Leave => self.leave_answered(answer, commands),
        }
    }

    /// Sends a transaction, and remembers what for.
    pub(crate) fn send(&mut self, purpose: Purpose, txn: Txn, commands: &mut Vec<Command>) {
        let request = self.next_request;
        self.next_request += 1;
        self.requests.insert(request, purpose);
        commands.push(Command::Send { request, txn });
    }

    /// The end of everything that this session stood for.
    pub(crate) fn end(&mut self, why: Over, commands: &mut Vec<Command>) {
        self.own.over = Some(why);
        self.requests.clear();
        commands.push(Command::End(why));
    }
}

#[cfg(test)]
mod tests;
