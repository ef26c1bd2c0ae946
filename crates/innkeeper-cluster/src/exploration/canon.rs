//! When two states are the same: whatever only counts up is replaced by its rank, and every time by
//! its age.

use super::world::{Flight, Frame, Node, SESSION, Slot, State, Store, World};
use crate::ownership::link::Link;
use crate::ownership::peers::{Peer, Peers};
use crate::ownership::record::{Compare, Key, NodeId, Owned, Record, Session, Txn, Value, Write};
use crate::ownership::session::Own;
use crate::ownership::shards::{Held, Phase};
use crate::ownership::timing::{Now, Timing};
use crate::ownership::{Ownership, Purpose};

/// Ages above this make no difference. The oldest that does is that of the last proof of a session,
/// when the answer to a heartbeat comes that is as old as an answer can be: was there a gap of more
/// than half a session between the two?
const AGE_MAX: u64 = 2 * SESSION;

/// What a number means, so that only numbers of one kind are ranked together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Plain,
    /// Of one record: revisions of different records are compared only with those of lists.
    Revision(Option<Key>),
    Beat(u64),
    Request(usize),
    Nonce(usize),
}

struct Tokens {
    time: u64,
    /// Whether lists may be old when they are heard.
    stale: bool,
    timing: Timing,
    all: Vec<(Kind, u64)>,
}

/// A digest of everything that what can happen from here on depends on.
///
/// Two states that differ have the same with a chance of one in 2^128 for each pair.
pub(super) fn digest(world: &World) -> u128 {
    let all = Vec::with_capacity(128);
    let mut tokens = Tokens { time: world.time, stale: world.stale, timing: world.timing, all };
    tokens.world(world);
    let mut ranked = tokens.all.clone();
    ranked.retain(|(kind, value)| *kind != Kind::Plain && *value != 0);
    ranked.sort_unstable();
    ranked.dedup();
    let (mut low, mut high) = (0x9e37_79b9_7f4a_7c15_u64, 0xc2b2_ae3d_27d4_eb4f_u64);
    for (kind, value) in tokens.all {
        let value = if kind == Kind::Plain || value == 0 {
            value
        } else {
            let first = ranked.partition_point(|(other, _)| *other < kind);
            let rank = ranked.binary_search(&(kind, value)).unwrap_or(first);
            (rank - first + 1) as u64
        };
        low = mix(low ^ value);
        high = mix(high.rotate_left(23) ^ value.wrapping_mul(0xff51_afd7_ed55_8ccd));
    }
    (u128::from(high) << 64) | u128::from(low)
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Tokens {
    fn plain(&mut self, value: u64) {
        self.all.push((Kind::Plain, value));
    }

    fn revision(&mut self, key: Key, value: u64) {
        self.all.push((Kind::Revision((!self.stale).then_some(key)), value));
    }

    fn age(&mut self, then: u64) {
        self.plain((self.time - then.min(self.time)).min(AGE_MAX));
    }

    fn moment(&mut self, then: Now) {
        self.age(then.raw);
    }

    fn world(&mut self, world: &World) {
        let World {
            time: _,
            timing: _,
            store,
            slots,
            dead,
            buries: _,
            flights,
            frames: _,
            frame,
            restarts,
            repeats,
            next_node,
            begun,
            stale: _,
            goals: _,
        } = world;
        self.plain(u64::from(*restarts) << 8 | u64::from(*repeats));
        self.plain(*next_node);
        self.plain(*begun);
        let Store { revision: _, records, beaten, outlived } = store;
        self.plain(records.len() as u64);
        for record in records.values() {
            self.record(record);
        }
        for (node, at) in beaten {
            self.plain(node.0);
            self.plain((self.time - at).min(SESSION));
        }
        self.plain(outlived.len() as u64);
        for (a, b) in outlived {
            self.plain(a.0 << 8 | b.0);
        }
        for (at, slot) in slots.iter().enumerate() {
            match slot {
                Slot::Down => self.plain(0),
                Slot::Joining(node, sent, created) => {
                    self.plain(1);
                    self.plain(node.0);
                    self.age(*sent);
                    self.revision(Key::Node(*node), created.unwrap_or(0));
                }
                Slot::Up(node) => {
                    self.plain(2);
                    self.node(at, node);
                }
            }
        }
        self.plain(dead.len() as u64);
        for death in dead {
            self.session(death.session());
            self.plain(death.wait(self.timing.effects, Now { raw: self.time, slept: 0 }));
        }
        self.plain(flights.len() as u64);
        for flight in flights {
            self.flight(flight);
        }
        match frame {
            None => self.plain(0),
            Some(Frame { from, to, epoch }) => {
                self.plain(from.0 << 8 | *to as u64);
                self.plain(*epoch);
            }
        }
    }

    fn node(&mut self, slot: usize, node: &Node) {
        let Node { machine, running, held, list, link, question } = node;
        self.plain(running.unwrap_or(0) << 8 | held.unwrap_or(0));
        self.machine(slot, machine);
        match list {
            None => self.plain(0),
            Some((revision, records)) => {
                self.plain(1 + records.len() as u64);
                self.all.push((Kind::Revision(None), *revision));
                for record in records {
                    self.record(record);
                }
            }
        }
        if let Some((from, Link { next: _, asked, proven })) = link {
            self.plain(from.0 << 8 | asked.len() as u64);
            for (nonce, at) in asked {
                self.all.push((Kind::Nonce(slot), nonce + 1));
                self.moment(*at);
            }
            let (at, remaining) = proven.unwrap_or_default();
            self.moment(at);
            self.plain(remaining);
        }
        if let Some((nonce, remaining)) = question {
            self.all.push((Kind::Nonce(slot), nonce + 1));
            self.plain(remaining.map_or(0, |it| it + 1));
        }
    }

    fn machine(&mut self, slot: usize, machine: &Ownership) {
        let Ownership { config: _, own, peers, shards, requests, next_request: _ } = machine;
        let Own {
            session,
            member: _,
            proven,
            last_sent,
            beats,
            draining,
            announced,
            leaving,
            over: _,
        } = own;
        self.session(*session);
        self.moment(*proven);
        // Only whether another one is due.
        self.plain((self.time - last_sent.raw).min(1));
        self.all.push((Kind::Beat(session.node.0), *beats));
        self.plain(u64::from(*draining) | u64::from(*announced) << 1);
        // Only whether what was sent is still taken.
        self.plain(leaving.map_or(0, |since| 1 + (self.time - since.raw).min(self.timing.effects)));
        let Peers { known, whole, changed: _, targets: _ } = peers;
        if self.stale {
            self.all.push((Kind::Revision(None), *whole));
        } else {
            self.plain(u64::from(*whole > 0));
        }
        self.plain(known.len() as u64);
        for (node, Peer { member: _, created, beat, since }) in known {
            self.plain(node.0);
            self.revision(Key::Node(*node), *created);
            let (count, modified) = beat.unwrap_or_default();
            self.all.push((Kind::Beat(node.0), count));
            self.revision(Key::Beat(*node), modified);
            if *node != session.node {
                self.moment(*since);
            }
        }
        // Moves for balance are off here, so when one came to nothing last makes no difference.
        for Held { known, phase, orphan_since: _, stayed: _ } in shards {
            if let Some((owned, modified)) = known {
                self.owned(owned);
                self.revision(Key::Shard(0), *modified);
            }
            self.phase(*phase);
        }
        self.plain(requests.len() as u64);
        for (request, purpose) in requests {
            self.all.push((Kind::Request(slot), request + 1));
            self.purpose(purpose);
        }
    }

    fn purpose(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Beat { sent } => {
                self.plain(1);
                self.moment(*sent);
            }
            Purpose::Evict(NodeId(node)) => self.plain(2 | node << 8),
            Purpose::Claim(claims) => {
                self.plain(3);
                for (_, epoch) in claims {
                    self.plain(*epoch);
                }
            }
            Purpose::Transfer(_) => self.plain(4),
            Purpose::Announce => self.plain(5),
            Purpose::Leave => self.plain(6),
        }
    }

    fn phase(&mut self, phase: Phase) {
        let (word, given) = match phase {
            Phase::Away => (0, None),
            Phase::Claiming(given) => (1, given),
            Phase::Serving(epoch) => {
                self.plain(epoch);
                (2, None)
            }
            Phase::Draining(epoch, to) => (3, Some((epoch, to))),
            Phase::Offered(epoch, to) => (4, Some((epoch, to))),
            Phase::Releasing(epoch, to) => (5, Some((epoch, to))),
            Phase::Doubtful(epoch, to) => (6, Some((epoch, to))),
        };
        self.plain(word);
        if let Some((epoch, to)) = given {
            self.plain(epoch);
            self.session(to);
        }
    }

    fn flight(&mut self, flight: &Flight) {
        let Flight { slot, node, request, txn, sent, state } = flight;
        self.plain(*slot as u64 | node.0 << 8);
        // Of a request that nobody waits for only what it would do matters.
        match state {
            State::GivenUp => self.plain(0),
            State::Pending | State::Answered(_) | State::Refused => {
                self.all.push((Kind::Request(*slot), request + 1));
                self.age(*sent);
            }
        }
        match state {
            State::Pending => self.plain(1),
            State::Refused => self.plain(2),
            State::GivenUp => self.plain(3),
            State::Answered(revision) => {
                self.plain(4);
                // Of a heartbeat nobody looks at it; of the others it is that of the shard.
                let is_beat = matches!(txn.writes[..], [Write::Put(Key::Beat(_), _)]);
                self.revision(Key::Shard(0), if is_beat { 0 } else { *revision });
            }
        }
        // Of one that was carried out only the answer matters.
        if matches!(state, State::Pending | State::GivenUp) {
            self.txn(txn);
        }
    }

    fn txn(&mut self, Txn { compares, writes }: &Txn) {
        for compare in compares {
            match compare {
                Compare::Created(key, at) => {
                    self.key(1, *key);
                    self.revision(*key, *at);
                }
                Compare::Modified(key, at) => {
                    self.key(2, *key);
                    self.revision(*key, *at);
                }
                Compare::Beat(node, count) => {
                    self.key(3, Key::Beat(*node));
                    self.all.push((Kind::Beat(node.0), *count));
                }
            }
        }
        for write in writes {
            match write {
                Write::Put(key, value) => {
                    self.key(4, *key);
                    self.value(*key, value);
                }
                Write::Delete(key) => self.key(5, *key),
            }
        }
    }

    fn key(&mut self, word: u64, key: Key) {
        self.plain(match key {
            Key::Node(node) => word | 1 << 4 | node.0 << 8,
            Key::Beat(node) => word | 2 << 4 | node.0 << 8,
            Key::Shard(shard) => word | 3 << 4 | u64::from(shard) << 8,
        });
    }

    fn value(&mut self, key: Key, value: &Value) {
        match (key, value) {
            (Key::Beat(node), Value::Beat(count)) => {
                self.all.push((Kind::Beat(node.0), *count));
            }
            (_, Value::Beat(count)) => self.plain(*count),
            (_, Value::Member(member)) => self.plain(u64::from(member.draining)),
            (_, Value::Owned(owned)) => self.owned(owned),
        }
    }

    fn record(&mut self, record: &Record) {
        let Record { key, value, created, modified } = record;
        self.key(6, *key);
        self.revision(*key, *created);
        self.revision(*key, *modified);
        if let Some(value) = value {
            self.value(*key, value);
        }
    }

    fn owned(&mut self, Owned { epoch, owner }: &Owned) {
        self.plain(*epoch);
        self.session(*owner);
    }

    fn session(&mut self, Session { node, created }: Session) {
        self.plain(node.0);
        self.revision(Key::Node(node), created);
    }
}
