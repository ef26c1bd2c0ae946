//! Every error that a client can get: a stable code, what happened, and whether the thing ran.

use serde::{Deserialize, Serialize};

/// Whether what failed has had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ran {
    /// It has not and will not: safe to retry.
    No,
    /// It has.
    Yes,
    /// It may have: check before a retry.
    Unknown,
}

/// A stable name for each kind of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs)] // Each is explained by its `title`.
pub enum Code {
    BadKey,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    TooManyMembers,
    StartDeclined,
    StartCycle,
    PayloadTooLarge,
    RateLimited,
    MaxRooms,
    Draining,
    NotOwner,
    Frozen,
    Parked,
    MailboxFull,
    NotDelivered,
    StartFailed,
    StartTimeout,
    StillStopping,
    Unknown,
    Unjoined,
    SlowConsumer,
}

impl Code {
    /// As it is written.
    pub fn word(self) -> &'static str {
        self.entry().0
    }

    /// The HTTP status it comes with.
    pub fn status(self) -> u16 {
        self.entry().1
    }

    /// What it means, in a few words.
    pub fn title(self) -> &'static str {
        self.entry().2
    }

    fn entry(self) -> (&'static str, u16, &'static str) {
        match self {
            Code::BadKey => ("bad_key", 400, "the key is not allowed"),
            Code::BadRequest => ("bad_request", 400, "the request makes no sense"),
            Code::Unauthorized => ("unauthorized", 401, "a token is needed"),
            Code::Forbidden => ("forbidden", 403, "not allowed from there"),
            Code::NotFound => ("not_found", 404, "there is no such thing"),
            Code::TooManyMembers => ("too_many_members", 409, "the room is full"),
            Code::StartDeclined => ("start_declined", 409, "the room chose not to start"),
            Code::StartCycle => ("start_cycle", 409, "the room would wait for itself"),
            Code::PayloadTooLarge => ("payload_too_large", 413, "the message is too long"),
            Code::RateLimited => ("rate_limited", 429, "too many starts"),
            Code::MaxRooms => ("max_rooms", 503, "there are as many rooms as may be"),
            Code::Draining => ("draining", 503, "the server is shutting down"),
            Code::NotOwner => ("not_owner", 503, "another node has the room"),
            Code::Frozen => ("frozen", 503, "the node cannot prove that it owns the room"),
            Code::Parked => ("parked", 503, "the room crashed too often"),
            Code::MailboxFull => ("mailbox_full", 503, "too much waits for the room already"),
            Code::NotDelivered => ("not_delivered", 503, "it did not run"),
            Code::StartFailed => ("start_failed", 502, "the room did not start"),
            Code::StartTimeout => ("start_timeout", 504, "the room took too long to start"),
            Code::StillStopping => ("still_stopping", 504, "the room has not ended yet"),
            Code::Unknown => ("unknown", 504, "it may have run"),
            Code::Unjoined => ("unjoined", 409, "the join is over"),
            Code::SlowConsumer => ("slow_consumer", 409, "too slow to keep up"),
        }
    }
}

/// An error as it is sent: `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable name of the kind of error.
    pub code: Code,
    /// The HTTP status.
    pub status: u16,
    /// What this kind means.
    pub title: String,
    /// What happened this time, and what to try next.
    pub detail: String,
    /// Whether the thing ran.
    pub ran: Ran,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_its_word() {
        for code in [Code::BadKey, Code::StartCycle, Code::Unknown, Code::SlowConsumer] {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.word()));
        }
    }
}
