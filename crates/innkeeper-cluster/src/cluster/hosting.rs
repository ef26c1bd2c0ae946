//! What this node does about what other nodes ask of the processes that run here.

use std::sync::Arc;

use bytes::Bytes;
use innkeeper::placement::{Later, Packed, Tenure};
use innkeeper::{Away, CallError, ExitReason, Incarnation, Key, NotDelivered, Outcome, ProcessRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Inner;
use super::asked::{self, Answered, Ask, Asked, Exit, NoProcess, NotStopped, Undelivered};
use super::luggage::Bag;
use super::placing::Placing;
use super::tenure::Owning;
use crate::frame::{Message, Part, Under};
use crate::limits;
use crate::links::{Answer, From, Service, Subscriber};
use crate::remote::Remote;

/// A scope of processes, whatever their type, for what other nodes ask of it.
pub(crate) trait Hosting: Send + Sync {
    /// Carries out what is asked, and answers with the ownership it was done under.
    fn carry_out(self: Arc<Self>, from: From, message: Message) -> Later<'static, Done>;

    /// The version of its processes.
    fn version(&self) -> u32;

    /// The end of an incarnation that runs here.
    fn end_of(self: Arc<Self>, message: &Message) -> Later<'static, ExitReason>;

    /// Kills every process whose right is over.
    fn end_lost(self: Arc<Self>) -> Later<'static, ()>;

    /// Ends every process under a right in order, and answers what they take along.
    fn pack(self: Arc<Self>, right: Arc<Owning>) -> Later<'static, Vec<Bag>>;

    /// Has the process of a key begin that took something along.
    fn revive(self: Arc<Self>, right: Arc<Owning>, key: Vec<u8>) -> Later<'static, ()>;
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Done {
    under: Option<Under>,
    body: Option<Bytes>,
}

impl Done {
    fn not(why: impl Into<Undelivered>) -> Done {
        let body = asked::write(&Answered::NotDelivered(why.into()));
        Done { under: None, body }
    }

    /// An answer that holds under an ownership alone.
    fn under(under: Under, answered: &Answered<'_>) -> Done {
        Done { under: Some(under), body: asked::write(answered) }
    }
}

impl Service for Inner {
    fn call(&self, from: From, message: Message, answer: Answer) {
        let done = self.carry_out(from, message);
        self.run(async move {
            let Done { under, body } = done.await;
            // Without a body it could not be written down: who asked is told by its drop.
            if let Some(body) = body {
                answer.done(under, body);
            }
        });
    }

    fn cast(&self, from: From, message: Message) {
        let from = From { within: limits::RETRY_WAIT_MAX, ..from };
        let done = self.carry_out(from, message);
        self.run(async move {
            let done = done.await;
            if done.under.is_none() {
                tracing::debug!(?done, "a cast from another node was not taken");
            }
        });
    }

    fn subscribe(&self, _: From, message: Message, subscriber: Subscriber) {
        let Some(scope) = self.scope(&message.scope) else { return };
        let end = scope.end_of(&message);
        self.run(async move {
            let reason = tokio::select! {
                biased;
                reason = end => reason,
                () = subscriber.over() => return,
            };
            if let Some(why) = asked::write(&Exit::from(reason)) {
                subscriber.end(why);
            }
        });
    }

    fn prepare(&self, _: From, part: Part, answer: Answer) {
        match self.arrive(&part) {
            true => answer.done(None, Bytes::new()),
            false => answer.declined(Bytes::new()),
        }
    }

    /// All that a shard takes along has come before it was given away.
    fn commit(&self, _: From, _: Part, answer: Answer) {
        answer.declined(Bytes::new());
    }
}

impl Inner {
    fn carry_out(&self, from: From, message: Message) -> Later<'static, Done> {
        match self.scope(&message.scope) {
            Some(scope) => scope.carry_out(from, message),
            // It has not been started here yet.
            None => Box::pin(async { Done::not(NotDelivered::Away(Away::NotOwner)) }),
        }
    }
}

impl<K, P> Hosting for Placing<K, P>
where
    K: Key + Serialize + DeserializeOwned,
    P: Remote,
{
    fn carry_out(self: Arc<Self>, from: From, message: Message) -> Later<'static, Done> {
        Box::pin(async move {
            let right = self.inner.right(message.shard);
            // Who knows a later epoch knows more than this node, which is to learn it first.
            let Some(right) = right.filter(|right| right.under.epoch >= message.epoch) else {
                return Done::not(NotDelivered::Away(Away::NotOwner));
            };
            let asked = asked::read::<Asked<'_>>(&message.body);
            let asked = asked.filter(|asked| asked.kind == P::NAME && asked.version == P::VERSION);
            let (Some(Asked { ask, .. }), Some(key)) = (asked, asked::read::<K>(&message.key))
            else {
                return Done::not(NotDelivered::Away(Away::Incompatible));
            };
            self.answer(from, &right, &key, ask).await
        })
    }

    fn version(&self) -> u32 {
        P::VERSION
    }

    fn end_of(self: Arc<Self>, message: &Message) -> Later<'static, ExitReason> {
        let process = self.watched(message);
        Box::pin(async move {
            match process {
                None => ExitReason::NoProcess,
                Some(process) => process.ended().await,
            }
        })
    }

    fn end_lost(self: Arc<Self>) -> Later<'static, ()> {
        Box::pin(async move { self.here().end_lost().await })
    }

    fn pack(self: Arc<Self>, right: Arc<Owning>) -> Later<'static, Vec<Bag>> {
        Box::pin(async move {
            let tenure: Arc<dyn Tenure> = right;
            let packed = self.here().pack(&tenure).await;
            let bags = packed.into_iter().filter_map(|Packed { key, state, casts }| {
                let casts = casts.iter().filter_map(|cast| Some(asked::write(cast)?.to_vec()));
                Some(Bag {
                    scope: self.scope.to_vec(),
                    key: asked::write(&key)?.to_vec(),
                    version: P::VERSION,
                    state,
                    casts: casts.collect(),
                })
            });
            bags.collect()
        })
    }

    fn revive(self: Arc<Self>, right: Arc<Owning>, key: Vec<u8>) -> Later<'static, ()> {
        Box::pin(async move {
            let Some(key) = asked::read::<K>(&key) else { return };
            if !right.begins().await {
                return;
            }
            let tenure: Arc<dyn Tenure> = right;
            // If it fails, whoever asks for it next is told.
            let _ = self.here().get(&tenure, &key, true, limits::CALL_TIME_MAX).await;
        })
    }
}

impl<K, P> Placing<K, P>
where
    K: Key + DeserializeOwned,
    P: Remote,
{
    /// Asks the processes here, and writes down what they answer.
    async fn answer(&self, from: From, right: &Arc<Owning>, key: &K, ask: Ask<'_>) -> Done {
        let (under, within) = (right.under, from.within);
        let tenure: Arc<dyn Tenure> = right.clone();
        match ask {
            Ask::Get { starts } => {
                let got = match self.here().get(&tenure, key, starts, within).await {
                    Ok(Outcome::Started(process)) => got(&process, true),
                    Ok(Outcome::Existing(process)) => got(&process, false),
                    Ok(Outcome::Ignored) => Answered::Ignored,
                    Err(error) => Answered::NotGot(NoProcess::from(error)),
                };
                Done::under(under, &got)
            }
            Ask::Call { to, message } => {
                let Some(message) = asked::read(message) else {
                    return Done::not(NotDelivered::Away(Away::Incompatible));
                };
                match self.here().call(&tenure, key, named(to), message, within).await {
                    Ok(reply) => match asked::write(&reply) {
                        Some(reply) => Done::under(under, &Answered::Reply(&reply)),
                        None => Done { under: None, body: None },
                    },
                    Err(CallError::NotDelivered { why, .. }) => Done::not(why),
                    Err(CallError::Unknown(why)) => {
                        let body = asked::write(&Answered::Unknown(why.into()));
                        Done { under: None, body }
                    }
                    Err(_) => Done { under: None, body: None },
                }
            }
            Ask::Cast { to, message } => {
                let Some(message) = asked::read(message) else {
                    return Done::not(NotDelivered::Away(Away::Incompatible));
                };
                match self.here().cast(&tenure, key, named(to), message, within).await {
                    Ok(()) => Done::under(under, &Answered::Taken),
                    Err(error) => Done::not(error.why),
                }
            }
            Ask::Stop { reason } => {
                let stopped = match self.here().stop(&tenure, key, reason.into(), within).await {
                    Ok(()) => Answered::Stopped,
                    Err(error) => Answered::NotStopped(NotStopped::from(error)),
                };
                Done::under(under, &stopped)
            }
            Ask::Exit { to, reason } => {
                if let Some(process) = self.here().process(key, Incarnation::from_bits(to)) {
                    match reason {
                        None => process.kill(),
                        // Whoever wants to know when it has ended watches it.
                        Some(reason) => drop(process.stop(reason.into(), within).await),
                    }
                }
                Done::under(under, &Answered::Taken)
            }
            Ask::Watch { .. } => Done { under: None, body: None },
        }
    }

    /// The incarnation that somebody wants to watch.
    fn watched(&self, message: &Message) -> Option<ProcessRef<P::Message>> {
        let Asked { ask: Ask::Watch { to }, .. } = asked::read(&message.body)? else { return None };
        let key = asked::read::<K>(&message.key)?;
        self.here().process(&key, Incarnation::from_bits(to))
    }
}

fn got<M: innkeeper::Message>(process: &ProcessRef<M>, started: bool) -> Answered<'static> {
    let incarnation = process.incarnation().to_bits();
    Answered::Got { incarnation, epoch: process.epoch(), started }
}

/// The incarnation that was named, if one was.
fn named(to: u64) -> Option<Incarnation> {
    (to != 0).then_some(Incarnation::from_bits(to))
}
