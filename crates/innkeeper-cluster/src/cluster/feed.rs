//! Messages that bring a subscriber to another node: said, answered and told over one subscription.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use innkeeper::{ExitReason, Unsubscribed};
use tokio::sync::oneshot;

use super::Inner;
use super::asked::{self, Answered, Exit, TAG_ANSWER};
use crate::frame::{Lost, Message};
use crate::links::{Down, Events, Failed, Origin, Response, Unknown};
use crate::ownership::record::Session;
use crate::subscriber::Listening;

/// What was heard of a process before its answer, and the answer.
type Told = oneshot::Sender<Result<Response, Failed>>;

impl Inner {
    /// Says something to a process, as a request does, and then passes on what it tells until that
    /// ends. A message that was not taken ends nothing: it may be said to another node.
    pub(crate) async fn feed(
        self: &Arc<Self>,
        to: Session,
        origin: Origin,
        message: Message,
        listening: Arc<dyn Listening>,
        within: Duration,
    ) -> Result<Response, Failed> {
        let events = self.links().subscribe(to, origin, message)?;
        let (tell, told) = oneshot::channel();
        self.run(pass_on(events, listening, tell));
        match tokio::time::timeout(within, told).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Unknown::Gone.into()),
            Err(_) => Err(Unknown::Late.into()),
        }
    }
}

/// Passes on what a process tells, its answer first to whoever asked.
async fn pass_on(mut events: Events, listening: Arc<dyn Listening>, tell: Told) {
    let mut tell = Some(tell);
    loop {
        let next = tokio::select! {
            biased;
            next = events.next() => next,
            () = listening.over() => return,
        };
        let event = match next {
            Ok(event) => event,
            Err(down) => {
                return match tell.take() {
                    Some(tell) => drop(tell.send(Err(failed(down)))),
                    None => listening.end(unsubscribed(&down)),
                };
            }
        };
        let Some((tag, body)) = event.body.split_first() else { continue };
        if *tag != TAG_ANSWER {
            if listening.push(body).is_err() {
                return;
            }
            continue;
        }
        let body = event.body.slice(1..);
        let is_taken = !matches!(asked::read(&body), Some(Answered::NotDelivered(_)) | None);
        if let Some(tell) = tell.take() {
            let _ = tell.send(Ok(Response { under: event.under, body }));
        }
        if !is_taken {
            return;
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
