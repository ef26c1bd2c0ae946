//! How a node gets its session: the same configuration as the others, a name of its own, a record.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::clock::Clock;
use crate::codec::{self, Agreed, Prefix};
use crate::coordinator::{Change, Comparison, Coordinator, CoordinatorError, Transaction};
use crate::limits;
use crate::ownership::record::{Key, Member, NodeId, Session, Shard, Txn, Value, Write};
use crate::ownership::timing::{Now, Timing, TooShort};
use crate::ownership::vigil::{Verdict, Vigil};

/// The version of what is written in the coordinator and said between nodes.
pub const PROTOCOL: u64 = 1;

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
}

/// Why a node is not part of the cluster. It runs nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// The cluster was made with another value.
    Differs {
        /// Of what: `shards`, `session length` or `protocol`.
        what: &'static str,
        /// As the cluster has it.
        theirs: u64,
        /// As this node was told.
        ours: u64,
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
    /// The coordinator did not do it. If nobody knows whether it did, the name may be taken until
    /// the session that was perhaps made has ended.
    Coordinator(CoordinatorError),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Differs { what, theirs, ours } => {
                write!(f, "{what}: the cluster was made with {theirs}, this node has {ours}")
            }
            JoinError::Unreadable { key } => write!(f, "{key} cannot be read"),
            JoinError::NameInUse { name } => {
                write!(f, "node name in use: `{name}` is alive")
            }
            JoinError::BadText { text } => {
                let max = limits::NAME_MAX;
                write!(f, "expected 1 to {max} characters without control characters, got {text:?}")
            }
            JoinError::NoShards => f.write_str("shards: expected at least 1, got 0"),
            JoinError::TooShort(error) => error.fmt(f),
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

/// A session that was just made.
pub(crate) struct Joined {
    pub(crate) session: Session,
    pub(crate) member: Member,
    pub(crate) timing: Timing,
    pub(crate) prefix: Prefix,
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
) -> Result<Joined, JoinError> {
    for text in [&settings.cluster, &settings.name, &settings.address] {
        let is_long = text.chars().count() > limits::NAME_MAX;
        if text.is_empty() || is_long || text.chars().any(char::is_control) {
            return Err(JoinError::BadText { text: text.clone() });
        }
    }
    if settings.shards == 0 {
        return Err(JoinError::NoShards);
    }
    let timing = Timing::new(settings.session).map_err(JoinError::TooShort)?;
    let prefix = Prefix::new(&settings.cluster);
    agree(coordinator, &prefix, settings).await?;
    let member = Member {
        name: settings.name.clone(),
        address: settings.address.clone(),
        weight: settings.weight,
        draining: false,
    };
    let name = hold_name(coordinator, clock, &prefix, &settings.name, timing).await?;
    let puts = Txn {
        compares: Vec::new(),
        writes: vec![
            Write::Put(Key::Node(node), Value::Member(member.clone())),
            Write::Put(Key::Beat(node), Value::Beat(0)),
        ],
    };
    let mut register = prefix.transaction(&puts);
    register.compares = name;
    register.compares.push(Comparison::Created(prefix.key(Key::Node(node)), 0));
    register.writes.push(Change::Put(prefix.name(&settings.name), codec::hold(node)));
    let sent = clock.now();
    let committed = coordinator.commit(register, limits::JOIN_WAIT).await?;
    if !committed.done {
        return Err(JoinError::NameInUse { name: settings.name.clone() });
    }
    let session = Session { node, created: committed.revision };
    Ok(Joined { session, member, timing, prefix, sent })
}

/// Makes the configuration of a new cluster, or compares with that of an old one.
async fn agree(
    coordinator: &dyn Coordinator,
    prefix: &Prefix,
    settings: &Settings,
) -> Result<(), JoinError> {
    let key = prefix.agreed();
    let ours = Agreed {
        protocol: PROTOCOL,
        shards: u64::from(settings.shards),
        session_ms: u64::try_from(settings.session.as_millis()).unwrap_or(u64::MAX),
        generation: 1,
    };
    let create = Transaction {
        compares: vec![Comparison::Created(key.clone(), 0)],
        writes: vec![Change::Put(key.clone(), ours.to_string().into_bytes())],
    };
    if coordinator.commit(create, limits::JOIN_WAIT).await?.done {
        return Ok(());
    }
    let listing = coordinator.list(key.clone(), limits::JOIN_WAIT).await?;
    let written = listing.entries.into_iter().find(|entry| entry.key == key);
    let theirs = written.and_then(|entry| Agreed::read(&entry.value?));
    let Some(theirs) = theirs else { return Err(JoinError::Unreadable { key }) };
    for (what, theirs, ours) in [
        ("protocol", theirs.protocol, ours.protocol),
        ("shards", theirs.shards, ours.shards),
        ("session length", theirs.session_ms, ours.session_ms),
    ] {
        if theirs != ours {
            return Err(JoinError::Differs { what, theirs, ours });
        }
    }
    Ok(())
}

/// What must hold for the name to be free: nobody took it, or who did is gone. Waits for the end of
/// a session that is silent, and ends it when its time is over: there may be nobody else to do so.
async fn hold_name(
    coordinator: &dyn Coordinator,
    clock: &dyn Clock,
    prefix: &Prefix,
    name: &str,
    timing: Timing,
) -> Result<Vec<Comparison>, JoinError> {
    let key = prefix.name(name);
    let listing = coordinator.list(key.clone(), limits::JOIN_WAIT).await?;
    let Some(entry) = listing.entries.into_iter().find(|entry| entry.key == key) else {
        return Ok(vec![Comparison::Created(key, 0)]);
    };
    let same = Comparison::Modified(key.clone(), entry.modified);
    let Some(node) = entry.value.as_deref().and_then(codec::holder) else {
        return Err(JoinError::Unreadable { key });
    };
    outlive(coordinator, clock, prefix, Vigil::new(node, timing), node, timing)
        .await?
        .then(|| vec![same, Comparison::Created(prefix.key(Key::Node(node)), 0)])
        .ok_or_else(|| JoinError::NameInUse { name: name.to_owned() })
}

/// Whether a session has ended. If not, it is alive.
async fn outlive(
    coordinator: &dyn Coordinator,
    clock: &dyn Clock,
    prefix: &Prefix,
    mut vigil: Vigil,
    node: NodeId,
    timing: Timing,
) -> Result<bool, JoinError> {
    let key = prefix.key(Key::Beat(node));
    // Each question has its deadline, and a heartbeat or its absence is an answer; what is waited
    // for is at most a session without any, and then the questions fail.
    loop {
        let asked = clock.now();
        let listing = coordinator.list(key.clone(), limits::JOIN_WAIT).await?;
        let record = listing.entries.iter().find_map(|entry| prefix.record(entry));
        let beat = record.and_then(|record| match record.value {
            Some(Value::Beat(count)) => Some((count, record.modified)),
            _ => None,
        });
        match vigil.hear(beat, asked, clock.now()) {
            Verdict::Gone => return Ok(true),
            Verdict::Alive => return Ok(false),
            Verdict::Wait => {}
            Verdict::Evict(txn) => {
                let txn = prefix.transaction(&txn);
                return Ok(coordinator.commit(txn, limits::JOIN_WAIT).await?.done);
            }
        }
        tokio::time::sleep(Duration::from_nanos(timing.heartbeat)).await;
    }
}
