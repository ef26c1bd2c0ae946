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
use crate::incarnation::Incarnation;
use crate::keyed::Key;
use crate::keyed::builder::ArgsPolicy;
use crate::keyed::guest::Guest;
use crate::keyed::owner::{KeyedCell, KeyedOwner};
use crate::keyed::placed::away;
use crate::keyed::remembered::Remembering;
use crate::limits;
use crate::observe::{Event, ProcessInfo, Tally, What};
use crate::owner::{Args, Owner};
use crate::placement::{Kept, Placement, Tenure, Turn};
use crate::process::Process;
use crate::rate::StartRate;
use crate::registry::slot::Policy;
use crate::registry::table::{Entered, Refused, Table};
use crate::runner;
use crate::seam::{Mutex, Spawner};
use crate::supervisor::child::{Child, Pending};
use crate::supervisor::closing::{Closing, Container, Names};
use crate::supervisor::intensity::Intensity;
use crate::supervisor::look::Kind;

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
    /// Where keys are remembered.
    pub(crate) remembering: Option<Arc<Remembering<K>>>,
    /// Weak: a table keeps the cells, parked ones too, and the cells keep this.
    pub(crate) table: Weak<Table<KeyedCell<K, P>>>,
}

/// How the arguments of `init` are made where none were given.
pub(crate) type ArgsOf<K, P> =
    Box<dyn for<'a> Fn(&'a K) -> Args<'a, <P as Process>::Args> + Send + Sync>;

/// What a caller brings along for a start.
pub(crate) struct Wanted<'a, P: Process> {
    pub(crate) args: Option<P::Args>,
    pub(crate) client: Option<&'a StartRate>,
    /// How a placed process comes in.
    pub(crate) turn: Turn,
}

/// What a process is to run under, where the scope is placed.
pub(crate) type Under<'a> = Option<&'a Arc<dyn Tenure>>;

impl<P: Process> Wanted<'_, P> {
    pub(crate) fn nothing() -> Self {
        Wanted { args: None, client: None, turn: Turn::default() }
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
        self.see(key).cell
    }

    /// The hash that the table knows a key by.
    #[inline]
    pub(super) fn hash_of(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    /// What there is of a key, as a look shows it.
    #[inline]
    pub(crate) fn see(&self, key: &K) -> Seen<K, P> {
        let hash = self.hash_of(key);
        Seen { hash, cell: self.table.find(hash, |cell| cell.owner.key == *key) }
    }

    /// What was seen of a key, if it is of use.
    pub(crate) fn look(
        &self,
        seen: Seen<K, P>,
        under: Under<'_>,
    ) -> Result<Option<Found<K, P>>, GetError> {
        let Some(cell) = seen.cell else { return Ok(None) };
        if let Some(tenure) = under
            && !cell.owner.runs_under(tenure)
        {
            return self.of_another(cell, &**tenure);
        }
        if let Some(incarnation) = cell.live() {
            return Ok(Some(Found::Live(cell, incarnation)));
        }
        Ok(match cell.ask() {
            Asked::Vacant => None,
            asked => Some(Found::Cell { cell, asked, made: None }),
        })
    }

    /// Uses the cell of a key that was seen, or makes one and has it run: if that is wanted, or if
    /// the process of the key was handed over and has not begun.
    pub(crate) fn find_or_start(
        &self,
        key: &K,
        seen: Seen<K, P>,
        wanted: &mut Wanted<'_, P>,
        under: Under<'_>,
        starts: bool,
    ) -> Result<Found<K, P>, GetError> {
        let hash = seen.hash;
        let found = match self.look(seen, under)? {
            Some(found) => found,
            None => {
                let kept = self.shared.kept(key, under);
                if !starts && kept.is_none() {
                    return Err(GetError::NotFound);
                }
                self.start(key, hash, wanted, under, kept)?
            }
        };
        if let (Turn::AtOnce, Found::Cell { cell, asked: Asked::Wait(..), .. }) =
            (&wanted.turn, &found)
        {
            cell.owner.hurry();
        }
        Ok(found)
    }

    /// Starts a process, unless somebody else did in the meantime.
    fn start(
        &self,
        key: &K,
        hash: u64,
        wanted: &mut Wanted<'_, P>,
        under: Under<'_>,
        kept: Option<Kept>,
    ) -> Result<Found<K, P>, GetError> {
        let shared = &self.shared;
        // The key is cloned before the lock is taken: that is user code.
        let mut key_of_cell = Some(key.clone());
        let now = clock::now();
        let make = || {
            // Under the lock of the table: whoever looks for all processes of a right under which
            // nothing is begun any more finds every one that was made.
            if let Some(away) = under.and_then(|tenure| away(&**tenure)) {
                return Err(Failed(GetError::Away(away)));
            }
            match &kept {
                // Who is remembered has a rate of its own.
                None if matches!(wanted.turn, Turn::Seated(_)) => {}
                None => self.take_rates(wanted.client)?,
                // It was let in where it came from.
                Some(kept) if kept() => {}
                // It has begun meanwhile, and perhaps ended: that is to be looked at anew.
                Some(_) => return Err(Failed(GetError::Away(Away::NotOwner))),
            }
            let owner = KeyedOwner {
                key: key_of_cell.take().unwrap_or_else(|| key.clone()),
                hash,
                args: wanted.args.take().map(Box::new),
                shared: shared.clone(),
                placed: under
                    .map(|tenure| Box::new(Guest::new(tenure.clone(), wanted.turn.take()))),
            };
            Ok(Cell::new(owner, now))
        };
        let max = if kept.is_some() { usize::MAX } else { shared.max_children };
        let entered = self.table.enter(
            hash,
            max,
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
                // One that was handed over was there before.
                Ok(Found::Cell { cell, asked, made: kept.is_none().then_some(now) })
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

    pub(crate) fn describe(&self, cell: &KeyedCell<K, P>) -> ProcessInfo {
        ProcessInfo { name: cell.owner.name(), ..cell.snapshot() }
    }

    /// A snapshot of the process of a key, if it has one.
    pub(crate) fn info(&self, key: &K) -> Option<ProcessInfo> {
        let info = self.find(key).map(|cell| self.describe(&cell));
        info.filter(|info| info.state.is_some())
    }

    /// What happens here from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event<K>> {
        self.shared.events.get_or_init(|| broadcast::Sender::new(limits::EVENTS)).subscribe()
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

impl<K: Key, P: Process> fmt::Debug for Scope<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
