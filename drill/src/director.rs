//! The director of a drill: builds the cluster, has everything fail, and keeps what was written
//! down.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use innkeeper_judge::records::{Form, Record, Setting, Staged};
use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::client::{Rooms, Takes};
use crate::disks::Disk;
use crate::load::{CLIENTS, Load};
use crate::log::Log;
use crate::network::{Host, Network};
use crate::node::{CLUSTER, Mistake};
use crate::programs::Program;
use crate::stage::word;
use crate::store::Store;
use crate::{Error, figures, papers, plan};

/// How a drill is to be.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DirectorArgs {
    /// Something of everything, in about a minute.
    #[arg(long)]
    pub(crate) short: bool,
    /// How long it goes on at least. A long drill ends when it has had of everything what the
    /// judge asks for.
    #[arg(long, default_value_t = 10)]
    pub(crate) minutes: u64,
    /// Measures what things take, in place of faults.
    #[arg(long)]
    pub(crate) figures: bool,
    /// What is wrong with the nodes, for the judge to find.
    #[arg(long)]
    pub(crate) mistake: Option<Mistake>,
    /// Where everything is written down. What is there is removed.
    #[arg(long, default_value = "target/drill")]
    pub(crate) folder: PathBuf,
    /// The program of etcd.
    #[arg(long, env = "INNKEEPER_ETCD", default_value = "etcd")]
    pub(crate) etcd: PathBuf,
}

impl DirectorArgs {
    /// As it was called.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec![
            format!("--minutes={}", self.minutes),
            format!("--folder={}", self.folder.display()),
            format!("--etcd={}", self.etcd.display()),
        ];
        words.extend(self.short.then(|| "--short".to_owned()));
        words.extend(self.figures.then(|| "--figures".to_owned()));
        words.extend(self.mistake.map(|mistake| match mistake {
            Mistake::Unchecked => "--mistake=unchecked".to_owned(),
            Mistake::Lease => "--mistake=lease".to_owned(),
        }));
        words
    }

    fn form(&self) -> Form {
        match (self.mistake, self.short) {
            (None, _) if self.figures => Form::Control,
            (Some(_), _) => Form::Control,
            (None, true) => Form::Short,
            (None, false) => Form::Long,
        }
    }
}

/// D, the default of the product.
const SESSION_MS: u64 = 5_000;

/// How many members etcd has.
pub(crate) const MEMBERS: u8 = 3;
/// How many nodes there are; one more comes and goes.
pub(crate) const NODES: usize = 4;
const SHARDS: u16 = 64;
const KEYS: u64 = 48;
const CALLERS: u64 = 10;
const PAUSE_MS: u64 = 25;

/// How long the cluster may take to be there.
const READY: Duration = Duration::from_secs(60);

/// How long a node may take to leave in order.
const LEAVE: Duration = Duration::from_secs(20);

/// A cluster under drill.
pub(crate) struct Cluster {
    args: DirectorArgs,
    pub(crate) network: Network,
    pub(crate) store: Store,
    log: Log,
    pub(crate) members: Vec<Member>,
    pub(crate) nodes: Vec<Node>,
}

/// A member of etcd.
pub(crate) struct Member {
    /// Before its disk, which it may wait for.
    pub(crate) program: Program,
    pub(crate) disk: Disk,
}

/// A node, or its place.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) host: Host,
    place: Mutex<Place>,
}

#[derive(Default)]
struct Place {
    starts: u64,
    program: Option<Program>,
}

/// Carries a drill out, or what of it there is time for until somebody ends it.
pub(crate) async fn run(args: DirectorArgs) -> Result<(), Error> {
    let (mut interrupted, mut ended) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        done = drill(args) => done,
        _ = interrupted.recv() => Err("interrupted".into()),
        _ = ended.recv() => Err("told to end".into()),
    }
}

async fn drill(args: DirectorArgs) -> Result<(), Error> {
    let _lock = lock(&args.folder)?;
    let _ = std::fs::remove_dir_all(&args.folder);
    std::fs::create_dir_all(&args.folder)?;
    let cluster = Cluster::build(args).await?;
    cluster.ready().await?;
    println!("{NODES} nodes, {MEMBERS} members of etcd, {} clients", CLIENTS.len());
    if cluster.args.figures {
        figures::measure(&cluster).await?;
        return cluster.keep().await;
    }
    let form = cluster.args.form();
    let takes = if form == Form::Control { Takes::Long } else { Takes::Some };
    let load = Load {
        keys: KEYS,
        callers: CALLERS,
        pause_ms: PAUSE_MS,
        takes,
        rooms: Rooms::Any,
        except: None,
    };
    let mut clients = cluster.call(0, load, &CLIENTS)?;
    match (form, cluster.args.mistake) {
        (Form::Short, _) => plan::short(&cluster).await?,
        (Form::Long, _) => plan::long(&cluster, cluster.args.minutes).await?,
        (Form::Control, Some(Mistake::Lease)) => plan::frozen(&cluster).await?,
        (Form::Control, _) => plan::stopped(&cluster).await?,
    }
    clients.end().await?;
    cluster.keep().await
}

impl Cluster {
    async fn build(args: DirectorArgs) -> Result<Cluster, Error> {
        let members: Vec<_> = (1..=MEMBERS).map(Host).collect();
        let nodes: Vec<_> = (11..=11 + NODES as u8).map(Host).collect();
        let clients = CLIENTS.map(Host).to_vec();
        let network = Network::make(&[members.clone(), nodes.clone(), clients].concat())?;
        let urls: Vec<_> = members.iter().map(|host| client_url(*host)).collect();
        let prefix = format!("/innkeeper/{CLUSTER}/");
        let store = Store::new(&urls, prefix).await?;
        let names: Vec<_> = (1..=nodes.len()).map(|number| format!("n{number}")).collect();
        papers::write(&args.folder, &names)?;
        let log = Log::open(&args.folder.join("faults.jsonl"))?;
        let named = names.into_iter().zip(nodes);
        let nodes = named.map(|(name, host)| Node { name, host, place: Mutex::default() });
        let nodes = nodes.collect();
        let members = members.iter().map(|host| Member::start(*host, &members, &args));
        let members = members.collect::<Result<_, _>>()?;
        Ok(Cluster { args, network, store, log, members, nodes })
    }

    async fn ready(&self) -> Result<(), Error> {
        self.store.leader().await?;
        for node in self.lasting() {
            self.start(node).await?;
        }
        let has_all = async {
            if self.args.mistake == Some(Mistake::Lease) {
                sleep(Duration::from_secs(5)).await;
                return;
            }
            while !matches!(self.store.shards().await, Ok(count) if count == usize::from(SHARDS)) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(READY, has_all).await.map_err(|_| "the cluster does not come up".into())
    }

    /// The nodes that are there all the time.
    pub(crate) fn lasting(&self) -> &[Node] {
        &self.nodes[..NODES]
    }

    /// Starts a program of the drill on a host.
    pub(crate) fn program(
        &self,
        name: &str,
        host: Host,
        words: &[String],
    ) -> Result<Program, Error> {
        let said = self.args.folder.join(format!("{name}.said"));
        Program::start(host, &said, &std::env::current_exe()?, words)
    }

    /// Starts a node.
    pub(crate) async fn start(&self, node: &Node) -> Result<(), Error> {
        let mut place = node.place.lock().await;
        place.starts += 1;
        // Each asks another member first.
        let mut urls: Vec<_> = (1..=MEMBERS).map(|number| client_url(Host(number))).collect();
        urls.rotate_left(usize::from(node.host.0 % MEMBERS));
        let mut words = vec![
            "node".to_owned(),
            format!("--name={}", node.name),
            format!("--start={}", place.starts),
            format!("--address={}:7000", node.host.address()),
            format!("--clients={}", node.clients()),
            format!("--etcd={}", urls.join(",")),
            format!("--folder={}", word(&self.args.folder)),
            format!("--session-ms={SESSION_MS}"),
            format!("--shards={SHARDS}"),
        ];
        // In a drill sessions are to be ended by others.
        let home = self.args.folder.join(format!("{}.home", node.name));
        words.extend(self.args.figures.then(|| format!("--home={}", word(&home))));
        words.extend(self.args.mistake.map(|mistake| match mistake {
            Mistake::Unchecked => "--mistake=unchecked".to_owned(),
            Mistake::Lease => "--mistake=lease".to_owned(),
        }));
        place.program = Some(self.program(&node.name, node.host, &words)?);
        Ok(())
    }

    /// Waits until a node has another session than that one.
    pub(crate) async fn joined(&self, node: &Node, not: Option<&String>) -> Result<(), Error> {
        let joined = async {
            loop {
                if let Ok(sessions) = self.store.sessions().await
                    && let Some(session) = sessions.get(&node.name)
                    && Some(session) != not
                {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(READY, joined).await.map_err(|_| format!("{} does not join", node.name).into())
    }

    /// D.
    pub(crate) fn session(&self) -> Duration {
        Duration::from_millis(SESSION_MS)
    }

    pub(crate) fn note(&self, staged: &Staged) {
        self.log.note(staged);
    }

    /// Keeps what etcd remembers, and says what this was.
    async fn keep(&self) -> Result<(), Error> {
        let records = self.store.history().await?;
        let version = self.store.version().await?;
        let has_lease = self.args.mistake == Some(Mistake::Lease);
        write_lines(&self.args.folder.join("records.jsonl"), &records)?;
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let product = if has_lease { "a lease of etcd" } else { "innkeeper" };
        let setting = Setting {
            form: self.args.form(),
            session_ms: SESSION_MS,
            versions: vec![
                format!("{product} {}", env!("CARGO_PKG_VERSION")),
                format!("etcd {version}"),
                format!("Linux {}", kernel.trim()),
            ],
            prefix: self.store.prefix.clone(),
        };
        std::fs::write(self.args.folder.join("drill.json"), serde_json::to_string(&setting)?)?;
        println!("written down in {}", self.folder());
        Ok(())
    }

    pub(crate) fn folder(&self) -> String {
        self.args.folder.display().to_string()
    }
}

impl Member {
    fn start(host: Host, all: &[Host], args: &DirectorArgs) -> Result<Member, Error> {
        let name = |host: Host| format!("e{}", host.0);
        let disk = Disk::make(&args.folder.join(name(host)))?;
        let (client, peer) = (client_url(host), peer_url(host));
        let peers: Vec<_> =
            all.iter().map(|host| format!("{}={}", name(*host), peer_url(*host))).collect();
        let words = [
            ("--name", name(host)),
            ("--data-dir", word(&disk.folder.join("data")).to_owned()),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", peers.join(",")),
            ("--log-level", "warn".to_owned()),
            ("--logger", "zap".to_owned()),
        ];
        let words: Vec<_> =
            words.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let said = args.folder.join(format!("{}.said", name(host)));
        Ok(Member { program: Program::start(host, &said, &args.etcd, &words)?, disk })
    }
}

impl Node {
    /// As clients are told of it.
    pub(crate) fn word(&self) -> String {
        format!("{}={}", self.name, self.clients())
    }

    /// Where clients reach it.
    fn clients(&self) -> String {
        format!("{}:7100", self.host.address())
    }

    pub(crate) async fn stop(&self) -> Result<(), Error> {
        self.running(Program::stop).await
    }

    pub(crate) async fn go_on(&self) -> Result<(), Error> {
        self.running(Program::go_on).await
    }

    async fn running(&self, what: impl Fn(&Program) -> Result<(), Error>) -> Result<(), Error> {
        let place = self.place.lock().await;
        what(place.program.as_ref().ok_or("it does not run")?)
    }

    pub(crate) async fn kill(&self) -> Result<(), Error> {
        let mut place = self.place.lock().await;
        place.program.as_mut().ok_or("it does not run")?.kill().await
    }

    /// Has it leave in order.
    pub(crate) async fn leave(&self) -> Result<(), Error> {
        let mut place = self.place.lock().await;
        let mut program = place.program.take().ok_or("it does not run")?;
        if program.end(LEAVE).await? {
            return Ok(());
        }
        Err(format!("{} did not leave within {LEAVE:?}", self.name).into())
    }
}

/// The folder is of one drill at a time.
pub(crate) fn lock(folder: &Path) -> Result<File, Error> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let lock = File::create(folder.with_extension("lock"))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(_) => Err(format!("another drill is written down in {}", folder.display()).into()),
    }
}

fn client_url(host: Host) -> String {
    format!("http://{}:2379", host.address())
}

fn peer_url(host: Host) -> String {
    format!("http://{}:2380", host.address())
}

fn write_lines(path: &Path, records: &[Record]) -> Result<(), Error> {
    let log = Log::open(path)?;
    records.iter().for_each(|record| log.note(record));
    Ok(())
}
