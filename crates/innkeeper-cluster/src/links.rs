//! Links between nodes: requests with three outcomes, casts and subscriptions, from one session to
//! another, each taken only while the session that it comes from is sure to be there.
//!
//! A node connects to another when it has something to say to it, and hears the answers on the
//! same connection; so between two nodes there are up to two, one for each who asks. Nobody has to
//! decide which of two that were made at once is kept, and who has connected is the one who
//! connects again.
//!
//! # Guarantees
//! What one sender sends to one session arrives in the order in which it was sent, if it arrives.
//! Nothing arrives twice. What arrives under an ownership was checked against it as it was written
//! ([`Standing::leave`]), and was taken before the session it comes from could have ended, by the
//! receiver's own clock ([`link`](crate::ownership::link)).

mod calls;
mod events;
mod failed;
mod guest;
mod handshake;
mod line;
mod outbox;
mod overdue;
mod peer;
mod service;
mod standing;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

pub use events::{Event, Events};
pub use failed::{Down, Failed, NotExecuted, Unknown};
pub use service::{Answer, From, PushError, Service, Subscriber};
pub use standing::Standing;

use crate::frame::{Frame, Message, Request, Under};
use crate::limits;
use crate::net::{Later, Net, Wire};
use crate::ownership::record::{Session, Versions};
use crate::ownership::timing::EFFECTS;
use crate::start_key::StartKey;
use guest::Guest;
use handshake::{Identity, NoLink};
use line::Times;
use outbox::NoRoom;
use overdue::Overdue;
use peer::Peer;

pub(crate) use calls::Tell;
pub(crate) use outbox::weight;
pub(crate) use overdue::Wait;

/// What the links of a node are made with.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// The cluster.
    pub cluster: String,
    /// The node's name in it.
    pub name: String,
    /// The versions of the protocol that it speaks, as its record says.
    pub versions: Versions,
    /// What it signs connections with; its record has the public part.
    pub key: Arc<StartKey>,
    /// How long a session lasts.
    pub session: Duration,
}

/// Who sends something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Any number: what has the same is sent in order, and what has another does not have to wait
    /// until all of it is sent.
    pub sender: u64,
    /// If it is sent from within a process of the cluster: under which ownership. It leaves only
    /// while that lasts.
    pub under: Option<Under>,
}

/// The answer to a request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Under which ownership it was made.
    pub under: Option<Under>,
    /// What it says.
    pub body: Bytes,
}

/// The links of a node. Clones are the same links.
#[derive(Clone)]
pub struct Links {
    core: Arc<Core>,
    begin: mpsc::Sender<Arc<Peer>>,
}

/// What runs the links of a node; while nobody polls [`run`](Self::run), nothing is sent or heard.
pub struct Linking {
    core: Arc<Core>,
    service: Arc<dyn Service>,
    begun: mpsc::Receiver<Arc<Peer>>,
    membership: watch::Receiver<u64>,
}

/// How many casts were dropped.
#[derive(Default)]
pub(crate) struct Dropped {
    disowned: AtomicUsize,
    unproven: AtomicUsize,
}

/// What a node has sent over all of its links since it joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames in which something was asked of another node: requests, casts, subscriptions.
    pub asked: u64,
    /// Frames in which another node was told what happened here.
    pub told: u64,
    /// Bytes of all frames.
    pub bytes: u64,
}

impl Traffic {
    fn add(&mut self, other: Traffic) {
        let Traffic { asked, told, bytes } = other;
        self.asked += asked;
        self.told += told;
        self.bytes += bytes;
    }

    fn count(&mut self, frame: &Frame) {
        match frame {
            Frame::Request { .. } | Frame::Cast { .. } | Frame::Subscribe { .. } => self.asked += 1,
            Frame::Event { .. } => self.told += 1,
            _ => {}
        }
    }
}

/// What all links of a node share.
pub(crate) struct Core {
    net: Arc<dyn Net>,
    standing: Arc<dyn Standing>,
    identity: Identity,
    times: Times,
    /// In order, so that a run can be repeated.
    peers: RwLock<BTreeMap<Session, Arc<Peer>>>,
    guests: Mutex<BTreeMap<Session, Arc<Guest>>>,
    dropped: Arc<Dropped>,
    traffic: Mutex<Traffic>,
    overdue: Arc<Overdue>,
}

impl Links {
    /// The links of a node. [`Linking::run`] has to be polled, best in a task of its own.
    pub fn new(
        net: Arc<dyn Net>,
        standing: Arc<dyn Standing>,
        service: Arc<dyn Service>,
        settings: &LinkSettings,
    ) -> (Links, Linking) {
        let LinkSettings { cluster, name, versions, key, session } = settings.clone();
        // A question for each half of a heartbeat, and two for what an effect is taken for.
        let ask = (session / 10).min(EFFECTS * 2 / 5);
        let times = Times { ask, silence: session, effects: EFFECTS.as_nanos() as u64 };
        let core = Arc::new(Core {
            net,
            standing,
            identity: Identity { cluster, name, versions, key },
            times,
            peers: RwLock::default(),
            guests: Mutex::default(),
            dropped: Arc::default(),
            traffic: Mutex::default(),
            overdue: Arc::default(),
        });
        let (begin, begun) = mpsc::channel(limits::PEERS_MAX);
        // From before the first link is begun, so that no session ends unnoticed.
        let membership = core.standing.membership();
        (Links { core: core.clone(), begin }, Linking { core, service, begun, membership })
    }

    /// Asks something of a node, and waits for the answer.
    ///
    /// # Errors
    /// [`Failed::NotExecuted`]: it was not carried out and will not be.
    /// [`Failed::Unknown`]: it may have been. Nothing is sent a second time.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, it is not sent. Dropped after that, nobody waits for the answer.
    pub async fn request(
        &self,
        to: Session,
        origin: Origin,
        request: Request,
        within: Duration,
    ) -> Result<Response, Failed> {
        let peer = self.peer(to)?;
        let id = peer.next_id();
        let wait_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        let frame = Frame::Request { id, wait_ms, under: origin.under, request };
        let mut told = peer.calls.begin(id);
        let withdrawn = Withdrawn { peer: &peer, id };
        put(&peer, origin.sender, frame)?;
        match tokio::time::timeout(within, &mut told).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Unknown::Gone.into()),
            Err(_) => match withdrawn.peer.calls.withdraw(id) {
                Some(false) => Err(peer.why_late().into()),
                Some(true) => Err(Unknown::Late.into()),
                None => told.try_recv().unwrap_or(Err(Unknown::Late.into())),
            },
        }
    }

    /// As [`request`](Self::request), but nobody waits: what became of it is told to `tell`, once,
    /// by whoever learns that.
    pub(crate) fn ask(
        &self,
        to: Session,
        origin: Origin,
        request: Request,
        within: Duration,
        tell: Tell,
    ) {
        let peer = match self.peer(to) {
            Ok(peer) => peer,
            Err(why) => return tell(Err(why.into())),
        };
        let id = peer.next_id();
        let late = Arc::downgrade(&peer);
        let until = self.until(within, move || {
            if let Some(peer) = late.upgrade() {
                peer.late(id);
            }
        });
        peer.calls.begin_until(id, tell, Some(until));
        let wait_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        let frame = Frame::Request { id, wait_ms, under: origin.under, request };
        if let Err(why) = put(&peer, origin.sender, frame) {
            peer.calls.end(id, Err(why.into()));
        }
    }

    /// Does this in so long, unless the wait is dropped before.
    pub(crate) fn until(&self, within: Duration, late: impl FnOnce() + Send + 'static) -> Wait {
        self.core.overdue.begin(within, late)
    }

    /// Says something to the process of a key on another node. It is on its way to the link then,
    /// and nobody learns what became of it.
    ///
    /// # Errors
    /// [`NotExecuted`]: it will not be sent.
    pub fn send(&self, to: Session, origin: Origin, message: Message) -> Result<(), NotExecuted> {
        let peer = self.peer(to)?;
        put(&peer, origin.sender, Frame::Cast { under: origin.under, message })
    }

    /// Listens to the process of a key on another node. What it does not take or refuses is learned
    /// from the end of the events.
    ///
    /// # Errors
    /// [`NotExecuted`]: it will not be sent.
    pub fn subscribe(
        &self,
        to: Session,
        origin: Origin,
        message: Message,
    ) -> Result<Events, NotExecuted> {
        let peer = self.peer(to)?;
        let id = peer.next_id();
        let events = peer.listeners.begin(id, Arc::downgrade(&peer));
        put(&peer, origin.sender, Frame::Subscribe { id, under: origin.under, message })?;
        Ok(events)
    }

    /// How many casts were dropped: those from here that were made under an ownership that was lost
    /// before they could leave, and those of other nodes whose sessions were in doubt.
    pub fn casts_dropped(&self) -> (usize, usize) {
        let Dropped { disowned, unproven } = &*self.core.dropped;
        (disowned.load(Ordering::Relaxed), unproven.load(Ordering::Relaxed))
    }

    /// What was sent over all of them.
    pub fn traffic(&self) -> Traffic {
        *self.core.traffic.lock()
    }

    /// The link to a session, begun if there is none.
    fn peer(&self, to: Session) -> Result<Arc<Peer>, NotExecuted> {
        if let Some(peer) = self.core.peers.read().get(&to) {
            return Ok(peer.clone());
        }
        let member = self.core.standing.member(to).ok_or(NotExecuted::Gone)?;
        let permit = self.begin.try_reserve().map_err(|full| match full {
            mpsc::error::TrySendError::Full(()) => NotExecuted::Full,
            mpsc::error::TrySendError::Closed(()) => NotExecuted::Closed,
        })?;
        let mut peers = self.core.peers.write();
        if let Some(peer) = peers.get(&to) {
            return Ok(peer.clone());
        }
        let peer = Arc::new(Peer::new(to, member, self.core.dropped.clone()));
        // Whoever closes the links of a session does so after it was forgotten, under this lock.
        if self.core.standing.member(to).is_none() {
            return Err(NotExecuted::Gone);
        }
        if self.begin.is_closed() {
            return Err(NotExecuted::Closed);
        }
        peers.insert(to, peer.clone());
        permit.send(peer.clone());
        Ok(peer)
    }
}

/// Puts a frame where it is sent from.
fn put(peer: &Peer, sender: u64, frame: Frame) -> Result<(), NotExecuted> {
    let (bytes, max) = (weight(&frame), limits::FRAME_BYTES_MAX);
    if bytes > max {
        return Err(NotExecuted::TooLarge { bytes, max });
    }
    peer.outbox.push(sender, frame).map_err(|why| match why {
        NoRoom::Full => NotExecuted::Full,
        NoRoom::Closed => NotExecuted::Gone,
    })
}

/// A request that is taken back when nobody waits for it any more.
struct Withdrawn<'a> {
    peer: &'a Peer,
    id: crate::frame::Id,
}

impl Drop for Withdrawn<'_> {
    fn drop(&mut self) {
        self.peer.calls.withdraw(self.id);
    }
}

impl Linking {
    /// Runs the links. It ends when the node has no network any more, or is dropped: then all links
    /// are closed, and whatever waits has ended.
    pub async fn run(mut self) {
        let arrivals = Arc::new(Semaphore::new(limits::ARRIVALS_MAX));
        let mut tasks = JoinSet::new();
        let overdue = self.core.overdue.clone();
        let mut overdue = pin!(overdue.run());
        loop {
            tokio::select! {
                biased;
                () = &mut overdue => {}
                Ok(()) = self.membership.changed() => self.core.forget_the_gone(),
                Some(peer) = self.begun.recv() => {
                    tasks.spawn(peer.run(self.core.clone()));
                }
                arriving = self.core.net.accept() => match arriving {
                    Ok(arriving) => {
                        let Ok(permit) = arrivals.clone().try_acquire_owned() else { continue };
                        let (core, service) = (self.core.clone(), self.service.clone());
                        tasks.spawn(async move { core.welcome(arriving, service, permit).await });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "nobody can connect for now");
                        tokio::time::sleep(limits::BACKOFF).await;
                    }
                },
                // Whatever became of it, its connection is closed.
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            }
        }
    }
}

impl Drop for Linking {
    fn drop(&mut self) {
        self.begun.close();
        self.core.end();
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

impl fmt::Debug for Linking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linking").finish_non_exhaustive()
    }
}

impl Core {
    /// Somebody has connected.
    async fn welcome(
        self: Arc<Core>,
        arriving: Later<'static, io::Result<Wire>>,
        service: Arc<dyn Service>,
        permit: OwnedSemaphorePermit,
    ) {
        let greet = async {
            let mut wire = arriving.await?;
            let begun = self.identity.welcome(&mut wire, &self).await?;
            Ok::<_, NoLink>((wire, begun))
        };
        let (wire, begun) = match tokio::time::timeout(limits::CONNECT_WAIT, greet).await {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(no_link)) => return tracing::info!(%no_link, "a connection was not taken"),
            Err(_) => return tracing::info!("a connection did not say in time whose it is"),
        };
        drop(permit);
        let session = begun.to;
        let guest = Guest::new(session, service, self.dropped.clone());
        let before = {
            let mut guests = self.guests.lock();
            // Whoever closes the links of a session does so after it was forgotten.
            if self.standing.member(session).is_none() {
                return;
            }
            guests.insert(session, guest.clone())
        };
        if let Some(before) = before {
            // It has connected anew, so it has given the old one up. What was said over that one is
            // not taken any more once something is taken from this.
            before.end();
            before.left.cancelled().await;
        }
        let cut = guest.run(&self, wire, begun).await;
        tracing::debug!(?session, %cut, "a guest is gone");
        let mut guests = self.guests.lock();
        if guests.get(&session).is_some_and(|now| Arc::ptr_eq(now, &guest)) {
            guests.remove(&session);
        }
    }

    /// For how long this node can prove its session, in nanoseconds; another is about to be told.
    pub(crate) fn promise(&self) -> u64 {
        u64::try_from(self.standing.remaining().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Closes the links to and from sessions that are no more.
    fn forget_the_gone(&self) {
        for (_, peer) in self.take_gone(&mut self.peers.write()) {
            peer.end(NotExecuted::Gone, Unknown::Gone);
        }
        for (_, guest) in self.take_gone(&mut self.guests.lock()) {
            guest.end();
        }
    }

    /// Takes out what belongs to sessions that are no more.
    fn take_gone<T>(&self, all: &mut BTreeMap<Session, T>) -> BTreeMap<Session, T> {
        let is_known = |session: &Session| self.standing.member(*session).is_some();
        let (known, gone) =
            std::mem::take(all).into_iter().partition(|(session, _)| is_known(session));
        *all = known;
        gone
    }

    /// Closes all links.
    fn end(&self) {
        for (_, peer) in std::mem::take(&mut *self.peers.write()) {
            peer.end(NotExecuted::Closed, Unknown::Cut { why: "closed here".to_owned() });
        }
        for (_, guest) in std::mem::take(&mut *self.guests.lock()) {
            guest.end();
        }
    }
}
