//! How a node gets its session: the same configuration as the others, a name of its own, a record.

mod name;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::codec::{self, Prefix};
use crate::configuration::{self, Configuration, Unreadable, Written};
use crate::coordinator::{Change, Comparison, Coordinator, CoordinatorError, Transaction};
use crate::home::{Home, HomeError};
use crate::limits;
use crate::ownership::record::{Key, Member, NodeId, Session, Shard, Txn, Value, Versions, Write};
use crate::ownership::timing::{Now, Timing, TooShort};
use crate::start_key::{NoRandomness, SIGNED_SINCE, StartKey};
use name::{Asking, Free};

/// The versions of what is written in the coordinator and said between nodes that this release
/// speaks: the newest, and the one before. In version 2 connections are signed
/// ([`StartKey`]), and what a later release adds to a frame is skipped.
pub const VERSIONS: Versions = Versions { oldest: 1, newest: 2 };

/// What a node joins with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster.
    pub cluster: String,
    /// The node's name in it, which stays when its program is started again.
    pub name: String,
    /// Where other nodes reach it.
    pub address: String,
    /// Its share of the shards, against the weights of the others.
    pub weight: u32,
    /// How many shards a new cluster is made with. An old one has to have as many.
    pub shards: Shard,
    /// How long a session lasts in a new cluster. In an old one it has to be the same.
    pub session: Duration,
    /// How long the coordinator may take to find a new leader, likewise: a session is at least
    /// twice as long, and 3 s.
    pub fail_over: Duration,
    /// The versions of the protocol that it speaks: [`VERSIONS`], or fewer. In an old cluster the
    /// one that all of it speaks has to be among them; a new one begins with the newest.
    pub versions: Versions,
    /// How many processes of keys begin at once on this node; others wait for their turn
    /// ([`Admission`](innkeeper::placement::Admission)).
    /// [`limits::STARTS_AT_ONCE`](crate::limits::STARTS_AT_ONCE) is a good number.
    pub starts_at_once: NonZeroUsize,
}

/// Why a node is not part of the cluster. It runs nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// The cluster is configured with another value.
    Differs {
        /// Of what: `shards`, `session length` or `etcd fail-over`.
        what: &'static str,
        /// As the cluster has it.
        theirs: u64,
        /// As this node was told.
        ours: u64,
    },
    /// This program does not speak what all nodes of the cluster speak.
    Protocol {
        /// The version that each node of the cluster speaks, or some that are later.
        theirs: u64,
        /// What this program speaks.
        ours: Versions,
    },
    /// What the cluster is configured with cannot be read.
    Unreadable {
        /// Where it is written.
        key: String,
    },
    /// A live node has this name: it has had a heartbeat while we waited. A node that died frees
    /// its name when its session has ended.
    NameInUse {
        /// The name.
        name: String,
    },
    /// A name or an address that cannot be written down.
    BadText {
        /// Which.
        text: String,
    },
    /// No number of shards.
    NoShards,
    /// A session that is too short.
    TooShort(TooShort),
    /// The operating system gives no random numbers.
    NoRandomness(NoRandomness),
    /// The data directory.
    Home(HomeError),
    /// The coordinator did not do it. If nobody knows whether it did, the name may be taken until
    /// the session that was perhaps made has ended.
    Coordinator(CoordinatorError),
}

impl JoinError {
    /// Whether to try again is of no use while this program runs: it is told something that does
    /// not fit, or its coordinator is not the one that it was.
    pub fn is_final(&self) -> bool {
        match self {
            JoinError::NameInUse { .. } | JoinError::Home(_) | JoinError::Unreadable { .. } => {
                false
            }
            JoinError::Coordinator(error) => matches!(error, CoordinatorError::Rewound(_)),
            _ => true,
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Differs { what, theirs, ours } => {
                let unit = if *what == "shards" { "" } else { " ms" };
                write!(f, "{what}: the cluster has {theirs}{unit}, this node {ours}{unit}; ")?;
                write!(f, "start it with {theirs}{unit}, or ")?;
                f.write_str("stop all nodes and reconfigure the cluster")
            }
            JoinError::Protocol { theirs, ours } => {
                write!(f, "protocol: the cluster needs version {theirs}, this program speaks ")?;
                write!(f, "{ours}; use a release that speaks version {theirs}")?;
                if *theirs < ours.oldest {
                    write!(f, " and this one's, and finalize the upgrade to that first")?;
                }
                Ok(())
            }
            JoinError::Unreadable { key } => write!(f, "{key} cannot be read"),
            JoinError::NameInUse { name } => {
                write!(f, "node name in use: `{name}` is alive; ")?;
                f.write_str("give this node a name of its own, or stop that one")
            }
            JoinError::BadText { text } => {
                let max = limits::NAME_MAX;
                write!(f, "expected 1 to {max} characters without control characters, got {text:?}")
            }
            JoinError::NoShards => f.write_str("shards: expected at least 1, got 0"),
            JoinError::TooShort(error) => error.fmt(f),
            JoinError::NoRandomness(error) => error.fmt(f),
            JoinError::Home(error) => error.fmt(f),
            JoinError::Coordinator(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for JoinError {}

impl From<CoordinatorError> for JoinError {
    fn from(error: CoordinatorError) -> Self {
        JoinError::Coordinator(error)
    }
}

impl From<HomeError> for JoinError {
    fn from(error: HomeError) -> Self {
        JoinError::Home(error)
    }
}

impl From<Unreadable> for JoinError {
    fn from(Unreadable { key }: Unreadable) -> Self {
        JoinError::Unreadable { key }
    }
}

/// A session that was just made.
pub(crate) struct Joined {
    pub(crate) session: Session,
    pub(crate) member: Member,
    pub(crate) key: Arc<StartKey>,
    pub(crate) timing: Timing,
    pub(crate) prefix: Prefix,
    /// What it was made under.
    pub(crate) agreed: Written,
    /// Read before the session was sent for.
    pub(crate) sent: Now,
}

/// An id that no start of a program has had. Fresh for each try, too: if nobody knows whether one
/// was carried out, the next is another node.
pub(crate) fn fresh() -> NodeId {
    NodeId(RandomState::new().hash_one(0))
}

pub(crate) async fn join(
    coordinator: &dyn Coordinator,
    clock: &dyn Clock,
    settings: &Settings,
    node: NodeId,
    home: Option<&Home>,
) -> Result<Joined, JoinError> {
    let timing = check(settings)?;
    home.map_or(Ok(()), |home| home.check(&settings.cluster))?;
    let prefix = Prefix::new(&settings.cluster);
    let asking = Asking { coordinator, clock, prefix: &prefix, timing, home };
    let key = Arc::new(StartKey::new().map_err(JoinError::NoRandomness)?);
    let signs = settings.versions.newest >= SIGNED_SINCE;
    let member = Member {
        name: settings.name.clone(),
        address: settings.address.clone(),
        weight: settings.weight,
        draining: false,
        versions: settings.versions,
        key: signs.then(|| key.public()),
    };
    for _ in 0..limits::JOIN_TRIES {
        let agreed = agree(coordinator, &prefix, settings).await?;
        let free = asking.free(&settings.name).await?;
        if let Some(home) = home {
            home.begin(&settings.cluster, node)?;
        }
        let register = register(&prefix, node, &member, &agreed, free);
        let sent = clock.now();
        let committed = coordinator.commit(register, limits::JOIN_WAIT).await?;
        // If it was refused, somebody has changed what was seen: look again.
        if committed.done {
            let session = Session { node, created: committed.revision };
            if let Some(home) = home
                && let Err(error) = home.complete(&settings.cluster, session)
            {
                // The proof of our death would do with less, and the session is there.
                tracing::warn!(%error, "the session was not written down");
            }
            return Ok(Joined { session, member, key, timing, prefix, agreed, sent });
        }
    }
    Err(JoinError::NameInUse { name: settings.name.clone() })
}

/// Whether a node can be what it is to be.
fn check(settings: &Settings) -> Result<Timing, JoinError> {
    for text in [&settings.cluster, &settings.name, &settings.address] {
        let is_long = text.chars().count() > limits::NAME_MAX;
        if text.is_empty() || is_long || text.chars().any(char::is_control) {
            return Err(JoinError::BadText { text: text.clone() });
        }
    }
    if settings.shards == 0 {
        return Err(JoinError::NoShards);
    }
    Timing::new(settings.session, settings.fail_over).map_err(JoinError::TooShort)
}

/// What makes a session.
fn register(
    prefix: &Prefix,
    node: NodeId,
    member: &Member,
    agreed: &Written,
    free: Free,
) -> Transaction {
    let puts = Txn {
        compares: Vec::new(),
        writes: vec![
            Write::Put(Key::Node(node), Value::Member(member.clone())),
            Write::Put(Key::Beat(node), Value::Beat(0)),
        ],
    };
    let mut register = prefix.transaction(&puts);
    register.compares = free.compares;
    register.compares.push(Comparison::Created(prefix.key(Key::Node(node)), 0));
    register.compares.push(agreed.compare(prefix));
    register.writes.extend(free.writes);
    register.writes.push(Change::Put(prefix.name(&member.name), codec::hold(node)));
    // As it is: who changes it learns that somebody has joined since they looked.
    register.writes.push(Change::Put(prefix.agreed(), agreed.bytes.clone()));
    register
}

/// Makes the configuration of a new cluster, or compares with that of an old one.
async fn agree(
    coordinator: &dyn Coordinator,
    prefix: &Prefix,
    settings: &Settings,
) -> Result<Written, JoinError> {
    let (shards, versions) = (u64::from(settings.shards), settings.versions);
    let (session, fail_over) = (settings.session, settings.fail_over);
    let ours = Configuration::first(versions.newest, shards, session, fail_over);
    configuration::create(coordinator, prefix, &ours).await?;
    let written = configuration::read(coordinator, prefix).await?;
    let Some(written) = written else {
        return Err(JoinError::Unreadable { key: prefix.agreed() });
    };
    let written = written?;
    let theirs = written.configuration;
    if !versions.contains(theirs.protocol) {
        return Err(JoinError::Protocol { theirs: theirs.protocol, ours: versions });
    }
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    for (what, theirs, ours) in [
        ("shards", theirs.shards, ours.shards),
        ("session length", ms(theirs.session), ms(ours.session)),
        ("etcd fail-over", ms(theirs.fail_over), ms(ours.fail_over)),
    ] {
        if theirs != ours {
            return Err(JoinError::Differs { what, theirs, ours });
        }
    }
    Ok(written)
}
