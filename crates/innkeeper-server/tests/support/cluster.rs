//! Servers that are nodes of one cluster, within one process.

#![allow(dead_code)] // Each test binary uses a part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use innkeeper_cluster::clock::Machine;
use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{
    Change, Committed, Coordinator, CoordinatorError, Later, Listing, Revision, Transaction, Watch,
};
use innkeeper_cluster::net::memory::Memory as Wires;
use innkeeper_cluster::ownership::timing::FAIL_OVER_DEFAULT;
use innkeeper_cluster::{Settings, VERSIONS};
use innkeeper_server::Joining;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::server::{SOON, Server};

pub(crate) const SHARDS: u16 = 8;

/// How the shards are dealt to nodes that are called `a` and `b`.
pub(crate) const DEALT: (u16, u16) = (5, 3);

/// What the nodes of a cluster share.
#[derive(Default)]
pub(crate) struct World {
    memory: Memory,
    /// Whether the coordinator carries nothing out.
    pub(crate) is_away: Arc<AtomicBool>,
    /// While this is so nobody is told what is written down: nobody joins.
    pub(crate) is_mute: watch::Sender<bool>,
    pub(crate) wires: Wires,
}

/// A coordinator that can be away, or mute.
struct Away {
    memory: Memory,
    is_away: Arc<AtomicBool>,
    is_mute: watch::Receiver<bool>,
}

impl Coordinator for Away {
    fn commit(
        &self,
        transaction: Transaction,
        within: Duration,
    ) -> Later<'_, Result<Committed, CoordinatorError>> {
        if self.is_away.load(Relaxed) {
            return Box::pin(async { Err(CoordinatorError::NotDone("it is away".to_owned())) });
        }
        self.memory.commit(transaction, within)
    }

    fn list(
        &self,
        prefix: String,
        within: Duration,
    ) -> Later<'_, Result<Listing, CoordinatorError>> {
        let mut is_mute = self.is_mute.clone();
        Box::pin(async move {
            // The test has ended if it is gone.
            let _ = is_mute.wait_for(|is_mute| !is_mute).await;
            self.memory.list(prefix, within).await
        })
    }

    fn watch(
        &self,
        prefix: String,
        after: Revision,
        within: Duration,
    ) -> Later<'_, Result<Box<dyn Watch>, CoordinatorError>> {
        self.memory.watch(prefix, after, within)
    }
}

impl World {
    /// A node that others reach at `NAME:1`.
    pub(crate) async fn node(&self, name: &str) -> Server {
        let settings = Settings {
            cluster: "test".to_owned(),
            name: name.to_owned(),
            address: format!("{name}:1"),
            weight: 1,
            shards: SHARDS,
            session: Duration::from_secs(10),
            fail_over: FAIL_OVER_DEFAULT,
            versions: VERSIONS,
            starts_at_once: innkeeper_cluster::limits::STARTS_AT_ONCE,
        };
        let net = Arc::new(self.wires.port(&settings.address));
        let (memory, is_away) = (self.memory.clone(), self.is_away.clone());
        let coordinator = Arc::new(Away { memory, is_away, is_mute: self.is_mute.subscribe() });
        let joining = Joining { coordinator, clock: Arc::new(Machine), net, settings, home: None };
        Server::with(|config| {
            config.node = name.to_owned();
            config.cluster = Some(joining);
        })
        .await
    }

    /// The sessions that there are, as they are written down.
    pub(crate) async fn sessions(&self) -> Vec<String> {
        let nodes = self.memory.list("test/node/".to_owned(), SOON).await.unwrap();
        nodes.entries.into_iter().map(|entry| entry.key).collect()
    }

    /// Ends all sessions, as if their time were over.
    pub(crate) async fn end_sessions(&self) {
        let writes = self.sessions().await.into_iter().map(Change::Delete).collect();
        let end = Transaction { compares: Vec::new(), writes };
        assert!(self.memory.commit(end, SOON).await.unwrap().done);
    }

    /// The nodes `a` and `b`, each with its shards.
    pub(crate) async fn pair(&self) -> (Server, Server) {
        let (a, b) = (self.node("a").await, self.node("b").await);
        let is_dealt = async |server: &Server| {
            let (mut of_a, mut of_b) = (0_u16, 0_u16);
            for shard in get(server, "/api/shards").await.as_array().unwrap() {
                let serves = shard["state"] == "serving";
                of_a += u16::from(serves && shard["node"] == "a");
                of_b += u16::from(serves && shard["node"] == "b");
            }
            (of_a, of_b) == DEALT
        };
        let dealt = async {
            while !(is_dealt(&a).await && is_dealt(&b).await) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(SOON, dealt).await.is_err() {
            panic!("not dealt: {}, {}", get(&a, "/api/nodes").await, get(&b, "/api/shards").await);
        }
        (a, b)
    }
}

pub(crate) async fn get(server: &Server, path: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(server.url(path)).send().await.unwrap().json().await.unwrap()
}
