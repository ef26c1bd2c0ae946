//! What is said on a link between two nodes, as plain data, and how it is written.
//!
//! ```text
//! connection = MAGIC  frame (Hello)  [frame (Signed)]  ...         the side that connected
//!            = frame (Welcome or Refused)  [frame (Signed)]  ...   the other
//! frame      = length (4 bytes, the lowest first)  body (postcard)
//! ```
//!
//! The first three kinds of frame and [`Hello`] are the same in every version of the protocol, so
//! that two versions can at least tell each other so. From version 2 on each side signs the
//! connection in the greeting ([`Frame::Signed`]), where there is something to sign.
//!
//! A release adds a field to a frame by writing it behind the end, on links of version 2 or later:
//! whoever does not know it skips it. A new kind of frame, or another meaning, takes a new version.
//! What users say is opaque here.

mod hello;
#[cfg(test)]
mod tests;
mod wire;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use hello::{Hello, Refusal, Welcome};
pub(crate) use hello::{pair, session};
pub use wire::{BadFrame, LENGTH_BYTES, MAGIC, decode, encode, length};
pub(crate) use wire::{Tail, decode_in};

use crate::ownership::link::Nonce;
use crate::ownership::record::{Epoch, Shard};

/// The number of a request or a subscription, fresh on each link.
pub type Id = u64;

/// The ownership that something was said under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Under {
    /// Of which shard.
    pub shard: Shard,
    /// Since which change of hands.
    pub epoch: Epoch,
}

/// One frame. `B` is what opaque bytes are kept in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame<B = Bytes> {
    /// Who has connected.
    Hello(Hello),
    /// The connection is taken.
    Welcome(Welcome),
    /// It is not.
    Refused(Refusal),
    /// For how long can you prove your session?
    Ask {
        /// The number of the question.
        nonce: Nonce,
    },
    /// For so long, when the question was read.
    Told {
        /// The number of the question.
        nonce: Nonce,
        /// In nanoseconds.
        remaining: u64,
    },
    /// Something that is answered by one [`Reply`](Frame::Reply).
    Request {
        /// Its number.
        id: Id,
        /// How long the answer is waited for, in milliseconds.
        wait_ms: u32,
        /// Whether it was sent from within a process of the cluster, and under which ownership.
        under: Option<Under>,
        /// What is asked.
        request: Request<B>,
    },
    /// A message that nobody waits for an answer to.
    Cast {
        /// As in a request.
        under: Option<Under>,
        /// What is said to whom.
        message: Message<B>,
    },
    /// What became of a request.
    Reply {
        /// Of which.
        id: Id,
        /// Under which ownership it was made.
        under: Option<Under>,
        /// What became of it.
        outcome: Outcome<B>,
    },
    /// Tell me what happens there, from now on.
    Subscribe {
        /// The number of the subscription.
        id: Id,
        /// As in a request.
        under: Option<Under>,
        /// Who is listened to, and what is said to it first.
        message: Message<B>,
    },
    /// No more of it.
    Unsubscribe {
        /// The number of the subscription.
        id: Id,
    },
    /// Something happened.
    Event {
        /// The number of the subscription.
        id: Id,
        /// Other subscriptions that are told the same, in this order.
        also: Vec<Id>,
        /// Under which ownership.
        under: Option<Under>,
        /// What.
        body: B,
    },
    /// The subscription is over.
    Down {
        /// Its number.
        id: Id,
        /// Why.
        reason: Ended<B>,
    },
    /// The connection, signed with the key of this start of a program.
    Signed {
        /// The signature.
        signature: B,
    },
}

/// What is said to the process of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message<B = Bytes> {
    /// The shard of the key.
    pub shard: Shard,
    /// The epoch of the shard as the sender knows it; 0 where it knows none.
    pub epoch: Epoch,
    /// The scope of the key.
    pub scope: B,
    /// The key.
    pub key: B,
    /// What is said.
    pub body: B,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<B = Bytes> {
    /// Something of the process of a key.
    Call(Message<B>),
    /// To keep a part of a shard's state, for when the shard is given away.
    Prepare(Part<B>),
}

/// A part of what a shard takes along to its next owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part<B = Bytes> {
    /// The shard, and the epoch of the *next* owner.
    pub under: Under,
    /// The how manieth time it is that the sender tries to give this shard away: parts of another
    /// try are of no use.
    pub attempt: u64,
    /// The number of this part, from 0 on.
    pub number: u32,
    /// How many there are.
    pub count: u32,
    /// What it is.
    pub body: B,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome<B = Bytes> {
    /// It was carried out, and this is the answer.
    Done(B),
    /// It was not, and will not be, for a reason in the words of whoever was asked.
    Declined(B),
    /// It was not, and will not be: it did not get beyond the link.
    NotTaken(NotTaken),
    /// It may have been.
    Unknown(Lost),
}

/// Why a request did not get beyond the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotTaken {
    /// As many requests as are allowed are under way already.
    Full,
    /// The receiver could not be sure that the sender's session is still there.
    Unproven,
    /// The node is closing its links.
    Closed,
}

/// Why nobody can say whether a request was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lost {
    /// Whoever was to answer ended without a word.
    Unanswered,
    /// The answer was made under an ownership that is no more.
    Disowned,
    /// The answer is longer than a frame may be.
    TooLarge,
}

/// Why a subscription is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended<B = Bytes> {
    /// In the words of whoever was listened to.
    Said(B),
    /// Whoever was listened to ended without a word.
    Dropped,
    /// There was more to tell than could wait to be sent.
    Overflow,
    /// What happened did so under an ownership that is no more.
    Disowned,
    /// It was not begun: it did not get beyond the link.
    NotTaken(NotTaken),
}

impl<B> Frame<B> {
    /// The same, with its bytes kept in something else.
    pub fn map<C>(self, f: impl Fn(B) -> C) -> Frame<C> {
        match self {
            Frame::Hello(hello) => Frame::Hello(hello),
            Frame::Welcome(welcome) => Frame::Welcome(welcome),
            Frame::Refused(refusal) => Frame::Refused(refusal),
            Frame::Ask { nonce } => Frame::Ask { nonce },
            Frame::Told { nonce, remaining } => Frame::Told { nonce, remaining },
            Frame::Request { id, wait_ms, under, request } => {
                Frame::Request { id, wait_ms, under, request: request.map(f) }
            }
            Frame::Cast { under, message } => Frame::Cast { under, message: message.map(f) },
            Frame::Reply { id, under, outcome } => {
                Frame::Reply { id, under, outcome: outcome.map(f) }
            }
            Frame::Subscribe { id, under, message } => {
                Frame::Subscribe { id, under, message: message.map(f) }
            }
            Frame::Unsubscribe { id } => Frame::Unsubscribe { id },
            Frame::Event { id, also, under, body } => {
                Frame::Event { id, also, under, body: f(body) }
            }
            Frame::Down { id, reason } => Frame::Down { id, reason: reason.map(f) },
            Frame::Signed { signature } => Frame::Signed { signature: f(signature) },
        }
    }
}

impl<B> Message<B> {
    fn map<C>(self, f: impl Fn(B) -> C) -> Message<C> {
        let Message { shard, epoch, scope, key, body } = self;
        Message { shard, epoch, scope: f(scope), key: f(key), body: f(body) }
    }
}

impl<B> Request<B> {
    fn map<C>(self, f: impl Fn(B) -> C) -> Request<C> {
        match self {
            Request::Call(message) => Request::Call(message.map(f)),
            Request::Prepare(part) => Request::Prepare(part.map(f)),
        }
    }
}

impl<B> Part<B> {
    fn map<C>(self, f: impl Fn(B) -> C) -> Part<C> {
        let Part { under, attempt, number, count, body } = self;
        Part { under, attempt, number, count, body: f(body) }
    }
}

impl<B> Outcome<B> {
    fn map<C>(self, f: impl Fn(B) -> C) -> Outcome<C> {
        match self {
            Outcome::Done(body) => Outcome::Done(f(body)),
            Outcome::Declined(why) => Outcome::Declined(f(why)),
            Outcome::NotTaken(why) => Outcome::NotTaken(why),
            Outcome::Unknown(why) => Outcome::Unknown(why),
        }
    }
}

impl<B> Ended<B> {
    fn map<C>(self, f: impl Fn(B) -> C) -> Ended<C> {
        match self {
            Ended::Said(why) => Ended::Said(f(why)),
            Ended::Dropped => Ended::Dropped,
            Ended::Overflow => Ended::Overflow,
            Ended::Disowned => Ended::Disowned,
            Ended::NotTaken(why) => Ended::NotTaken(why),
        }
    }
}

impl Frame {
    /// The ownership that it was made under, if any.
    pub fn under(&self) -> Option<Under> {
        match self {
            Frame::Request { under, .. }
            | Frame::Cast { under, .. }
            | Frame::Reply { under, .. }
            | Frame::Subscribe { under, .. }
            | Frame::Event { under, .. } => *under,
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Refused(_)
            | Frame::Ask { .. }
            | Frame::Told { .. }
            | Frame::Unsubscribe { .. }
            | Frame::Down { .. }
            | Frame::Signed { .. } => None,
        }
    }

    /// Whether a process asks something of another with it.
    pub fn is_effect(&self) -> bool {
        let asks =
            matches!(self, Frame::Request { .. } | Frame::Cast { .. } | Frame::Subscribe { .. });
        asks && self.under().is_some()
    }

    /// How many bytes of it are opaque.
    pub(crate) fn opaque_bytes(&self) -> usize {
        let message = |it: &Message| it.scope.len() + it.key.len() + it.body.len();
        match self {
            Frame::Request { request: Request::Call(it), .. }
            | Frame::Cast { message: it, .. }
            | Frame::Subscribe { message: it, .. } => message(it),
            Frame::Request { request: Request::Prepare(part), .. } => part.body.len(),
            Frame::Reply { outcome: Outcome::Done(body) | Outcome::Declined(body), .. }
            | Frame::Event { body, .. }
            | Frame::Down { reason: Ended::Said(body), .. }
            | Frame::Signed { signature: body } => body.len(),
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Refused(_)
            | Frame::Ask { .. }
            | Frame::Told { .. }
            | Frame::Reply { .. }
            | Frame::Unsubscribe { .. }
            | Frame::Down { .. } => 0,
        }
    }
}
