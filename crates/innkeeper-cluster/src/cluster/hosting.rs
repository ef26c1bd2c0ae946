//! What this node does about what other nodes ask of the processes that run here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use innkeeper::placement::{Later, Packed, Tenure, bring};
use innkeeper::{
    Away, CallError, ExitReason, GetError, Incarnation, Key, NotDelivered, Outcome, ProcessRef,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use super::asked::{self, Answered, Ask, Asked, Exit, NoProcess, NotStopped, Undelivered};
use super::contain::contained;
use super::luggage::Bag;
use super::placing::Placing;
use super::seen::Seen;
use super::tenure::Owning;
use super::{Inner, ear, feed};
use crate::frame::{Message, Part, Under};
use crate::limits;
use crate::links::{Answer, From, Service, Subscriber};
use crate::ownership::record::Shard;
use crate::remote::Remote;
use crate::subscriber::{self, Origin};
use crate::trace;

/// A scope of processes, whatever their type, for what other nodes ask of it.
pub(crate) trait Hosting: Send + Sync {
    /// Whether it has been started. Until then it has its name, and nothing can be asked of it.
    fn is_started(&self) -> bool;

    /// Says something to a process, if one is there that takes it now; otherwise it comes back.
    fn call_now(&self, from: From, message: &Message, answer: Answer) -> Option<Answer>;

    /// As [`call_now`](Self::call_now), without an answer; whether it was taken.
    fn cast_now(&self, message: &Message) -> bool;

    /// Carries out what is asked, and answers with the ownership it was done under.
    fn carry_out(self: Arc<Self>, from: From, message: Message) -> Later<'static, Done>;

    /// The version of its processes.
    fn version(&self) -> u32;

    /// Carries out what brings a subscriber, and tells that until there is nothing more to tell.
    fn listen(self: Arc<Self>, from: From, message: Message, to: Subscriber) -> Later<'static, ()>;

    /// Kills every process whose right is over.
    fn end_lost(self: Arc<Self>) -> Later<'static, ()>;

    /// Ends every process under a right in order, and answers what they take along.
    fn pack(self: Arc<Self>, right: Arc<Owning>) -> Later<'static, Vec<Bag>>;

    /// What processes are called that have not ended under a right: so many of them.
    fn names(self: Arc<Self>, right: Arc<Owning>, most: usize) -> Later<'static, Vec<String>>;

    /// Has the process of a key begin that took something along. Whether that is done with: it has
    /// begun, or is not to.
    fn revive(self: Arc<Self>, right: Arc<Owning>, key: Vec<u8>) -> Later<'static, bool>;
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

    /// What came of a call.
    fn call<M>(under: Under, came: Result<M::Reply, CallError<M>>) -> Done
    where
        M: innkeeper::Message<Reply: Serialize>,
    {
        match came {
            Ok(reply) => {
                let body = asked::write_reply(&reply);
                Done { under: body.is_some().then_some(under), body }
            }
            Err(CallError::NotDelivered { why, .. }) => Done::not(why),
            Err(CallError::Unknown(why)) => {
                let body = asked::write(&Answered::Unknown(why.into()));
                Done { under: None, body }
            }
            Err(_) => Done { under: None, body: None },
        }
    }

    fn tell(self, answer: Answer) {
        // Without a body it could not be written down: who asked is told by its drop.
        let _ = self.body.map(|body| answer.done(self.under, body));
    }
}

impl Service for Inner {
    fn call(&self, from: From, message: Message, answer: Answer) {
        let span = trace::asked(self.node.name(), &message);
        let scope = self.scope(&message.scope);
        let now = || match &scope {
            Some(scope) => span.in_scope(|| scope.call_now(from, &message, answer)),
            None => Some(answer),
        };
        // Most of it needs no task. Code of users that panics is not to take the link along.
        let Some(answer) = contained(now).unwrap_or_else(panicked) else { return };
        let done = carry_out(scope, from, message);
        self.run(async move { done.await.tell(answer) }.instrument(span));
    }

    fn cast(&self, from: From, message: Message) {
        let span = trace::asked(self.node.name(), &message);
        let scope = self.scope(&message.scope);
        let now = || {
            let scope = scope.as_ref()?;
            span.in_scope(|| scope.cast_now(&message)).then_some(())
        };
        match contained(now) {
            Some(None) => {}
            Some(Some(())) => return,
            None => return panicked(),
        }
        let from = From { within: limits::RETRY_WAIT_MAX, ..from };
        let done = carry_out(scope, from, message);
        let work = async move {
            let done = done.await;
            if done.under.is_none() {
                tracing::debug!(?done, "a cast from another node was not taken");
            }
        };
        self.run(work.instrument(span));
    }

    fn subscribe(&self, from: From, message: Message, subscriber: Subscriber) {
        let Some(scope) = self.scope(&message.scope) else { return };
        let span = trace::asked(self.node.name(), &message);
        self.run(scope.listen(from, message, subscriber).instrument(span));
    }

    fn prepare(&self, _: From, part: Part, answer: Answer) {
        match self.arrive(&part) {
            true => answer.done(None, Bytes::new()),
            false => answer.declined(Bytes::new()),
        }
    }
}

fn carry_out(
    scope: Option<Arc<dyn Hosting>>,
    from: From,
    message: Message,
) -> Later<'static, Done> {
    match scope {
        Some(scope) => scope.carry_out(from, message),
        // It has not been started here yet.
        None => Box::pin(async { Done::not(NotDelivered::Away(Away::NotOwner)) }),
    }
}

/// Whoever asked is told when what it asked with is dropped.
#[cold]
fn panicked<T: Default>() -> T {
    tracing::error!("what another node asked for has panicked");
    T::default()
}

impl<K, P> Hosting for Placing<K, P>
where
    K: Key + Ord + Serialize + DeserializeOwned,
    P: Remote,
{
    fn is_started(&self) -> bool {
        self.has_here()
    }

    fn call_now(&self, from: From, message: &Message, answer: Answer) -> Option<Answer> {
        let Some(Ready { right, process, said, is_call }) = self.ready(message) else {
            return Some(answer);
        };
        let under = right.under;
        if !is_call {
            if process.cast(said).send().is_err() {
                return Some(answer);
            }
            Done::under(under, &Answered::Taken).tell(answer);
            return None;
        }
        bring(process, right, said, |call| {
            let late = move || contained(|| call.late()).unwrap_or_else(panicked);
            let wait = self.inner.links().until(from.within, late);
            move |came| {
                drop(wait);
                contained(|| Done::call(under, came).tell(answer)).unwrap_or_else(panicked);
            }
        });
        None
    }

    fn cast_now(&self, message: &Message) -> bool {
        let ready = self.ready(message).filter(|ready| !ready.is_call);
        ready.is_some_and(|Ready { process, said, .. }| process.cast(said).send().is_ok())
    }

    fn carry_out(self: Arc<Self>, from: From, message: Message) -> Later<'static, Done> {
        Box::pin(async move {
            match self.asked(&message) {
                Some(Ask::Look { of, look }) => self.show(&of, look, from.within).await,
                asked => {
                    let came = self.inner.node.now();
                    // What is said under a right has its effect now, or none: that right may be
                    // over soon, and its next owner act.
                    let patience = from.under.map_or(from.within, |_| Duration::ZERO);
                    match self.admit(&message, asked, patience).await {
                        Ok((right, key, ask)) => {
                            let waited = self.inner.node.now().awake_since(came);
                            let from = from.after(Duration::from_nanos(waited));
                            self.answer(from, &right, &key, ask).await
                        }
                        Err(done) => done,
                    }
                }
            }
        })
    }

    fn version(&self) -> u32 {
        P::VERSION
    }

    fn listen(self: Arc<Self>, from: From, message: Message, to: Subscriber) -> Later<'static, ()> {
        Box::pin(async move {
            let asked = asked::read::<Asked<'_>>(&message.body);
            match asked.map(|asked| asked.ask) {
                Some(Ask::Watch { to: of }) => self.watch(&message.key, of, &to).await,
                Some(Ask::Feed { .. }) => self.feed(from, &message, to).await,
                Some(Ask::Events) => ear::tell(self.here(), &to).await,
                _ => {}
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

    fn names(self: Arc<Self>, right: Arc<Owning>, most: usize) -> Later<'static, Vec<String>> {
        Box::pin(async move {
            let tenure: Arc<dyn Tenure> = right;
            self.here().names(&tenure, most).await
        })
    }

    fn revive(self: Arc<Self>, right: Arc<Owning>, key: Vec<u8>) -> Later<'static, bool> {
        Box::pin(async move {
            let Some(of) = asked::read::<K>(&key) else { return true };
            if !right.begins().await {
                return true;
            }
            let (under, tenure): (_, Arc<dyn Tenure>) = (right.under, right);
            match self.here().get(&tenure, &of, false, limits::CALL_TIME_MAX).await {
                Ok(Outcome::Started(_) | Outcome::Existing(_)) => true,
                Err(GetError::NotFound | GetError::ShuttingDown) => true,
                Ok(Outcome::Ignored) => {
                    // It has declined what it was given.
                    drop(self.inner.settled(under, &self.scope, &key));
                    true
                }
                Err(why) => {
                    let (shard, scope) = (under.shard, String::from_utf8_lossy(&self.scope));
                    tracing::warn!(shard, %scope, %why, "a process that came here does not begin");
                    false
                }
            }
        })
    }
}

/// A message, and the process here that takes it.
struct Ready<P: Remote> {
    right: Arc<Owning>,
    process: ProcessRef<P::Message>,
    said: P::Message,
    is_call: bool,
}

impl<K, P> Placing<K, P>
where
    K: Key + Ord + Serialize + DeserializeOwned,
    P: Remote,
{
    /// What is asked, if it is said as the processes here say it.
    fn asked<'a>(&self, message: &'a Message) -> Option<Ask<'a>> {
        let asked = asked::read::<Asked<'_>>(&message.body)?;
        (asked.kind == P::NAME && asked.version == P::VERSION).then_some(asked.ask)
    }

    /// A message to a process that takes it now, if that is what is asked.
    fn ready(&self, message: &Message) -> Option<Ready<P>> {
        let (to, said, is_call) = match self.asked(message)? {
            Ask::Call { to, message } => (to, message, true),
            Ask::Cast { to, message } => (to, message, false),
            _ => return None,
        };
        let right = self.inner.right(message.shard)?;
        if right.under.epoch < message.epoch {
            return None;
        }
        let key = asked::read(&message.key)?;
        let tenure: Arc<dyn Tenure> = right.clone();
        let process = self.here().ready(&tenure, &key, named(to))?;
        Some(Ready { right, process, said: asked::read(said)?, is_call })
    }

    /// What is asked, if this node can be asked it.
    async fn admit<'a>(
        &self,
        message: &Message,
        asked: Option<Ask<'a>>,
        within: Duration,
    ) -> Result<(Arc<Owning>, K, Ask<'a>), Done> {
        let right = self.inner.right_in_time(message.shard, message.epoch, within).await;
        let right = right.ok_or_else(|| Done::not(NotDelivered::Away(Away::NotOwner)))?;
        match (asked, asked::read::<K>(&message.key)) {
            (Some(ask), Some(key)) => Ok((right, key, ask)),
            _ => Err(Done::not(NotDelivered::Away(Away::Incompatible))),
        }
    }

    /// Says something to a process here, and writes down what it answers.
    async fn bring(
        &self,
        from: From,
        right: &Arc<Owning>,
        key: &K,
        to: u64,
        message: P::Message,
    ) -> Done {
        let tenure: Arc<dyn Tenure> = right.clone();
        let here = self.here().asked_from_within(from.under.is_some());
        let came = here.call(&tenure, key, named(to), message, from.within).await;
        Done::call(right.under, came)
    }

    /// Asks the processes here, and writes down what they answer.
    async fn answer(&self, from: From, right: &Arc<Owning>, key: &K, ask: Ask<'_>) -> Done {
        let (under, within) = (right.under, from.within);
        let tenure: Arc<dyn Tenure> = right.clone();
        let here = self.here().asked_from_within(from.under.is_some());
        match ask {
            Ask::Get { starts } => {
                let got = match here.get(&tenure, key, starts, within).await {
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
                self.bring(from, right, key, to, message).await
            }
            Ask::Cast { to, message } => {
                let Some(message) = asked::read(message) else {
                    return Done::not(NotDelivered::Away(Away::Incompatible));
                };
                match here.cast(&tenure, key, named(to), message, within).await {
                    Ok(()) => Done::under(under, &Answered::Taken),
                    Err(error) => Done::not(error.why),
                }
            }
            Ask::Stop { reason } => {
                let stopped = match here.stop(&tenure, key, reason.into(), within).await {
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
            Ask::Info => match self.here().info(&tenure, key) {
                Ok(info) => Done::under(under, &Answered::Info(info.map(Seen::of::<P>))),
                Err(away) => Done::not(NotDelivered::Away(away)),
            },
            Ask::Watch { .. } | Ask::Feed { .. } | Ask::Look { .. } | Ask::Events => {
                Done { under: None, body: None }
            }
        }
    }

    /// The part that the processes here have in an answer about all, for as long as it is wanted.
    async fn show(&self, of: &[Shard], look: &[u8], within: Duration) -> Done {
        match tokio::time::timeout(within, self.view().shown(of, look)).await {
            Ok(Some(share)) => Done { under: None, body: asked::write(&Answered::Shown(&share)) },
            Ok(None) => Done::not(NotDelivered::Away(Away::Incompatible)),
            Err(_) => Done::not(NotDelivered::Timeout),
        }
    }

    /// Tells of the end of an incarnation that runs here.
    async fn watch(&self, key: &[u8], to: u64, subscriber: &Subscriber) {
        let key = asked::read::<K>(key);
        let process = key.and_then(|key| self.here().process(&key, Incarnation::from_bits(to)));
        let end = async {
            match process {
                None => ExitReason::NoProcess,
                Some(process) => process.ended().await,
            }
        };
        let reason = tokio::select! {
            biased;
            reason = end => reason,
            () = subscriber.over() => return,
        };
        if let Some(why) = asked::write(&Exit::from(reason)) {
            subscriber.end(why);
        }
    }

    /// Carries out a call that brings a subscriber, and tells that the answer.
    async fn feed(&self, from: From, message: &Message, subscriber: Subscriber) {
        let subscriber = Arc::new(subscriber);
        let Done { under, body } = self.fed(from, message, &subscriber).await;
        if let Some(body) = body {
            // Who cannot be told any more knows that it does not know.
            let _ = subscriber.push(under, feed::answer(&body));
        }
    }

    async fn fed(&self, from: From, message: &Message, subscriber: &Arc<Subscriber>) -> Done {
        let asked = self.asked(message);
        let within = match asked {
            Some(Ask::Feed { within_ms, .. }) => Duration::from_millis(u64::from(within_ms)),
            _ => Duration::ZERO,
        };
        let (right, key, ask) = match self.admit(message, asked, within).await {
            Ok(admitted) => admitted,
            Err(done) => return done,
        };
        let Ask::Feed { to, message, .. } = ask else {
            return Done::not(NotDelivered::Away(Away::Incompatible));
        };
        let origin = Origin::Distant(subscriber.clone(), right.under);
        match subscriber::incoming(origin, || asked::read(message)) {
            None => Done::not(NotDelivered::Away(Away::Incompatible)),
            Some(message) => {
                let from = From { within, ..from };
                self.bring(from, &right, &key, to, message).await
            }
        }
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
