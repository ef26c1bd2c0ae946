//! What every connection shares: the rooms, the buckets, and whether work is still taken.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use innkeeper::{
    CallError, ChildSpec, GetError, Key, Keyed, NotDelivered, Process, ProcessRef, Restart,
    StartChildError, StartRate, Supervisor,
};
use innkeeper_api::{Code, RoomKey};
use innkeeper_cluster::Cluster;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::auth::{Denied, Permit};
use crate::bucket::Bucket;
use crate::census::Census;
use crate::clients::Clients;
use crate::clock;
use crate::config::Config;
use crate::error::ApiError;
use crate::limits;
use crate::member::Membership;
use crate::room::{Room, RoomArgs};

/// What every connection shares.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) node: Arc<str>,
    pub(crate) supervisor: Supervisor,
    pub(crate) rooms: Keyed<RoomKey, Room>,
    pub(crate) buckets: Keyed<RoomKey, Bucket>,
    pub(crate) clients: Clients,
    pub(crate) intake: Intake,
    /// Cancelled when an admin wants this server to drain and end.
    pub(crate) told_to_drain: CancellationToken,
    /// Cancelled once nothing more will be said: connections are to end.
    pub(crate) closing: CancellationToken,
    pub(crate) tally: Tally,
    pub(crate) census: Census,
    /// Where rooms run, if there are several nodes.
    pub(crate) cluster: Option<Cluster>,
    /// Whether this node cannot be sure of its rooms, and lets their members go.
    pub(crate) frozen: Option<watch::Receiver<bool>>,
    pub(crate) started: Instant,
    /// Whether HTTP listens on loopback only.
    pub(crate) is_local: bool,
}

/// Lets work in until the drain begins, and knows when all that was let in is done.
pub(crate) struct Intake {
    draining: AtomicBool,
    work: TaskTracker,
}

/// What became of calls.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) ok: AtomicU64,
    pub(crate) not_delivered: AtomicU64,
    pub(crate) unknown: AtomicU64,
}

/// Numbers of the server's own.
#[derive(Default)]
pub(crate) struct Tally {
    /// To processes on this node, and on others.
    pub(crate) calls: Calls,
    pub(crate) calls_away: Calls,
    pub(crate) web_sockets: AtomicU64,
    pub(crate) kv_connections: AtomicU64,
    pub(crate) http_connections: AtomicU64,
}

/// Counts a connection for as long as it lives.
pub(crate) struct Open<'a>(&'a AtomicU64);

impl<'a> Open<'a> {
    pub(crate) fn count(gauge: &'a AtomicU64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Open(gauge)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Intake {
    fn new() -> Self {
        Intake { draining: AtomicBool::new(false), work: TaskTracker::new() }
    }

    /// Lets a piece of work in; it is done when the token is dropped.
    ///
    /// Counted before the flag is looked at, so that a drain which set the flag waits for it.
    pub(crate) fn enter(&self) -> Result<TaskTrackerToken, ApiError> {
        let token = self.work.token();
        if self.is_draining() { Err(ApiError::draining()) } else { Ok(token) }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// From now on nothing is let in.
    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Waits until all that was let in is done.
    pub(crate) async fn finish(&self) {
        self.work.close();
        self.work.wait().await;
    }
}

impl App {
    pub(crate) async fn start(
        config: Config,
        is_local: bool,
        membership: Option<&Membership>,
    ) -> Result<App, StartChildError> {
        let supervisor = Supervisor::new().name("innkeeper").start().await?;
        let node: Arc<str> = config.node.as_str().into();
        let room_args = {
            let (node, max_members) = (node.clone(), config.max_members);
            move |key: &RoomKey| RoomArgs { key: key.clone(), node: node.clone(), max_members }
        };
        let spec = ChildSpec::new().restart(Restart::Transient);
        let mut rooms = Keyed::<RoomKey, Room>::with_args(spec.clone(), room_args)
            .name("rooms")
            .max_children(config.max_rooms)
            .idle_after(config.idle_after);
        let mut buckets = Keyed::<RoomKey, Bucket>::new(spec.restart(Restart::Permanent))
            .name("buckets")
            .max_children(config.max_rooms);
        if let Some(rate) = StartRate::per_second(config.starts_per_second) {
            rooms = rooms.start_rate(rate.clone());
            buckets = buckets.start_rate(rate);
        }
        if let Some(Membership { cluster, .. }) = membership {
            rooms = rooms.placed_by(cluster);
            buckets = buckets.placed_by(cluster);
        }
        Ok(App {
            rooms: rooms.start(&supervisor).await?,
            buckets: buckets.start(&supervisor).await?,
            supervisor,
            node,
            clients: Clients::new(config.starts_per_client),
            intake: Intake::new(),
            told_to_drain: CancellationToken::new(),
            closing: CancellationToken::new(),
            tally: Tally::default(),
            census: Census::default(),
            cluster: membership.map(|membership| membership.cluster.clone()),
            frozen: membership.map(|membership| membership.frozen.clone()),
            started: clock::now(),
            config,
            is_local,
        })
    }

    /// What somebody may do, who shows this token or none.
    pub(crate) fn admit(&self, user: &str, token: Option<&str>) -> Result<Permit, ApiError> {
        let Some(authority) = &self.config.authority else { return Ok(Permit::default()) };
        authority.admit(user, token).map_err(|Denied(why)| ApiError::new(Code::Unauthorized, why))
    }

    /// The name of the node that a key's process runs on.
    pub(crate) fn node_of(&self, key: &RoomKey) -> Arc<str> {
        let owner = self.cluster.as_ref().and_then(|cluster| cluster.owner(key));
        owner.map_or_else(|| self.node.clone(), |member| member.name.into())
    }

    /// Whether a key's process runs on this node.
    pub(crate) fn is_here(&self, key: &RoomKey) -> bool {
        self.node_of(key) == self.node
    }

    /// How long the server has been up.
    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Says something to the process of a key; to the next one, if the one that was found ended
    /// before it began. `client` starts it if need be.
    pub(crate) async fn ask<K: Key, P: Process, T, F>(
        &self,
        processes: &Keyed<K, P>,
        key: &K,
        client: Option<IpAddr>,
        mut say: impl FnMut(ProcessRef<P::Message>) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, CallError<P::Message>>>,
    {
        let rate = client.and_then(|client| self.clients.rate(client));
        let mut tries = 0;
        loop {
            let get = match client {
                None => processes.get(key),
                Some(_) => processes.get_or_start(key),
            };
            let get = get.timeout(limits::ROOM_TIMEOUT);
            let found = match &rate {
                Some(rate) => get.limited_by(rate).await,
                None => get.await,
            };
            let process = found.and_then(innkeeper::Outcome::process).map_err(not_found)?;
            let is_away = process.is_distant();
            let said = say(process).await;
            self.tally.call(is_away, &said);
            let why = match &said {
                Err(CallError::NotDelivered { why, .. }) if tries < limits::TRIES => why,
                _ => return said.map_err(ApiError::from),
            };
            match why {
                NotDelivered::Ended | NotDelivered::Stopping => {}
                NotDelivered::Away(_) => tokio::time::sleep(limits::AWAY_PAUSE).await,
                _ => return said.map_err(ApiError::from),
            }
            tries += 1;
        }
    }
}

fn not_found(error: GetError) -> ApiError {
    match error {
        GetError::NotFound => {
            ApiError::new(Code::NotFound, "there is no such thing; start it first")
        }
        error => error.into(),
    }
}

impl Tally {
    /// Counts the outcome of a call, to a process on another node or not.
    pub(crate) fn call<T, M>(&self, is_away: bool, outcome: &Result<T, CallError<M>>) {
        let calls = if is_away { &self.calls_away } else { &self.calls };
        let counter = match outcome {
            Ok(_) => &calls.ok,
            Err(CallError::NotDelivered { .. }) => &calls.not_delivered,
            Err(_) => &calls.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
