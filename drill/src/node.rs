//! A node of the drill: rooms by key, placed by a cluster on etcd, for clients that speak a line
//! over TCP. Evicted, it joins again; told to end, it leaves in order.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use innkeeper::{CallError, ChildSpec, Keyed, Supervisor};
use innkeeper_cluster::clock::Machine;
use innkeeper_cluster::net::{Net, Tcp, Tls};
use innkeeper_cluster::ownership::Over;
use innkeeper_cluster::ownership::timing::FAIL_OVER_DEFAULT;
use innkeeper_cluster::{Cluster, Home, Membership, Settings, VERSIONS};
use innkeeper_etcd::{Etcd, Options};
use innkeeper_judge::records::{Noted, Outcome};
use parking_lot::RwLock;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::line::{self, Question};
use crate::log::Log;
use crate::room::{Add, Args, Room};
use crate::{Error, clock, lease};

/// How a node is started.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// Its name in the cluster.
    #[arg(long)]
    pub(crate) name: String,
    /// Which start of it this is.
    #[arg(long)]
    pub(crate) start: u64,
    /// Where other nodes reach it.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// Where clients reach it.
    #[arg(long)]
    pub(crate) clients: SocketAddr,
    /// The members of etcd.
    #[arg(long, value_delimiter = ',')]
    pub(crate) etcd: Vec<String>,
    /// Where its papers are, and where it writes down what happens.
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// How long a session lasts.
    #[arg(long)]
    pub(crate) session_ms: u64,
    /// How many shards there are.
    #[arg(long)]
    pub(crate) shards: u16,
    /// Its data directory: killed and started again on it, it need not wait for its old session.
    #[arg(long)]
    pub(crate) home: Option<PathBuf>,
    /// What it does wrong, for the judge to find.
    #[arg(long)]
    pub(crate) mistake: Option<Mistake>,
}

/// What can be wrong with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mistake {
    /// What a room has to say gets out unchecked.
    Unchecked,
    /// Shards are held by keys under a lease of etcd, for as long as etcd said last.
    Lease,
}

/// The name of the cluster.
pub(crate) const CLUSTER: &str = "drill";

/// How long a call may be late before it is said to have no end.
const LATE: Duration = Duration::from_secs(4);

/// Answers what clients ask.
pub(crate) trait Answers: Send + Sync + 'static {
    fn answer(&self, question: Question) -> impl Future<Output = Outcome> + Send;
}

struct Node {
    log: Arc<Log>,
    /// While it is part of the cluster.
    rooms: RwLock<Option<Keyed<String, Room>>>,
}

pub(crate) async fn run(args: NodeArgs) -> Result<(), Error> {
    let file = format!("node-{}-{:03}.jsonl", args.name, args.start);
    let log = Arc::new(Log::open(&args.folder.join(file))?);
    let listener = TcpListener::bind(args.clients).await?;
    if args.mistake == Some(Mistake::Lease) {
        let held = lease::Held::new(&args, log).await?;
        tokio::select! {
            () = serve(listener, held.clone()) => {}
            () = held.keep() => {}
        }
        return Ok(());
    }
    let node = Arc::new(Node { log, rooms: RwLock::default() });
    let mut end = signal(SignalKind::terminate())?;
    tokio::select! {
        () = serve(listener, node.clone()) => Ok(()),
        ended = node.live(&args, &mut end) => ended,
    }
}

impl Node {
    /// Is a part of the cluster, again and again, until it is told to end.
    async fn live(&self, args: &NodeArgs, end: &mut Signal) -> Result<(), Error> {
        let net: Arc<dyn Net> = Arc::new(Tcp::bind(args.address, &papers(args)?).await?);
        let settings = Settings {
            cluster: CLUSTER.to_owned(),
            name: args.name.clone(),
            address: args.address.to_string(),
            weight: 1,
            shards: args.shards,
            session: Duration::from_millis(args.session_ms),
            fail_over: FAIL_OVER_DEFAULT,
            versions: VERSIONS,
            starts_at_once: innkeeper_cluster::limits::STARTS_AT_ONCE,
        };
        let options = Options { endpoints: args.etcd.clone(), ..Options::default() };
        let home = args.home.as_ref().map(|path| Home::open(path, &Machine)).transpose()?;
        loop {
            let joining = join(net.clone(), &settings, &options, home.as_ref());
            let (cluster, membership) = tokio::select! {
                joined = joining => joined,
                _ = end.recv() => return Ok(()),
            };
            if self.stay(args, &cluster, membership, end).await? == Over::Left {
                return Ok(());
            }
        }
    }

    /// From its joining to the end of its session.
    async fn stay(
        &self,
        args: &NodeArgs,
        cluster: &Cluster,
        membership: Membership,
        end: &mut Signal,
    ) -> Result<Over, Error> {
        let session = format!("{:016x}", cluster.node().session().node.0);
        self.log.note(&Noted::Joined { session: session.clone(), at: clock::now() });
        let mut membership = pin!(membership);
        let supervisor = Supervisor::new().start().await?;
        let (log, is_unchecked) = (self.log.clone(), args.mistake == Some(Mistake::Unchecked));
        let rooms = Keyed::<String, Room>::with_args(ChildSpec::new(), move |key: &String| {
            let (key, log) = (key.clone(), log.clone());
            Args { key, log, is_unchecked }
        });
        let starting = rooms.name("rooms").placed_by(cluster).start(&supervisor);
        let over = tokio::select! {
            over = &mut membership => over,
            rooms = starting => {
                *self.rooms.write() = Some(rooms?);
                tokio::select! {
                    over = &mut membership => over,
                    _ = end.recv() => {
                        let (over, ()) = tokio::join!(membership, cluster.node().drain());
                        over
                    }
                }
            }
        };
        *self.rooms.write() = None;
        let is_left = over == Over::Left;
        self.log.note(&Noted::Over { session, is_left, at: clock::now() });
        supervisor.shutdown(Duration::from_secs(2)).await;
        Ok(over)
    }
}

/// Tries until it is part of the cluster: etcd may be away, and its old session still there.
async fn join(
    net: Arc<dyn Net>,
    settings: &Settings,
    options: &Options,
    home: Option<&Home>,
) -> (Cluster, Membership) {
    loop {
        if let Ok(etcd) = Etcd::connect(options, Duration::from_secs(2)).await {
            let (etcd, clock, net) = (Arc::new(etcd), Arc::new(Machine), net.clone());
            let joined = match home {
                Some(home) => Cluster::join_from(etcd, clock, net, settings, home).await,
                None => Cluster::join(etcd, clock, net, settings).await,
            };
            match joined {
                Ok(joined) => return joined,
                Err(error) => eprintln!("not joined: {error}"),
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn papers(args: &NodeArgs) -> Result<Tls, Error> {
    let read = |name: &str| std::fs::read_to_string(args.folder.join(Path::new(name)));
    let certificate = read(&format!("{}.pem", args.name))?;
    let key = read(&format!("{}.key", args.name))?;
    Ok(Tls::from_pem(&certificate, &key, &read("authority.pem")?)?)
}

impl Answers for Node {
    async fn answer(&self, question: Question) -> Outcome {
        let Question { call, key, takes, within } = question;
        let Some(rooms) = self.rooms.read().clone() else {
            return Outcome::NotDelivered { why: "the node is in no cluster".to_owned() };
        };
        let via = rooms.via(&key);
        let mut asked = pin!(via.call(Add { call, takes }).timeout(within));
        let mut answer = timeout(within + LATE, &mut asked).await;
        if answer.is_err() {
            // It may be that everything stood still; whatever is due is done by then.
            answer = timeout(LATE, &mut asked).await;
        }
        match answer {
            Ok(Ok(added)) => {
                let (epoch, incarnation, count) = (added.epoch, added.incarnation, added.count);
                Outcome::Ok { epoch, incarnation, count }
            }
            Ok(Err(CallError::NotDelivered { why, .. })) => {
                Outcome::NotDelivered { why: why.to_string() }
            }
            Ok(Err(why)) => Outcome::Unknown { why: why.to_string() },
            Err(_) => {
                self.log.note(&Noted::Hung { call, at: clock::now() });
                Outcome::Unknown { why: "it has no end".to_owned() }
            }
        }
    }
}

/// Answers whoever connects.
async fn serve(listener: TcpListener, answers: Arc<impl Answers>) {
    let mut clients = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            while clients.try_join_next().is_some() {}
            clients.spawn(talk(stream, answers.clone()));
        }
    }
}

/// Answers one client's questions, one after the other, until it goes.
async fn talk(mut stream: TcpStream, answers: Arc<impl Answers>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(question) = lines.next_line().await.ok()? {
        let question = Question::read(&question)?;
        let call = question.call;
        let outcome = answers.answer(question).await;
        writer.write_all(line::answer(call, &outcome).as_bytes()).await.ok()?;
    }
    Some(())
}
