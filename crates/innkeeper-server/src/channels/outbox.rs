//! What waits for one socket: bounded for what rooms say, so that a slow reader never slows a room.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;

use crate::limits;

/// The queue between the rooms of a socket and the task that writes to it.
pub(crate) struct Outbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Utf8Bytes>,
    bytes: usize,
    waker: Option<Waker>,
    closed: bool,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too much waits already: the reader is too slow.
    Full,
    /// The socket is gone.
    Closed,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Outbox { state: Mutex::default() }
    }

    /// Adds what a room says to its members.
    pub(crate) fn push(&self, frame: Utf8Bytes) -> Result<(), Refused> {
        self.add(frame, limits::OUTBOX_FRAMES, limits::OUTBOX_BYTES)
    }

    /// Adds an answer, or the last word about a topic. There are at most a few of these for each
    /// push and topic of the socket, which are bounded themselves.
    pub(crate) fn answer(&self, frame: Utf8Bytes) {
        // Nobody is there to be answered if it is closed.
        let _ = self.add(frame, usize::MAX, usize::MAX);
    }

    fn add(&self, frame: Utf8Bytes, frames_max: usize, bytes_max: usize) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.frames.len() >= frames_max || state.bytes + frame.len() > bytes_max {
            return Err(Refused::Full);
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Waits for frames and takes all that are there. Cancel safe: what is taken is returned.
    pub(crate) async fn take(&self) -> VecDeque<Utf8Bytes> {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if state.frames.is_empty() {
                state.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            state.bytes = 0;
            Poll::Ready(std::mem::take(&mut state.frames))
        })
        .await
    }

    /// What is there now.
    pub(crate) fn drain(&self) -> VecDeque<Utf8Bytes> {
        let mut state = self.state.lock();
        state.bytes = 0;
        std::mem::take(&mut state.frames)
    }

    /// From now on nothing is taken: the socket is gone.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let frames = std::mem::take(&mut state.frames);
        drop(state);
        drop(frames);
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("frames", &self.state.lock().frames.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_outbox_refuses_talk_and_takes_answers() {
        let outbox = Outbox::new();
        for _ in 0..limits::OUTBOX_FRAMES {
            assert_eq!(outbox.push("said".into()), Ok(()));
        }
        assert_eq!(outbox.push("said".into()), Err(Refused::Full));
        outbox.answer("reply".into());
        let frames = outbox.drain();
        assert_eq!(frames.len(), limits::OUTBOX_FRAMES + 1);
        assert_eq!(frames.back().map(Utf8Bytes::as_str), Some("reply"));
        assert_eq!(outbox.push("said".into()), Ok(()));
    }

    #[test]
    fn bytes_count_too() {
        let outbox = Outbox::new();
        let large = Utf8Bytes::from("x".repeat(limits::OUTBOX_BYTES));
        assert_eq!(outbox.push(large), Ok(()));
        assert_eq!(outbox.push("x".into()), Err(Refused::Full));
    }

    #[test]
    fn a_closed_outbox_keeps_nothing() {
        let outbox = Outbox::new();
        outbox.answer("reply".into());
        outbox.close();
        assert_eq!(outbox.push("said".into()), Err(Refused::Closed));
        assert!(outbox.drain().is_empty());
    }
}
