//! One child of a supervisor: how it is started, what follows its exit, how it is ended.

use std::any::Any;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::cell::{Asked, Cell, Stopping};
use crate::child_spec::{ChildSpec, Restart, Shutdown};
use crate::clock::{self, Moment};
use crate::error::{GetError, StopError};
use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::limits;
use crate::node::Node;
use crate::observe::{ProcessInfo, What};
use crate::owner::{Args, Owner};
use crate::process::Process;
use crate::process_ref::ProcessRef;
use crate::registry::slot::{self, Ruling};
use crate::runner;
use crate::seam::{Mutex, Spawner};
use crate::supervisor::closing::Container;
use crate::supervisor::group::Make;
use crate::supervisor::refused::StartChildError;
use crate::wait_for;

/// A future of a child, whatever its type.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Has the process of a child run; what is returned waits for the outcome of its start.
pub(crate) type Launch = Box<dyn FnOnce(&Spawner) -> Pending<Result<Started, GetError>> + Send>;

/// The address of what was started, for who knows its type. It may have ended since.
pub(crate) type Started = Box<dyn Any + Send>;

/// That address.
pub(crate) fn address<P: Process>(
    started: Started,
) -> Result<ProcessRef<P::Message>, StartChildError> {
    // It was made by a child of this very type.
    let address = started.downcast().map(|address| *address);
    address.map_err(|_| StartChildError::Failed(GetError::ShuttingDown))
}

/// What a child needs of its supervisor.
pub(crate) trait Parent: Send + Sync {
    /// What follows the exit of a child: what its restart rule says, unless there were too many
    /// restarts.
    fn ruling(&self, child: &dyn Child, reason: &ExitReason) -> Ruling<'static>;

    /// A child has ended, and waits until it is resumed.
    fn held(&self, _: &dyn Child) {}

    /// A child has ended for good; `forget` if it is not to be started again by its id.
    fn ended(&self, child: Arc<dyn Child>, reason: &ExitReason, forget: bool);

    /// Something happened to a child.
    fn observe(&self, child: &dyn Child, incarnation: Incarnation, what: What);
}

/// A child, without the type of its process.
pub(crate) trait Child: Send + Sync {
    /// Tells it from every other child, ever.
    fn number(&self) -> u64;

    fn id(&self) -> &str;

    fn spec(&self) -> &ChildSpec;

    /// Whoever has children of its own in this one.
    fn container(&self) -> Option<Arc<dyn Container>>;

    /// Keeps it by its id whatever becomes of its first start.
    fn keep(&self);

    /// Makes its process, which does not run yet. From now on a stop finds it.
    fn prepare(self: Arc<Self>) -> Launch;

    /// Tells it to end for good; what is returned waits until it has ended or is past helping.
    fn stop(&self) -> Pending<()>;

    /// Tells it to end, and to wait then until it is resumed. `false` if it has no process.
    fn hold(&self) -> bool;

    /// Lets it begin again `after` that time at most.
    fn resume(&self, after: Duration);

    /// Its process, for who waits for it.
    fn node(&self) -> Option<Arc<dyn Node>>;

    /// `None` before its first start and after its last end.
    fn info(&self) -> Option<ProcessInfo>;
}

/// A child that runs a process of one type.
pub(crate) struct ProcessChild<P: Process> {
    number: u64,
    id: String,
    args: P::Args,
    spec: ChildSpec,
    /// Weak: a supervisor keeps its children, and runs for as long as they do.
    parent: Weak<dyn Parent>,
    /// There from its start to its last end, which breaks the cycle of the two.
    cell: Mutex<Option<Arc<Cell<Supervised<P>>>>>,
    /// Kept by its id when it has ended: it was declared, or was ready once.
    kept: AtomicBool,
    container: Option<Weak<dyn Container>>,
}

/// The owner of a supervised process.
pub(crate) struct Supervised<P: Process>(Arc<ProcessChild<P>>);

impl<P: Process> ProcessChild<P> {
    /// A child that has not been started. An empty id is made up from the type and the number.
    pub(crate) fn new(
        id: String,
        args: P::Args,
        spec: ChildSpec,
        parent: Weak<dyn Parent>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = if id.is_empty() { format!("{}#{number}", short_name::<P>()) } else { id };
        let (cell, kept) = (Mutex::new(None), AtomicBool::new(false));
        ProcessChild { number, id, args, spec, parent, cell, kept, container: None }
    }

    /// How such a child is made, once its parent is known.
    pub(crate) fn make(id: String, args: P::Args, spec: ChildSpec) -> Make {
        Box::new(move |parent| Arc::new(ProcessChild::<P>::new(id, args, spec, parent)))
    }

    /// The child that is the process of somebody who has children.
    pub(crate) fn of(mut self, container: Arc<dyn Container>) -> Self {
        self.container = Some(Arc::downgrade(&container));
        self
    }
}

impl<P: Process> Child for ProcessChild<P> {
    fn number(&self) -> u64 {
        self.number
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn spec(&self) -> &ChildSpec {
        &self.spec
    }

    fn container(&self) -> Option<Arc<dyn Container>> {
        self.container.as_ref().and_then(Weak::upgrade)
    }

    fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    fn prepare(self: Arc<Self>) -> Launch {
        let mut current = self.cell.lock();
        if current.is_some() {
            // Its code is stuck: it was told to end and has not.
            let reason = ExitReason::failed("its last incarnation has not ended");
            return Box::new(|_| Box::pin(async { Err(GetError::InitFailed(reason)) }));
        }
        let cell = Cell::new(Supervised(self.clone()), clock::now());
        *current = Some(cell.clone());
        // Asked before it runs: afterwards a start that failed would be nowhere to be seen.
        let asked = cell.ask();
        Box::new(move |spawner| {
            runner::spawn(spawner, cell.clone());
            Box::pin(async move {
                let incarnation = started(&cell, asked).await?;
                let started: Started = Box::new(ProcessRef::new(cell, incarnation));
                Ok(started)
            })
        })
    }

    fn stop(&self) -> Pending<()> {
        let Some(cell) = self.cell.lock().clone() else {
            return Box::pin(async {});
        };
        let Stopping::Wait { flight, told, .. } = cell.stop(ExitReason::Shutdown) else {
            return Box::pin(async {});
        };
        let limit = stop_limit(self.spec.shutdown, told);
        Box::pin(async move {
            match limit {
                // Past its limit it is stuck: its supervisor does not wait for that.
                Some(limit) => drop(cell.settled(&flight, None, limit).await),
                None => drop(flight.wait().await),
            }
        })
    }

    fn hold(&self) -> bool {
        let cell = self.cell.lock().clone();
        if let Some(cell) = &cell {
            cell.hold(ExitReason::Shutdown);
        }
        cell.is_some()
    }

    fn resume(&self, after: Duration) {
        let cell = self.cell.lock().clone();
        if let Some(cell) = cell {
            cell.resume(after);
        }
    }

    fn node(&self) -> Option<Arc<dyn Node>> {
        let cell = self.cell.lock().clone()?;
        Some(cell)
    }

    fn info(&self) -> Option<ProcessInfo> {
        let cell = self.cell.lock().clone()?;
        let info = ProcessInfo { name: self.id.clone(), ..cell.snapshot() };
        info.state.is_some().then_some(info)
    }
}

/// Until when a child that was told to stop is waited for; `None`: as long as it takes.
fn stop_limit(shutdown: Shutdown, told: Moment) -> Option<Moment> {
    let own = match shutdown {
        Shutdown::BrutalKill => told,
        Shutdown::Timeout(time) => told.after(time),
        Shutdown::Infinity => return None,
    };
    Some(own.after(limits::STUCK_AFTER))
}

/// Ends a child for good on behalf of a caller, and waits until it has ended.
pub(crate) async fn terminate(child: Arc<dyn Child>) -> Result<(), StopError> {
    // Before the order: a process that would wait for its own end is not told to end either.
    let _wait = match child.node() {
        Some(node) => wait_for::wait_for(&*node).map_err(StopError::Cycle)?,
        None => None,
    };
    let began = clock::now();
    child.stop().await;
    match child.info() {
        None => Ok(()),
        Some(_) => Err(StopError::StillStopping { age: clock::now().since(began) }),
    }
}

/// Waits for the outcome of a first start.
pub(crate) async fn started<O: Owner>(
    cell: &Arc<Cell<O>>,
    asked: Asked,
) -> Result<Incarnation, GetError> {
    let (flight, start_deadline) = match asked {
        Asked::Found(incarnation) => return Ok(incarnation),
        Asked::Wait(flight, start_deadline) => (flight, start_deadline),
        Asked::WaitForEnd(flight) => (flight, None),
        Asked::Parked(reason) => return Err(GetError::Parked(reason)),
        Asked::Vacant => return Err(GetError::ShuttingDown),
    };
    let _wait = wait_for::wait_for(&**cell).map_err(GetError::Cycle)?;
    let began = clock::now();
    let deadline = start_deadline.unwrap_or(began).after(limits::ASK_TIMEOUT);
    match cell.settled(&flight, start_deadline, deadline).await {
        Some(slot::Outcome::Ready(incarnation)) => Ok(incarnation),
        Some(slot::Outcome::Declined) => Err(GetError::Declined),
        Some(slot::Outcome::Failed(reason)) => Err(GetError::not_started(reason)),
        Some(slot::Outcome::Parked(reason)) => Err(GetError::Parked(reason)),
        Some(slot::Outcome::Ended) => Err(GetError::ShuttingDown),
        None => Err(GetError::Timeout { waited: clock::now().since(began) }),
    }
}

impl<P: Process> Owner for Supervised<P> {
    type Process = P;

    fn name(&self) -> String {
        self.0.id.clone()
    }

    fn spec(&self) -> &ChildSpec {
        &self.0.spec
    }

    fn child_number(&self) -> u64 {
        self.0.number
    }

    fn args(&self) -> Args<'_, P::Args> {
        Args::Kept(&self.0.args)
    }

    fn ruling(&self, reason: &ExitReason, _: Moment) -> Ruling<'_> {
        let parent = self.0.parent.upgrade();
        parent.map_or(Ruling::Free, |parent| parent.ruling(&*self.0, reason))
    }

    fn held(cell: &Arc<Cell<Self>>) {
        let child = &cell.owner.0;
        if let Some(parent) = child.parent.upgrade() {
            parent.held(&**child);
        }
    }

    fn released(cell: &Arc<Cell<Self>>, reason: &ExitReason) {
        let child = &cell.owner.0;
        child.cell.lock().take_if(|current| Arc::ptr_eq(current, cell));
        let forget =
            child.spec.restart == Restart::Temporary || !child.kept.load(Ordering::Acquire);
        if let Some(parent) = child.parent.upgrade() {
            parent.ended(child.clone(), reason, forget);
        }
    }

    fn observe(&self, incarnation: Incarnation, what: What) {
        let id = &self.0.id;
        match &what {
            What::Ready { .. } => self.0.keep(),
            What::Restarting { reason, .. } => {
                tracing::warn!(id, %incarnation, %reason, "child ended, restarting");
            }
            What::Stopped(reason) if reason.is_abnormal() => {
                tracing::warn!(id, %incarnation, %reason, "child ended");
            }
            What::CastsLost { waiting, begun } => {
                tracing::warn!(id, %incarnation, waiting, begun, "casts lost");
            }
            _ => {}
        }
        if let Some(parent) = self.0.parent.upgrade() {
            parent.observe(&*self.0, incarnation, what);
        }
    }
}

/// The name of a type without its path.
pub(crate) fn short_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    let path = name.split('<').next().unwrap_or(name);
    path.rsplit("::").next().unwrap_or(path)
}
