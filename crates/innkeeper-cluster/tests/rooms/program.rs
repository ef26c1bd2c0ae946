//! The program of a node: a scope of rooms, placed by a cluster that it joins again and again.

use std::sync::Arc;
use std::time::Duration;

use innkeeper::{ChildSpec, Context, Keyed, Message, Process, ReplyTo, StartError, Supervisor};
use innkeeper_cluster::clock::Clock;
use innkeeper_cluster::net::memory::Memory as Wires;
use innkeeper_cluster::ownership::record::NodeId;
use innkeeper_cluster::ownership::{Over, placement};
use innkeeper_cluster::{Cluster, Remote};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::Mistake;
use crate::mistaken::Mistaken;
use crate::oracle::Oracle;
use crate::world::SHARDS;
use crate::world::faults::Network;
use crate::world::host::Host;

/// The program of one node.
pub(crate) struct Program {
    host: Arc<Host>,
    network: Network,
    wires: Wires,
    oracle: Oracle,
    mistake: Mistake,
    /// While it runs.
    rooms: Mutex<Option<Keyed<String, Room>>>,
}

/// The address of a node.
pub(crate) fn address(node: usize) -> String {
    format!("node-{node}:1")
}

/// The shard of a key.
pub(crate) fn shard_of(key: &str) -> u16 {
    placement::shard_of(&postcard::to_allocvec(key).unwrap(), SHARDS)
}

impl Program {
    pub(crate) fn new(
        (host, network, wires): (Arc<Host>, Network, Wires),
        oracle: Oracle,
        mistake: Mistake,
    ) -> Program {
        Program { host, network, wires, oracle, mistake, rooms: Mutex::default() }
    }

    /// The scope, for whoever calls on this node.
    pub(crate) fn rooms(&self) -> Option<Keyed<String, Room>> {
        self.rooms.lock().clone()
    }

    /// Starts it again and again. Never ends.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let Ok(supervisor) = Supervisor::new().start().await else { return };
            let ended = self.host.run(self.live(&supervisor)).await;
            self.oracle.count(|counts| counts.ended(ended));
            // A program that is gone neither hears nor says anything, and nothing runs in it.
            self.wires.unplug(&address(self.host.number));
            *self.rooms.lock() = None;
            drop(supervisor.shutdown(Duration::from_secs(1)).await);
            self.host.rest().await;
        }
    }

    /// One start of it. `None`: it could not join.
    async fn live(&self, supervisor: &Supervisor) -> Option<Over> {
        let address = address(self.host.number);
        let settings = self.host.settings(address.clone());
        let clock: Arc<dyn Clock> = self.host.clone();
        let start = NodeId(self.host.dice.below(u64::MAX));
        let net = Arc::new(self.wires.port(&address));
        let coordinator = self.network.of(self.host.number);
        let joined = Cluster::join_as(coordinator, clock, net, &settings, start).await;
        let (cluster, mut membership) = joined.ok()?;
        let (oracle, mistake, node) = (self.oracle.clone(), self.mistake, self.host.number);
        let rooms = Keyed::<String, Room>::with_args(ChildSpec::new(), move |key: &String| {
            (key.clone(), oracle.clone(), node, mistake)
        });
        let rooms = rooms.name("rooms").placed_by(&Mistaken { cluster: cluster.clone(), mistake });
        *self.rooms.lock() = rooms.start(supervisor).await.ok();
        let drains = async {
            loop {
                sleep(Duration::from_millis(300)).await;
                if self.host.take_drain() {
                    cluster.node().drain().await;
                }
            }
        };
        tokio::select! {
            biased;
            over = &mut membership => Some(over),
            () = drains => None,
        }
    }
}

/// A room that counts.
pub(crate) struct Room {
    key: String,
    oracle: Oracle,
    node: usize,
    mistake: Mistake,
    count: u64,
}

/// Adds one, after a while.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Add {
    /// Which call this is.
    pub(crate) id: u64,
    pub(crate) takes: Duration,
}

/// What a room says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Added {
    pub(crate) epoch: u64,
    pub(crate) count: u64,
    /// Where it runs.
    pub(crate) node: usize,
}

impl Message for Add {
    type Reply = Added;
}

impl Remote for Room {
    const NAME: &'static str = "room";
}

impl Process for Room {
    type Args = (String, Oracle, usize, Mistake);
    type Message = Add;

    async fn init(args: &Self::Args, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let (key, oracle, node, mistake) = args.clone();
        let handed = ctx.handed().map(|handed| postcard::from_bytes(&handed).unwrap());
        let count = handed.map(|(epoch, count): (u64, u64)| {
            oracle.handed(&key, epoch, count);
            count
        });
        oracle.started(&key, ctx.epoch(), count);
        Ok(Room { key, oracle, node, mistake, count: count.unwrap_or(0) })
    }

    async fn handle(&mut self, add: Add, reply: ReplyTo<Add>, ctx: &mut Context<Self>) {
        self.oracle.begun(&self.key, ctx.epoch(), add.id);
        sleep(add.takes).await;
        self.count += 1;
        let (oracle, key, epoch) = (self.oracle.clone(), self.key.clone(), ctx.epoch());
        let tell = move || oracle.left(&key, epoch);
        match self.mistake {
            Mistake::NoSecondCheck => tell(),
            _ => ctx.output(tell),
        }
        reply.send(Added { epoch: ctx.epoch(), count: self.count, node: self.node });
    }

    async fn on_handoff(&mut self, ctx: &mut Context<Self>) -> Option<Vec<u8>> {
        self.oracle.packed(&self.key, ctx.epoch(), self.count);
        Some(postcard::to_allocvec(&(ctx.epoch(), self.count)).unwrap())
    }
}
