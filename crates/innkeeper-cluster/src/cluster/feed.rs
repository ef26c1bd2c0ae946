//! Messages that bring a subscriber to another node: said, answered and told over one subscription.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use innkeeper::{ExitReason, Unsubscribed};

use super::Inner;
use super::asked::{self, Answered, Exit, TAG_ANSWER};
use crate::frame::{Lost, Message};
use crate::links::{Down, Events, Failed, Origin, Response, Unknown};
use crate::ownership::record::Session;
use crate::subscriber::Listening;

impl Inner {
    /// Says something to a process, as a request does, and then passes on what it tells until that
    /// ends. A message that was not taken ends nothing: it may be said to another node. Dropped, or
    /// without an answer in time, nothing more is heard, and what was not sent is not.
    pub(crate) async fn feed(
        self: &Arc<Self>,
        to: Session,
        origin: Origin,
        message: Message,
        listening: Arc<dyn Listening>,
        within: Duration,
    ) -> Result<Response, Failed> {
        let mut events = self.links().subscribe(to, origin, message)?;
        let answered = answered(&mut events, &*listening);
        let Ok(response) = tokio::time::timeout(within, answered).await else {
            let why = events.withdraw();
            return Err(why.map_or(Unknown::Late.into(), Failed::NotExecuted));
        };
        let response = response?;
        if !matches!(asked::read(&response.body), Some(Answered::NotDelivered(_)) | None) {
            self.run(pass_on(events, listening));
        }
        Ok(response)
    }
}

/// Passes on what a process tells before its answer, and answers that.
async fn answered(events: &mut Events, listening: &dyn Listening) -> Result<Response, Failed> {
    loop {
        let event = events.next().await.map_err(failed)?;
        match event.body.split_first() {
            Some((&TAG_ANSWER, _)) => {
                return Ok(Response { under: event.under, body: event.body.slice(1..) });
            }
            // Whoever does not listen any more may still wait for the answer.
            Some((_, body)) => drop(listening.push(body)),
            None => {}
        }
    }
}

/// Passes on what a process tells.
async fn pass_on(mut events: Events, listening: Arc<dyn Listening>) {
    loop {
        let next = tokio::select! {
            biased;
            next = events.next() => next,
            () = listening.over() => return,
        };
        match next {
            Err(down) => return listening.end(unsubscribed(&down)),
            Ok(event) => {
                let told = event.body.split_first().filter(|(tag, _)| **tag != TAG_ANSWER);
                if told.is_some_and(|(_, body)| listening.push(body).is_err()) {
                    return;
                }
            }
        }
    }
}

/// What came of a message whose answer did not come.
fn failed(down: Down) -> Failed {
    match down {
        Down::NotExecuted(why) => why.into(),
        Down::Cut { why } => Unknown::Cut { why }.into(),
        Down::Unproven => Unknown::Unproven.into(),
        Down::Disowned => Unknown::Lost(Lost::Disowned).into(),
        Down::Said(_) | Down::Dropped | Down::Overflow => Unknown::Lost(Lost::Unanswered).into(),
    }
}

/// Why nothing more is heard.
fn unsubscribed(down: &Down) -> Unsubscribed {
    match down {
        Down::Said(why) => {
            let exit = asked::read::<Exit>(why);
            Unsubscribed::Ended(exit.map_or(ExitReason::Unreachable, ExitReason::from))
        }
        Down::Dropped => Unsubscribed::Dropped,
        Down::Overflow => Unsubscribed::Overflow,
        Down::Disowned => Unsubscribed::Lost,
        Down::Unproven | Down::Cut { .. } | Down::NotExecuted(_) => Unsubscribed::Unreachable,
    }
}

/// An answer, as it is told.
pub(crate) fn answer(body: &[u8]) -> Bytes {
    let mut told = Vec::with_capacity(body.len() + 1);
    told.push(TAG_ANSWER);
    told.extend_from_slice(body);
    told.into()
}
