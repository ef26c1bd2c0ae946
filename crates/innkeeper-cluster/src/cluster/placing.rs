//! Where the processes of one scope run, as the scope itself asks.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use innkeeper::placement::{Failed, Hosted, Kept, Later, Placement, Placer, Tenure, distant};
use innkeeper::{
    Away, ExitReason, Gathered, GetError, Hearing, Incarnation, Key, KeyRange, Message, NoAnswer,
    NodeCount, NotDelivered, Outcome, Page, ProcessInfo, ProcessRef, StopError, Unknown,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::asked::{self, Answered, Ask, Asked, Exit};
use super::hosting::Hosting;
use super::view::{View, no_answer};
use super::way::{self, To, Way};
use super::{Cluster, Inner, Kind, ear};
use crate::frame::{self, Request, Under};
use crate::links::{Origin, Response};
use crate::ownership::placement::shard_of;
use crate::ownership::record::{Session, Shard};
use crate::remote::Remote;

/// Where the processes of one scope run.
pub(crate) struct Placing<K: Key, P: Remote> {
    pub(crate) inner: Arc<Inner>,
    pub(crate) scope: Bytes,
    here: OnceLock<Hosted<K, P>>,
}

impl<K, P> Placer<K, P> for Cluster
where
    K: Key + Ord + Serialize + DeserializeOwned,
    P: Remote,
{
    fn placement(&self, scope: &str) -> Option<Arc<dyn Placement<K, P>>> {
        let name = Bytes::copy_from_slice(scope.as_bytes());
        let (inner, here) = (self.inner.clone(), OnceLock::new());
        let placing = Arc::new(Placing { inner, scope: name.clone(), here });
        let hosting: Arc<dyn Hosting> = placing.clone();
        let mut scopes = self.inner.scopes.write();
        if scopes.get(&name).is_some_and(|other| other.strong_count() > 0) {
            return None;
        }
        scopes.insert(name, Arc::downgrade(&hosting));
        Some(placing)
    }
}

/// What came back of a question.
type Told = Result<(Session, To, Response), Failed>;

/// What came back of a message.
type Came = Result<Response, Failed>;

/// What is about to be asked of the owner of a key.
struct Asking {
    owner: Session,
    to: To,
    body: Bytes,
    origin: Origin,
}

impl<K, P> Placing<K, P>
where
    K: Key + Ord + Serialize + DeserializeOwned,
    P: Remote,
{
    pub(crate) fn here(&self) -> &Hosted<K, P> {
        self.here.get().unwrap_or_else(|| unreachable!("it is set before anybody asks"))
    }

    pub(crate) fn has_here(&self) -> bool {
        self.here.get().is_some()
    }

    /// All processes of the scope.
    pub(crate) fn view(&self) -> View<K, P> {
        View::new(self.inner.clone(), self.scope.clone(), self.here().clone())
    }
}

impl<K, P> Placing<K, P>
where
    K: Key + Ord + Serialize + DeserializeOwned,
    P: Remote,
{
    const KIND: Kind = Kind { name: P::NAME, version: P::VERSION };

    /// A key written down, with its shard. `None` for one that cannot be.
    fn locate(&self, key: &K) -> Option<(Bytes, Shard)> {
        let key = asked::write(key)?;
        let shard = shard_of(&key, self.inner.node.shards());
        Some((key, shard))
    }

    fn shard(&self, key: &K) -> Option<Shard> {
        asked::shard_of(key, self.inner.node.shards())
    }

    fn question(ask: Ask<'_>) -> Asked<'_> {
        let Kind { name, version } = Self::KIND;
        Asked { kind: name, version, ask }
    }

    /// Asks the node that owns a key, once.
    fn ask(&self, key: &K, ask: Ask<'_>, within: Duration) -> Later<'static, Told> {
        let body = asked::write_asked(&Self::question(ask));
        self.request(self.asking(key, body), within)
    }

    fn request(&self, asking: Result<Asking, Away>, within: Duration) -> Later<'static, Told> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let Asking { owner, to, body, origin } = asking.map_err(not_delivered)?;
            let request = Request::Call(to.message(body));
            let told = inner.links().request(owner, origin, request, within).await;
            told.map(|response| (owner, to, response)).map_err(asked::failed)
        })
    }

    /// Says something to whichever process a key has elsewhere, once; `ask` is how. What brings a
    /// subscriber is said as a call, whose answer perhaps nobody waits for.
    fn say(
        &self,
        key: &K,
        message: &P::Message,
        ask: Ask<'_>,
        within: Duration,
    ) -> Later<'static, Came> {
        let Some(said) = asked::write_said(&Self::question(ask), message) else {
            return Box::pin(async { Err(not_delivered(Away::Incompatible)) });
        };
        let message = said.message();
        let Some(listening) = said.listening else {
            let told = self.request(self.asking(key, Some(said.asked)), within);
            return Box::pin(async { told.await.map(|(_, _, response)| response) });
        };
        let within_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        let ask = Ask::Feed { to: 0, within_ms, message: &message };
        let asking = self.asking(key, asked::write_asked(&Self::question(ask)));
        let inner = self.inner.clone();
        Box::pin(async move {
            let Asking { owner, to, body, origin } = asking.map_err(not_delivered)?;
            let told = inner.feed(owner, origin, to.message(body), listening, within).await;
            told.map_err(asked::failed)
        })
    }

    fn asking(&self, key: &K, body: Option<Bytes>) -> Result<Asking, Away> {
        let (key, shard) = self.locate(key).ok_or(Away::Incompatible)?;
        let owned = self.inner.node.owner(shard).ok_or(Away::NotOwner)?;
        if owned.owner == self.inner.node.session() {
            // It is coming here, or going.
            return Err(Away::NotOwner);
        }
        let body = body.ok_or(Away::Incompatible)?;
        let to = To { scope: self.scope.clone(), key, shard, epoch: owned.epoch };
        let origin = to.origin(self.inner.under());
        Ok(Asking { owner: owned.owner, to, body, origin })
    }
}

fn not_delivered(away: Away) -> Failed {
    Failed::NotDelivered(NotDelivered::Away(away))
}

impl<K, P> Placement<K, P> for Placing<K, P>
where
    K: Key + Ord + Serialize + DeserializeOwned,
    P: Remote,
{
    fn host(self: Arc<Self>, here: Hosted<K, P>) {
        let _ = self.here.set(here);
    }

    fn here(&self, key: &K) -> Option<Arc<dyn Tenure>> {
        let right = self.inner.right(self.shard(key)?)?;
        Some(right)
    }

    fn kept(&self, key: &K, tenure: &dyn Tenure) -> Option<Kept> {
        let under = Under { shard: Shard::try_from(tenure.shard()).ok()?, epoch: tenure.epoch() };
        if !self.inner.keeps_any(under) {
            return None;
        }
        let (key, _) = self.locate(key)?;
        let (inner, scope) = (self.inner.clone(), self.scope.clone());
        let kept: Kept = Box::new(move || inner.is_kept(under, &scope, &key));
        kept().then_some(kept)
    }

    fn handed(&self, key: &K, tenure: &dyn Tenure) -> Option<Vec<u8>> {
        let (key, shard) = self.locate(key)?;
        let under = Under { shard, epoch: tenure.epoch() };
        self.inner.handed(under, &self.scope, &key)
    }

    fn settled(&self, key: &K, tenure: &dyn Tenure) -> Vec<P::Message> {
        let Some((key, shard)) = self.locate(key) else { return Vec::new() };
        let under = Under { shard, epoch: tenure.epoch() };
        let casts = self.inner.settled(under, &self.scope, &key);
        casts.iter().filter_map(|cast| asked::read(cast)).collect()
    }

    fn get(
        &self,
        key: &K,
        starts: bool,
        within: Duration,
    ) -> Later<'static, Result<Outcome<ProcessRef<P::Message>>, GetError>> {
        let told = self.ask(key, Ask::Get { starts }, within);
        let (inner, name) = (self.inner.clone(), format!("{key:?}"));
        Box::pin(async move {
            let (session, mut to, response) =
                told.await.map_err(|failed| not_got(failed, within))?;
            let unread = GetError::Away(Away::Incompatible);
            match asked::read(&response.body).ok_or_else(|| unread.clone())? {
                Answered::Got { incarnation, epoch, started } => {
                    to.epoch = epoch;
                    let incarnation = Incarnation::from_bits(incarnation);
                    let way = Way { inner, kind: Self::KIND, session, to, incarnation, name };
                    let process = distant::<P::Message>(incarnation, Arc::new(way));
                    Ok(match started {
                        true => Outcome::Started(process),
                        false => Outcome::Existing(process),
                    })
                }
                Answered::Ignored => Ok(Outcome::Ignored),
                Answered::NotGot(error) => Err(error.into()),
                Answered::NotDelivered(why) => {
                    Err(not_got(Failed::NotDelivered(why.into()), within))
                }
                _ => Err(unread),
            }
        })
    }

    fn call(
        &self,
        key: &K,
        message: &P::Message,
        within: Duration,
    ) -> Later<'static, Result<<P::Message as Message>::Reply, Failed>> {
        let said = self.say(key, message, Ask::Call { to: 0, message: &[] }, within);
        Box::pin(async move { way::reply::<P::Message>(said.await) })
    }

    fn cast(
        &self,
        key: &K,
        message: &P::Message,
        within: Duration,
    ) -> Later<'static, Result<(), NotDelivered>> {
        let told = self.say(key, message, Ask::Cast { to: 0, message: &[] }, within);
        Box::pin(async move {
            match told.await {
                Ok(response) => match asked::read(&response.body) {
                    Some(Answered::NotDelivered(why)) => Err(why.into()),
                    _ => Ok(()),
                },
                Err(Failed::NotDelivered(why)) => Err(why),
                Err(Failed::Unknown(why)) => {
                    // It has left, like any cast: whether it arrived nobody is told.
                    tracing::warn!(%why, "a cast to another node may be lost");
                    Ok(())
                }
            }
        })
    }

    fn stop(
        &self,
        key: &K,
        reason: ExitReason,
        within: Duration,
    ) -> Later<'static, Result<(), StopError>> {
        let told = self.ask(key, Ask::Stop { reason: Exit::from(reason) }, within);
        Box::pin(async move {
            match told.await {
                Ok((_, _, response)) => match asked::read(&response.body) {
                    Some(Answered::Stopped) => Ok(()),
                    Some(Answered::NotStopped(error)) => Err(error.into()),
                    Some(Answered::NotDelivered(why)) => Err(not_stopped(why.into())),
                    _ => Err(StopError::Unknown),
                },
                Err(Failed::NotDelivered(why)) => Err(not_stopped(why)),
                Err(Failed::Unknown(_)) => Err(StopError::Unknown),
            }
        })
    }

    fn info(
        &self,
        key: &K,
        within: Duration,
    ) -> Later<'static, Result<Option<ProcessInfo>, NoAnswer>> {
        let told = self.ask(key, Ask::Info, within);
        let scope = String::from_utf8_lossy(&self.scope);
        let (inner, name) = (self.inner.clone(), format!("{scope} {key:?}"));
        Box::pin(async move {
            let (session, _, response) = told.await.map_err(no_answer)?;
            match asked::read(&response.body) {
                Some(Answered::Info(seen)) => {
                    let node = inner.node.member(session).ok_or(NoAnswer::Away(Away::NotOwner))?;
                    Ok(seen.map(|seen| seen.info::<P>(name, node.name.into())))
                }
                Some(Answered::NotDelivered(why)) => {
                    Err(no_answer(Failed::NotDelivered(why.into())))
                }
                _ => Err(NoAnswer::Away(Away::Incompatible)),
            }
        })
    }

    fn count(&self, within: Duration) -> Later<'static, Gathered<Vec<NodeCount>>> {
        Box::pin(self.view().count(within))
    }

    fn page(
        &self,
        range: KeyRange<K>,
        limit: usize,
        within: Duration,
    ) -> Later<'static, Gathered<Page<K>>> {
        Box::pin(self.view().page(range, limit, within))
    }

    fn tenures(&self) -> Vec<Arc<dyn Tenure>> {
        let rights = (0..self.inner.node.shards()).filter_map(|shard| self.inner.right(shard));
        rights.map(|right| -> Arc<dyn Tenure> { right }).collect()
    }

    fn news(&self) -> watch::Receiver<()> {
        self.inner.opened.subscribe()
    }

    fn events(&self) -> Later<'static, Hearing<K>> {
        let body = asked::write(&Self::question(Ask::Events)).unwrap_or_default();
        let message = frame::Message { scope: self.scope.clone(), body, ..Default::default() };
        Box::pin(ear::listen(self.inner.clone(), message, self.here().clone()))
    }

    fn stop_all(&self, within: Duration) -> Later<'static, Gathered<usize>> {
        Box::pin(self.view().stop_all(within))
    }

    fn pause(&self, key: &K, tries: u32) -> Later<'static, ()> {
        let shard = self.shard(key);
        let (inner, longest) = (self.inner.clone(), self.inner.pause(tries));
        Box::pin(async move { inner.news(shard, longest).await })
    }
}

fn not_got(failed: Failed, waited: Duration) -> GetError {
    match failed {
        Failed::NotDelivered(NotDelivered::Away(away)) => GetError::Away(away),
        Failed::NotDelivered(NotDelivered::NoProcess(error)) => error,
        Failed::NotDelivered(NotDelivered::Timeout) | Failed::Unknown(Unknown::Timeout) => {
            GetError::Timeout { waited }
        }
        // To look again is safe: whatever was started is found.
        Failed::NotDelivered(_) | Failed::Unknown(_) => GetError::Away(Away::Unreachable),
    }
}

fn not_stopped(why: NotDelivered) -> StopError {
    match why {
        NotDelivered::Away(away) => StopError::Away(away),
        _ => StopError::Away(Away::Unreachable),
    }
}
