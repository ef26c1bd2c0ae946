//! Questions about all processes of a scope, on whatever nodes they run.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::gathered::{Gathered, Missing, NoAnswer};
use crate::keyed::scope::Scope;
use crate::keyed::{Hearing, Key, Page, placed};
use crate::limits;
use crate::observe::ProcessInfo;
use crate::process::Process;

/// All processes of a scope, wherever they run: on every node of the cluster that it is placed by,
/// or on the one node there is. Made by [`Keyed::everywhere`](crate::Keyed::everywhere).
///
/// The code that asks is the same for one node and for many. To ask other nodes takes time, and
/// some of them may not answer: each question has a deadline, and its answer says what it lacks
/// (OTP's `:erpc.multicall/4`, but asked of those alone who act for the keys, each for its own).
///
/// # Guarantees
/// What was started before the question, or by anybody who has been told so, and is there until
/// the answer, is part of it, once, unless the answer says that a part is missing. A key that
/// moves from one node to another meanwhile is not counted or listed twice.
#[derive(Clone)]
pub struct Everywhere<K: Key, P: Process> {
    scope: Arc<Scope<K, P>>,
    timeout: Option<Duration>,
}

impl<K: Key, P: Process> Everywhere<K, P> {
    pub(super) fn new(scope: &Arc<Scope<K, P>>) -> Self {
        Everywhere { scope: scope.clone(), timeout: None }
    }

    /// How long each question may take. Default: five seconds, and a minute for
    /// [`stop_all`](Self::stop_all). What is not known by then is missing in the answer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How many keys are taken, by processes in whatever state.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn count(self) -> Gathered<usize> {
        let Gathered { value, missing } = self.count_by_node().await;
        Gathered { value: value.iter().map(|count| count.keys).sum(), missing }
    }

    /// How many keys are taken on each node that answers, in the order of their names; the one that
    /// was asked comes first. A node that no key can be on may not be there.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn count_by_node(self) -> Gathered<Vec<NodeCount>> {
        let time = self.look_time();
        match &self.scope.shared.placement {
            None => Gathered::whole(vec![NodeCount { node: None, keys: self.scope.table.len() }]),
            Some(placement) => placement.count(time).await,
        }
    }

    /// A snapshot of the process of a key; none if it has none. Never starts one, and never waits
    /// for it.
    ///
    /// # Errors
    /// [`NoAnswer`]: nobody knows whether there is one.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn info(self, key: &K) -> Result<Option<ProcessInfo>, NoAnswer> {
        let time = self.look_time();
        match &self.scope.shared.placement {
            None => Ok(self.scope.info(key)),
            Some(placement) => placed::info(&self.scope, &**placement, key, time).await,
        }
    }

    /// What happens from now on, on every node: what happens after this is answered is heard, or it
    /// is said that something of that node is not. Nodes that come later are heard from then on.
    ///
    /// Bounded: whoever does not take it in time is told how many it has missed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn events(self) -> Hearing<K> {
        match &self.scope.shared.placement {
            None => Hearing::here(self.scope.events()),
            Some(placement) => placement.events().await,
        }
    }

    /// Ends every process there is now, all at once, and waits until they have ended; answers how
    /// many were told to end. As [`Keyed::stop_all`](crate::Keyed::stop_all) does on one node.
    ///
    /// Where a part is missing, processes may have been told to end and may not.
    ///
    /// # Cancel safety
    /// The orders that were given stand.
    pub async fn stop_all(self) -> Gathered<usize> {
        let timeout = self.timeout.unwrap_or(limits::ASK_TIMEOUT);
        let Some(placement) = &self.scope.shared.placement else {
            let ending = self.scope.end_all(|_| true).await;
            let told = ending.told;
            return match within(timeout, ending.wait(&self.scope)).await {
                Ok(()) => Gathered::whole(told),
                Err(why) => Gathered { value: told, missing: vec![Missing::Here(why)] },
            };
        };
        placement.stop_all(timeout).await
    }

    fn look_time(&self) -> Duration {
        self.timeout.unwrap_or(limits::LOOK_TIMEOUT)
    }
}

impl<K: Key + Ord, P: Process> Everywhere<K, P> {
    /// The first keys of a range, in order, with a snapshot of the process of each: at most
    /// `limit`, at most [`limits::PAGE_MAX`], and over nodes at most as many as each may send at
    /// once. [`Page::next`] says where the next page begins.
    ///
    /// Every node answers with the first of its own, so no more of a million keys travels than
    /// nodes times `limit`. Keys that begin alike are next to each other: a search by prefix begins
    /// at the prefix, and is over at the first key without it.
    ///
    /// ```
    /// # use std::ops::Bound;
    /// # use innkeeper::{Keyed, Process};
    /// # async fn rooms_of<P: Process>(rooms: &Keyed<String, P>, prefix: &str) -> Vec<String> {
    /// let range = (Bound::Included(prefix.to_owned()), Bound::Unbounded);
    /// let page = rooms.everywhere().page(range, 100).await.value;
    /// let keys = page.rows.into_iter().map(|row| row.key);
    /// keys.take_while(|key| key.starts_with(prefix)).collect()
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn page(self, range: impl RangeBounds<K>, limit: usize) -> Gathered<Page<K>> {
        let (limit, time) = (limit.min(limits::PAGE_MAX), self.look_time());
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        let Some(placement) = &self.scope.shared.placement else {
            let page = self.scope.page(limit, |cell| range.contains(&cell.owner.key));
            return match within(time, page).await {
                Ok(page) => Gathered::whole(page),
                Err(why) => Gathered { value: Page::empty(), missing: vec![Missing::Here(why)] },
            };
        };
        placement.page(range, limit, time).await
    }
}

/// How many keys are taken on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCount {
    /// Its name; `None` if it is the one that was asked.
    pub node: Option<Arc<str>>,
    /// How many.
    pub keys: usize,
}

/// From where to where a page may reach.
pub type KeyRange<K> = (Bound<K>, Bound<K>);

/// What comes of something, if it comes in time.
async fn within<T>(time: Duration, what: impl Future<Output = T>) -> Result<T, NoAnswer> {
    let deadline = clock::now().after(time);
    tokio::select! {
        biased;
        value = what => Ok(value),
        () = clock::alarm(deadline) => Err(NoAnswer::Late),
    }
}

impl<K: Key, P: Process> fmt::Debug for Everywhere<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Everywhere").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
