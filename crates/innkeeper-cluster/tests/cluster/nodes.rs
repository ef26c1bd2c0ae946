//! Nodes of a cluster within one process, and the rooms that run on them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::{Ready, ready};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use innkeeper::testing::{Alive, Census};
use innkeeper::{
    ChildSpec, Context, ExitReason, Keyed, Message, Process, ProcessRef, ReplyTo, StartError,
    Supervisor,
};
use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::limits::STARTS_AT_ONCE;
use innkeeper_cluster::net::Net;
use innkeeper_cluster::net::memory::Memory as Wires;
use innkeeper_cluster::ownership::timing::FAIL_OVER_DEFAULT;
use innkeeper_cluster::ownership::{Gate, Over, placement};
use innkeeper_cluster::{Cluster, Remote, Settings, VERSIONS};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::clerk::Clerk;
use super::front::Fronted;
use super::moves::Moves;
use super::runtime::Runtime;
use super::tap::{Tap, Tapped};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const SHARDS: u16 = 8;

/// What all nodes of a test share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) memory: Memory,
    /// As the nodes see it.
    pub(crate) clerk: Clerk,
    pub(crate) wires: Wires,
    /// Between the first two nodes.
    pub(crate) tap: Arc<Tap>,
    pub(crate) house: House,
    /// Of each node.
    pub(crate) starts_at_once: NonZeroUsize,
    /// How many keys are remembered.
    pub(crate) remembered: usize,
    began: Instant,
}

/// What the rooms of a test share, wherever they run.
#[derive(Clone, Default)]
pub(crate) struct House {
    pub(crate) census: Census<String>,
    gates: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
    pub(crate) reached: Arc<Notify>,
    pub(crate) ended: Arc<Mutex<Vec<(String, ExitReason)>>>,
    pub(crate) moves: Arc<Mutex<Moves>>,
    /// Which rooms were ready, and under which epoch.
    pub(crate) started: Arc<Mutex<Vec<(String, u64)>>>,
    /// What was begun: by which key, under which epoch, and its number.
    pub(crate) begun: Arc<Mutex<Vec<(String, u64, u64)>>>,
    packs_slowly: Arc<AtomicBool>,
    door: Arc<Mutex<Option<Arc<Door>>>>,
    /// What the next rooms to begin do first.
    inits: Arc<Mutex<VecDeque<Init>>>,
}

/// What a room does as it begins.
pub(crate) enum Init {
    Fail,
    /// Says that it is there, and never gets further.
    Hold,
}

/// What every room has to pass that begins.
pub(crate) struct Door {
    inside: AtomicUsize,
    most: AtomicUsize,
    pub(crate) open: Semaphore,
}

impl Door {
    async fn pass(&self) {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        self.open.acquire().await.unwrap().forget();
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many are waiting there now.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    /// How many there have been at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl House {
    /// What a room waits at that is told to hold there.
    pub(crate) fn gate(&self, name: &str) -> Arc<Notify> {
        self.gates.lock().entry(name.to_owned()).or_default().clone()
    }

    /// From now on rooms begin only as it is opened, one for each permit.
    pub(crate) fn close_door(&self) -> Arc<Door> {
        let (inside, most) = Default::default();
        let door = Arc::new(Door { inside, most, open: Semaphore::new(0) });
        *self.door.lock() = Some(door.clone());
        door
    }

    pub(crate) fn plan_inits(&self, inits: impl IntoIterator<Item = Init>) {
        self.inits.lock().extend(inits);
    }

    /// How many are still to come.
    pub(crate) fn inits_left(&self) -> usize {
        self.inits.lock().len()
    }

    /// The next room that is packed says so, and waits at the gate `packing`.
    pub(crate) fn pack_slowly(&self) {
        self.packs_slowly.store(true, Ordering::Relaxed);
    }
}

/// One node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) cluster: Cluster,
    pub(crate) rooms: Keyed<String, Room>,
    pub(crate) supervisor: Supervisor,
    membership: Option<JoinHandle<Over>>,
    wires: Wires,
}

impl World {
    pub(crate) fn new() -> World {
        let (memory, wires, tap) = (Memory::new(), Wires::new(), Arc::default());
        let clerk = Clerk::new(memory.clone());
        let (house, began) = (House::default(), Instant::now());
        let starts_at_once = STARTS_AT_ONCE;
        World { memory, clerk, wires, tap, house, starts_at_once, remembered: 0, began }
    }

    pub(crate) async fn node(&self, name: &str) -> Node {
        let settings = Settings {
            cluster: "test".to_owned(),
            name: name.to_owned(),
            address: format!("{name}:1"),
            weight: 1,
            shards: SHARDS,
            session: 5 * SECOND,
            fail_over: FAIL_OVER_DEFAULT,
            versions: VERSIONS,
            starts_at_once: self.starts_at_once,
        };
        let port = self.wires.port(&settings.address);
        let net: Arc<dyn Net> = match name {
            "node-0" => {
                Arc::new(Tapped { port, other: "node-1:1".to_owned(), tap: self.tap.clone() })
            }
            _ => Arc::new(port),
        };
        let clock = Arc::new(Runtime(self.began));
        let coordinator = Arc::new(Fronted(self.clerk.clone()));
        let joined = Cluster::join(coordinator, clock, net, &settings).await;
        let (cluster, membership) = joined.unwrap();
        let membership = Some(tokio::task::spawn(membership));
        let supervisor = Supervisor::new().start().await.unwrap();
        let house = self.house.clone();
        let rooms = Keyed::<String, Room>::with_args(ChildSpec::new(), move |key: &String| {
            (key.clone(), house.clone())
        });
        let rooms = match self.remembered {
            0 => rooms,
            count => rooms.remembering(remembered((0..count).map(remembered_key).collect())),
        };
        let rooms = rooms.placed_by(&cluster).start(&supervisor).await.unwrap();
        let (name, wires) = (name.to_owned(), self.wires.clone());
        Node { name, cluster, rooms, supervisor, membership, wires }
    }

    /// So many nodes, each of which has its share of the shards.
    pub(crate) async fn nodes<const N: usize>(&self) -> [Node; N] {
        let mut nodes = Vec::new();
        for at in 0..N {
            nodes.push(self.node(&format!("node-{at}")).await);
        }
        let nodes = <[Node; N]>::try_from(nodes).ok().unwrap();
        until(|| nodes.iter().all(|node| node.open() >= usize::from(SHARDS) / N)).await;
        until(|| nodes.iter().map(Node::open).sum::<usize>() == usize::from(SHARDS)).await;
        nodes
    }
}

impl Node {
    /// How many shards it acts for.
    pub(crate) fn open(&self) -> usize {
        let node = self.cluster.node();
        (0..SHARDS).filter(|shard| matches!(node.gate(*shard), Gate::Open(_))).count()
    }

    pub(crate) async fn room(&self, key: &str) -> ProcessRef<Say> {
        self.rooms.get_or_start(&key.to_owned()).await.unwrap().process().unwrap()
    }

    /// Some key whose process runs on this node, and takes its state along when it goes.
    pub(crate) fn keeping_key(&self) -> String {
        let mut keys = (0..10_000).map(|number| format!("keeps-{number}"));
        keys.find(|key| self.has(key)).unwrap()
    }

    /// The shard of a key.
    pub(crate) fn shard(&self, key: &str) -> u16 {
        shard_of(key)
    }

    /// Some key whose process runs on this node.
    pub(crate) fn key(&self) -> String {
        self.keys().next().unwrap()
    }

    /// Keys whose processes run on this node.
    pub(crate) fn keys(&self) -> impl Iterator<Item = String> {
        (0..10_000).map(|number| format!("key-{number}")).filter(|key| self.has(key))
    }

    /// Whether the process of a key runs here.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.owns(self.shard(key))
    }

    /// Whether it acts for a shard.
    pub(crate) fn owns(&self, shard: u16) -> bool {
        matches!(self.cluster.node().gate(shard), Gate::Open(_))
    }

    /// It falls silent, as if its program had ended. What ran there stays in memory.
    pub(crate) async fn die(mut self) {
        self.wires.unplug(&format!("{}:1", self.name));
        let membership = self.membership.take().unwrap();
        membership.abort();
        assert!(membership.await.is_err());
    }

    /// Waits until its session is over.
    pub(crate) async fn over(mut self) -> Over {
        self.membership.take().unwrap().await.unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(membership) = self.membership.take() {
            membership.abort();
        }
    }
}

/// One of the keys that are remembered.
pub(crate) fn remembered_key(number: usize) -> String {
    format!("remembered-{number}")
}

/// Lists them.
fn remembered(
    keys: BTreeSet<String>,
) -> impl Fn(Option<String>, usize) -> Ready<Result<Vec<String>, String>> {
    move |after, limit| {
        let rest = keys.iter().filter(|key| after.as_ref().is_none_or(|after| *key > after));
        ready(Ok(rest.take(limit).cloned().collect()))
    }
}

/// The shard of a key.
pub(crate) fn shard_of(key: &str) -> u16 {
    placement::shard_of(&postcard::to_allocvec(key).unwrap(), SHARDS)
}

/// Waits for what nothing announces, in the time of the runtime. Bounded.
pub(crate) async fn until(what: impl Fn() -> bool) {
    let all = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(60 * SECOND, all).await.expect("it does not come about");
}

/// A room that counts.
pub(crate) struct Room {
    key: String,
    house: House,
    count: u64,
    seen: Vec<u64>,
    /// For the weight of it.
    load: Vec<u8>,
    _alive: Alive,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Say {
    /// Adds, and answers the sum.
    Add(u64),
    /// Adds one, and answers the sum; this is its number.
    Step(u64),
    /// Takes so many bytes along from now on, and answers the sum.
    Load(usize),
    /// Notes a number; answers nothing.
    Note(u64),
    /// Answers all that was noted.
    Noted,
    /// Says that it is there, then holds at the gate of that name, then answers the sum.
    Hold(String),
    /// Answers the epoch that it runs under.
    Epoch,
    Panic,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Said {
    Number(u64),
    Numbers(Vec<u64>),
}

impl Message for Say {
    type Reply = Said;
}

impl Remote for Room {
    const NAME: &'static str = "room";
}

impl Room {
    /// What it has, as one number.
    fn stamp(&self) -> u64 {
        (self.count << 32) + self.load.len() as u64
    }
}

impl Process for Room {
    type Args = (String, House);
    type Message = Say;

    async fn init(args: &(String, House), ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let (key, house) = args.clone();
        // Whoever fails after it has seen this leaves it to the next all the same.
        let handed = ctx.handed();
        if key == "declines" {
            return Err(StartError::ignore());
        }
        if key == "fails" {
            return Err(StartError::failed("told to"));
        }
        let door = house.door.lock().clone();
        if let Some(door) = door {
            door.pass().await;
        }
        let plan = house.inits.lock().pop_front();
        match plan {
            None => {}
            Some(Init::Fail) => return Err(StartError::failed("told to")),
            Some(Init::Hold) => {
                house.reached.notify_one();
                std::future::pending::<()>().await;
            }
        }
        let alive = house.census.enter(key.clone());
        let handed = handed.map(|handed| postcard::from_bytes(&handed).unwrap());
        let is_handed = handed.is_some();
        let (count, seen, load) = handed.unwrap_or_default();
        let room = Room { key, house, count, seen, load, _alive: alive };
        room.house.started.lock().push((room.key.clone(), ctx.epoch()));
        let stamp = is_handed.then(|| room.stamp());
        room.house.moves.lock().began(&room.key, ctx.epoch(), stamp);
        Ok(room)
    }

    async fn handle(&mut self, said: Say, reply: ReplyTo<Say>, ctx: &mut Context<Self>) {
        match said {
            Say::Add(more) => {
                self.count += more;
                reply.send(Said::Number(self.count));
            }
            Say::Step(id) => {
                self.house.begun.lock().push((self.key.clone(), ctx.epoch(), id));
                self.house.moves.lock().begun(id, ctx.epoch());
                self.count += 1;
                reply.send(Said::Number(self.count));
            }
            Say::Load(bytes) => {
                self.load = vec![7; bytes];
                reply.send(Said::Number(self.count));
            }
            Say::Note(number) => self.seen.push(number),
            Say::Noted => reply.send(Said::Numbers(self.seen.clone())),
            Say::Hold(name) => {
                self.house.reached.notify_one();
                self.house.gate(&name).notified().await;
                reply.send(Said::Number(self.count));
            }
            Say::Epoch => reply.send(Said::Number(ctx.epoch())),
            Say::Panic => panic!("told to panic"),
        }
    }

    /// Those whose keys say so take their state along.
    async fn on_handoff(&mut self, ctx: &mut Context<Self>) -> Option<Vec<u8>> {
        if !self.key.starts_with("keeps") {
            return None;
        }
        if self.house.packs_slowly.swap(false, Ordering::Relaxed) {
            self.house.reached.notify_one();
            self.house.gate("packing").notified().await;
        }
        self.house.moves.lock().packed(&self.key, ctx.epoch(), self.stamp());
        Some(postcard::to_allocvec(&(self.count, &self.seen, &self.load)).unwrap())
    }

    async fn terminate(&mut self, why: &ExitReason, _: &mut Context<Self>) {
        self.house.ended.lock().push((self.key.clone(), why.clone()));
    }
}
