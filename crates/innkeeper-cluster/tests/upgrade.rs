//! A cluster whose nodes are restarted, one by one, with a release that speaks a later version of
//! the protocol, and the end of that.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests assert, and run tasks.

#[allow(dead_code)] // Shared with tests that need more of it.
#[path = "links/authority.rs"]
mod authority;
#[path = "support/deaf.rs"]
mod deaf;
#[path = "upgrade/finalize.rs"]
mod finalize;
#[path = "support/front.rs"]
mod front;
#[path = "support/runtime.rs"]
mod runtime;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use authority::{Authority, Given};
use innkeeper::{ChildSpec, Keyed, StartError, Supervisor};
use innkeeper_cluster::clock::Machine;
use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::net::{Tcp, Tls};
use innkeeper_cluster::operator::{self, OperatorError};
use innkeeper_cluster::ownership::record::Versions;
use innkeeper_cluster::ownership::timing::FAIL_OVER_DEFAULT;
use innkeeper_cluster::ownership::{Gate, Over};
use innkeeper_cluster::{Cluster, JoinError, Settings, VERSIONS};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

const SHARDS: u16 = 12;
const NAMES: [&str; 3] = ["node-1", "node-2", "node-3"];
const SOON: Duration = Duration::from_secs(60);

/// What speaks the first version of the protocol alone.
const OLD: Versions = Versions::FIRST;

fn settings(name: &str, address: String, versions: Versions) -> Settings {
    Settings {
        cluster: "test".to_owned(),
        name: name.to_owned(),
        address,
        weight: 1,
        shards: SHARDS,
        session: Duration::from_secs(5),
        fail_over: FAIL_OVER_DEFAULT,
        versions,
        starts_at_once: innkeeper_cluster::limits::STARTS_AT_ONCE,
    }
}

/// Waits for what nothing announces. Bounded.
async fn until(what: impl Fn() -> bool) {
    let all = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, all).await.expect("it does not come about");
}

fn open(node: &innkeeper_cluster::Node) -> usize {
    (0..SHARDS).filter(|shard| matches!(node.gate(*shard), Gate::Open(_))).count()
}

/// A process that counts.
struct Tally(u64);

#[innkeeper::process(remote)]
impl Tally {
    async fn init() -> Result<Self, StartError> {
        Ok(Tally(0))
    }

    #[call]
    fn add(&mut self, more: u64) -> u64 {
        self.0 += more;
        self.0
    }
}

/// One start of a node's program.
struct Node {
    cluster: Cluster,
    tallies: Keyed<String, Tally>,
    supervisor: Supervisor,
    membership: JoinHandle<Over>,
}

/// What callers go through: the nodes that take calls now, each with how many are under way.
#[derive(Clone, Default)]
struct Doors(Arc<Mutex<Vec<Door>>>);

#[derive(Clone)]
struct Door {
    tallies: Keyed<String, Tally>,
    under_way: Arc<AtomicUsize>,
}

/// What became of the calls.
#[derive(Clone, Default)]
struct Calls {
    answered: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
}

impl Node {
    async fn start(memory: &Memory, given: &Given, name: &str, versions: Versions) -> Node {
        let tls = Tls::from_pem(&given.certificate, &given.key, &given.authority).unwrap();
        let tcp = Tcp::bind("127.0.0.1:0".parse().unwrap(), &tls).await.unwrap();
        let settings = settings(name, tcp.address().unwrap().to_string(), versions);
        let (memory, clock, net) = (Arc::new(memory.clone()), Arc::new(Machine), Arc::new(tcp));
        let (cluster, membership) = Cluster::join(memory, clock, net, &settings).await.unwrap();
        let membership = tokio::spawn(membership);
        let supervisor = Supervisor::new().start().await.unwrap();
        let tallies = Keyed::<String, Tally>::with_args(ChildSpec::new(), |_| ());
        let tallies = tallies.placed_by(&cluster).start(&supervisor).await.unwrap();
        Node { cluster, tallies, supervisor, membership }
    }

    /// Ends in order: its shards go to the others.
    async fn end(self) {
        self.cluster.node().drain().await;
        assert_eq!(tokio::time::timeout(SOON, self.membership).await.unwrap().unwrap(), Over::Left);
        self.supervisor.shutdown(SOON).await;
    }
}

impl Doors {
    fn open(&self, node: &Node) {
        let tallies = node.tallies.clone();
        self.0.lock().push(Door { tallies, under_way: Arc::default() });
    }

    /// Nobody goes through the first one any more.
    async fn close_first(&self) {
        let door = self.0.lock().remove(0);
        until(|| door.under_way.load(Ordering::SeqCst) == 0).await;
    }

    /// One after the other.
    fn choose(&self, number: usize) -> Door {
        let doors = self.0.lock();
        let door = doors[number % doors.len()].clone();
        // Under the lock, so that whoever closes it sees it.
        door.under_way.fetch_add(1, Ordering::SeqCst);
        door
    }
}

/// Calls, by one node after the other, one key after the other, until it is dropped.
async fn call(doors: Doors, calls: Calls, first: usize) {
    for number in first.. {
        let door = doors.choose(number);
        let key = format!("key-{}", number % 50);
        match door.tallies.via(&key).add(1).timeout(SOON).await {
            Ok(_) => _ = calls.answered.fetch_add(1, Ordering::SeqCst),
            Err(error) => calls.failed.lock().push(format!("{key}: {error}")),
        }
        door.under_way.fetch_sub(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Deals the shards evenly at once; by itself that is done when it has been quiet for a while.
async fn deal(nodes: &[Node]) {
    for (at, node) in nodes.iter().enumerate() {
        for shard in (0..SHARDS).filter(|shard| usize::from(*shard) % nodes.len() == at) {
            for owner in nodes.iter().filter(|it| it.cluster.node().session() != node.session()) {
                owner.cluster.node().give(shard, node.session().node).await;
            }
        }
    }
    let share = usize::from(SHARDS) / nodes.len();
    until(|| nodes.iter().all(|node| open(node.cluster.node()) >= share)).await;
}

impl Node {
    fn session(&self) -> innkeeper_cluster::ownership::record::Session {
        self.cluster.node().session()
    }
}

/// A13: while two versions are spoken in one cluster, over real links, and when that is over.
#[tokio::test]
async fn a_rolling_restart_between_two_versions_of_the_protocol_fails_no_call() {
    let (memory, authority) = (Memory::new(), Authority::new());
    let given: Vec<_> = NAMES.iter().map(|name| authority.give(name)).collect();
    let (doors, calls) = (Doors::default(), Calls::default());
    let mut nodes = Vec::new();
    for (name, given) in NAMES.iter().zip(&given) {
        nodes.push(Node::start(&memory, given, name, OLD).await);
    }
    until(|| nodes.iter().map(|it| open(it.cluster.node())).sum::<usize>() == 12).await;
    deal(&nodes).await;
    nodes.iter().for_each(|node| doors.open(node));
    let mut callers = tokio::task::JoinSet::new();
    for first in 0..4 {
        callers.spawn(call(doors.clone(), calls.clone(), 17 * first));
    }
    for (at, (name, given)) in NAMES.iter().zip(&given).enumerate() {
        let speak = operator::finalize(&memory, "test", VERSIONS).await.unwrap_err();
        let outdated = |name: &&str| ((*name).to_owned(), Some(OLD));
        let mut expected: Vec<_> = NAMES[at..].iter().map(outdated).collect();
        let OperatorError::Outdated { version: 2, nodes: mut named } = speak else {
            panic!("{speak}")
        };
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        named.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(named, expected);
        // The oldest is restarted.
        doors.close_first().await;
        nodes.remove(0).end().await;
        nodes.push(Node::start(&memory, given, name, VERSIONS).await);
        deal(&nodes).await;
        doors.open(&nodes[NAMES.len() - 1]);
        let before = calls.answered.load(Ordering::SeqCst);
        until(|| calls.answered.load(Ordering::SeqCst) > before + 300).await;
    }
    let sessions: Vec<_> = nodes.iter().map(Node::session).collect();
    let agreed = operator::finalize(&memory, "test", VERSIONS).await.unwrap();
    assert_eq!((agreed.protocol, agreed.generation), (2, 1));
    // Past the time for which they can prove their sessions without another heartbeat.
    tokio::time::sleep(Duration::from_secs(6)).await;
    callers.shutdown().await;
    assert_eq!(*calls.failed.lock(), Vec::<String>::new());
    assert_eq!(nodes.iter().map(Node::session).collect::<Vec<_>>(), sessions);
    assert!(nodes.iter().all(|node| !node.membership.is_finished()));
    until(|| nodes.iter().map(|it| open(it.cluster.node())).sum::<usize>() == 12).await;
    let late = settings("node-4", "127.0.0.1:1".to_owned(), OLD);
    let late = innkeeper_cluster::Node::join(Arc::new(memory), Arc::new(Machine), &late).await;
    let error = late.unwrap_err();
    assert_eq!(error, JoinError::Protocol { theirs: 2, ours: OLD });
    let text = "protocol: the cluster needs version 2, this program speaks 1; use a release that \
                speaks version 2";
    assert_eq!(error.to_string(), text);
}
