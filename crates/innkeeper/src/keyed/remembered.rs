//! Keys whose processes ought to run without being asked for: who lists them, and how they begin.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tokio::task::JoinSet;

use crate::clock::{self, Moment};
use crate::context::Context;
use crate::error::GetError;
use crate::guard::contained;
use crate::keyed::scope::{Found, Scope, Under, Wanted};
use crate::keyed::sweep::Keeper;
use crate::keyed::{Key, get};
use crate::limits;
use crate::placement::{Admission, Later, Placement, Seat, Standing, Tenure, Turn};
use crate::process::Process;
use crate::seam::{Mutex, yield_now};

/// Lists keys: up to so many that come after this one.
pub(super) type List<K> =
    Box<dyn Fn(Option<K>, usize) -> Later<'static, Result<Vec<K>, String>> + Send + Sync>;

/// Which right a key was served under, by shard and epoch; `None` on one node.
type Of = Option<(u64, u64)>;

/// What a scope has that remembers keys.
pub(crate) struct Remembering<K> {
    list: List<K>,
    /// Between two starts.
    every: Duration,
    /// When the next start may be.
    next: Mutex<Moment>,
    /// Whose process has ended in order, while others are still to begin. Under this lock nothing
    /// of a key runs but its `Eq`.
    ended: Mutex<Option<HashTable<End<K>>>>,
    /// Of a scope on one node.
    admission: Admission,
}

/// The end of a process, and under what.
struct End<K> {
    key: K,
    hash: u64,
    of: Of,
}

impl<K: Key> Remembering<K> {
    pub(super) fn new(list: List<K>, per_second: NonZeroU32) -> Self {
        Remembering {
            list,
            every: Duration::from_secs(1) / per_second.get(),
            next: Mutex::default(),
            ended: Mutex::default(),
            admission: Admission::new(limits::REMEMBERED_AT_ONCE),
        }
    }

    /// The process of a key has ended in order: somebody has stopped it, or it has gone by itself.
    pub(super) fn ended(&self, key: &K, hash: u64, under: Option<&dyn Tenure>) {
        if self.ended.lock().is_some() {
            let end = End { key: key.clone(), hash, of: under.map(of) };
            drop(self.note(end));
        }
    }

    /// Notes an end. What that leaves over is the caller's to drop, without the lock.
    fn note(&self, end: End<K>) -> Option<End<K>> {
        let mut ended = self.ended.lock();
        let Some(ended) = &mut *ended else { return Some(end) };
        let has_room = ended.len() < limits::REMEMBERED_ENDS;
        match ended.entry(end.hash, |other| other.key == end.key, |other| other.hash) {
            Entry::Occupied(mut other) => Some(std::mem::replace(other.get_mut(), end)),
            Entry::Vacant(place) if has_room => {
                place.insert(end);
                None
            }
            Entry::Vacant(_) => Some(end),
        }
    }

    fn has_ended(&self, key: &K, hash: u64, under: Under<'_>) -> bool {
        let under = under.map(|tenure| of(&**tenure));
        let ended = self.ended.lock();
        let end = ended.as_ref().and_then(|ended| ended.find(hash, |end| end.key == *key));
        end.is_some_and(|end| end.of == under)
    }

    /// Nothing is to begin any more.
    fn forget(&self) {
        let ended = self.ended.lock().take();
        drop(ended);
    }

    /// Waits until it is time for the next start.
    async fn is_time(&self) {
        let at = {
            let mut next = self.next.lock();
            let at = clock::now().max(*next);
            *next = at.after(self.every);
            at
        };
        clock::alarm(at).await;
    }

    /// The keys after this one, as the user's code lists them.
    async fn page(&self, after: Option<K>) -> Result<Vec<K>, String> {
        let made = contained(|| (self.list)(after, limits::REMEMBERED_PAGE));
        let mut listing = made.map_err(|panicked| panicked.to_string())?;
        let listed = poll_fn(|cx| match contained(|| listing.as_mut().poll(cx)) {
            Ok(listed) => listed,
            Err(panicked) => Poll::Ready(Err(panicked.to_string())),
        });
        tokio::select! {
            biased;
            listed = listed => listed,
            () = clock::alarm(clock::now().after(limits::REMEMBERED_LIST_WAIT)) => {
                Err(format!("no answer after {} s", limits::REMEMBERED_LIST_WAIT.as_secs()))
            }
        }
    }
}

fn of(tenure: &dyn Tenure) -> (u64, u64) {
    (tenure.shard(), tenure.epoch())
}

/// Has the remembered keys of a scope begin, beside its process and for as long as that runs.
pub(super) fn begin<K: Key, P: Process>(scope: &Arc<Scope<K, P>>, ctx: &mut Context<Keeper<K, P>>) {
    if let Some(remembering) = &scope.shared.remembering {
        let begins = Begins {
            scope: scope.clone(),
            remembering: remembering.clone(),
            under_way: JoinSet::new(),
        };
        ctx.spawn(begins.run());
    }
}

/// Those that are about to begin.
struct Begins<K: Key, P: Process> {
    scope: Arc<Scope<K, P>>,
    remembering: Arc<Remembering<K>>,
    /// One for each key, until it has begun, or is not to.
    under_way: JoinSet<()>,
}

impl<K: Key, P: Process> Begins<K, P> {
    async fn run(mut self) {
        // Whatever was before: the scope begins.
        *self.remembering.next.lock() = clock::now();
        self.remembering.forget();
        match self.scope.shared.placement.clone() {
            Some(placement) => self.follow(&*placement).await,
            None => {
                self.all(|_| Some(None)).await;
                while self.under_way.join_next().await.is_some() {}
                self.remembering.forget();
            }
        }
    }

    /// Has the keys of each shard begin once it is served here, a little later by chance: not all
    /// nodes are to ask for the list at the same instant.
    async fn follow(&mut self, placement: &dyn Placement<K, P>) {
        let mut news = placement.news();
        let (mut served, mut due) = (HashMap::new(), BTreeMap::new());
        loop {
            news.borrow_and_update();
            let now = clock::now();
            for (shard, epoch) in placement.tenures().iter().map(|tenure| of(&**tenure)) {
                if served.insert(shard, epoch) != Some(epoch) {
                    due.insert((shard, epoch), now.after(jitter((shard, epoch))));
                }
            }
            let ripe: HashSet<_> =
                due.iter().filter(|(_, at)| **at <= now).map(|(of, _)| *of).collect();
            if !ripe.is_empty() {
                due.retain(|of, _| !ripe.contains(of));
                let is_here = |key: &K| placement.here(key).filter(|it| ripe.contains(&of(&**it)));
                self.all(|key| is_here(key).map(Some)).await;
                continue;
            }
            let first = due.values().min().copied();
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = clock::alarm(first.unwrap_or_default()), if first.is_some() => {}
                Some(_) = self.under_way.join_next() => {
                    if self.under_way.is_empty() {
                        self.remembering.forget();
                    }
                }
            }
        }
    }

    /// Goes through the whole list, and has those keys begin that this says something of.
    async fn all(&mut self, under: impl Fn(&K) -> Option<Option<Arc<dyn Tenure>>>) {
        self.remembering.ended.lock().get_or_insert_default();
        let (mut after, mut pause) = (None, limits::REMEMBERED_WAIT);
        loop {
            let listed = self.remembering.page(after.clone()).await;
            let page = match listed {
                Ok(page) => page,
                Err(why) => {
                    let shared = &self.scope.shared;
                    shared.tally.unlisted();
                    let scope = &*shared.name;
                    tracing::warn!(scope, why, ?pause, "remembered keys are not listed: again");
                    clock::alarm(clock::now().after(pause)).await;
                    pause = limits::REMEMBERED_WAIT_MAX.min(2 * pause);
                    continue;
                }
            };
            pause = limits::REMEMBERED_WAIT;
            let last = page.last().cloned();
            if last.is_none() || last == after {
                return;
            }
            after = last;
            for key in page {
                if let Some(under) = under(&key) {
                    self.one(key, under).await;
                }
            }
            yield_now().await;
        }
    }

    /// Has one key begin, when it is time for that.
    async fn one(&mut self, key: K, under: Option<Arc<dyn Tenure>>) {
        while self.under_way.try_join_next().is_some() {}
        if self.under_way.len() >= limits::REMEMBERED_WAITING {
            self.under_way.join_next().await;
        }
        let (scope, remembering) = (self.scope.clone(), self.remembering.clone());
        self.under_way.spawn(async move {
            let mut pause = limits::REMEMBERED_WAIT;
            for _ in 0..limits::REMEMBERED_TRIES {
                let begun = begin_one(&scope, &remembering, &key, under.as_ref()).await;
                let Err(why) = begun else { return };
                let name = &*scope.shared.name;
                tracing::warn!(scope = name, ?key, %why, "a remembered key does not begin");
                clock::alarm(clock::now().after(pause)).await;
                pause = limits::REMEMBERED_WAIT_MAX.min(2 * pause);
            }
            let name = &*scope.shared.name;
            tracing::error!(scope = name, ?key, "a remembered key waits until it is asked for");
        });
    }
}

/// One try. It is done with if the process runs, or is not to: it declined, was stopped meanwhile,
/// or the key is not served here any more.
async fn begin_one<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    remembering: &Remembering<K>,
    key: &K,
    under: Under<'_>,
) -> Result<(), GetError> {
    let is_of = |tenure: &dyn Tenure| under.is_none_or(|under| of(&**under) == of(tenure));
    let is_there = scope
        .find(key)
        .is_some_and(|cell| cell.live().is_some() && cell.owner.tenure().is_none_or(is_of));
    if is_there {
        return Ok(());
    }
    remembering.is_time().await;
    let admission = under.and_then(|tenure| tenure.admission());
    let seat = admission.unwrap_or(&remembering.admission).spare().await;
    let is_over = || under.is_some_and(|tenure| tenure.begin() == Standing::Never);
    if is_over() || remembering.has_ended(key, scope.hash_of(key), under) {
        return Ok(());
    }
    match get_one(scope, key, under, seat).await {
        Err(GetError::ShuttingDown) => Ok(()),
        Err(_) if is_over() => Ok(()),
        outcome => outcome,
    }
}

async fn get_one<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    key: &K,
    under: Under<'_>,
    seat: Seat,
) -> Result<(), GetError> {
    let mut wanted = Wanted { turn: Turn::Seated(seat), ..Wanted::nothing() };
    let found = scope.find_or_start(key, scope.see(key), &mut wanted, under, true)?;
    if under.is_some() {
        // If the process has not taken the seat with it, somebody else made it, and it may be
        // waiting for one.
        wanted.turn = Turn::InLine;
    }
    if let found @ Found::Cell { .. } = found {
        // Also if it has declined.
        let _ = get::wait(scope, key, wanted, under, true, limits::ASK_TIMEOUT, found).await?;
    }
    Ok(())
}

/// Up to [`limits::REMEMBERED_JITTER`].
fn jitter(of: (u64, u64)) -> Duration {
    let part = (RandomState::new().hash_one(of) % 1024) as f64 / 1024.0;
    limits::REMEMBERED_JITTER.mul_f64(part)
}
