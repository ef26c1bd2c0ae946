//! A node of a cluster: what it may run now, who runs what else, and how it leaves.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::coordinator::Coordinator;
use crate::driver::Driver;
use crate::home::Home;
use crate::join::{self, JoinError, Settings};
use crate::limits;
use crate::ownership::record::{Epoch, Member, NodeId, Owned, Session, Shard};
use crate::ownership::timing::{Now, Timing};
use crate::ownership::{Command, Config, Event, Gate, Over, Ownership, Release};
use crate::start_key::StartKey;

/// A node of a cluster. Clones are the same node.
///
/// The session ends by [`leave`](Self::leave), by eviction, or when its [`Running`] is dropped.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
    reports: mpsc::Sender<Event>,
    over: watch::Receiver<Option<Over>>,
}

/// What the driver and those who ask share.
pub(crate) struct Shared {
    name: String,
    machine: Mutex<Ownership>,
    clock: Arc<dyn Clock>,
    key: Arc<StartKey>,
    timing: Timing,
    shards: Shard,
    /// How often a session has come or gone.
    membership: watch::Sender<u64>,
    /// Is told whenever something is seen, and when the gates shut.
    changed: watch::Sender<()>,
    /// Whether the session could be proven when that was last looked at.
    was_proven: AtomicBool,
    /// How often this one was proven anew after it could not be.
    proven_anew: AtomicU64,
    /// Who wants to know when something may be done again, or never again.
    waiting: Mutex<Vec<Waker>>,
}

/// What a node is told to do about its shards, in order.
///
/// Orders may lag behind: whether something may run is always asked with [`Node::gate`].
#[derive(Debug)]
pub struct Orders(mpsc::Receiver<Command>);

impl Orders {
    /// The next order. `None`: the session is over, and its last order was taken.
    ///
    /// # Cancel safety
    /// No order is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Command> {
        self.0.recv().await
    }
}

/// A session that runs for as long as this is polled; ready when it is over.
///
/// # Cancel safety
/// Dropped before that, the gates shut for good and the node falls silent, as if it had died: what
/// it had is claimed by others once its session has ended.
#[must_use = "a session that is not polled is soon evicted"]
pub struct Running {
    driver: Pin<Box<dyn Future<Output = Over> + Send>>,
    shared: Arc<Shared>,
}

impl Future for Running {
    type Output = Over;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Over> {
        self.driver.as_mut().poll(cx)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.shared.apply(Event::Leave));
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Node {
    /// Joins a cluster. The session has to be polled, best in a task of its own, and its orders
    /// have to be carried out.
    ///
    /// # Errors
    /// [`JoinError`]; no session runs then.
    ///
    /// # Cancel safety
    /// A session that was made when the future is dropped ends as if the node had died.
    pub async fn join(
        coordinator: Arc<dyn Coordinator>,
        clock: Arc<dyn Clock>,
        settings: &Settings,
    ) -> Result<(Node, Orders, Running), JoinError> {
        Node::join_as(coordinator, clock, settings, join::fresh()).await
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
        settings: &Settings,
        home: &Home,
    ) -> Result<(Node, Orders, Running), JoinError> {
        Node::start(coordinator, clock, settings, join::fresh(), Some(home)).await
    }

    /// As [`join`](Self::join), as a start of a program that is named by the caller: for
    /// simulations, which repeat. Never the same one twice.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn join_as(
        coordinator: Arc<dyn Coordinator>,
        clock: Arc<dyn Clock>,
        settings: &Settings,
        start: NodeId,
    ) -> Result<(Node, Orders, Running), JoinError> {
        Node::start(coordinator, clock, settings, start, None).await
    }

    pub(crate) async fn start(
        coordinator: Arc<dyn Coordinator>,
        clock: Arc<dyn Clock>,
        settings: &Settings,
        start: NodeId,
        home: Option<&Home>,
    ) -> Result<(Node, Orders, Running), JoinError> {
        let joined = join::join(&*coordinator, &*clock, settings, start, home).await?;
        let config = Config {
            timing: joined.timing,
            shards: settings.shards,
            claims_max: limits::CLAIMS_MAX,
            moves_max: limits::MOVES_MAX,
            floor: joined.agreed.configuration.floor(),
        };
        let machine = Ownership::new(config, joined.session, joined.member, joined.sent);
        let shared = Arc::new(Shared {
            name: settings.name.clone(),
            machine: Mutex::new(machine),
            clock,
            key: joined.key,
            timing: joined.timing,
            shards: settings.shards,
            membership: watch::channel(0).0,
            changed: watch::channel(()).0,
            was_proven: AtomicBool::new(true),
            proven_anew: AtomicU64::new(0),
            waiting: Mutex::default(),
        });
        let (reports, reported) = mpsc::channel(limits::REPORTS_MAX);
        let (orders, commands) = mpsc::channel(limits::ORDERS_MAX);
        let driver = Driver {
            shared: shared.clone(),
            coordinator,
            prefix: joined.prefix,
            agreed: joined.agreed,
            versions: settings.versions,
            reports: reported,
            orders,
            waiting: VecDeque::new(),
            asked: JoinSet::new(),
            is_listing: false,
            is_silent: false,
        };
        let (ended, over) = watch::channel(None);
        let running = Running {
            driver: Box::pin(async move {
                let over = driver.run().await;
                ended.send_replace(Some(over));
                over
            }),
            shared: shared.clone(),
        };
        Ok((Node { shared, reports, over }, Orders(commands), running))
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Whether a message of a shard may be begun now.
    ///
    /// # Guarantees
    /// At any instant at most one node of the cluster answers [`Gate::Open`] for a shard, and none
    /// answers with a lower epoch after one answered with a higher.
    pub fn gate(&self, shard: Shard) -> Gate {
        // The clock is read under the lock: what is true of the shard is true at that instant.
        let machine = self.shared.machine.lock();
        machine.gate(shard, self.shared.clock.now())
    }

    /// The epoch under which messages of a shard are begun, whenever the session can be proven.
    pub(crate) fn serving(&self, shard: Shard) -> Option<Epoch> {
        self.shared.machine.lock().serving(shard)
    }

    /// Whether an output that was made under this ownership may leave now.
    pub fn release(&self, shard: Shard, epoch: Epoch) -> Release {
        let machine = self.shared.machine.lock();
        machine.release(shard, epoch, self.shared.clock.now())
    }

    /// Wakes this once, when an answer of [`gate`](Self::gate) or [`release`](Self::release) may
    /// have become another than "not now".
    pub fn wake_on_change(&self, waker: &Waker) {
        self.shared.waiting.lock().push(waker.clone());
    }

    /// Wakes all who wait until something may be done again.
    pub(crate) fn wake(&self) {
        self.shared.wake();
    }

    /// What the node's own clocks show.
    pub fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// For how long the session can be proven without another heartbeat.
    pub fn remaining(&self) -> Duration {
        let machine = self.shared.machine.lock();
        Duration::from_nanos(machine.remaining(self.shared.clock.now()))
    }

    /// How often the gates have shut since the node joined because the session could not be proven.
    pub fn times_shut(&self) -> u64 {
        let machine = self.shared.machine.lock();
        let is_shut = !machine.is_proven(self.shared.clock.now());
        self.shared.proven_anew.load(Ordering::Relaxed) + u64::from(is_shut)
    }

    /// Who owns a shard, as far as is known here. It may have changed.
    pub fn owner(&self, shard: Shard) -> Option<Owned> {
        self.shared.machine.lock().owner(shard)
    }

    /// Who owns each shard, by its number, as far as is known here. It may have changed.
    pub fn owners(&self) -> Vec<Option<Owned>> {
        let machine = self.shared.machine.lock();
        (0..self.shared.shards).map(|shard| machine.owner(shard)).collect()
    }

    /// The sessions that are known here, this one among them. They may have changed.
    pub fn members(&self) -> Vec<(Session, Member)> {
        self.shared.machine.lock().members()
    }

    /// What the node of a session says of itself. `None`: the session is not known here, or over.
    pub fn member(&self, session: Session) -> Option<Member> {
        self.shared.machine.lock().member(session).cloned()
    }

    /// Changes whenever a session has come or gone.
    pub fn membership(&self) -> watch::Receiver<u64> {
        self.shared.membership.subscribe()
    }

    /// Changes whenever something else may be known here, or the session can be proven no more, or
    /// again.
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// This node's session.
    pub fn session(&self) -> Session {
        self.shared.machine.lock().session()
    }

    /// Whether it is the same node of the same cluster.
    pub(crate) fn is(&self, other: &Node) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// What this start of the program signs connections with.
    pub(crate) fn key(&self) -> Arc<StartKey> {
        self.shared.key.clone()
    }

    /// How many shards the cluster has.
    pub fn shards(&self) -> Shard {
        self.shared.shards
    }

    /// Tells the machine what has become of an order: [`Event::Quiesced`], [`Event::Accepted`] or
    /// [`Event::Declined`].
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing was told.
    pub async fn report(&self, event: Event) {
        // Nobody hears it once the session is over, and nobody needs to.
        let _ = self.reports.send(event).await;
    }

    /// Begins to give a shard to another node. Nothing happens if it is not served here, or the
    /// other is not known.
    pub async fn give(&self, shard: Shard, to: NodeId) {
        self.report(Event::Move { shard, to }).await;
    }

    /// Gives all shards away, then leaves. [`over`](Self::over) tells when that is done; with
    /// nobody to give them to, it never is.
    pub async fn drain(&self) {
        self.report(Event::Drain).await;
    }

    /// Leaves at once: the gates shut for good, then the session ends, and others may claim what it
    /// had.
    pub async fn leave(&self) {
        self.report(Event::Leave).await;
    }

    /// Waits until the session is over, and answers why.
    ///
    /// # Cancel safety
    /// Dropping the future does nothing.
    pub async fn over(&self) -> Over {
        let mut over = self.over.clone();
        match over.wait_for(Option::is_some).await.map(|over| *over) {
            Ok(Some(why)) => why,
            // The driver is gone without a word: the runtime shuts down.
            Ok(None) | Err(_) => self.shared.over().unwrap_or(Over::Evicted),
        }
    }
}

impl Shared {
    pub(crate) fn apply(&self, event: Event) -> Vec<Command> {
        let mut machine = self.machine.lock();
        // Read under the lock, so that no two events go back in time.
        let now = self.clock.now();
        let (before, was_proven) = (machine.sessions(), machine.is_proven(now));
        let is_tick = event == Event::Tick;
        let commands = machine.apply(event, now);
        let has_changed = machine.sessions() != before;
        let is_proven = machine.is_proven(now);
        let is_anew = is_proven && !was_proven;
        // Under the lock, so that nobody counts it twice or not at all.
        self.proven_anew.fetch_add(u64::from(is_anew), Ordering::Relaxed);
        let turned = self.was_proven.swap(is_proven, Ordering::Relaxed) != is_proven;
        drop(machine);
        if turned || !is_tick {
            self.changed.send_replace(());
        }
        if has_changed {
            self.membership.send_modify(|count| *count += 1);
        }
        let turns = |command: &Command| !matches!(command, Command::Send { .. } | Command::List);
        if is_anew || commands.iter().any(turns) {
            self.wake();
        }
        commands
    }

    /// Wakes all who wait until something may be done again.
    fn wake(&self) {
        let woken = std::mem::take(&mut *self.waiting.lock());
        woken.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn over(&self) -> Option<Over> {
        self.machine.lock().over()
    }

    pub(crate) fn timing(&self) -> Timing {
        self.timing
    }

    /// How long one request may take, tries elsewhere included.
    pub(crate) fn request_time(&self) -> Duration {
        Duration::from_nanos(self.timing.try_time())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("session", &self.session()).finish_non_exhaustive()
    }
}
