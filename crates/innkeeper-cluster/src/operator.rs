//! What an operator does to a cluster by hand: ends the session of a node that is gone for sure,
//! changes what all nodes agree on, and begins anew after the coordinator was put back.

use std::fmt;
use std::time::Duration;

use crate::burial;
use crate::clock::Clock;
use crate::codec::{self, Prefix};
use crate::configuration::{self, Configuration, Unreadable, Written};
use crate::coordinator::{Change, Comparison, Coordinator, CoordinatorError, Entry, Transaction};
use crate::limits;
use crate::ownership::proof::Death;
use crate::ownership::record::{Session, Shard, Value};
use crate::ownership::timing::{Timing, TooShort};

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperatorError {
    /// There is no cluster of that name.
    NoCluster {
        /// The name.
        cluster: String,
    },
    /// Something that the coordinator keeps cannot be read.
    Unreadable {
        /// Where it is written.
        key: String,
    },
    /// No node has that name and a session.
    NoNode {
        /// The name.
        name: String,
    },
    /// Nobody has said that the node's program is dead.
    NotConfirmed {
        /// The node.
        name: String,
    },
    /// There are sessions.
    Live {
        /// The nodes that have them, by name.
        names: Vec<String>,
    },
    /// A cluster without shards.
    NoShards,
    /// A session that is too short.
    TooShort(TooShort),
    /// Somebody has changed it since it was looked at.
    Raced,
    /// The coordinator did not do it, or nobody knows whether it did: look, and do it again.
    Coordinator(CoordinatorError),
}

impl fmt::Display for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OperatorError::NoCluster { cluster } => {
                write!(f, "there is no cluster `{cluster}`; its first node makes it")
            }
            OperatorError::Unreadable { key } => write!(f, "{key} cannot be read"),
            OperatorError::NoNode { name } => {
                write!(f, "no node `{name}` has a session: there is nothing to end")
            }
            OperatorError::NotConfirmed { name } => {
                write!(
                    f,
                    "node `{name}` may still act for its shards; make sure that its program "
                )?;
                f.write_str("has ended, and confirm that, or wait until its session is over")
            }
            OperatorError::Live { names } => {
                write!(f, "expected no live node, got `{}`; ", names.join("`, `"))?;
                f.write_str("stop them all, or wait until their sessions are over")
            }
            OperatorError::NoShards => f.write_str("shards: expected at least 1, got 0"),
            OperatorError::TooShort(error) => error.fmt(f),
            OperatorError::Raced => {
                f.write_str("a node joined or the configuration was changed meanwhile; look again")
            }
            OperatorError::Coordinator(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OperatorError {}

impl From<CoordinatorError> for OperatorError {
    fn from(error: CoordinatorError) -> Self {
        OperatorError::Coordinator(error)
    }
}

impl From<Unreadable> for OperatorError {
    fn from(Unreadable { key }: Unreadable) -> Self {
        OperatorError::Unreadable { key }
    }
}

/// What a cluster is to be configured with from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// How many shards there are. `None`: as many as there were.
    pub shards: Option<Shard>,
    /// How long a session lasts. `None`: as long as it did.
    pub session: Option<Duration>,
}

/// What a cluster is configured with.
///
/// # Errors
/// [`OperatorError::NoCluster`], [`OperatorError::Unreadable`], [`OperatorError::Coordinator`].
pub async fn configuration(
    coordinator: &dyn Coordinator,
    cluster: &str,
) -> Result<Configuration, OperatorError> {
    let written = configuration::read(coordinator, &Prefix::new(cluster)).await?;
    let written =
        written.ok_or_else(|| OperatorError::NoCluster { cluster: cluster.to_owned() })?;
    Ok(written?.configuration)
}

/// Ends the session of a node at once, and not when it is over by itself: others have its shards
/// then. Answers with the session.
///
/// `is_terminated` is the operator's word that the node's program has ended, or its machine. If it
/// is wrong, two nodes act for one shard until that one's session would have been over. Takes half
/// a second ([`EFFECTS`](crate::ownership::timing::EFFECTS)), in which others may still take what
/// the node's processes asked of theirs.
///
/// # Errors
/// [`OperatorError::NotConfirmed`]: without that word. [`OperatorError::NoNode`],
/// [`OperatorError::Unreadable`], [`OperatorError::Coordinator`].
pub async fn evict(
    coordinator: &dyn Coordinator,
    clock: &dyn Clock,
    cluster: &str,
    name: &str,
    is_terminated: bool,
) -> Result<Session, OperatorError> {
    let prefix = Prefix::new(cluster);
    let none = || OperatorError::NoNode { name: name.to_owned() };
    let key = prefix.name(name);
    let listing = coordinator.list(key.clone(), limits::JOIN_WAIT).await?;
    let entry = listing.entries.into_iter().find(|entry| entry.key == key).ok_or_else(none)?;
    let node = entry.value.as_deref().and_then(codec::holder);
    let node = node.ok_or(OperatorError::Unreadable { key })?;
    let created = burial::session(coordinator, &prefix, node).await?.ok_or_else(none)?;
    if !is_terminated {
        return Err(OperatorError::NotConfirmed { name: name.to_owned() });
    }
    let session = Session { node, created };
    tracing::warn!(name, ?session, "evicted by an operator who says that it is terminated");
    let death = Death::new(session, clock.now());
    let ended = burial::end(coordinator, clock, &prefix, &death).await?;
    ended.then_some(session).ok_or_else(none)
}

/// Changes what all nodes of a cluster agree on. Possible while no node has a session; each node
/// has to be started with the new values then.
///
/// The generation is one more afterwards, and epochs lie above all those before: keys change
/// their shards with the number of those, and their tokens still grow.
///
/// # Errors
/// [`OperatorError::Live`]: some node has a session. [`OperatorError::Raced`]: one began meanwhile.
/// [`OperatorError::NoShards`], [`OperatorError::TooShort`], [`OperatorError::NoCluster`],
/// [`OperatorError::Unreadable`], [`OperatorError::Coordinator`].
pub async fn reconfigure(
    coordinator: &dyn Coordinator,
    cluster: &str,
    changes: Changes,
) -> Result<Configuration, OperatorError> {
    let prefix = Prefix::new(cluster);
    // At one revision: if anybody joins after it, the configuration was written since.
    let listing = coordinator.list(prefix.all(), limits::JOIN_WAIT).await?;
    let written = find(&prefix, cluster, &listing.entries)?;
    let names = live(&prefix, &listing.entries);
    if !names.is_empty() {
        return Err(OperatorError::Live { names });
    }
    let now = written.configuration;
    let shards = changes.shards.map_or(now.shards, u64::from);
    if shards == 0 {
        return Err(OperatorError::NoShards);
    }
    let session = changes.session.unwrap_or(now.session);
    Timing::new(session).map_err(OperatorError::TooShort)?;
    let next = Configuration::new(now.protocol, shards, session, now.generation + 1);
    replace(coordinator, &prefix, &written, next).await
}

/// Begins a new generation of a cluster, after its coordinator was put back to an older state: stop
/// all nodes, restore, do this, start them.
///
/// Epochs lie above all that were given before, also those that the coordinator has forgotten; and
/// a node that was not stopped is over with its next heartbeat. Sessions that the coordinator still
/// knows of are left to end by themselves, or by proof, for their programs may not be dead.
///
/// # Errors
/// [`OperatorError::Raced`], [`OperatorError::NoCluster`], [`OperatorError::Unreadable`],
/// [`OperatorError::Coordinator`].
pub async fn new_generation(
    coordinator: &dyn Coordinator,
    cluster: &str,
) -> Result<Configuration, OperatorError> {
    let prefix = Prefix::new(cluster);
    let listing = coordinator.list(prefix.agreed(), limits::JOIN_WAIT).await?;
    let written = find(&prefix, cluster, &listing.entries)?;
    let Configuration { protocol, shards, session, generation, .. } = written.configuration;
    let next = Configuration::new(protocol, shards, session, generation + 1);
    replace(coordinator, &prefix, &written, next).await
}

fn find(prefix: &Prefix, cluster: &str, entries: &[Entry]) -> Result<Written, OperatorError> {
    let written = configuration::written(prefix, entries);
    let written =
        written.ok_or_else(|| OperatorError::NoCluster { cluster: cluster.to_owned() })?;
    Ok(written?)
}

/// Who has a session, by name; by where it is written, if that cannot be read.
fn live(prefix: &Prefix, entries: &[Entry]) -> Vec<String> {
    let name = |entry: &Entry| match prefix.record(entry)?.value {
        Some(Value::Member(member)) => Some(member.name),
        _ => None,
    };
    let nodes = entries.iter().filter(|entry| entry.key.starts_with(&prefix.nodes()));
    nodes.map(|entry| name(entry).unwrap_or_else(|| entry.key.clone())).collect()
}

async fn replace(
    coordinator: &dyn Coordinator,
    prefix: &Prefix,
    old: &Written,
    new: Configuration,
) -> Result<Configuration, OperatorError> {
    let key = prefix.agreed();
    let transaction = Transaction {
        compares: vec![Comparison::Modified(key.clone(), old.modified)],
        writes: vec![Change::Put(key, new.to_string().into_bytes())],
    };
    let committed = coordinator.commit(transaction, limits::JOIN_WAIT).await?;
    committed.done.then_some(new).ok_or(OperatorError::Raced)
}
