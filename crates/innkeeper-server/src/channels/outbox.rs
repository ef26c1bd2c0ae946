//! What is sent to one socket. Rooms write to it themselves as long as the system takes it; what it
//! does not take waits here, bounded for what rooms say, so that a slow reader never slows a room.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::channels::wire::Outgoing;
use crate::limits;

/// Frames that are written at once.
const GATHERED: usize = 32;

/// The way out of a socket, shared by its rooms and its own task.
///
/// While something waits, everything waits behind it: the order is that of the calls.
pub(crate) struct Outbox {
    state: Mutex<State>,
}

struct State {
    outgoing: Outgoing,
    /// Of the first, what is left of it.
    frames: VecDeque<Bytes>,
    bytes: usize,
    waker: Option<Waker>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// Nothing is said any more; the goodbye is still to be sent.
    Sealed,
    Closed,
}

/// Who writes a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum By {
    /// Whoever adds it, if nothing waits and the system takes it.
    Caller,
    /// The socket's own task, which takes its turn on any thread.
    Task,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too much waits already: the reader is too slow.
    Full,
    /// The socket is gone, or is about to.
    Closed,
}

impl Outbox {
    pub(crate) fn new(outgoing: Outgoing) -> Self {
        let state =
            State { outgoing, frames: VecDeque::new(), bytes: 0, waker: None, stage: Stage::Open };
        Outbox { state: Mutex::new(state) }
    }

    /// Adds what a room says to its members.
    pub(crate) fn push(&self, frame: Bytes, by: By) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.stage != Stage::Open {
            return Err(Refused::Closed);
        }
        let bytes = state.bytes + frame.len();
        if state.frames.len() >= limits::OUTBOX_FRAMES || bytes > limits::OUTBOX_BYTES {
            return Err(Refused::Full);
        }
        let waker = state.add(frame, by);
        drop(state);
        wake(waker);
        Ok(())
    }

    /// Adds an answer, or the last word about a topic, of one part or several. There are at most a
    /// few of these for each push and topic of the socket, which are bounded themselves.
    pub(crate) fn answer<const PARTS: usize>(&self, frame: [Bytes; PARTS]) {
        self.add_from(Stage::Open, frame);
    }

    /// Adds what WebSocket itself has to say: a pong, a goodbye.
    pub(crate) fn control(&self, frame: Bytes) {
        self.add_from(Stage::Sealed, [frame]);
    }

    /// Nobody is there to be answered at a later stage than `last`.
    fn add_from<const PARTS: usize>(&self, last: Stage, frame: [Bytes; PARTS]) {
        let mut state = self.state.lock();
        if state.stage == Stage::Open || state.stage == last {
            let mut waker = None;
            for part in frame {
                waker = waker.or(state.add(part, By::Caller));
            }
            drop(state);
            wake(waker);
        }
    }

    /// Waits until something waits. Cancel safe.
    pub(crate) async fn waiting(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if !state.frames.is_empty() {
                return Poll::Ready(());
            }
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().frames.is_empty()
    }

    /// Writes some of what waits, and waits until the system takes it. For the socket's own task.
    /// Cancel safe.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) async fn write(&self) -> io::Result<()> {
        poll_fn(|cx| self.state.lock().poll_write(cx)).await?;
        poll_fn(|cx| self.state.lock().outgoing.poll_flush(cx)).await
    }

    /// From now on nothing is said.
    pub(crate) fn seal(&self) {
        let mut state = self.state.lock();
        if state.stage == Stage::Open {
            state.stage = Stage::Sealed;
        }
    }

    /// From now on nothing is taken: the socket is gone.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.stage = Stage::Closed;
        let outgoing = std::mem::replace(&mut state.outgoing, Outgoing::Closed);
        let frames = std::mem::take(&mut state.frames);
        drop(state);
        drop((outgoing, frames));
    }
}

impl State {
    /// Whoever is returned is to be woken, without the lock.
    fn add(&mut self, mut frame: Bytes, by: By) -> Option<Waker> {
        if by == By::Caller && self.frames.is_empty() {
            // A connection that is broken is the business of its task, which finds out by itself.
            let written = self.outgoing.try_write(&frame).unwrap_or(0);
            if written == frame.len() {
                return None;
            }
            frame.advance(written);
        }
        self.bytes += frame.len();
        self.frames.push_back(frame);
        self.waker.take()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frames.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut slices = [IoSlice::new(&[]); GATHERED];
        let frames = self.frames.iter().zip(&mut slices);
        let count = frames.map(|(frame, slice)| *slice = IoSlice::new(frame)).count();
        let written = ready!(self.outgoing.poll_write(cx, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.frames.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.frames.pop_front();
        }
        // What waited once may never wait again.
        self.frames = VecDeque::new();
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("frames", &self.state.lock().frames.len()).finish()
    }
}

#[cfg(test)]
mod tests;
