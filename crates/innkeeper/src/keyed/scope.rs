//! What all keys of one scope share, and how one key's cell is found or made.

use std::any::Any;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::sync::broadcast;

use crate::cell::{Asked, Cell, Stopping};
use crate::child_spec::{ChildSpec, RestartBudget, Shutdown};
use crate::clock::{self, Moment};
use crate::error::{Away, GetError};
use crate::exit::ExitReason;
use crate::guard::contained;
use crate::incarnation::Incarnation;
use crate::keyed::Key;
use crate::keyed::builder::ArgsPolicy;
use crate::limits;
use crate::observe::{Event, ProcessInfo, Tally, What};
use crate::owner::{Args, Owner};
use crate::placement::{Placed, Placement, Standing, Tenure};
use crate::process::Process;
use crate::rate::StartRate;
use crate::registry::slot::{Policy, Ruling};
use crate::registry::table::{Entered, Refused, Row, Table};
use crate::runner;
use crate::seam::{Mutex, Spawner, yield_now};
use crate::supervisor::child::{Child, Pending};
use crate::supervisor::closing::{Closing, Container, Names};
use crate::supervisor::intensity::Intensity;
use crate::supervisor::look::Kind;
use crate::wait_for;

pub(crate) type KeyedCell<K, P> = Cell<KeyedOwner<K, P>>;

/// The processes of one scope.
pub(crate) struct Scope<K: Key, P: Process> {
    pub(crate) table: Arc<Table<KeyedCell<K, P>>>,
    pub(crate) shared: Arc<Shared<K, P>>,
    hasher: RandomState,
}

/// What the processes themselves need of their scope.
pub(crate) struct Shared<K: Key, P: Process> {
    pub(crate) name: String,
    pub(crate) spec: ChildSpec,
    pub(crate) policy: Policy,
    pub(crate) args: ArgsOf<K, P>,
    pub(crate) args_policy: ArgsPolicy<P::Args>,
    pub(crate) max_children: usize,
    pub(crate) idle_after: Option<Duration>,
    pub(crate) start_rate: Option<StartRate>,
    pub(crate) group: Option<(Mutex<Intensity>, RestartBudget)>,
    /// Made for the first who listens.
    pub(crate) events: OnceLock<broadcast::Sender<Event<K>>>,
    pub(crate) tally: Tally,
    pub(crate) closing: Arc<Closing>,
    pub(crate) spawner: OnceLock<Spawner>,
    pub(crate) placement: Option<Arc<dyn Placement<K, P>>>,
    /// Weak: a table keeps the cells, parked ones too, and the cells keep this.
    pub(crate) table: Weak<Table<KeyedCell<K, P>>>,
}

/// How the arguments of `init` are made where none were given.
pub(crate) type ArgsOf<K, P> =
    Box<dyn for<'a> Fn(&'a K) -> Args<'a, <P as Process>::Args> + Send + Sync>;

/// The owner of the process of one key.
pub(crate) struct KeyedOwner<K: Key, P: Process> {
    pub(crate) key: K,
    hash: u64,
    args: Option<Box<P::Args>>,
    shared: Arc<Shared<K, P>>,
    /// Where the scope is placed.
    placed: Option<Box<Placed>>,
}

/// What a caller brings along for a start.
pub(crate) struct Wanted<'a, P: Process> {
    pub(crate) args: Option<P::Args>,
    pub(crate) client: Option<&'a StartRate>,
}

/// What a process is to run under, where the scope is placed.
pub(crate) type Under<'a> = Option<&'a Arc<dyn Tenure>>;

/// Whether whoever asks does so under a right that is over: what is there now is not theirs, and
/// nothing is to be started, or ended, for them.
fn is_over(under: Under<'_>) -> bool {
    under.is_some_and(|tenure| tenure.release() == Standing::Never)
}

impl<P: Process> Wanted<'_, P> {
    pub(crate) fn nothing() -> Self {
        Wanted { args: None, client: None }
    }
}

/// What one look at the table showed.
pub(crate) struct Seen<K: Key, P: Process> {
    hash: u64,
    pub(crate) cell: Option<Arc<KeyedCell<K, P>>>,
}

/// What a caller finds for a key, where a start was made for it or not.
pub(crate) enum Found<K: Key, P: Process> {
    /// Ready.
    Live(Arc<KeyedCell<K, P>>, Incarnation),
    /// A cell to wait at, and when it was made if that was for this caller.
    Cell { cell: Arc<KeyedCell<K, P>>, asked: Asked, made: Option<Moment> },
}

impl<K: Key, P: Process> Scope<K, P> {
    pub(crate) fn new(table: Arc<Table<KeyedCell<K, P>>>, shared: Arc<Shared<K, P>>) -> Arc<Self> {
        let scope = Arc::new(Scope { table, shared, hasher: RandomState::default() });
        let container: Arc<dyn Container> = scope.clone();
        scope.shared.closing.join(Arc::downgrade(&container));
        scope
    }

    pub(crate) fn find(&self, key: &K) -> Option<Arc<KeyedCell<K, P>>> {
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |cell| cell.owner.key == *key)
    }

    /// What there is of a key, as a look shows it.
    #[inline]
    pub(crate) fn see(&self, key: &K) -> Seen<K, P> {
        let hash = self.hasher.hash_one(key);
        Seen { hash, cell: self.table.find(hash, |cell| cell.owner.key == *key) }
    }

    /// What was seen of a key, if it is of use.
    pub(crate) fn look(&self, seen: Seen<K, P>, under: Under<'_>) -> Option<Found<K, P>> {
        if is_over(under) {
            return None;
        }
        self.look_at(seen.cell?, under)
    }

    fn look_at(&self, cell: Arc<KeyedCell<K, P>>, under: Under<'_>) -> Option<Found<K, P>> {
        if let Some(tenure) = under
            && !cell.owner.runs_under(tenure)
        {
            return self.left_over(cell);
        }
        if let Some(incarnation) = cell.live() {
            return Some(Found::Live(cell, incarnation));
        }
        match cell.ask() {
            Asked::Vacant => None,
            asked => Some(Found::Cell { cell, asked, made: None }),
        }
    }

    /// Uses the cell of a key that was seen, or makes one and has it run.
    pub(crate) fn find_or_start(
        &self,
        key: &K,
        seen: Seen<K, P>,
        wanted: &mut Wanted<'_, P>,
        under: Under<'_>,
    ) -> Result<Found<K, P>, GetError> {
        if is_over(under) {
            return Err(GetError::Away(Away::NotOwner));
        }
        match seen.cell.and_then(|cell| self.look_at(cell, under)) {
            Some(found) => Ok(found),
            None => self.start(key, seen.hash, wanted, under),
        }
    }

    /// Starts a process, unless somebody else did in the meantime.
    fn start(
        &self,
        key: &K,
        hash: u64,
        wanted: &mut Wanted<'_, P>,
        under: Under<'_>,
    ) -> Result<Found<K, P>, GetError> {
        let shared = &self.shared;
        // The key is cloned before the lock is taken: that is user code.
        let mut key_of_cell = Some(key.clone());
        let now = clock::now();
        let make = || {
            self.take_rates(wanted.client)?;
            let owner = KeyedOwner {
                key: key_of_cell.take().unwrap_or_else(|| key.clone()),
                hash,
                args: wanted.args.take().map(Box::new),
                shared: shared.clone(),
                placed: under.map(|tenure| Box::new(Placed::new(tenure.clone()))),
            };
            Ok(Cell::new(owner, now))
        };
        let entered = self.table.enter(
            hash,
            shared.max_children,
            |cell| cell.owner.key == *key,
            |cell| cell.is_vacant(),
            make,
        );
        match entered {
            Ok(Entered::New(cell, replaced)) => {
                let asked = cell.ask();
                if let Some(spawner) = shared.spawner.get() {
                    runner::spawn(spawner, cell.clone());
                }
                // Only now: the drop of a key may panic.
                drop(replaced);
                Ok(Found::Cell { cell, asked, made: Some(now) })
            }
            Ok(Entered::Existing(cell)) => {
                let asked = cell.ask();
                Ok(Found::Cell { cell, asked, made: None })
            }
            Err(Failed(GetError::MaxChildren { .. })) => {
                Err(GetError::MaxChildren { max: shared.max_children })
            }
            Err(Failed(error)) => Err(error),
        }
    }

    fn take_rates(&self, client: Option<&StartRate>) -> Result<(), Failed> {
        let limited = |retry_after| Failed(GetError::RateLimited { retry_after });
        let all = self.shared.start_rate.as_ref();
        all.map_or(Ok(()), StartRate::take).map_err(limited)?;
        let Some(client) = client else { return Ok(()) };
        client.take().map_err(|retry_after| {
            // A refused start has no side effect, not even on the rate of all.
            if let Some(all) = all {
                all.put_back();
            }
            limited(retry_after)
        })
    }

    /// Whether the running process was started with what this caller brought, where that matters.
    pub(crate) fn check_args(
        &self,
        cell: &KeyedCell<K, P>,
        wanted: &Wanted<'_, P>,
    ) -> Result<(), GetError> {
        let Some(wanted) = &wanted.args else {
            return Ok(());
        };
        let print = match &self.shared.args_policy {
            ArgsPolicy::Ignore => return Ok(()),
            ArgsPolicy::Report(print) | ArgsPolicy::Refuse(print) => print,
        };
        let running = cell.owner.args();
        if print(wanted) == print(&running) {
            return Ok(());
        }
        match &self.shared.args_policy {
            ArgsPolicy::Refuse(_) => Err(GetError::ArgsDiffer),
            ArgsPolicy::Ignore | ArgsPolicy::Report(_) => {
                cell.owner.observe(cell.incarnation(), What::ArgsDiffer);
                Ok(())
            }
        }
    }

    /// Tells one cell's process to end; forgets it at once if it was parked.
    pub(crate) fn stop_cell(&self, cell: &Arc<KeyedCell<K, P>>, reason: ExitReason) -> Stopping {
        self.stop_cell_by(cell, reason, self.shared.spec.shutdown)
    }

    pub(crate) fn stop_cell_by(
        &self,
        cell: &Arc<KeyedCell<K, P>>,
        reason: ExitReason,
        shutdown: Shutdown,
    ) -> Stopping {
        let stopping = cell.stop_by(reason.clone(), shutdown);
        if let Stopping::Unparked = stopping {
            KeyedOwner::released(cell, &reason);
            cell.owner.observe(cell.incarnation(), What::Stopped(reason));
        }
        stopping
    }

    pub(crate) async fn stop_all(&self) -> usize {
        let (mut told, mut ends) = (0, Vec::new());
        let began = clock::now();
        for shard in 0..self.table.shards() {
            for cell in self.table.rows(shard) {
                if let Stopping::Wait { flight, .. } = self.stop_cell(&cell, ExitReason::Shutdown) {
                    told += 1;
                    // Whoever is one of them, or is waited for by one, cannot wait for that one.
                    if wait_for::wait_for(&*cell).is_ok() {
                        ends.push(flight);
                    }
                }
            }
            yield_now().await;
        }
        let ended = async {
            for end in &ends {
                end.wait().await;
            }
        };
        let left = || ends.iter().filter(|end| !end.initialized()).count();
        self.unless_stuck(began, ended, left).await;
        told
    }

    /// Waits for processes that were told to end at `told`. What has not ended a while after it was
    /// killed is stuck, and is not waited for; but of very many the last ones may not have come to
    /// their turn by then, so it is only over if none ends meanwhile of those that are `left`.
    pub(crate) async fn unless_stuck(
        &self,
        told: Moment,
        ended: impl Future<Output = ()>,
        left: impl Fn() -> usize,
    ) {
        let limit = match self.shared.spec.shutdown {
            Shutdown::BrutalKill => Duration::ZERO,
            Shutdown::Timeout(time) => time,
            Shutdown::Infinity => return ended.await,
        };
        let stuck = async {
            clock::alarm(told.after(limit)).await;
            loop {
                let before = left();
                // From now, for to tell them all may have taken longer than each may take to end.
                clock::alarm(clock::now().after(limits::STUCK_AFTER)).await;
                if left() == before {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = ended => {}
            () = stuck => {}
        }
    }

    pub(crate) fn describe(&self, cell: &KeyedCell<K, P>) -> ProcessInfo {
        ProcessInfo { name: cell.owner.name(), ..cell.snapshot() }
    }
}

impl<K: Key, P: Process> Container for Scope<K, P> {
    fn survivors(&self, names: &mut Names) {
        for shard in 0..self.table.shards() {
            for cell in self.table.rows(shard) {
                names.add(|| cell.owner.name());
            }
        }
    }

    fn kind(&self) -> Kind {
        Kind::Keyed
    }

    fn len(&self) -> usize {
        self.table.len()
    }

    /// None: keys have pages of their own.
    fn page(self: Arc<Self>, _: u64, _: usize) -> Pending<(Vec<Arc<dyn Child>>, bool)> {
        Box::pin(std::future::ready((Vec::new(), false)))
    }

    fn child(&self, _: u64) -> Option<Arc<dyn Child>> {
        None
    }

    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// Why a cell could not be made.
struct Failed(GetError);

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Failed(match refused {
            Refused::Closed => GetError::ShuttingDown,
            Refused::Full => GetError::MaxChildren { max: 0 },
        })
    }
}

impl<K: Key, P: Process> Row for KeyedCell<K, P> {
    fn hash(&self) -> u64 {
        self.owner.hash
    }
}

impl<K: Key, P: Process> Owner for KeyedOwner<K, P> {
    type Process = P;

    fn name(&self) -> String {
        // The key's own code: a panic in it is not to cost more than the name.
        contained(|| format!("{} {:?}", self.shared.name, self.key))
            .unwrap_or_else(|_| format!("{} (a key that panics)", self.shared.name))
    }

    fn spec(&self) -> &ChildSpec {
        &self.shared.spec
    }

    fn args(&self) -> Args<'_, P::Args> {
        match &self.args {
            Some(args) => Args::Kept(args),
            None => (self.shared.args)(&self.key),
        }
    }

    fn ruling(&self, reason: &ExitReason, now: Moment) -> Ruling<'_> {
        // What is lost here begins anew elsewhere, if at all.
        if self.placed().is_some_and(|placed| placed.tenure().release() == Standing::Never) {
            return Ruling::Free;
        }
        let group = match &self.shared.group {
            Some((intensity, budget)) if self.shared.policy.restart.follows(reason) => {
                intensity.lock().allow(now, budget.max(), budget.window()).is_some()
            }
            Some(_) | None => true,
        };
        Ruling::Own { policy: &self.shared.policy, group }
    }

    #[inline]
    fn placed(&self) -> Option<&Placed> {
        self.placed.as_deref()
    }

    fn take_handed(&self) -> Option<Vec<u8>> {
        let placement = self.shared.placement.as_ref()?;
        placement.take_handed(&self.key, &**self.placed.as_ref()?.tenure())
    }

    fn refused(&self) {
        self.shared.tally.refused(self.hash);
    }

    fn released(cell: &Arc<Cell<Self>>, reason: &ExitReason) {
        let shared = &cell.owner.shared;
        if let Some(table) = shared.table.upgrade() {
            if *reason == ExitReason::Killed && table.is_closed() {
                shared.closing.killed(cell.owner.name());
            }
            table.remove(cell);
        }
    }

    fn observe(&self, incarnation: Incarnation, what: What) {
        self.shared.tally.count(self.hash, &what);
        // The key's own code: a panic in it costs the event, and not the process.
        if contained(|| self.tell(incarnation, what)).is_err() {
            tracing::error!(scope = self.shared.name, %incarnation, "the code of a key panicked");
        }
    }
}

impl<K: Key, P: Process> KeyedOwner<K, P> {
    pub(crate) fn runs_under(&self, tenure: &Arc<dyn Tenure>) -> bool {
        // Of one key, so the epoch says which.
        self.placed().is_some_and(|placed| placed.tenure().epoch() == tenure.epoch())
    }

    /// Tells the log and the subscribers what happened.
    fn tell(&self, incarnation: Incarnation, what: What) {
        let key = &self.key;
        match &what {
            What::Restarting { reason, .. } if reason.is_abnormal() => {
                tracing::warn!(?key, %incarnation, %reason, "process crashed, restarting");
            }
            What::Parked(reason) => {
                tracing::error!(?key, %incarnation, %reason, "process parked");
            }
            What::Stopped(reason) if reason.is_abnormal() => {
                tracing::warn!(?key, %incarnation, %reason, "process ended");
            }
            _ => {}
        }
        let events = self.shared.events.get();
        if let Some(events) = events.filter(|events| events.receiver_count() > 0) {
            let event = Event { key: key.clone(), incarnation, what };
            // Nobody left to hear it is no failure.
            let _ = events.send(event);
        }
    }
}

impl<K: Key, P: Process> fmt::Debug for Scope<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
