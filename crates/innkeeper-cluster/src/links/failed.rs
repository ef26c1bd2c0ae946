//! What can be said of a request that has no answer, and of a subscription that is over.

use std::fmt;

use bytes::Bytes;

use crate::frame::{Lost, NotTaken, Refusal};

/// A request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It was not carried out and will not be: it is safe to ask again.
    NotExecuted(NotExecuted),
    /// It may have been carried out.
    Unknown(Unknown),
}

/// Why something was not carried out, and will not be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotExecuted {
    /// As much as may waits for that link already, of this sender.
    Full,
    /// As many requests as may are under way at the other node.
    Busy,
    /// It is longer than a frame may be.
    TooLarge {
        /// In bytes.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// It could not be sent in time, and was taken back.
    Late,
    /// There was no connection in time; it was taken back.
    Unreachable {
        /// What the last try came to.
        why: String,
    },
    /// The other node does not talk to this one.
    Refused(Refusal),
    /// The session that it was meant for is over, or not known here.
    Gone,
    /// It was made under an ownership that is no more.
    Disowned,
    /// The other node could not be sure that this node's session is still there.
    Unproven,
    /// In the words of whoever was asked.
    Declined(Bytes),
    /// The links of this node, or of the other, are closed.
    Closed,
}

/// Why nobody can say whether something was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// There was no answer in time.
    Late,
    /// The link broke after it may have been sent.
    Cut {
        /// How.
        why: String,
    },
    /// The session of the other node is over.
    Gone,
    /// Whoever was to answer ended without a word, or its answer could not be sent.
    Lost(Lost),
    /// There was an answer, from a session that may have been over by then.
    Unproven,
}

/// Why a subscription is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Down {
    /// In the words of whoever was listened to.
    Said(Bytes),
    /// Whoever was listened to ended without a word.
    Dropped,
    /// More happened than could wait: at the other node, or here.
    Overflow,
    /// What happened did so under an ownership that is no more.
    Disowned,
    /// Something came from a session that may have been over by then.
    Unproven,
    /// The link broke.
    Cut {
        /// How.
        why: String,
    },
    /// It was not begun.
    NotExecuted(NotExecuted),
}

impl From<NotTaken> for NotExecuted {
    fn from(why: NotTaken) -> NotExecuted {
        match why {
            NotTaken::Full => NotExecuted::Busy,
            NotTaken::Unproven => NotExecuted::Unproven,
            NotTaken::Closed => NotExecuted::Closed,
        }
    }
}

impl From<NotExecuted> for Failed {
    fn from(why: NotExecuted) -> Failed {
        Failed::NotExecuted(why)
    }
}

impl From<Unknown> for Failed {
    fn from(why: Unknown) -> Failed {
        Failed::Unknown(why)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::NotExecuted(why) => write!(f, "not delivered: {why}"),
            Failed::Unknown(why) => write!(f, "outcome unknown: {why}"),
        }
    }
}

impl fmt::Display for NotExecuted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotExecuted::Full => f.write_str("as much as may waits for the link; try again later"),
            NotExecuted::Busy => f.write_str("the other node has as many requests as it takes"),
            NotExecuted::TooLarge { bytes, max } => {
                write!(f, "expected at most {max} bytes, got {bytes}; send it in parts")
            }
            NotExecuted::Late => f.write_str("it could not be sent in time"),
            NotExecuted::Unreachable { why } => write!(f, "no connection: {why}"),
            NotExecuted::Refused(refusal) => write!(f, "the other node refused: {refusal}"),
            NotExecuted::Gone => f.write_str("the session of the other node is over"),
            NotExecuted::Disowned => f.write_str("the shard it was sent from has been lost"),
            NotExecuted::Unproven => {
                f.write_str("the other node could not be sure of this node's session")
            }
            NotExecuted::Declined(_) => f.write_str("whoever was asked declined"),
            NotExecuted::Closed => f.write_str("the links are closed"),
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unknown::Late => f.write_str("no answer in time"),
            Unknown::Cut { why } => write!(f, "the link broke: {why}"),
            Unknown::Gone => f.write_str("the session of the other node is over"),
            Unknown::Lost(Lost::Unanswered) => f.write_str("whoever was asked did not answer"),
            Unknown::Lost(Lost::Disowned) => {
                f.write_str("the shard was lost before the answer could leave")
            }
            Unknown::Lost(Lost::TooLarge) => f.write_str("the answer is too long for a frame"),
            Unknown::Unproven => f.write_str("the answer came from a session in doubt"),
        }
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Down::Said(_) => f.write_str("whoever was listened to ended it"),
            Down::Dropped => f.write_str("whoever was listened to is gone"),
            Down::Overflow => f.write_str("more happened than could wait"),
            Down::Disowned => f.write_str("the shard was lost"),
            Down::Unproven => f.write_str("the session of the other node is in doubt"),
            Down::Cut { why } => write!(f, "the link broke: {why}"),
            Down::NotExecuted(why) => write!(f, "not begun: {why}"),
        }
    }
}

impl std::error::Error for Failed {}
impl std::error::Error for NotExecuted {}
impl std::error::Error for Unknown {}
impl std::error::Error for Down {}
