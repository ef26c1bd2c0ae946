//! Processes by key on the nodes of a cluster: each runs on the node that owns its key's shard, and
//! is talked to from all of them.

pub(crate) mod asked;
mod changes;
mod contain;
mod ear;
mod feed;
mod hosting;
mod kept;
mod luggage;
mod orders;
mod placing;
mod roster;
mod seen;
mod tenure;
mod told;
mod turn;
mod view;
mod way;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use innkeeper::placement::{Admission, Tenure, current};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::coordinator::Coordinator;
use crate::frame::Under;
use crate::home::Home;
use crate::join::{self, JoinError, Settings};
use crate::limits;
use crate::links::{LinkSettings, Links, Standing, Traffic};
use crate::net::Net;
use crate::node::{Node, Orders, Running};
use crate::ownership::record::{Epoch, Member, NodeId, Session, Shard};
use crate::ownership::timing::Now;
use crate::ownership::{Over, Release};
pub use changes::ClusterEvent;
use contain::contained;
use hosting::Hosting;
use luggage::{Arriving, Luggage};
pub use roster::{Draining, NodeInfo, ShardInfo};
use tenure::Owning;

/// This node's part in a cluster, for scopes to be placed by
/// ([`placed_by`](innkeeper::KeyedBuilder::placed_by)). Clones are the same part.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

/// Runs this node's part in a cluster for as long as it is polled; ready when it is over, and all
/// processes that ran under it have been told to end. What was placed by it starts nothing any
/// more: whoever joins again starts its scopes again.
///
/// # Cancel safety
/// Dropped before that, the gates shut for good and the node falls silent, as if it had died. Its
/// processes begin no message any more, and are left to their supervisor.
#[must_use = "a node that is not polled is soon evicted"]
pub struct Membership {
    running: Pin<Box<dyn Future<Output = Over> + Send>>,
    inner: Arc<Inner>,
}

/// What kind of process it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
}

pub(crate) struct Inner {
    pub(crate) node: Node,
    links: OnceLock<Links>,
    /// By name; each lives as long as its scope.
    scopes: RwLock<BTreeMap<Bytes, Weak<dyn Hosting>>>,
    /// What there is of each shard.
    desks: Vec<Desk>,
    /// Is told whenever a shard is served that was not.
    opened: watch::Sender<()>,
    /// How many processes may begin at once.
    admission: Admission,
    /// How much more may arrive with shards, in bytes.
    arrivals: Arc<Semaphore>,
    /// What is leaving under each shard.
    leaving: Mutex<BTreeMap<Under, usize>>,
    left: Notify,
    changes: broadcast::Sender<ClusterEvent>,
    /// What is under way for others, or for other nodes.
    tasks: Mutex<JoinSet<()>>,
    dice: AtomicU64,
}

/// What there is of one shard on this node.
#[derive(Default)]
struct Desk {
    /// The right that was last had for it.
    right: Mutex<Option<Arc<Owning>>>,
    /// Under which epoch something may be begun: what there was from before is unpacked. 0: none.
    open: Arc<AtomicU64>,
    /// What was packed here, until it is certain that it is not needed here any more.
    packed: Mutex<Option<Luggage>>,
    /// What another node packed, and whose shard is perhaps coming here.
    arriving: Mutex<Option<Arriving>>,
    /// What was unpacked here, until its processes are ready.
    handed: Mutex<Luggage>,
    /// How often it was to go.
    attempts: AtomicU64,
    /// It is to go, and its processes are being packed.
    draining: Mutex<Option<Draining>>,
    /// That it was to go and stays was said.
    is_told: AtomicBool,
    /// Orders are carried out one after the other.
    turn: tokio::sync::Mutex<()>,
    /// Is told whenever somebody else may act for it.
    turned: Notify,
}

impl Desk {
    fn right(&self, inner: &Inner, under: Under) -> Arc<Owning> {
        let mut right = self.right.lock();
        if let Some(right) = right.as_ref().filter(|right| right.under == under) {
            return right.clone();
        }
        let (node, admission) = (inner.node.clone(), inner.admission.clone());
        let new = Arc::new(Owning::new(node, under, self.open.clone(), admission));
        *right = Some(new.clone());
        new
    }

    /// What was unpacked here for this epoch, and has not been had yet.
    fn take_handed(&self, epoch: Epoch) -> Luggage {
        let handed = std::mem::take(&mut *self.handed.lock());
        if handed.epoch == epoch { handed } else { Luggage::new(epoch, Vec::new()) }
    }
}

impl Cluster {
    /// Joins a cluster. What it answers with has to be polled, best in a task of its own. Within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`JoinError`]; no session runs then.
    ///
    /// # Cancel safety
    /// A session that was made when the future is dropped ends as if the node had died.
    pub async fn join(
        coordinator: Arc<dyn Coordinator>,
        clock: Arc<dyn Clock>,
        net: Arc<dyn Net>,
        settings: &Settings,
    ) -> Result<(Cluster, Membership), JoinError> {
        Cluster::join_as(coordinator, clock, net, settings, join::fresh()).await
    }

    /// As [`join`](Self::join), from a data directory. If the program that used it before is known
    /// to be dead, and had this name, its session ends as this one begins, half a second
    /// ([`EFFECTS`](crate::ownership::timing::EFFECTS)) after the directory was taken.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn join_from(
        coordinator: Arc<dyn Coordinator>,
        clock: Arc<dyn Clock>,
        net: Arc<dyn Net>,
        settings: &Settings,
        home: &Home,
    ) -> Result<(Cluster, Membership), JoinError> {
        let start = join::fresh();
        let joined = Node::start(coordinator, clock, settings, start, Some(home)).await?;
        Ok(Cluster::begin(joined, net, settings, start))
    }

    /// As [`join`](Self::join), as a start of a program that is named by the caller: for
    /// simulations, which repeat. Never the same one twice.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn join_as(
        coordinator: Arc<dyn Coordinator>,
        clock: Arc<dyn Clock>,
        net: Arc<dyn Net>,
        settings: &Settings,
        start: NodeId,
    ) -> Result<(Cluster, Membership), JoinError> {
        let joined = Node::start(coordinator, clock, settings, start, None).await?;
        Ok(Cluster::begin(joined, net, settings, start))
    }

    fn begin(
        (node, orders, session): (Node, Orders, Running),
        net: Arc<dyn Net>,
        settings: &Settings,
        start: NodeId,
    ) -> (Cluster, Membership) {
        let inner = Arc::new(Inner {
            desks: (0..node.shards()).map(|_| Desk::default()).collect(),
            opened: watch::Sender::new(()),
            node: node.clone(),
            links: OnceLock::new(),
            scopes: RwLock::default(),
            admission: Admission::new(settings.starts_at_once),
            arrivals: Arc::new(Semaphore::new(limits::ARRIVING_BYTES_MAX)),
            leaving: Mutex::default(),
            left: Notify::new(),
            changes: broadcast::channel(limits::CHANGES).0,
            tasks: Mutex::default(),
            dice: AtomicU64::new(start.0),
        });
        let settings = LinkSettings {
            cluster: settings.cluster.clone(),
            name: settings.name.clone(),
            versions: settings.versions,
            key: node.key(),
            session: settings.session,
        };
        let standing: Arc<dyn Standing> = inner.clone();
        let (links, linking) = Links::new(net, standing, inner.clone(), &settings);
        let _ = inner.links.set(links);
        let obeying = inner.clone();
        let running = async move {
            let work = async {
                // None of them ends before the session.
                let telling = obeying.clone().tell_changes();
                tokio::join!(linking.run(), obeying.obey(orders), telling);
                std::future::pending::<()>().await;
            };
            let over = tokio::select! {
                biased;
                over = session => over,
                () = work => unreachable!("it waits for ever"),
            };
            // With the session every right is over; who sits idle has not heard of it.
            for scope in obeying.scopes() {
                scope.end_lost().await;
            }
            over
        };
        (Cluster { inner: inner.clone() }, Membership { running: Box::pin(running), inner })
    }

    /// What the node says of itself that owns a key's shard, as far as is known here. `None`:
    /// nobody does, or it is not known who.
    pub fn owner<K: Serialize>(&self, key: &K) -> Option<Member> {
        let node = &self.inner.node;
        let shard = asked::shard_of(key, node.shards())?;
        node.member(node.owner(shard)?.owner)
    }

    /// What this node has sent to others since it joined.
    pub fn traffic(&self) -> Traffic {
        self.inner.links().traffic()
    }

    /// This node: what it owns, whom it knows, and how it leaves.
    pub fn node(&self) -> &Node {
        &self.inner.node
    }
}

impl Inner {
    /// The ownership that a right stands for, if it is one of this cluster: a program may have a
    /// part in several, and each has its own shards of the same numbers.
    pub(crate) fn own(&self, tenure: &dyn Tenure) -> Option<Under> {
        let any: &dyn Any = tenure;
        let right = any.downcast_ref::<Owning>()?;
        right.is_of(&self.node).then_some(right.under)
    }

    /// Under what it is said that is said now: that of the process which says it.
    pub(crate) fn under(&self) -> Option<Under> {
        current().and_then(|tenure| self.own(&*tenure))
    }

    pub(crate) fn links(&self) -> &Links {
        self.links.get().unwrap_or_else(|| unreachable!("they are set before anybody asks"))
    }

    fn desk(&self, shard: Shard) -> Option<&Desk> {
        self.desks.get(usize::from(shard))
    }

    /// The right to act for a shard, if this node has it, be it in doubt, and nothing of the shard
    /// is still to be unpacked.
    pub(crate) fn right(&self, shard: Shard) -> Option<Arc<Owning>> {
        let epoch = self.node.serving(shard)?;
        let desk = self.desk(shard)?;
        if desk.open.load(Ordering::Acquire) != epoch {
            return None;
        }
        Some(desk.right(self, Under { shard, epoch }))
    }

    /// The scope of that name, if it is here.
    pub(crate) fn scope(&self, name: &Bytes) -> Option<Arc<dyn Hosting>> {
        self.scopes.read().get(name)?.upgrade().filter(|scope| scope.is_started())
    }

    pub(crate) fn scopes(&self) -> Vec<Arc<dyn Hosting>> {
        let scopes = self.scopes.read();
        scopes.values().filter_map(Weak::upgrade).filter(|scope| scope.is_started()).collect()
    }

    /// Begins something at once, and sees to it that it ends.
    pub(crate) fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut work = Box::pin(work);
        // Now, and not when a task has its turn: what others send is taken in their order. Code of
        // users that panics is not to take the link along, of which this may be the task.
        let begun = || work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        match contained(begun) {
            Some(false) => {}
            Some(true) => return,
            None => return tracing::error!("what another node asked for has panicked"),
        }
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    /// How long to wait before a question is put for one more time.
    pub(crate) fn pause(&self, tries: u32) -> Duration {
        let doubled = limits::RETRY_WAIT * 2_u32.saturating_pow(tries.saturating_sub(1).min(16));
        let longest = doubled.min(limits::RETRY_WAIT_MAX);
        let mut dice = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        dice = (dice ^ (dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let part = 0.5 + ((dice >> 40) % 1024) as f64 / 2048.0;
        longest.mul_f64(part)
    }
}

impl Standing for Inner {
    fn session(&self) -> Session {
        self.node.session()
    }

    fn now(&self) -> Now {
        self.node.now()
    }

    fn remaining(&self) -> Duration {
        self.node.remaining()
    }

    fn member(&self, session: Session) -> Option<Member> {
        self.node.member(session)
    }

    fn membership(&self) -> watch::Receiver<u64> {
        self.node.membership()
    }

    fn leave(&self, under: Under) -> Release {
        // It counts before it is asked for: who waits until nothing leaves asks in this order too.
        *self.leaving.lock().entry(under).or_default() += 1;
        let release = self.node.release(under.shard, under.epoch);
        if release != Release::Now {
            self.left(under);
        }
        release
    }

    fn left(&self, under: Under) {
        let mut leaving = self.leaving.lock();
        if let Some(count) = leaving.get_mut(&under) {
            *count -= 1;
            if *count == 0 {
                leaving.remove(&under);
                drop(leaving);
                self.left.notify_waiters();
            }
        }
    }
}

impl Future for Membership {
    type Output = Over;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Over> {
        self.running.as_mut().poll(cx)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.inner.tasks.lock().abort_all();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("node", &self.inner.node).finish_non_exhaustive()
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").finish_non_exhaustive()
    }
}
