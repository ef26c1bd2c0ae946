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
use crate::ownership::record::{Session, Shard, Value, Versions};
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
    /// Some nodes do not speak that version of the protocol.
    Outdated {
        /// The version.
        version: u64,
        /// By name, and what each of them speaks. `None`: its record cannot be read.
        nodes: Vec<(String, Option<Versions>)>,
    },
    /// This program does not speak what the nodes of the cluster speak.
    Foreign {
        /// The version that all of them speak.
        theirs: u64,
        /// What this program speaks.
        ours: Versions,
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
            OperatorError::Outdated { version, nodes } => {
                write!(f, "version {version} of the protocol: ")?;
                for (name, versions) in nodes {
                    match versions {
                        Some(versions) => write!(f, "node `{name}` speaks {versions}; ")?,
                        None => write!(f, "`{name}` cannot be read; ")?,
                    }
                }
                f.write_str("start them with a release that speaks it, and finalize then")
            }
            OperatorError::Foreign { theirs, ours } => {
                write!(f, "protocol: the cluster needs version {theirs}, this program speaks ")?;
                write!(f, "{ours}; use a release that speaks version {theirs}")
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
    /// How long the coordinator may take to find a new leader. `None`: as long as it did.
    pub fail_over: Option<Duration>,
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
    let fail_over = changes.fail_over.unwrap_or(now.fail_over);
    Timing::new(session, fail_over).map_err(OperatorError::TooShort)?;
    let mut next = now.next();
    (next.shards, next.session, next.fail_over) = (shards, session, fail_over);
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
    replace(coordinator, &prefix, &written, written.configuration.next()).await
}

/// Which versions of the protocol the nodes of a cluster speak, by name. One whose record cannot be
/// read speaks none.
///
/// # Errors
/// As [`configuration`].
pub async fn versions(
    coordinator: &dyn Coordinator,
    cluster: &str,
) -> Result<(Configuration, Vec<(String, Option<Versions>)>), OperatorError> {
    let prefix = Prefix::new(cluster);
    let listing = coordinator.list(prefix.all(), limits::JOIN_WAIT).await?;
    let written = find(&prefix, cluster, &listing.entries)?;
    Ok((written.configuration, spoken(&prefix, &listing.entries)))
}

/// Ends an upgrade: from now on every node speaks the newest version that this program speaks, and
/// who does not is not taken any more. Nothing is changed for nodes that run. Answers with what is
/// agreed on then; so it does where that was so before.
///
/// # Errors
/// [`OperatorError::Outdated`]: some node does not speak it. [`OperatorError::Raced`]: one joined
/// meanwhile. [`OperatorError::Foreign`]: this program does not speak what the cluster speaks now.
/// [`OperatorError::NoCluster`], [`OperatorError::Unreadable`], [`OperatorError::Coordinator`].
pub async fn finalize(
    coordinator: &dyn Coordinator,
    cluster: &str,
    ours: Versions,
) -> Result<Configuration, OperatorError> {
    let prefix = Prefix::new(cluster);
    // At one revision: if anybody joins after it, the configuration was written since.
    let listing = coordinator.list(prefix.all(), limits::JOIN_WAIT).await?;
    let written = find(&prefix, cluster, &listing.entries)?;
    let (now, version) = (written.configuration, ours.newest);
    if !ours.contains(now.protocol) {
        return Err(OperatorError::Foreign { theirs: now.protocol, ours });
    }
    let mut nodes = spoken(&prefix, &listing.entries);
    nodes.retain(|(_, spoken)| !spoken.is_some_and(|spoken| spoken.contains(version)));
    if !nodes.is_empty() {
        return Err(OperatorError::Outdated { version, nodes });
    }
    replace(coordinator, &prefix, &written, now.raised_to(version)).await
}

fn find(prefix: &Prefix, cluster: &str, entries: &[Entry]) -> Result<Written, OperatorError> {
    let written = configuration::written(prefix, entries);
    let written =
        written.ok_or_else(|| OperatorError::NoCluster { cluster: cluster.to_owned() })?;
    Ok(written?)
}

/// Who has a session, by name; by where it is written, if that cannot be read.
fn live(prefix: &Prefix, entries: &[Entry]) -> Vec<String> {
    spoken(prefix, entries).into_iter().map(|(name, _)| name).collect()
}

/// Who has a session, and what it speaks.
fn spoken(prefix: &Prefix, entries: &[Entry]) -> Vec<(String, Option<Versions>)> {
    let nodes = entries.iter().filter(|entry| entry.key.starts_with(&prefix.nodes()));
    let spoken = nodes.map(|entry| match prefix.record(entry).and_then(|record| record.value) {
        Some(Value::Member(member)) => (member.name, Some(member.versions)),
        _ => (entry.key.clone(), None),
    });
    spoken.collect()
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
        writes: vec![Change::Put(key, old.replaced_by(&new))],
    };
    let committed = coordinator.commit(transaction, limits::JOIN_WAIT).await?;
    committed.done.then_some(new).ok_or(OperatorError::Raced)
}
