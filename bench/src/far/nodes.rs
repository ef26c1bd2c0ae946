//! The nodes: this program, others like it, and the etcd beside them.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use innkeeper::{ChildSpec, Context, Keyed, Message, Process, ReplyTo, StartError, Supervisor};
use innkeeper_cluster::clock::Machine;
use innkeeper_cluster::net::Tcp;
use innkeeper_cluster::ownership::timing::FAIL_OVER_DEFAULT;
use innkeeper_cluster::{Cluster, Remote, Settings, VERSIONS};
use innkeeper_etcd::{Etcd, Options};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::time::sleep;

/// What a room on another node is called where its kind has to be named.
pub(crate) const FAR: &str = "bench-far";

/// How long anything here may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

const SHARDS: u16 = 96;

/// What is said to a room.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Far {
    /// Add this and answer the sum.
    Add(u64),
    /// Add one.
    Data(Bytes),
}

impl Message for Far {
    type Reply = u64;
}

/// A room that counts.
pub(crate) struct Counter(u64);

impl Remote for Counter {
    const NAME: &'static str = FAR;
}

impl Process for Counter {
    type Args = ();
    type Message = Far;

    async fn init((): &(), _: &mut Context<Self>) -> Result<Self, StartError> {
        Ok(Counter(0))
    }

    async fn handle(&mut self, said: Far, reply: ReplyTo<Far>, _: &mut Context<Self>) {
        match said {
            Far::Add(n) => {
                self.0 += n;
                reply.send(self.0);
            }
            Far::Data(_) => self.0 += 1,
        }
    }
}

/// Several nodes, of which this program is the first.
pub(crate) struct Nodes {
    pub(crate) rooms: Keyed<String, Counter>,
    cluster: Cluster,
    _supervisor: Supervisor,
    _programs: Programs,
}

/// What runs beside this one. Dropped, it is killed.
struct Programs {
    children: Vec<Child>,
    _folder: TempDir,
}

impl Drop for Programs {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Nodes {
    /// Starts so many, and waits until each has its share of the shards.
    pub(crate) async fn start(count: usize) -> io::Result<Nodes> {
        let (mut programs, url) = etcd()?;
        for n in 1..count {
            let mut node = Command::new(std::env::current_exe()?);
            // It ends when its input does: when this program has.
            node.args(["far-node", &format!("n{n}"), &url]).stdin(Stdio::piped());
            programs.children.push(node.spawn()?);
        }
        let (cluster, supervisor, rooms) = join("n0", &url).await?;
        let began = Instant::now();
        while !is_whole(&cluster, count) {
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other("the nodes do not come together"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Nodes { rooms, cluster, _supervisor: supervisor, _programs: programs })
    }

    /// Whether a key belongs to another node than this.
    pub(crate) fn is_far(&self, key: &String) -> bool {
        self.cluster.owner(key).is_some_and(|owner| owner.name != "n0")
    }
}

/// Whether there are so many nodes, each with about its share, and each shard has an owner.
fn is_whole(cluster: &Cluster, count: usize) -> bool {
    let shards = cluster.shards();
    let nodes = cluster.nodes();
    let share = usize::from(SHARDS) / count;
    nodes.len() == count
        && shards.iter().all(|shard| shard.owner.is_some())
        && nodes.iter().all(|node| node.shards * 5 > share * 4)
}

/// An etcd on free ports.
fn etcd() -> io::Result<(Programs, String)> {
    let program = std::env::var_os("INNKEEPER_ETCD").unwrap_or_else(|| "etcd".into());
    let folder = TempDir::new()?;
    let (port, peer) = (free_port()?, free_port()?);
    let url = format!("http://127.0.0.1:{port}");
    let child = Command::new(program)
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer}")])
        .args(["--log-level", "error", "--data-dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| io::Error::other(format!("etcd (Debian: etcd-server): {error}")))?;
    let programs = Programs { children: vec![child], _folder: folder };
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other("etcd does not come up"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok((programs, url))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Is a node until its input ends.
pub(crate) async fn serve(name: &str, url: &str) -> io::Result<()> {
    let _node = join(name, url).await?;
    // On a thread of its own, which nobody waits for at the end.
    let ended = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    ended.await.map_err(io::Error::other)?.map(drop)
}

/// Joins the cluster, with rooms.
async fn join(name: &str, url: &str) -> io::Result<(Cluster, Supervisor, Keyed<String, Counter>)> {
    let options = Options { endpoints: vec![url.to_owned()], ..Options::default() };
    let etcd = Etcd::connect(&options, PATIENCE).await.map_err(io::Error::other)?;
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let net = Tcp::bind_insecure(loopback).await.map_err(io::Error::other)?;
    let settings = Settings {
        cluster: "bench".to_owned(),
        name: name.to_owned(),
        address: net.address()?.to_string(),
        weight: 1,
        shards: SHARDS,
        session: Duration::from_secs(5),
        fail_over: FAIL_OVER_DEFAULT,
        versions: VERSIONS,
        starts_at_once: innkeeper_cluster::limits::STARTS_AT_ONCE,
    };
    let joined = Cluster::join(Arc::new(etcd), Arc::new(Machine), Arc::new(net), &settings).await;
    let (cluster, membership) = joined.map_err(io::Error::other)?;
    tokio::spawn(membership);
    let supervisor = Supervisor::new().start().await.map_err(io::Error::other)?;
    // As much may wait as with the others, whose mailboxes have no bound.
    let spec = ChildSpec::new().mailbox_capacity(NonZeroU32::MAX);
    let rooms = Keyed::<String, Counter>::with_args(spec, |_| ()).name("rooms");
    let rooms = rooms
        .max_children(usize::MAX)
        .placed_by(&cluster)
        .start(&supervisor)
        .await
        .map_err(io::Error::other)?;
    Ok((cluster, supervisor, rooms))
}
