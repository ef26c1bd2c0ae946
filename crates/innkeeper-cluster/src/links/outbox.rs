//! What waits to be sent over one link: bounded, in order for each sender, each sender in its turn.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::frame::Frame;
use crate::limits;
use crate::ownership::link::Nonce;

/// What a frame may take beside what is opaque in it.
const HEAD_BYTES_MAX: usize = 80;

/// What the number of one more subscription may take in it.
const ID_BYTES_MAX: usize = 10;

/// What waits to be sent over one link.
#[derive(Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    ready: Notify,
}

#[derive(Default)]
struct Inner {
    /// Goes before all others: the newest question to the other side, and the newest of its own.
    ask: Option<Nonce>,
    asked: Option<Nonce>,
    lanes: [Lane; limits::LANES],
    /// Those that have something, in the order of their turns.
    turns: VecDeque<usize>,
    bytes: usize,
    is_closed: bool,
}

#[derive(Default)]
struct Lane {
    frames: VecDeque<Frame>,
    bytes: usize,
}

/// Why nothing more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full,
    Closed,
}

/// What is to be sent next.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) ask: Option<Nonce>,
    pub(crate) asked: Option<Nonce>,
    /// From which lane.
    pub(crate) frames: VecDeque<(usize, Frame)>,
    /// Whether there was more than one.
    pub(crate) is_many: bool,
}

/// How many bytes a frame takes at most.
pub(crate) fn weight(frame: &Frame) -> usize {
    let also = if let Frame::Event { also, .. } = frame { also.len() } else { 0 };
    HEAD_BYTES_MAX + also * ID_BYTES_MAX + frame.opaque_bytes()
}

/// Whether a frame can be told with the one before it, as what is said to everybody in a room can:
/// it is the same event, of another subscription.
fn joins(last: &mut Frame, frame: &Frame) -> bool {
    let is_short = weight(last) + ID_BYTES_MAX <= limits::FRAME_BYTES_MAX;
    let Frame::Event { id: to, under: made, body: said, .. } = frame else { return false };
    let Frame::Event { id, also, under, body } = last else { return false };
    // The same one again is another event, and waits as one.
    let is_another = also.last().unwrap_or(id) != to;
    let joins = is_short && is_another && under == made && body == said;
    if joins {
        also.push(*to);
    }
    joins
}

/// The lane of a sender.
fn lane_of(sender: u64) -> usize {
    // Senders are often numbered one by one, or by the same few bits.
    let spread = sender.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(spread).unwrap_or(0) % limits::LANES
}

impl Outbox {
    /// Puts a frame behind what its sender has sent before.
    pub(crate) fn push(&self, sender: u64, frame: Frame) -> Result<(), NoRoom> {
        self.put(sender, frame, limits::LANE_BYTES_MAX, limits::LANE_FRAMES_MAX)
    }

    /// As [`push`](Self::push), for what is owed to the other side: there is room for as much
    /// again. If that is used up, nothing helps but to break the link.
    pub(crate) fn owe(&self, sender: u64, frame: Frame) -> Result<(), NoRoom> {
        self.put(sender, frame, 2 * limits::LANE_BYTES_MAX, 2 * limits::LANE_FRAMES_MAX)
    }

    fn put(
        &self,
        sender: u64,
        frame: Frame,
        bytes_max: usize,
        frames_max: usize,
    ) -> Result<(), NoRoom> {
        let mut weight = weight(&frame);
        let at = lane_of(sender);
        let mut inner = self.inner.lock();
        if inner.is_closed {
            return Err(NoRoom::Closed);
        }
        let was_empty = inner.is_empty();
        let lane = &mut inner.lanes[at];
        if lane.bytes + weight > bytes_max || lane.frames.len() >= frames_max {
            return Err(NoRoom::Full);
        }
        let was_idle = lane.frames.is_empty();
        if lane.frames.back_mut().is_some_and(|last| joins(last, &frame)) {
            weight = ID_BYTES_MAX;
        } else {
            lane.frames.push_back(frame);
        }
        lane.bytes += weight;
        inner.bytes += weight;
        if was_idle {
            inner.turns.push_back(at);
        }
        drop(inner);
        if was_empty {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Asks the other side; an older question that was not sent is not.
    pub(crate) fn ask(&self, nonce: Nonce) {
        self.inner.lock().ask = Some(nonce);
        self.ready.notify_one();
    }

    /// The other side has asked.
    pub(crate) fn asked(&self, nonce: Nonce) {
        self.inner.lock().asked = Some(nonce);
        self.ready.notify_one();
    }

    /// Waits until there is something to send. At most one waits.
    pub(crate) async fn ready(&self) {
        while self.inner.lock().is_empty() {
            self.ready.notified().await;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.lock().is_empty()
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Takes what is to be sent next: a turn of each lane, until it is enough for a write.
    pub(crate) fn take(&self, batch: &mut Batch) {
        let mut inner = self.inner.lock();
        batch.ask = inner.ask.take();
        batch.asked = inner.asked.take();
        let mut taken = 0;
        while taken < limits::WRITE_BYTES
            && let Some(at) = inner.turns.pop_front()
        {
            let mut turn = 0;
            let lane = &mut inner.lanes[at];
            while turn < limits::TURN_BYTES
                && let Some(frame) = lane.frames.pop_front()
            {
                turn += weight(&frame);
                batch.frames.push_back((at, frame));
            }
            lane.bytes -= turn;
            if !lane.frames.is_empty() {
                inner.turns.push_back(at);
            }
            inner.bytes -= turn;
            taken += turn;
        }
        batch.is_many = batch.frames.len() > 1;
    }

    /// Puts what was taken and not sent back where it was.
    pub(crate) fn put_back(&self, frames: &mut VecDeque<(usize, Frame)>) {
        let mut inner = self.inner.lock();
        while let Some((at, frame)) = frames.pop_back() {
            if inner.is_closed {
                continue;
            }
            let weight = weight(&frame);
            if inner.lanes[at].frames.is_empty() {
                inner.turns.push_back(at);
            }
            inner.lanes[at].bytes += weight;
            inner.lanes[at].frames.push_front(frame);
            inner.bytes += weight;
        }
    }

    /// Drops what nobody wants to be sent any more.
    pub(crate) fn retain(&self, is_wanted: impl Fn(&Frame) -> bool) {
        let mut inner = self.inner.lock();
        let mut dropped = 0;
        for lane in &mut inner.lanes {
            let before = lane.bytes;
            lane.frames.retain(|frame| is_wanted(frame));
            lane.bytes = lane.frames.iter().map(weight).sum();
            dropped += before - lane.bytes;
        }
        inner.bytes -= dropped;
        let Inner { turns, lanes, .. } = &mut *inner;
        turns.retain(|at| !lanes[*at].frames.is_empty());
    }

    /// Questions belong to one connection: they are not sent on the next.
    pub(crate) fn disconnect(&self) {
        let mut inner = self.inner.lock();
        (inner.ask, inner.asked) = (None, None);
    }

    /// Drops everything, and takes nothing any more.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        *inner = Inner { is_closed: true, ..Inner::default() };
    }
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.ask.is_none() && self.asked.is_none() && self.turns.is_empty()
    }
}
