//! The world that the nodes are in: the coordinator's store, requests under way, time, and what the
//! clients have seen.

use std::collections::{BTreeMap, BTreeSet};

use super::acts::{self, Act};
use super::{Bounds, Goal};
use crate::ownership::link::Link;
use crate::ownership::proof::Death;
use crate::ownership::record::{
    Compare, Epoch, Key, Member, NodeId, Owned, Record, Revision, Session, Txn, Value, Versions,
    Write,
};
use crate::ownership::shards::Phase;
use crate::ownership::timing::{Now, Timing};
use crate::ownership::{Answer, Command, Config, Event, Gate, Ownership, Release, RequestId};

/// The length of a session, in ticks of the one clock that all have here.
pub(super) const SESSION: u64 = 2;

#[derive(Clone)]
pub(super) struct World {
    pub(super) time: u64,
    pub(super) timing: Timing,
    pub(super) store: Store,
    pub(super) slots: Vec<Slot>,
    /// The programs that are known to have died, where that matters.
    pub(super) dead: Vec<Death>,
    pub(super) buries: bool,
    pub(super) flights: Vec<Flight>,
    /// Whether handlers call processes on other nodes.
    pub(super) frames: bool,
    pub(super) frame: Option<Frame>,
    pub(super) restarts: u8,
    pub(super) repeats: u8,
    pub(super) next_node: u64,
    /// Whether a list may be old when it is heard.
    pub(super) stale: bool,
    /// The highest epoch under which a message was begun.
    pub(super) begun: Epoch,
    pub(super) goals: u16,
}

/// A place where one program after the other runs.
#[derive(Clone)]
pub(super) enum Slot {
    Down,
    /// It has sent for a session, then; `Some` once the coordinator has made it.
    Joining(NodeId, u64, Option<Revision>),
    Up(Box<Node>),
}

#[derive(Clone)]
pub(super) struct Node {
    pub(super) machine: Ownership,
    /// The handler that runs, by the epoch that it was begun under.
    pub(super) running: Option<Epoch>,
    /// The output that is held.
    pub(super) held: Option<Epoch>,
    /// A list that was read and has not been heard yet.
    pub(super) list: Option<(Revision, Vec<Record>)>,
    /// What it receives from: the other's session.
    pub(super) link: Option<(NodeId, Link)>,
    /// The question that is under way to the other, or its answer on the way back.
    pub(super) question: Option<(u64, Option<u64>)>,
}

#[derive(Clone)]
pub(super) struct Flight {
    pub(super) slot: usize,
    pub(super) node: NodeId,
    pub(super) request: RequestId,
    pub(super) txn: Txn,
    pub(super) sent: u64,
    pub(super) state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Pending,
    /// Carried out, the answer is on its way.
    Answered(u64),
    /// Refused, the answer is on its way.
    Refused,
    /// The sender waits no longer; it may be carried out yet.
    GivenUp,
}

/// A call from a handler to a process on another node.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) from: NodeId,
    pub(super) to: usize,
    pub(super) epoch: Epoch,
}

/// What the coordinator keeps.
#[derive(Clone, Default)]
pub(super) struct Store {
    pub(super) revision: Revision,
    pub(super) records: BTreeMap<Key, Record>,
    /// When each heartbeat was written.
    pub(super) beaten: BTreeMap<NodeId, u64>,
    /// Who has had a heartbeat a whole session after the last one of whom.
    pub(super) outlived: BTreeSet<(NodeId, NodeId)>,
}

impl World {
    pub(super) fn new(bounds: &Bounds) -> World {
        let mut world = World {
            // So that a record's revision is never the first.
            time: 10,
            timing: Timing {
                session: SESSION,
                guard: 0,
                heartbeat: 1,
                slept_max: 0,
                patience: 0,
                quiet: u64::MAX,
                // It matters only where there is something to take.
                effects: u64::from(bounds.frames),
            },
            store: Store { revision: 1, ..Store::default() },
            slots: Vec::new(),
            dead: Vec::new(),
            buries: bounds.burials,
            flights: Vec::new(),
            frames: bounds.frames,
            frame: None,
            restarts: bounds.restarts,
            repeats: bounds.repeats,
            next_node: 0,
            stale: bounds.stale,
            begun: 0,
            goals: 0,
        };
        for slot in 0..bounds.nodes {
            world.slots.push(Slot::Down);
            world.join(slot);
            world.register(slot);
            world.come_up(slot);
        }
        // All have read who is there. What comes before that is part of every later start.
        for slot in 0..bounds.nodes {
            world.read(slot);
        }
        if bounds.owned {
            world.tell(0, Event::Tick);
            world.carry_out(0);
            world.answer(0);
            (1..bounds.nodes).for_each(|slot| world.read(slot));
            world.goals = 0;
        }
        if bounds.frames {
            // The first has called a process on the second, which knows for how long to take it.
            let call = [Act::Ask(1), Act::Echo(1), Act::Told(1), Act::Begin(0), Act::Finish(0)];
            // Where it will take the whole session, the second has had a heartbeat since.
            let beat = [Act::Advance, Act::Tick(1), Act::CarryOut(0), Act::Answer(0)];
            let is_whole = !bounds.leaves && !bounds.burials;
            for act in call.into_iter().chain(beat.into_iter().filter(|_| is_whole)) {
                acts::perform(&mut world, act);
            }
        }
        world
    }

    /// A node reads all records, and hears them at once.
    pub(super) fn read(&mut self, slot: usize) {
        let (revision, records) = self.list();
        self.tell(slot, Event::Listed { revision, records });
    }

    /// All records, as they are now.
    pub(super) fn list(&self) -> (Revision, Vec<Record>) {
        (self.store.revision, self.store.records.values().cloned().collect())
    }

    pub(super) fn now(&self) -> Now {
        Now { raw: self.time, slept: 0 }
    }

    pub(super) fn join(&mut self, slot: usize) {
        self.next_node += 1;
        self.slots[slot] = Slot::Joining(NodeId(self.next_node), self.time, None);
    }

    pub(super) fn register(&mut self, slot: usize) {
        let Slot::Joining(node, _, created) = &mut self.slots[slot] else { return };
        let puts = vec![
            Write::Put(Key::Node(*node), Value::Member(member(slot))),
            Write::Put(Key::Beat(*node), Value::Beat(0)),
        ];
        let txn = Txn { compares: vec![Compare::Created(Key::Node(*node), 0)], writes: puts };
        *created = self.store.carry_out(&txn, self.time);
    }

    pub(super) fn come_up(&mut self, slot: usize) {
        let Slot::Joining(node, sent, Some(created)) = self.slots[slot] else { return };
        let config =
            Config { timing: self.timing, shards: 1, claims_max: 1, moves_max: 1, floor: 0 };
        let sent = Now { raw: sent, slept: 0 };
        let mut machine = Ownership::new(config, Session { node, created }, member(slot), sent);
        // That a node goes is news to the others, by which nothing is decided here.
        machine.own.announced = true;
        let node =
            Node { machine, running: None, held: None, list: None, link: None, question: None };
        self.slots[slot] = Slot::Up(Box::new(node));
    }

    pub(super) fn crash(&mut self, slot: usize) {
        let now = self.now();
        if let Slot::Up(node) = &self.slots[slot]
            && self.buries
        {
            self.dead.push(Death::new(node.machine.session(), now));
        }
        self.slots[slot] = Slot::Down;
        self.settle();
    }

    pub(super) fn may_bury(&self, at: usize) -> bool {
        self.dead[at].wait(self.timing.effects, self.now()) == 0
    }

    pub(super) fn bury(&mut self, at: usize) {
        let death = self.dead.remove(at);
        if self.store.carry_out(&death.burial(), self.time).is_some() {
            self.goals |= Goal::Buried.bit();
        }
    }

    pub(super) fn node(&mut self, slot: usize) -> Option<&mut Node> {
        match &mut self.slots[slot] {
            Slot::Up(node) => Some(node),
            Slot::Down | Slot::Joining(..) => None,
        }
    }

    /// The node that is up in another place.
    pub(super) fn session_of(&self, slot: usize) -> Option<NodeId> {
        match &self.slots[slot] {
            Slot::Up(node) => Some(node.machine.session().node),
            Slot::Down | Slot::Joining(..) => None,
        }
    }

    /// Tells a node what happened, and does what it says.
    pub(super) fn tell(&mut self, slot: usize, event: Event) {
        let (now, time) = (self.now(), self.time);
        let Some(node) = self.node(slot) else { return };
        let commands = node.machine.apply(event, now);
        let id = node.machine.session().node;
        for command in commands {
            match command {
                Command::Send { request, txn } => {
                    let state = State::Pending;
                    self.flights.push(Flight { slot, node: id, request, txn, sent: time, state });
                }
                Command::End(_) => self.slots[slot] = Slot::Down,
                // What is to be done about these is up to chance here.
                Command::List
                | Command::Open { .. }
                | Command::Shut { .. }
                | Command::Reopen { .. }
                | Command::Offer { .. }
                | Command::Commit { .. }
                | Command::Claim { .. }
                | Command::Lost { .. } => {}
            }
        }
        self.settle();
    }

    /// What belongs to programs that are no more is awaited by nobody.
    pub(super) fn settle(&mut self) {
        for flight in &mut self.flights {
            let sender = match &self.slots[flight.slot] {
                Slot::Up(node) => Some(node.machine.session().node),
                Slot::Down | Slot::Joining(..) => None,
            };
            if sender != Some(flight.node) {
                flight.state = match flight.state {
                    State::Pending | State::GivenUp => State::GivenUp,
                    answered => answered,
                };
            }
        }
        let slots = &self.slots;
        self.flights.retain(|flight| {
            let is_up = matches!(&slots[flight.slot],
                Slot::Up(node) if node.machine.session().node == flight.node);
            is_up || flight.state == State::GivenUp
        });
        self.flights.sort_by_key(|it| (it.slot, it.node, it.request, it.state));
    }

    /// Carries out a request, and checks what only the coordinator can see.
    pub(super) fn carry_out(&mut self, at: usize) -> Option<&'static str> {
        let flight = self.flights[at].clone();
        let (before, owner) = (self.store.epoch(), self.store.owner());
        let (beaten, outlived) = (self.store.beaten.clone(), self.store.outlived.clone());
        let done = self.store.carry_out(&flight.txn, self.time);
        if done.is_some() {
            self.goals |= flight.goal(owner);
            for write in &flight.txn.writes {
                match write {
                    Write::Put(Key::Shard(_), _) if self.store.epoch() <= before => {
                        return Some("an epoch was given twice");
                    }
                    Write::Delete(Key::Node(node)) if *node != flight.node => {
                        self.goals |= Goal::Evicted.bit();
                        let last = beaten.get(node).copied().unwrap_or(0);
                        if self.time < last + SESSION {
                            return Some("a node that heartbeats was evicted");
                        }
                        if !outlived.contains(&(flight.node, *node)) {
                            return Some("evicted by a node that may have been cut off as well");
                        }
                    }
                    Write::Put(..) | Write::Delete(_) => {}
                }
            }
        }
        self.flights[at].state = match (flight.state, done) {
            (State::GivenUp, _) => State::Refused,
            (_, Some(revision)) => State::Answered(revision),
            (_, None) => State::Refused,
        };
        if flight.state == State::GivenUp {
            self.flights.remove(at);
        }
        None
    }

    /// What the clients and the clocks say is wrong.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        let now = self.now();
        let mut open = 0;
        for slot in &self.slots {
            let Slot::Up(node) = slot else { continue };
            let Session { node: id, created } = node.machine.session();
            let record = self.store.records.get(&Key::Node(id));
            let is_there = record.is_some_and(|record| record.created == created);
            if node.machine.is_proven(now) && !is_there {
                return Some("a session that is gone counts as proven");
            }
            open += u8::from(matches!(node.machine.gate(0, now), Gate::Open(_)));
        }
        (open > 1).then_some("two gates are open")
    }

    /// An output leaves, or an effect happens.
    pub(super) fn effect(&mut self, epoch: Epoch) -> Option<&'static str> {
        (self.begun > epoch).then_some("an effect of an owner after its successor had begun")
    }

    pub(super) fn is_within(&self, bounds: &Bounds) -> bool {
        let fits = |slot| {
            let mine = self.flights.iter().filter(|it| it.slot == slot);
            let (lost, awaited): (Vec<_>, Vec<_>) = mine.partition(|it| it.state == State::GivenUp);
            awaited.len() <= bounds.requests && lost.len() <= bounds.lost
        };
        self.store.epoch() <= bounds.epochs && (0..bounds.nodes).all(fits)
    }

    pub(super) fn release(&mut self, slot: usize, epoch: Epoch) -> Release {
        let now = self.now();
        self.node(slot).map_or(Release::Never, |node| node.machine.release(0, epoch, now))
    }

    pub(super) fn phase(&mut self, slot: usize) -> Phase {
        self.node(slot).map_or(Phase::Away, |node| node.machine.shards[0].phase)
    }

    pub(super) fn answer(&mut self, at: usize) {
        let flight = self.flights.remove(at);
        let answer = match flight.state {
            State::Answered(revision) => Answer::Done(revision),
            State::Refused => Answer::Refused,
            State::Pending | State::GivenUp => return,
        };
        self.tell(flight.slot, Event::Answered { request: flight.request, answer });
    }
}

impl Flight {
    /// What has been reached when this is carried out.
    fn goal(&self, owner: Option<Session>) -> u16 {
        match self.txn.writes[0] {
            Write::Put(Key::Shard(_), Value::Owned(Owned { owner: next, .. })) => {
                let kept = owner == Some(next);
                let transferred = next.node != self.node;
                (if kept { Goal::ClaimedAgain.bit() } else { 0 })
                    | (if transferred { Goal::Transferred.bit() } else { 0 })
            }
            Write::Delete(Key::Node(node)) if node == self.node => Goal::Left.bit(),
            _ => 0,
        }
    }
}

impl Store {
    /// The revision at which everything was written, if all comparisons hold.
    fn carry_out(&mut self, txn: &Txn, time: u64) -> Option<Revision> {
        let holds = |compare: &Compare| match compare {
            Compare::Created(key, at) => self.records.get(key).map_or(0, |it| it.created) == *at,
            Compare::Modified(key, at) => self.records.get(key).map_or(0, |it| it.modified) == *at,
            Compare::Beat(node, count) => {
                let value = self.records.get(&Key::Beat(*node)).and_then(|it| it.value.clone());
                value == Some(Value::Beat(*count))
            }
        };
        if !txn.compares.iter().all(holds) {
            return None;
        }
        self.revision += 1;
        let revision = self.revision;
        for write in &txn.writes {
            match write {
                Write::Put(key, value) => {
                    let created = self.records.get(key).map_or(revision, |it| it.created);
                    let value = Some(value.clone());
                    let record = Record { key: *key, value, created, modified: revision };
                    self.records.insert(*key, record);
                    if let Key::Beat(node) = key {
                        self.beaten.insert(*node, time);
                        self.outlived.retain(|(_, other)| other != node);
                        for (other, last) in &self.beaten {
                            if time >= last + SESSION {
                                self.outlived.insert((*node, *other));
                            }
                        }
                    }
                }
                Write::Delete(key) => {
                    self.records.remove(key);
                    if let Key::Beat(node) = key {
                        self.beaten.remove(node);
                        self.outlived.retain(|(a, b)| a != node && b != node);
                    }
                }
            }
        }
        Some(revision)
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.owned().map_or(0, |owned| owned.epoch)
    }

    fn owner(&self) -> Option<Session> {
        self.owned().map(|owned| owned.owner)
    }

    fn owned(&self) -> Option<Owned> {
        match self.records.get(&Key::Shard(0))?.value {
            Some(Value::Owned(owned)) => Some(owned),
            _ => None,
        }
    }
}

fn member(slot: usize) -> Member {
    let name = char::from(b'a' + slot as u8).to_string();
    let versions = Versions::FIRST;
    Member { name, address: String::new(), weight: 1, draining: false, versions, key: None }
}
