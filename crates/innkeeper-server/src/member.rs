//! This server as a node of a cluster: how it joins, how long it is one, and how it leaves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_cluster::clock::Clock;
use innkeeper_cluster::coordinator::Coordinator;
use innkeeper_cluster::net::Net;
use innkeeper_cluster::ownership::Over;
use innkeeper_cluster::{Cluster, Home, JoinError, Settings};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::limits;

/// What a server joins a cluster with.
#[derive(Clone)]
pub struct Joining {
    /// Where it is written who owns what.
    pub coordinator: Arc<dyn Coordinator>,
    /// The clocks that sessions are timed with.
    pub clock: Arc<dyn Clock>,
    /// How nodes reach each other.
    pub net: Arc<dyn Net>,
    /// Which cluster, and as what.
    pub settings: Settings,
    /// The data directory, which proves that the program before is dead if it was killed.
    pub home: Option<Arc<Home>>,
}

impl fmt::Debug for Joining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joining").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// This server's part in a cluster, from one joining to the end of its session.
pub(crate) struct Membership {
    pub(crate) cluster: Cluster,
    /// Whether the session could not be proven for so long that members are let go.
    pub(crate) frozen: watch::Receiver<bool>,
    /// One task, for as long as the session lasts.
    session: JoinSet<Over>,
}

impl Membership {
    /// Joins for the first time.
    pub(crate) async fn first(joining: &Joining) -> Result<Membership, JoinError> {
        let Joining { coordinator, clock, net, settings, home } = joining.clone();
        let joined = match &home {
            None => Cluster::join(coordinator, clock, net, &settings).await,
            Some(home) => Cluster::join_from(coordinator, clock, net, &settings, home).await,
        };
        let (cluster, session) = joined?;
        let (tell, frozen) = watch::channel(false);
        let watched = cluster.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            tokio::select! {
                over = session => over,
                () = watch_frozen(&watched, &tell) => unreachable!("it watches for ever"),
            }
        });
        Ok(Membership { cluster, frozen, session: task })
    }

    /// Joins once more after a session that has ended; tries until that works, or cannot any more.
    pub(crate) async fn again(joining: &Joining) -> Result<Membership, JoinError> {
        loop {
            match Membership::first(joining).await {
                Ok(membership) => return Ok(membership),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => {
                    let node = &joining.settings.name;
                    tracing::warn!(node, %error, "cannot join the cluster again; trying on");
                    sleep(limits::REJOIN_PAUSE).await;
                }
            }
        }
    }

    /// Waits until the session is over.
    pub(crate) async fn over(&mut self) -> Over {
        // If its task is gone, the runtime ends.
        self.session.join_next().await.and_then(Result::ok).unwrap_or(Over::Evicted)
    }

    /// Gives all shards away, if there is anybody to take them; the session ends with the last.
    pub(crate) async fn give_away(&mut self, within: Duration) {
        if !self.has_takers() {
            return;
        }
        self.cluster.node().drain().await;
        if !timeout(within, self.given_away()).await.unwrap_or(false) {
            let node = self.cluster.node().name();
            tracing::warn!(node, "not all shards were given away; leaving with the rest");
        }
    }

    /// Ends the session, if it has not ended yet, and with it every right to act for a room: others
    /// need not wait for that, nor the next program under this name.
    pub(crate) async fn leave(mut self) {
        self.cluster.node().leave().await;
        if timeout(limits::FAREWELL, self.over()).await.is_err() {
            let node = self.cluster.node().name();
            tracing::warn!(node, "etcd did not end the session in time; it ends by itself");
        }
    }

    /// Waits until all shards are given away and the session is over; `false` once there is nobody
    /// to give them to, as when all nodes drain.
    async fn given_away(&mut self) -> bool {
        loop {
            if timeout(limits::TAKERS_LOOK, self.over()).await.is_ok() {
                return true;
            }
            if !self.has_takers() {
                return false;
            }
        }
    }

    /// Whether there is another node that stays.
    fn has_takers(&self) -> bool {
        let node = self.cluster.node();
        let me = node.session();
        node.members().iter().any(|(session, member)| *session != me && !member.draining)
    }
}

/// Says when the gates have been shut for so long that whoever is in a room is to be let go: the
/// room may be served elsewhere by now.
async fn watch_frozen(cluster: &Cluster, tell: &watch::Sender<bool>) {
    let mut shut = Duration::ZERO;
    loop {
        sleep(limits::FROZEN_LOOK).await;
        match cluster.node().remaining() {
            Duration::ZERO => shut += limits::FROZEN_LOOK,
            _ => shut = Duration::ZERO,
        }
        let is_frozen = shut >= limits::FROZEN_AFTER;
        tell.send_if_modified(|frozen| std::mem::replace(frozen, is_frozen) != is_frozen);
    }
}
