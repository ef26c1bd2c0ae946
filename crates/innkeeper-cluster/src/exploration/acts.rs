//! What can happen next, and what follows from it.

use super::world::{Frame, Node, SESSION, Slot, State, World};
use super::{Bounds, Goal};
use crate::ownership::link::Link;
use crate::ownership::shards::Phase;
use crate::ownership::{Answer, Event, Gate, Release};

/// One thing that happens. Numbers name places, or requests under way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Time passes, for everybody.
    Advance,
    /// A node looks at its clock. If it does not, it is paused.
    Tick(usize),
    /// A list is read for a node.
    Look(usize),
    /// It hears what was read.
    Hear(usize),
    /// The coordinator carries out a request.
    CarryOut(usize),
    /// It does so, and will do so again.
    Repeat(usize),
    /// The sender gets the answer.
    Answer(usize),
    /// The sender waits no longer.
    GiveUp(usize),
    /// A request that nobody waits for gets lost.
    Lose(usize),
    /// A message is begun.
    Begin(usize),
    /// The handler is done: its output leaves, is held, or is dropped.
    Finish(usize),
    /// What was held may leave.
    Free(usize),
    /// The shard is to go to another place.
    Move(usize, usize),
    /// The runtime has seen that nothing of the shard runs.
    Quiesced(usize),
    /// The other has the state.
    Accepted(usize),
    /// The other does not want it.
    Declined(usize),
    /// The node is told to leave.
    Leave(usize),
    /// The program dies.
    Crash(usize),
    /// Somebody who knows that a program died ends its session.
    Bury(usize),
    /// It is started again and sends for a session.
    Start(usize),
    /// The coordinator makes the session.
    Register(usize),
    /// The node hears that.
    ComeUp(usize),
    /// A receiver asks the sender for how long it can prove itself.
    Ask(usize),
    /// The sender reads the question.
    Echo(usize),
    /// The receiver reads the answer.
    Told(usize),
    /// A call arrives.
    Arrive,
}

/// Everything that can happen next.
pub(super) fn possible(world: &World, bounds: &Bounds) -> Vec<Act> {
    let mut acts = vec![Act::Advance];
    for slot in 0..world.slots.len() {
        match &world.slots[slot] {
            Slot::Down if world.restarts > 0 => acts.push(Act::Start(slot)),
            Slot::Down => {}
            Slot::Joining(_, _, None) => acts.push(Act::Register(slot)),
            Slot::Joining(_, _, Some(_)) => acts.push(Act::ComeUp(slot)),
            Slot::Up(node) => of_node(world, bounds, slot, node, &mut acts),
        }
    }
    for (at, flight) in world.flights.iter().enumerate() {
        match flight.state {
            State::Pending => {
                acts.extend([Act::CarryOut(at), Act::GiveUp(at)]);
                if world.repeats > 0 {
                    acts.push(Act::Repeat(at));
                }
            }
            // A request has a deadline; an answer that is later than that is not waited for.
            State::Answered(_) | State::Refused if world.time - flight.sent <= SESSION => {
                acts.extend([Act::Answer(at), Act::GiveUp(at)]);
            }
            State::Answered(_) | State::Refused => acts.push(Act::GiveUp(at)),
            State::GivenUp => acts.extend([Act::CarryOut(at), Act::Lose(at)]),
        }
    }
    if world.frame.is_some() {
        acts.push(Act::Arrive);
    }
    acts.extend((0..world.dead.len()).filter(|at| world.may_bury(*at)).map(Act::Bury));
    acts
}

fn of_node(world: &World, bounds: &Bounds, slot: usize, node: &Node, acts: &mut Vec<Act>) {
    let now = world.now();
    acts.push(Act::Tick(slot));
    if bounds.crashes {
        acts.push(Act::Crash(slot));
    }
    acts.push(if node.list.is_some() { Act::Hear(slot) } else { Act::Look(slot) });
    if node.running.is_none() && node.held.is_none() {
        if matches!(node.machine.gate(0, now), Gate::Open(_)) {
            acts.push(Act::Begin(slot));
        }
        if matches!(node.machine.shards[0].phase, Phase::Draining(..)) {
            acts.push(Act::Quiesced(slot));
        }
    }
    if node.running.is_some() && node.held.is_none() {
        acts.push(Act::Finish(slot));
    }
    if node.held.is_some() {
        acts.push(Act::Free(slot));
    }
    if bounds.leaves && node.machine.own.leaving.is_none() {
        acts.push(Act::Leave(slot));
    }
    match node.machine.shards[0].phase {
        Phase::Serving(_) if bounds.moves => {
            acts.extend((0..bounds.nodes).filter(|to| *to != slot).map(|to| Act::Move(slot, to)));
        }
        Phase::Offered(..) => acts.extend([Act::Accepted(slot), Act::Declined(slot)]),
        _ => {}
    }
    // Only who has something to take needs to know.
    if world.frame.is_some_and(|frame| frame.to == slot) {
        match node.question {
            None => acts.push(Act::Ask(slot)),
            Some((_, None)) => acts.push(Act::Echo(slot)),
            Some((_, Some(_))) => acts.push(Act::Told(slot)),
        }
    }
}

/// Lets it happen; `Some` if it was wrong.
pub(super) fn perform(world: &mut World, act: Act) -> Option<&'static str> {
    match act {
        Act::Advance => world.time += 1,
        Act::Tick(slot) => world.tell(slot, Event::Tick),
        Act::Look(slot) => {
            if !world.stale {
                world.read(slot);
                return None;
            }
            let list = Some(world.list());
            if let Some(node) = world.node(slot) {
                node.list = list;
            }
        }
        Act::Hear(slot) => {
            let list = world.node(slot).and_then(|node| node.list.take());
            if let Some((revision, records)) = list {
                world.tell(slot, Event::Listed { revision, records });
            }
        }
        Act::CarryOut(at) => return world.carry_out(at),
        Act::Repeat(at) => {
            world.repeats -= 1;
            let again = super::world::Flight { state: State::GivenUp, ..world.flights[at].clone() };
            let wrong = world.carry_out(at);
            world.flights.push(again);
            world.settle();
            return wrong;
        }
        Act::Answer(at) => world.answer(at),
        Act::GiveUp(at) => give_up(world, at),
        Act::Lose(at) => drop(world.flights.remove(at)),
        Act::Begin(slot) => return begin(world, slot),
        Act::Finish(slot) => return finish(world, slot),
        Act::Free(slot) => return free(world, slot),
        Act::Crash(slot) => world.crash(slot),
        Act::Bury(at) => world.bury(at),
        Act::Start(slot) => {
            world.restarts -= 1;
            world.join(slot);
        }
        Act::Register(slot) => world.register(slot),
        Act::ComeUp(slot) => world.come_up(slot),
        Act::Leave(_) | Act::Move(..) | Act::Quiesced(_) | Act::Accepted(_) | Act::Declined(_) => {
            order(world, act)
        }
        Act::Ask(slot) => ask(world, slot),
        Act::Echo(slot) => echo(world, slot),
        Act::Told(slot) => {
            if let Some(node) = world.node(slot)
                && let Some((nonce, Some(remaining))) = node.question.take()
                && let Some((_, link)) = &mut node.link
            {
                link.told(nonce, remaining);
            }
        }
        Act::Arrive => return arrive(world),
    }
    None
}

/// What a node is told by its operator, its runtime or the target of a move.
fn order(world: &mut World, act: Act) {
    match act {
        Act::Leave(slot) => world.tell(slot, Event::Leave),
        Act::Move(slot, to) => {
            if let Some(to) = world.session_of(to) {
                world.tell(slot, Event::Move { shard: 0, to });
            }
        }
        Act::Quiesced(slot) => {
            if let Phase::Draining(epoch, _) = world.phase(slot) {
                world.tell(slot, Event::Quiesced { shard: 0, epoch });
            }
        }
        Act::Accepted(slot) => {
            if let Phase::Offered(epoch, _) = world.phase(slot) {
                world.tell(slot, Event::Accepted { shard: 0, epoch: epoch + 1 });
            }
        }
        Act::Declined(slot) => {
            if let Phase::Offered(epoch, _) = world.phase(slot) {
                world.tell(slot, Event::Declined { shard: 0, epoch: epoch + 1 });
            }
        }
        _ => {}
    }
}

fn give_up(world: &mut World, at: usize) {
    let flight = world.flights[at].clone();
    if flight.state == State::Pending {
        world.flights[at].state = State::GivenUp;
    } else {
        world.flights.remove(at);
    }
    let answer = Answer::Unknown;
    world.tell(flight.slot, Event::Answered { request: flight.request, answer });
}

fn begin(world: &mut World, slot: usize) -> Option<&'static str> {
    let now = world.now();
    let node = world.node(slot)?;
    let Gate::Open(epoch) = node.machine.gate(0, now) else { return None };
    node.running = Some(epoch);
    world.goals |= Goal::Served.bit();
    if epoch > world.begun && world.begun > 0 {
        world.goals |= Goal::ServedAgain.bit();
    }
    if epoch < world.begun {
        return Some("a message was begun under an epoch after one under a later epoch");
    }
    world.begun = epoch;
    None
}

fn finish(world: &mut World, slot: usize) -> Option<&'static str> {
    let epoch = world.node(slot)?.running.take()?;
    match world.release(slot, epoch) {
        Release::Now => {
            if world.frames {
                call_another(world, slot, epoch);
            }
            world.effect(epoch)
        }
        Release::Hold => {
            world.goals |= Goal::Frozen.bit();
            world.node(slot)?.held = Some(epoch);
            None
        }
        Release::Never => None,
    }
}

fn free(world: &mut World, slot: usize) -> Option<&'static str> {
    let epoch = world.node(slot)?.held?;
    match world.release(slot, epoch) {
        Release::Hold => None,
        Release::Never => {
            world.node(slot)?.held = None;
            None
        }
        Release::Now => {
            world.goals |= Goal::HeldReleased.bit();
            world.node(slot)?.held = None;
            world.effect(epoch)
        }
    }
}

/// What was let out may be a call to a process on another node.
fn call_another(world: &mut World, slot: usize, epoch: u64) {
    let Some(from) = world.session_of(slot) else { return };
    let to = (slot + 1) % world.slots.len();
    world.frame.get_or_insert(Frame { from, to, epoch });
}

/// A receiver asks whoever is up in the other place. A link belongs to one session.
fn ask(world: &mut World, slot: usize) {
    let (now, other) = (world.now(), (slot + 1) % world.slots.len());
    let Some(sender) = world.session_of(other) else { return };
    let Some(node) = world.node(slot) else { return };
    let link = match node.link.take() {
        Some((from, link)) if from == sender => link,
        Some(_) | None => Link::default(),
    };
    let (_, link) = node.link.insert((sender, link));
    node.question = Some((link.ask(now), None));
}

fn echo(world: &mut World, slot: usize) {
    let (now, other) = (world.now(), (slot + 1) % world.slots.len());
    let remaining = match &world.slots[other] {
        Slot::Up(node) => Some((node.machine.session().node, node.machine.remaining(now))),
        Slot::Down | Slot::Joining(..) => None,
    };
    let Some(node) = world.node(slot) else { return };
    let asked = node.link.as_ref().map(|(sender, _)| *sender);
    match (remaining, node.question) {
        (Some((sender, remaining)), Some((nonce, _))) if asked == Some(sender) => {
            node.question = Some((nonce, Some(remaining)));
        }
        // The one who was asked is gone.
        _ => node.question = None,
    }
}

fn arrive(world: &mut World) -> Option<&'static str> {
    let (now, frame) = (world.now(), world.frame.take()?);
    let effects = world.timing.effects;
    let node = world.node(frame.to)?;
    let link = node.link.as_ref().filter(|(from, _)| *from == frame.from);
    if link.is_some_and(|(_, link)| link.accepts_effect(now, effects)) {
        world.goals |= Goal::FrameTaken.bit();
        return world.effect(frame.epoch);
    }
    world.goals |= Goal::FrameRefused.bit();
    None
}
