//! The one error at the rim: a stable code for the client, and words that say what to do next.

use std::fmt::Display;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use innkeeper::{Away, CallError, GetError, NoAnswer, NotDelivered, StopError, Unknown};
use innkeeper_api::{BadKey, Code, Problem, Ran};
use serde::Serialize;

use crate::room::RoomFull;

/// An error that a client gets, whatever it speaks.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) code: Code,
    detail: String,
    ran: Ran,
    retry_after: Option<Duration>,
    status: u16,
}

/// An error as the payload of a channel reply.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    code: Code,
    message: String,
    ran: Ran,
}

impl ApiError {
    /// Something that did not run.
    pub(crate) fn new(code: Code, detail: impl Display) -> Self {
        let (detail, status) = (detail.to_string(), code.status());
        ApiError { code, detail, ran: Ran::No, retry_after: None, status }
    }

    pub(crate) fn draining() -> Self {
        ApiError::new(Code::Draining, "this server is shutting down; try again elsewhere or later")
    }

    pub(crate) fn too_long(bytes: usize, max: usize) -> Self {
        let detail = format!("expected a text of at most {max} bytes, got {bytes} bytes");
        ApiError::new(Code::PayloadTooLarge, detail)
    }

    pub(crate) fn unjoined() -> Self {
        ApiError::new(Code::Unjoined, "this join is over; join the topic again")
    }

    /// It was told to stop, and will.
    pub(crate) fn still_stopping(detail: impl Display) -> Self {
        ApiError { ran: Ran::Yes, ..ApiError::new(Code::StillStopping, detail) }
    }

    /// Another HTTP status than the code's own, where the protocol asks for one.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }

    pub(crate) fn refusal(&self) -> Refusal {
        Refusal { code: self.code, message: self.detail.clone(), ran: self.ran }
    }

    fn unknown(why: Unknown) -> Self {
        let detail = format!("{why}; look whether it happened before you try again");
        ApiError { ran: Ran::Unknown, ..ApiError::new(Code::Unknown, detail) }
    }
}

impl From<BadKey> for ApiError {
    fn from(bad: BadKey) -> Self {
        ApiError::new(Code::BadKey, bad)
    }
}

impl From<RoomFull> for ApiError {
    fn from(full: RoomFull) -> Self {
        let detail = format!("the room has {} members, which is the most it may have", full.max);
        ApiError::new(Code::TooManyMembers, detail)
    }
}

impl From<GetError> for ApiError {
    fn from(error: GetError) -> Self {
        let code = match &error {
            GetError::StartTimeout | GetError::NotAdmitted => Code::StartTimeout,
            // The start may still be under way, but nothing of this request ran in it.
            GetError::Timeout { .. } => Code::NotDelivered,
            GetError::Parked(_) => Code::Parked,
            GetError::MaxChildren { .. } => Code::MaxRooms,
            GetError::RateLimited { .. } => Code::RateLimited,
            GetError::ShuttingDown => Code::Draining,
            GetError::Cycle(_) => Code::StartCycle,
            GetError::Declined => Code::StartDeclined,
            GetError::Away(why) => away(*why),
            _ => Code::StartFailed,
        };
        let retry_after = match error {
            GetError::RateLimited { retry_after } => Some(retry_after),
            _ => None,
        };
        ApiError { retry_after, ..ApiError::new(code, error) }
    }
}

/// Why nobody could be asked who may act for a room.
fn away(why: Away) -> Code {
    match why {
        Away::NotOwner => Code::NotOwner,
        Away::Frozen => Code::Frozen,
        _ => Code::NotDelivered,
    }
}

impl From<NoAnswer> for ApiError {
    fn from(why: NoAnswer) -> Self {
        let code = match why {
            NoAnswer::Away(why) => away(why),
            _ => Code::NotDelivered,
        };
        ApiError::new(code, format_args!("{why}; nobody knows whether it runs, so ask again"))
    }
}

impl From<NotDelivered> for ApiError {
    fn from(why: NotDelivered) -> Self {
        let code = match why {
            NotDelivered::NoProcess(error) => return error.into(),
            NotDelivered::Full { .. } => Code::MailboxFull,
            NotDelivered::Cycle(_) => Code::StartCycle,
            NotDelivered::Away(why) => away(why),
            _ => Code::NotDelivered,
        };
        ApiError::new(code, format_args!("{why}; it did not run, so try again"))
    }
}

impl<M> From<CallError<M>> for ApiError {
    fn from(error: CallError<M>) -> Self {
        match error {
            CallError::NotDelivered { why, .. } => why.into(),
            CallError::Unknown(why) => ApiError::unknown(why),
            _ => ApiError::unknown(Unknown::NoReply),
        }
    }
}

impl From<StopError> for ApiError {
    fn from(error: StopError) -> Self {
        match error {
            StopError::NotFound => ApiError::new(Code::NotFound, "no such room runs"),
            StopError::Cycle(_) => ApiError::new(Code::StartCycle, error),
            StopError::Away(why) => ApiError::new(away(why), error),
            StopError::Unknown => ApiError::unknown(Unknown::Unreachable),
            // It was told to stop, and will.
            _ => ApiError::still_stopping(error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = Problem {
            code: self.code,
            status: self.status,
            title: self.code.title().to_owned(),
            detail: self.detail,
            ran: self.ran,
        };
        // Text and numbers can always be written as JSON.
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after {
            // Whole seconds, and never too early.
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        if self.code == Code::Unauthorized {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(axum::http::header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
