//! The way to one incarnation on another node.

use std::sync::Arc;

use bytes::Bytes;
use innkeeper::placement::{Distant, Failed, Pending};
use innkeeper::{Away, ExitReason, Incarnation, Message, NotDelivered};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::asked::{self, Answered, Ask, Asked, Exit};
use super::contain::contained;
use super::{Inner, Kind};
use crate::frame::{self, Request, Under};
use crate::limits;
use crate::links::{self, Down, Origin, Response};
use crate::ownership::record::{Epoch, Session, Shard};
use crate::subscriber::{self, Listening};

/// The way to one incarnation on another node.
pub(crate) struct Way {
    pub(crate) inner: Arc<Inner>,
    pub(crate) kind: Kind,
    /// Where it runs; an incarnation never leaves its node.
    pub(crate) session: Session,
    pub(crate) to: To,
    pub(crate) incarnation: Incarnation,
    pub(crate) name: String,
}

/// A key, as other nodes are told.
#[derive(Clone, Debug)]
pub(crate) struct To {
    pub(crate) scope: Bytes,
    pub(crate) key: Bytes,
    pub(crate) shard: Shard,
    pub(crate) epoch: Epoch,
}

impl To {
    pub(crate) fn message(&self, body: Bytes) -> frame::Message {
        frame::Message {
            shard: self.shard,
            epoch: self.epoch,
            scope: self.scope.clone(),
            key: self.key.clone(),
            body,
        }
    }

    /// What is said to one key is said in order, whoever says it; under what they may say it.
    pub(crate) fn origin(&self, under: Option<Under>) -> Origin {
        let spread = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        Origin { sender: self.key.iter().fold(0xcbf2_9ce4_8422_2325, spread), under }
    }
}

impl Way {
    fn asked<'a>(&self, ask: Ask<'a>) -> Asked<'a> {
        let Kind { name, version } = self.kind;
        Asked { kind: name, version, ask }
    }

    fn message(&self, ask: Ask<'_>) -> Result<frame::Message, Away> {
        let body = asked::write_asked(&self.asked(ask));
        body.map(|body| self.to.message(body)).ok_or(Away::Incompatible)
    }

    fn origin(&self) -> Origin {
        self.to.origin(self.inner.under())
    }

    fn cast(&self, message: frame::Message) -> Result<(), Away> {
        let sent = self.inner.links().send(self.session, self.origin(), message);
        sent.map_err(|why| match asked::undelivered(why) {
            NotDelivered::Away(away) => away,
            _ => Away::Unreachable,
        })
    }

    /// Says what brings a subscriber.
    fn feed<M>(
        &self,
        said: Bytes,
        who: Arc<dyn Listening>,
        answer: Option<Pending<M>>,
    ) -> Result<(), Away>
    where
        M: Message<Reply: DeserializeOwned> + DeserializeOwned,
    {
        let (to, within) = (self.incarnation.to_bits(), limits::CALL_TIME_MAX);
        let within_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        let message = self.message(Ask::Feed { to, within_ms, message: &said })?;
        let (inner, origin, session) = (self.inner.clone(), self.origin(), self.session);
        self.inner.run(async move {
            let told = inner.feed(session, origin, message, who.clone(), within).await;
            if let Some(answer) = answer {
                settle(answer, told, &said, Some(who));
            }
        });
        Ok(())
    }
}

impl<M> Distant<M> for Way
where
    M: Message<Reply: DeserializeOwned> + Serialize + DeserializeOwned,
{
    fn name(&self) -> String {
        self.name.clone()
    }

    fn epoch(&self) -> u64 {
        self.to.epoch
    }

    fn say(&self, message: &M, answer: Option<Pending<M>>) -> Result<(), Away> {
        let to = self.incarnation.to_bits();
        let ask = match &answer {
            Some(_) => Ask::Call { to, message: &[] },
            None => Ask::Cast { to, message: &[] },
        };
        let mut said = asked::write_said(&self.asked(ask), message).ok_or(Away::Incompatible)?;
        if let Some(who) = said.listening.take() {
            return self.feed(said.message(), who, answer);
        }
        let Some(answer) = answer else { return self.cast(self.to.message(said.asked)) };
        let (said, message) = (said.message(), self.to.message(said.asked));
        // Told by the link itself, without a task in between.
        let tell = move |told| {
            if contained(|| settle(answer, told, &said, None)).is_none() {
                tracing::error!("the code that reads what another node answers has panicked");
            }
        };
        let (request, within) = (Request::Call(message), limits::CALL_TIME_MAX);
        self.inner.links().ask(self.session, self.origin(), request, within, Box::new(tell));
        Ok(())
    }

    fn exit(&self, reason: Option<ExitReason>) {
        let reason = reason.map(Exit::from);
        // One that cannot be told of it cannot be heard of any more either.
        let asked = self.message(Ask::Exit { to: self.incarnation.to_bits(), reason });
        let _ = asked.and_then(|message| self.cast(message));
    }

    fn watch(&self, tell: Box<dyn FnOnce(ExitReason) + Send>) {
        let Ok(message) = self.message(Ask::Watch { to: self.incarnation.to_bits() }) else {
            return tell(ExitReason::Unreachable);
        };
        let events = self.inner.links().subscribe(self.session, self.origin(), message);
        let Ok(mut events) = events else {
            return tell(ExitReason::Unreachable);
        };
        self.inner.run(async move {
            let down = loop {
                if let Err(down) = events.next().await {
                    break down;
                }
            };
            let said = match &down {
                Down::Said(why) => asked::read::<Exit>(why),
                _ => None,
            };
            tell(said.map_or(ExitReason::Unreachable, ExitReason::from));
        });
    }
}

/// Tells what came of a call.
fn settle<M>(
    answer: Pending<M>,
    told: Result<Response, links::Failed>,
    said: &[u8],
    listening: Option<Arc<dyn Listening>>,
) where
    M: Message<Reply: DeserializeOwned> + DeserializeOwned,
{
    match reply::<M>(told.map_err(asked::failed)) {
        Ok(reply) => answer.reply(reply),
        Err(Failed::Unknown(why)) => answer.unknown(why),
        Err(Failed::NotDelivered(why)) => {
            if let Some(message) = again(said, listening) {
                answer.not_delivered(message, why);
            }
        }
    }
}

/// A message that comes back, with the subscriber that it brought.
fn again<M: DeserializeOwned>(said: &[u8], listening: Option<Arc<dyn Listening>>) -> Option<M> {
    match listening {
        Some(who) => subscriber::incoming(subscriber::Origin::Back(who), || asked::read(said)),
        None => asked::read(said),
    }
}

/// The reply to a call, from what came of the request.
pub(crate) fn reply<M>(told: Result<Response, Failed>) -> Result<M::Reply, Failed>
where
    M: Message<Reply: DeserializeOwned>,
{
    let response = told?;
    let unread = || Failed::Unknown(innkeeper::Unknown::NoReply);
    match asked::read(&response.body).ok_or_else(unread)? {
        Answered::Reply(reply) => asked::read(reply).ok_or_else(unread),
        Answered::NotDelivered(why) => Err(Failed::NotDelivered(why.into())),
        Answered::Unknown(why) => Err(Failed::Unknown(why.into())),
        _ => Err(unread()),
    }
}
