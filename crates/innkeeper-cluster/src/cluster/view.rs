//! Questions about all processes of a scope: each part of the keys is asked of the node that acts
//! for it, once, until every part has its answer or the caller's time is over.
//!
//! A node answers for a shard only if it acted for it, under one epoch, from before it looked until
//! after. So the answers never overlap, and what has none is known.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use innkeeper::placement::{Failed, Hosted, Later, Standing, Tenure};
use innkeeper::{
    Away, ExitReason, Gathered, Key, KeyRange, Missing, NoAnswer, NodeCount, NotDelivered, Page,
    Row, Unknown,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Inner;
use super::asked::{self, Answered, Ask, Asked};
use super::seen::Seen;
use super::tenure::Owning;
use crate::frame::{Message, Request, Under};
use crate::limits;
use crate::links::Origin;
use crate::ownership::record::{Epoch, Session, Shard};
use crate::remote::Remote;

/// What is asked about all processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Look<K> {
    Count,
    Page { range: KeyRange<K>, limit: usize },
    StopAll,
}

/// The part of an answer that one node gives, for some shards.
#[derive(Debug)]
struct Share<K> {
    /// Its name, if it is not this one.
    node: Option<Arc<str>>,
    shards: Vec<Shard>,
    count: usize,
    rows: Vec<Row<K>>,
    /// There may be more, after this key.
    next: Option<K>,
}

/// The same, written down.
#[derive(Debug, Serialize, Deserialize)]
struct Written<'a, K> {
    shards: Vec<Shard>,
    count: u64,
    /// Each a key and what is seen of its process.
    #[serde(borrow)]
    rows: Vec<&'a [u8]>,
    next: Option<K>,
}

/// All processes of one scope, as this node can see them.
pub(crate) struct View<K: Key, P: Remote> {
    inner: Arc<Inner>,
    scope: Bytes,
    here: Hosted<K, P>,
}

/// What one round of questions brought.
struct Round<K> {
    shares: Vec<Share<K>>,
    failed: Failures,
}

/// Who gave no answer, by name, and why.
type Failures = BTreeMap<Session, (String, NoAnswer)>;

impl<K, P> View<K, P>
where
    K: Key + Ord + Serialize + DeserializeOwned,
    P: Remote,
{
    pub(crate) fn new(inner: Arc<Inner>, scope: Bytes, here: Hosted<K, P>) -> Self {
        View { inner, scope, here }
    }

    pub(crate) async fn count(self, within: Duration) -> Gathered<Vec<NodeCount>> {
        let Gathered { value: shares, missing } = self.gather(&Look::Count, within).await;
        let mut keys: BTreeMap<Option<Arc<str>>, usize> = BTreeMap::new();
        for share in shares {
            *keys.entry(share.node).or_default() += share.count;
        }
        let value = keys.into_iter().map(|(node, keys)| NodeCount { node, keys }).collect();
        Gathered { value, missing }
    }

    pub(crate) async fn stop_all(self, within: Duration) -> Gathered<usize> {
        let Gathered { value: shares, missing } = self.gather(&Look::StopAll, within).await;
        Gathered { value: shares.iter().map(|share| share.count).sum(), missing }
    }

    pub(crate) async fn page(
        self,
        range: KeyRange<K>,
        limit: usize,
        within: Duration,
    ) -> Gathered<Page<K>> {
        let Gathered { value, missing } = self.gather(&Look::Page { range, limit }, within).await;
        Gathered { value: merged(value, limit), missing }
    }

    /// Asks until every shard has its answer, nobody is left who may have one, or time is over.
    async fn gather(&self, look: &Look<K>, within: Duration) -> Gathered<Vec<Share<K>>> {
        let node = &self.inner.node;
        let began = node.now().raw;
        let left =
            || within.saturating_sub(Duration::from_nanos(node.now().raw.saturating_sub(began)));
        let mut open: Vec<Shard> = (0..node.shards()).collect();
        let (mut shares, mut failed, mut tries) = (Vec::new(), Failures::new(), 0);
        loop {
            let round = self.round(&open, look, left()).await;
            open.retain(|shard| round.shares.iter().all(|share| !share.shards.contains(shard)));
            shares.extend(round.shares);
            learn(&mut failed, round.failed);
            let missing = self.missing(&open, &failed);
            // A version does not change while somebody waits.
            let is_over = missing.iter().all(|missing| {
                matches!(missing, Missing::Node { why: NoAnswer::Away(Away::Incompatible), .. })
            });
            tries += 1;
            let pause = self.inner.pause(tries);
            if is_over || pause >= left() {
                return Gathered { value: shares, missing };
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks each node that owns some of these shards for its part.
    async fn round(&self, open: &[Shard], look: &Look<K>, left: Duration) -> Round<K> {
        let me = self.inner.node.session();
        let owners = self.inner.node.owners();
        let mut dealt: BTreeMap<Session, Vec<Shard>> = BTreeMap::new();
        for shard in open {
            if let Some(owned) = owners.get(usize::from(*shard)).copied().flatten() {
                dealt.entry(owned.owner).or_default().push(*shard);
            }
        }
        let asked = dealt.into_iter().filter_map(|(owner, of)| {
            let name = self.inner.node.member(owner)?.name;
            let share: Later<'_, _> = match owner == me {
                true => Box::pin(self.own_share(of, look, left)),
                false => Box::pin(self.share_of(owner, name.as_str().into(), of, look, left)),
            };
            let told: Later<'_, _> = Box::pin(async move { (owner, name, share.await) });
            Some(told)
        });
        let mut round = Round { shares: Vec::new(), failed: Failures::new() };
        for (owner, name, share) in together(asked, limits::LOOKS_AT_ONCE).await {
            match share {
                Ok(share) => round.shares.push(share),
                Err(why) => drop(round.failed.insert(owner, (name, why))),
            }
        }
        round
    }

    /// Whose answer is missing for these shards.
    fn missing(&self, open: &[Shard], failed: &Failures) -> Vec<Missing> {
        let (me, owners) = (self.inner.node.session(), self.inner.node.owners());
        let (mut parts, mut silent) = (0, BTreeMap::new());
        for shard in open {
            let owner = owners.get(usize::from(*shard)).copied().flatten();
            match owner.and_then(|owned| failed.get_key_value(&owned.owner)) {
                Some((session, told)) => drop(silent.insert(session, told)),
                None => parts += 1,
            }
        }
        let silent = silent.into_iter().map(|(session, (name, why))| match *session == me {
            true => Missing::Here(*why),
            false => Missing::Node { name: name.clone(), why: *why },
        });
        let nobody = Missing::Nobody { parts, of: owners.len() };
        silent.chain((parts > 0).then_some(nobody)).collect()
    }

    async fn own_share(
        &self,
        of: Vec<Shard>,
        look: &Look<K>,
        left: Duration,
    ) -> Result<Share<K>, NoAnswer> {
        if self.inner.node.remaining().is_zero() {
            return Err(NoAnswer::Away(Away::Frozen));
        }
        let share = self.share(&of, look);
        tokio::time::timeout(left, share).await.map_err(|_| NoAnswer::Late)
    }

    /// Asks another node for its part.
    async fn share_of(
        &self,
        owner: Session,
        name: Arc<str>,
        of: Vec<Shard>,
        look: &Look<K>,
        left: Duration,
    ) -> Result<Share<K>, NoAnswer> {
        let unread = || NoAnswer::Away(Away::Incompatible);
        let look = asked::write(look).ok_or_else(unread)?;
        let ask = Ask::Look { of, look: &look };
        let body = Asked { kind: P::NAME, version: P::VERSION, ask };
        let body = asked::write(&body).ok_or_else(unread)?;
        let message = Message { scope: self.scope.clone(), body, ..Message::default() };
        let under = self.inner.under();
        let (origin, request) = (Origin { sender: 0, under }, Request::Call(message));
        let told = self.inner.links().request(owner, origin, request, left).await;
        let response = told.map_err(|failed| no_answer(asked::failed(failed)))?;
        match asked::read(&response.body).ok_or_else(unread)? {
            Answered::Shown(share) => self.read(share, &name).ok_or_else(unread),
            Answered::NotDelivered(why) => Err(no_answer(Failed::NotDelivered(why.into()))),
            _ => Err(unread()),
        }
    }

    /// The part of this node, written down.
    pub(crate) async fn shown(&self, of: &[Shard], look: &[u8]) -> Option<Bytes> {
        let share = self.share(of, &asked::read(look)?).await;
        let (mut rows, mut bytes, mut next) = (Vec::new(), 0, share.next);
        for Row { key, info } in share.rows {
            let row = asked::write(&(&key, Seen::of::<P>(info)))?;
            if !rows.is_empty() && bytes + row.len() > limits::PAGE_BYTES {
                next = rows.last().map(|(key, _): &(K, Bytes)| key.clone());
                break;
            }
            bytes += row.len();
            rows.push((key, row));
        }
        let (shards, count) = (share.shards, share.count as u64);
        let rows = rows.iter().map(|(_, row)| &row[..]).collect();
        asked::write(&Written { shards, count, rows, next })
    }

    fn read(&self, share: &[u8], node: &Arc<str>) -> Option<Share<K>> {
        let Written { shards, count, rows, next } = asked::read(share)?;
        let scope = String::from_utf8_lossy(&self.scope);
        let row = |row| {
            let (key, seen): (K, Seen) = asked::read(row)?;
            let info = seen.info::<P>(format!("{scope} {key:?}"), node.clone());
            Some(Row { key, info })
        };
        let rows = rows.into_iter().map(row).collect::<Option<_>>()?;
        let (node, count) = (Some(node.clone()), usize::try_from(count).ok()?);
        Some(Share { node, shards, count, rows, next })
    }

    /// The part of this node, for those of these shards that it acts for meanwhile.
    async fn share(&self, of: &[Shard], look: &Look<K>) -> Share<K> {
        let mut held = Held::new(&self.inner, of);
        // What was handed over with a shard is there, though it may not have begun.
        let kept = self.kept(&held);
        let (shards, rows) = (Vec::new(), Vec::new());
        let mut share = Share { node: None, shards, count: 0, rows, next: None };
        if !matches!(look, Look::StopAll) {
            kept.iter().for_each(|(tenure, key)| drop(self.here.info(tenure, key)));
        }
        match look {
            Look::Count => {
                let mut counts = vec![0; held.0.len()];
                let count = |tenure: &dyn Tenure| {
                    if let Some(shard) = held.shard_of(self.inner.own(tenure)) {
                        counts[usize::from(shard)] += 1;
                    }
                };
                self.here.visit(count).await;
                held.still(&self.inner);
                share.count = held.shards().map(|shard| counts[usize::from(shard)]).sum();
            }
            Look::Page { range, limit } => {
                let limit = (*limit).min(innkeeper::limits::PAGE_MAX);
                let is_held = |tenure: &dyn Tenure| held.shard_of(self.inner.own(tenure)).is_some();
                let page = self.here.page(range, limit, is_held).await;
                held.still(&self.inner);
                (share.rows, share.next) = (page.rows, page.next);
                share.rows.retain(|row| self.shard(&row.key).is_some_and(|shard| held.has(shard)));
            }
            Look::StopAll => {
                let stops = kept.iter().map(|(tenure, key)| {
                    let why = ExitReason::Shutdown;
                    Box::pin(self.here.stop(tenure, key, why, limits::CALL_TIME_MAX))
                });
                let stopped = together(stops, limits::LOOKS_AT_ONCE).await;
                let is_held = |tenure: &dyn Tenure| held.shard_of(self.inner.own(tenure)).is_some();
                let ending = self.here.end_all(is_held).await;
                // What comes there later was not there when it was asked for.
                held.still(&self.inner);
                let ended = stopped.iter().zip(&kept).filter(|(stopped, (tenure, _))| {
                    stopped.is_ok() && held.shard_of(self.inner.own(&**tenure)).is_some()
                });
                share.count = ending.told() + ended.count();
                ending.wait().await;
            }
        }
        share.shards = held.shards().collect();
        share
    }

    /// The keys of these shards whose processes were handed over and have not begun, and under what
    /// they are to.
    fn kept(&self, held: &Held) -> Vec<(Arc<dyn Tenure>, K)> {
        let rights = held.shards().filter_map(|shard| self.inner.right(shard));
        let of_right = |right: Arc<Owning>| {
            let keys = self.inner.kept(right.under, &self.scope);
            let tenure: Arc<dyn Tenure> = right;
            keys.into_iter().filter_map(move |key| Some((tenure.clone(), asked::read(&key)?)))
        };
        rights.flat_map(of_right).collect()
    }

    fn shard(&self, key: &K) -> Option<Shard> {
        asked::shard_of(key, self.inner.node.shards())
    }
}

/// The shards that this node is sure to act for, by their numbers, and under which epoch.
struct Held(Vec<Option<Epoch>>);

impl Held {
    fn new(inner: &Inner, of: &[Shard]) -> Held {
        let mut held = vec![None; usize::from(inner.node.shards())];
        for shard in of {
            if let Some(held) = held.get_mut(usize::from(*shard)) {
                *held = epoch(inner, *shard);
            }
        }
        Held(held)
    }

    /// Lets go of those that it does not act for under the same epoch any more.
    fn still(&mut self, inner: &Inner) {
        for (shard, held) in (0..).zip(&mut self.0) {
            if held.is_some() && *held != epoch(inner, shard) {
                *held = None;
            }
        }
    }

    fn has(&self, shard: Shard) -> bool {
        self.0.get(usize::from(shard)).is_some_and(Option::is_some)
    }

    /// The shard that a process under this right is of, if it is held under the same.
    fn shard_of(&self, under: Option<Under>) -> Option<Shard> {
        let under = under?;
        let held = self.0.get(usize::from(under.shard))?;
        (*held == Some(under.epoch)).then_some(under.shard)
    }

    fn shards(&self) -> impl Iterator<Item = Shard> {
        (0..).zip(&self.0).filter(|(_, held)| held.is_some()).map(|(shard, _)| shard)
    }
}

fn epoch(inner: &Inner, shard: Shard) -> Option<Epoch> {
    let right = inner.right(shard)?;
    (right.begin() == Standing::Yes).then_some(right.under.epoch)
}

/// Keeps who gave no answer now. What somebody said before says more than that it was late now.
fn learn(failed: &mut Failures, now: Failures) {
    failed.retain(|owner, _| now.contains_key(owner));
    for (owner, failure) in now {
        if failure.1 != NoAnswer::Late || !failed.contains_key(&owner) {
            failed.insert(owner, failure);
        }
    }
}

/// One page of all parts. Beyond where the first of them was cut, others cannot be trusted.
fn merged<K: Ord + Clone>(shares: Vec<Share<K>>, limit: usize) -> Page<K> {
    let cut = shares.iter().filter_map(|share| share.next.as_ref()).min().cloned();
    let rows = shares.into_iter().flat_map(|share| share.rows);
    let mut rows: Vec<_> =
        rows.filter(|row| cut.as_ref().is_none_or(|cut| row.key <= *cut)).collect();
    rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    if rows.len() <= limit {
        return Page { rows, next: cut };
    }
    rows.truncate(limit);
    let next = rows.last().map(|row| row.key.clone());
    Page { rows, next }
}

/// Carries all of it out, so many at once.
pub(super) async fn together<F: Future + Unpin>(
    mut work: impl Iterator<Item = F>,
    at_once: usize,
) -> Vec<F::Output> {
    let (mut begun, mut done) = (Vec::new(), Vec::new());
    poll_fn(|cx| {
        loop {
            let room = at_once - begun.len();
            begun.extend(work.by_ref().take(room));
            let before = done.len();
            begun.retain_mut(|one| match Pin::new(one).poll(cx) {
                Poll::Ready(value) => {
                    done.push(value);
                    false
                }
                Poll::Pending => true,
            });
            if begun.is_empty() && done.len() == before {
                return Poll::Ready(std::mem::take(&mut done));
            }
            if done.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// What it means for whoever looks that nothing came back.
pub(crate) fn no_answer(failed: Failed) -> NoAnswer {
    match failed {
        Failed::NotDelivered(NotDelivered::Timeout) | Failed::Unknown(Unknown::Timeout) => {
            NoAnswer::Late
        }
        Failed::NotDelivered(NotDelivered::Away(away)) => NoAnswer::Away(away),
        Failed::NotDelivered(_) | Failed::Unknown(_) => NoAnswer::Away(Away::Unreachable),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use innkeeper::{Incarnation, ProcessInfo};

    use super::*;

    /// The part of a node that has these keys and shows so many of them.
    fn share(keys: &[u32], shown: usize) -> Share<u32> {
        let rows = keys.iter().take(shown).map(|key| Row {
            key: *key,
            info: ProcessInfo::new(key.to_string(), Incarnation::from_bits(1)),
        });
        let next = (shown < keys.len()).then(|| keys[shown - 1]);
        Share { node: None, shards: Vec::new(), count: 0, rows: rows.collect(), next }
    }

    fn keys(page: &Page<u32>) -> (Vec<u32>, Option<u32>) {
        (page.rows.iter().map(|row| row.key).collect(), page.next)
    }

    #[test]
    fn a_page_ends_where_the_first_of_its_parts_was_cut() {
        let parts = || vec![share(&[1, 4, 9], 3), share(&[2, 3, 5, 6], 2), share(&[], 0)];
        assert_eq!(keys(&merged(parts(), 10)), (vec![1, 2, 3], Some(3)));
        assert_eq!(keys(&merged(parts(), 2)), (vec![1, 2], Some(2)));
        assert_eq!(keys(&merged(parts(), 3)), (vec![1, 2, 3], Some(3)));
        assert_eq!(keys(&merged(parts(), 0)), (vec![], None));
        let whole = vec![share(&[1, 4], 2), share(&[2], 1)];
        assert_eq!(keys(&merged(whole, 3)), (vec![1, 2, 4], None));
    }

    #[test]
    fn what_was_said_outlasts_that_it_was_late_and_ends_with_an_answer() {
        let session = |created| Session { node: crate::ownership::record::NodeId(1), created };
        let said = |why| ("b".to_owned(), why);
        let away = NoAnswer::Away(Away::NotOwner);
        let mut failed = Failures::new();
        learn(&mut failed, [(session(1), said(NoAnswer::Late))].into());
        assert_eq!(failed[&session(1)].1, NoAnswer::Late);
        learn(&mut failed, [(session(1), said(away))].into());
        learn(&mut failed, [(session(1), said(NoAnswer::Late))].into());
        assert_eq!(failed[&session(1)].1, away);
        learn(&mut failed, [(session(2), said(NoAnswer::Late))].into());
        assert_eq!(failed.into_keys().collect::<Vec<_>>(), [session(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_begun_at_once_than_the_bound_and_all_of_it_is_done() {
        let (under_way, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = (0..1_000_u64).map(|number| -> Later<'_, u64> {
            let (under_way, most) = (&under_way, &most);
            Box::pin(async move {
                most.fetch_max(under_way.fetch_add(1, Relaxed) + 1, Relaxed);
                tokio::time::sleep(Duration::from_millis(number % 7)).await;
                under_way.fetch_sub(1, Relaxed);
                number
            })
        });
        let mut done = together(work, limits::LOOKS_AT_ONCE).await;
        assert_eq!(most.load(Relaxed), limits::LOOKS_AT_ONCE);
        done.sort_unstable();
        assert_eq!(done, (0..1_000).collect::<Vec<_>>());
    }
}
