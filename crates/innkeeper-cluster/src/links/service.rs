//! What a node does about what other nodes ask of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::guest::Guest;
use super::outbox::weight;
use crate::frame::{Ended, Frame, Id, Lost, Message, Outcome, Part, Under};
use crate::limits;
use crate::ownership::record::Session;

/// Who says something, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct From {
    /// The session of the node that says it.
    pub session: Session,
    /// The ownership that it is said under, if it is said from within a process of the cluster.
    pub under: Option<Under>,
    /// For how long an answer is waited for. Nothing where none is.
    pub within: Duration,
}

impl From {
    /// The same, so much later.
    pub(crate) fn after(self, waited: Duration) -> From {
        From { within: self.within.saturating_sub(waited), ..self }
    }
}

/// What a node does about what other nodes ask of it.
///
/// Each is called as its frame is taken from the link, in the order in which its sender has sent
/// them, and only while the session of the sender is sure to be there. What the frame is to have an
/// effect on has to be told of it before the method returns; the method must not wait, for
/// everything else from that node waits for it.
pub trait Service: Send + Sync + 'static {
    /// Somebody asks something of the process of a key.
    fn call(&self, from: From, message: Message, answer: Answer);

    /// Somebody tells the process of a key something.
    fn cast(&self, from: From, message: Message);

    /// Somebody wants to know what happens at the process of a key.
    fn subscribe(&self, from: From, message: Message, subscriber: Subscriber);

    /// A part of the state of a shard that may come here next.
    fn prepare(&self, from: From, part: Part, answer: Answer);
}

/// The answer that is owed to a request. Dropped, the outcome is unknown to whoever asked.
pub struct Answer {
    guest: Arc<Guest>,
    id: Id,
    /// Whose turn it takes.
    sender: u64,
    is_owed: bool,
}

impl Answer {
    pub(super) fn new(guest: Arc<Guest>, id: Id, sender: u64) -> Answer {
        Answer { guest, id, sender, is_owed: true }
    }

    /// It was carried out. The answer leaves only while the ownership it was made under lasts;
    /// otherwise the outcome is unknown.
    pub fn done(self, under: Option<Under>, body: Bytes) {
        self.end(under, Outcome::Done(body));
    }

    /// It was not carried out and will not be, and this is why.
    pub fn declined(self, why: Bytes) {
        self.end(None, Outcome::Declined(why));
    }

    fn end(mut self, under: Option<Under>, outcome: Outcome) {
        self.reply(under, outcome);
    }

    fn reply(&mut self, under: Option<Under>, outcome: Outcome) {
        self.is_owed = false;
        let mut frame = Frame::Reply { id: self.id, under, outcome };
        if weight(&frame) > limits::FRAME_BYTES_MAX {
            let outcome = Outcome::Unknown(Lost::TooLarge);
            frame = Frame::Reply { id: self.id, under: None, outcome };
        }
        self.guest.answer(self.sender, frame);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.is_owed {
            self.reply(None, Outcome::Unknown(Lost::Unanswered));
        }
    }
}

/// Somebody on another node who wants to know what happens. Dropped, the subscription ends.
pub struct Subscriber {
    guest: Arc<Guest>,
    id: Id,
    sender: u64,
    over: CancellationToken,
}

/// Why a subscriber was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// It does not listen any more, cannot be reached, or has fallen behind so far that it was
    /// told so, and nothing else any more.
    Over,
    /// It is longer than a frame may be.
    TooLarge {
        /// In bytes.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PushError::Over => f.write_str("the subscription is over"),
            PushError::TooLarge { bytes, max } => {
                write!(f, "event: expected at most {max} bytes, got {bytes}")
            }
        }
    }
}

impl std::error::Error for PushError {}

impl Subscriber {
    pub(super) fn new(
        guest: Arc<Guest>,
        id: Id,
        sender: u64,
        over: CancellationToken,
    ) -> Subscriber {
        Subscriber { guest, id, sender, over }
    }

    /// Tells it something, behind everything that it was told before.
    ///
    /// # Errors
    /// [`PushError`]; it is not told.
    pub fn push(&self, under: Option<Under>, body: Bytes) -> Result<(), PushError> {
        if self.over.is_cancelled() {
            return Err(PushError::Over);
        }
        let frame = Frame::Event { id: self.id, also: Vec::new(), under, body };
        let (bytes, max) = (weight(&frame), limits::FRAME_BYTES_MAX);
        if bytes > max {
            return Err(PushError::TooLarge { bytes, max });
        }
        if self.guest.push(self.sender, frame) {
            return Ok(());
        }
        self.finish(Ended::Overflow);
        Err(PushError::Over)
    }

    /// Ends the subscription, for this reason.
    pub fn end(&self, why: Bytes) {
        self.finish(Ended::Said(why));
    }

    /// Ends the subscription without a word.
    pub fn drop_out(&self) {
        self.finish(Ended::Dropped);
    }

    /// Waits until it does not listen any more, or cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future does nothing.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Whether it does not listen any more, or cannot be reached.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    fn finish(&self, reason: Ended) {
        if !self.over.is_cancelled() {
            self.guest.forget(self.id);
            self.guest.owe(self.sender, Frame::Down { id: self.id, reason });
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.finish(Ended::Dropped);
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("id", &self.id).finish_non_exhaustive()
    }
}
