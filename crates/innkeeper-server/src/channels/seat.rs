//! The place of one join at one socket: where its room tells what happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use innkeeper::placement::Later;
use innkeeper::{PushError, Sink, Unsubscribed};
use innkeeper_api::Code;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::channels::frame::{self, Empty};
use crate::channels::outbox::{By, Outbox, Refused};

/// What a member of a room hears: frames, ready to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Heard {
    /// The answer to its join, which is owed to it.
    Owed(Bytes),
    /// Who is there, owed too: the head of its own frame, and what is the same for all who came.
    List(Bytes, Bytes),
    /// What everybody hears.
    Said(Bytes, By),
}

/// The place of one join at one socket.
pub(crate) struct Seat {
    outbox: Arc<Outbox>,
    topic: Box<str>,
    join_ref: Option<Box<str>>,
    stage: AtomicU8,
    left: Notify,
}

/// Asked for: the room has not let it in yet.
const ASKED: u8 = 0;
/// Taken: the client knows that it is in.
const TAKEN: u8 = 1;
/// Left: nothing is told any more.
const LEFT: u8 = 2;

/// Why a member's topic has ended.
#[derive(Serialize)]
struct Reason {
    reason: Code,
}

impl Seat {
    pub(crate) fn new(outbox: Arc<Outbox>, topic: &str, join_ref: Option<&str>) -> Seat {
        let (topic, join_ref) = (topic.into(), join_ref.map(Into::into));
        Seat { outbox, topic, join_ref, stage: AtomicU8::new(ASKED), left: Notify::new() }
    }

    /// From now on nothing is told here. Whether it was taken before.
    pub(crate) fn leave(&self) -> bool {
        let before = self.stage.swap(LEFT, Ordering::AcqRel);
        self.left.notify_waiters();
        before == TAKEN
    }

    pub(crate) fn is_left(&self) -> bool {
        self.stage.load(Ordering::Acquire) == LEFT
    }

    /// The last word about this join, unless it was left already. After `phx_error` the client
    /// joins again, after `phx_close` it does not.
    pub(crate) fn close(&self, event: &str, reason: Option<Code>) {
        if !self.leave() {
            return;
        }
        let join_ref = self.join_ref.as_deref();
        self.outbox.answer([match reason {
            Some(reason) => {
                frame::encode(join_ref, join_ref, &self.topic, event, &Reason { reason })
            }
            None => frame::encode(join_ref, join_ref, &self.topic, event, &Empty {}),
        }]);
    }
}

impl Sink<Heard> for Seat {
    fn push(&self, heard: Heard) -> Result<(), PushError> {
        if self.is_left() {
            return Err(PushError::Over);
        }
        match heard {
            Heard::Owed(frame) => {
                let taken = (Ordering::AcqRel, Ordering::Acquire);
                let _ = self.stage.compare_exchange(ASKED, TAKEN, taken.0, taken.1);
                self.outbox.answer([frame]);
                Ok(())
            }
            Heard::List(head, tail) => {
                self.outbox.answer([head, tail]);
                Ok(())
            }
            Heard::Said(frame, by) => self.outbox.push(frame, by).map_err(|refused| {
                if refused == Refused::Closed {
                    return PushError::Over;
                }
                self.end(Unsubscribed::Overflow);
                PushError::Overflow
            }),
        }
    }

    fn end(&self, why: Unsubscribed) {
        match why {
            Unsubscribed::Ended(reason) if !reason.is_abnormal() => self.close("phx_close", None),
            Unsubscribed::Overflow => self.close("phx_error", Some(Code::SlowConsumer)),
            _ => self.close("phx_error", None),
        }
    }

    fn is_over(&self) -> bool {
        self.is_left()
    }

    fn over(&self) -> Later<'_, ()> {
        Box::pin(async {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if !self.is_left() {
                left.await;
            }
        })
    }
}
