//! The coordinator of innkeeper's clusters on etcd v3.
//!
//! Ownership never rests on etcd's leases or on its clocks: etcd is a register with compare-and-set
//! transactions here, and nothing else. Any request may be tried at a second member while the first
//! is silent, so that one stuck member holds up nobody.

mod hedge;
mod member;
mod pin;
mod request;
mod version;
mod watch;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use innkeeper_cluster::coordinator::{
    Committed, Coordinator, CoordinatorError, Later, Listing, PREFIX, Revision, Transaction, Watch,
};

use hedge::Outcome;
use member::Member;
use pin::Pin;

pub use version::{BadVersion, Version};

/// How many changes etcd is to remember at least: about half an hour of five nodes.
const HISTORY: i64 = 10_000;

/// How many changes there may be before the older ones are compacted.
const COMPACT_EVERY: i64 = 50_000;

/// Where etcd is, and how it is spoken to.
#[derive(Clone)]
pub struct Options {
    /// Each member by its URL, `http://127.0.0.1:2379` or with `https`.
    pub endpoints: Vec<String>,
    /// The certificates that a member's has to be signed by, as PEM.
    pub ca: Option<Vec<u8>>,
    /// The certificate and the key to show to a member, as PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The user and the password, where etcd asks for them.
    pub user: Option<(String, String)>,
    /// What all keys begin with that are written there: one etcd can be that of many. With a slash
    /// at its end, else two may be one.
    pub prefix: String,
}

impl Default for Options {
    /// No endpoint, nothing to prove, and [`PREFIX`].
    fn default() -> Self {
        let (endpoints, prefix) = (Vec::new(), PREFIX.to_owned());
        Options { endpoints, ca: None, identity: None, user: None, prefix }
    }
}

/// Why there is no etcd to coordinate with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// No endpoint was given.
    NoEndpoints,
    /// An endpoint that is none.
    BadEndpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// A member that is known to lose data.
    BadVersion {
        /// Where.
        endpoint: String,
        /// Which, and which would do.
        version: BadVersion,
    },
    /// Nobody answers. For each endpoint, why.
    Unreachable(Vec<(String, String)>),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::NoEndpoints => f.write_str("no etcd endpoint was given"),
            ConnectError::BadEndpoint { endpoint, why } => {
                write!(
                    f,
                    "expected an endpoint such as http://127.0.0.1:2379, got {endpoint}: {why}"
                )
            }
            ConnectError::BadVersion { endpoint, version } => write!(f, "{endpoint}: {version}"),
            ConnectError::Unreachable(all) => {
                f.write_str("no member of etcd answers")?;
                all.iter().try_for_each(|(endpoint, why)| write!(f, "; {endpoint}: {why}"))
            }
        }
    }
}

impl std::error::Error for ConnectError {}

/// The coordinator on etcd.
pub struct Etcd {
    members: Vec<Member>,
    /// Who answered last: whom to ask first.
    first: AtomicUsize,
    pin: Pin,
    compacted: AtomicI64,
    /// What all keys begin with.
    root: String,
}

impl Etcd {
    /// Connects to whichever members answer, and looks at what they are.
    ///
    /// # Errors
    /// [`ConnectError`]: nobody answers within `within`, or somebody who must not be relied on
    /// does. A member that is down now is looked at when it is asked for the first time.
    pub async fn connect(options: &Options, within: Duration) -> Result<Etcd, ConnectError> {
        if options.endpoints.is_empty() {
            return Err(ConnectError::NoEndpoints);
        }
        let members: Result<Vec<_>, _> =
            options.endpoints.iter().map(|endpoint| Member::new(endpoint, options)).collect();
        let (members, first) = (members?, AtomicUsize::new(0));
        let (pin, compacted, root) = (Pin::default(), AtomicI64::new(0), options.prefix.clone());
        let etcd = Etcd { members, first, pin, compacted, root };
        let mut silent = Vec::new();
        for (at, member) in etcd.members.iter().enumerate().rev() {
            match tokio::time::timeout(within, member.client()).await {
                Ok(Ok(_)) => etcd.first.store(at, Ordering::Relaxed),
                Ok(Err(member::Refused::Version(version))) => {
                    let endpoint = member.endpoint().to_owned();
                    return Err(ConnectError::BadVersion { endpoint, version });
                }
                Ok(Err(member::Refused::Silent(why))) => {
                    silent.push((member.endpoint().to_owned(), why));
                }
                Err(_) => {
                    silent.push((member.endpoint().to_owned(), "no answer in time".to_owned()));
                }
            }
        }
        if silent.len() == etcd.members.len() {
            silent.reverse();
            return Err(ConnectError::Unreachable(silent));
        }
        Ok(etcd)
    }

    /// Whom to ask first, and whom if that one is silent.
    fn pair(&self) -> (usize, usize) {
        let first = self.first.load(Ordering::Relaxed) % self.members.len();
        (first, (first + 1) % self.members.len())
    }

    /// Asks both of a pair, the second one only if need be, and remembers who answered.
    async fn ask<T>(
        &self,
        within: Duration,
        (first, second): (usize, usize),
        one: impl Future<Output = Outcome<T>>,
        other: impl Future<Output = Outcome<T>>,
    ) -> Result<T, CoordinatorError> {
        if first == second {
            return hedge::alone(within, one).await;
        }
        let (by_second, result) = hedge::either(within, one, other).await;
        if by_second {
            self.first.store(second, Ordering::Relaxed);
        }
        result
    }

    /// Has etcd forget what is long past, for it fills up otherwise.
    async fn compact(&self, member: &Member, revision: Revision) {
        let revision = i64::try_from(revision).unwrap_or(i64::MAX);
        if revision - self.compacted.load(Ordering::Relaxed) < COMPACT_EVERY {
            return;
        }
        self.compacted.store(revision, Ordering::Relaxed);
        if let Ok(client) = member.client().await
            && let Err(error) = client.kv_client().compact(revision - HISTORY, None).await
        {
            // Another node may have been faster.
            tracing::debug!(%error, "not compacted");
        }
    }
}

impl Coordinator for Etcd {
    fn commit(
        &self,
        transaction: Transaction,
        within: Duration,
    ) -> Later<'_, Result<Committed, CoordinatorError>> {
        Box::pin(async move {
            let floor = self.pin.floor();
            let pair = self.pair();
            let ask =
                |at: usize| Box::pin(request::commit(&self.members[at], &self.root, &transaction));
            let (committed, cluster) = self.ask(within, pair, ask(pair.0), ask(pair.1)).await?;
            self.pin.check(cluster, committed.revision, floor)?;
            Ok(committed)
        })
    }

    fn list(
        &self,
        prefix: String,
        within: Duration,
    ) -> Later<'_, Result<Listing, CoordinatorError>> {
        Box::pin(async move {
            let floor = self.pin.floor();
            let pair = self.pair();
            let ask = |at: usize| Box::pin(request::list(&self.members[at], &self.root, &prefix));
            let (listing, cluster) = self.ask(within, pair, ask(pair.0), ask(pair.1)).await?;
            self.pin.check_cluster(cluster)?;
            if listing.revision < floor {
                // Some versions answer from the past after a pause. A transaction will tell.
                let why = "the member answered from the past".to_owned();
                return Err(CoordinatorError::NotDone(why));
            }
            self.compact(&self.members[self.pair().0], listing.revision).await;
            Ok(listing)
        })
    }

    fn watch(
        &self,
        prefix: String,
        after: Revision,
        within: Duration,
    ) -> Later<'_, Result<Box<dyn Watch>, CoordinatorError>> {
        Box::pin(async move {
            let pair = self.pair();
            let ask =
                |at: usize| Box::pin(watch::open(&self.members[at], &self.root, &prefix, after));
            let watch = self.ask(within, pair, ask(pair.0), ask(pair.1)).await?;
            Ok(Box::new(watch) as Box<dyn Watch>)
        })
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> = self.members.iter().map(Member::endpoint).collect();
        f.debug_struct("Etcd").field("endpoints", &endpoints).finish_non_exhaustive()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the key nor the password.
        let user = self.user.as_ref().map(|(name, _)| name);
        f.debug_struct("Options")
            .field("endpoints", &self.endpoints)
            .field("user", &user)
            .finish_non_exhaustive()
    }
}
