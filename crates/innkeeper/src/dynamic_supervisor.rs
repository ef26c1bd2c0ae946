//! Children started on demand, without keys: OTP's `DynamicSupervisor`.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::broadcast;

use crate::call::ReplyTo;
use crate::child_spec::{ChildSpec, Restart, RestartBudget, Shutdown};
use crate::context::Context;
use crate::error::StopError;
use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::limits;
use crate::observe::{Event, ProcessInfo, What};
use crate::process::{Message, Process, StartError};
use crate::process_ref::ProcessRef;
use crate::registry::slot::Ruling;
use crate::registry::table::{Refused, Row, Table};
use crate::seam::{Spawner, yield_now};
use crate::supervisor::builder::{self, SupervisorBuilder};
use crate::supervisor::child::{self, Child, Parent, Pending, ProcessChild, Started};
use crate::supervisor::closing::{Closing, Container, Names};
use crate::supervisor::escalation::{Escalation, SupervisorMessage};
use crate::supervisor::group::Make;
use crate::supervisor::look::{self, ChildCount, Kind, TreeNode, TreePage};
use crate::supervisor::{StartChildError, Supervisor};

/// A supervisor of children that are started on demand, of any type (OTP's `DynamicSupervisor`).
///
/// # Differences from OTP
/// Children start side by side: neither a slow `init` nor a slow end holds up another child, so
/// there is no need to partition it. Restarts after the first in a window wait a little, see
/// [`RestartBudget::backoff`]. There are no `extra_arguments`: each child has arguments of its own
/// type, and a function of yours that calls [`start_child`](Self::start_child) adds what all of
/// them have in common, for the first start and so for every restart. A child cannot be
/// [significant](ChildSpec::significant).
///
/// # Examples
/// ```
/// # use innkeeper::{ChildSpec, Context, DynamicSupervisor, Message, Process, ReplyTo};
/// # use innkeeper::{StartError, Supervisor};
/// # struct Job;
/// # struct Done;
/// # impl Message for Done { type Reply = (); }
/// # impl Process for Job {
/// #     type Args = u32;
/// #     type Message = Done;
/// #     async fn init(_: &u32, _: &mut Context<Self>) -> Result<Self, StartError> { Ok(Job) }
/// #     async fn handle(&mut self, _: Done, _: ReplyTo<Done>, _: &mut Context<Self>) {}
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = Supervisor::new().start().await?;
/// let jobs = DynamicSupervisor::new().start(&supervisor).await?;
/// let job = jobs.start_child::<Job>(7, ChildSpec::new()).await?;
/// assert_eq!(jobs.count_children(), 1);
/// jobs.terminate_child(&job).await?;
/// assert_eq!(jobs.count_children(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DynamicSupervisor {
    pub(crate) pool: Arc<Pool>,
}

/// Sets up a dynamic supervisor; made by [`DynamicSupervisor::new`].
#[must_use = "a supervisor does nothing until it is started"]
#[derive(Debug)]
pub struct DynamicSupervisorBuilder {
    name: String,
    spec: ChildSpec,
    budget: RestartBudget,
    max_children: usize,
}

/// What a dynamic supervisor, its process and its children share.
pub(crate) struct Pool {
    name: String,
    max_children: usize,
    table: Table<dyn Child>,
    escalation: Escalation,
    closing: Arc<Closing>,
    /// What its own process runs on, and all its children, whoever asks for them.
    spawner: OnceLock<Spawner>,
    /// There once somebody has asked for them.
    events: OnceLock<broadcast::Sender<Event<String>>>,
}

/// A supervisor is waited for as long as its children take; each has its own limit.
const SPEC: ChildSpec = ChildSpec::new().restart(Restart::Permanent).shutdown(Shutdown::Infinity);

impl DynamicSupervisor {
    /// Sets up a dynamic supervisor.
    #[allow(clippy::new_ret_no_self)] // The supervisor is made by `start`.
    pub fn new() -> DynamicSupervisorBuilder {
        DynamicSupervisorBuilder {
            name: "dynamic_supervisor".to_owned(),
            spec: SPEC,
            budget: RestartBudget::default(),
            max_children: limits::CHILDREN_MAX,
        }
    }

    /// Starts a child (OTP's `DynamicSupervisor.start_child/2`), on the runtime of the supervisor.
    ///
    /// # Errors
    /// - [`StartChildError::BadSpec`]: there can be no such child; nothing was asked of the
    ///   supervisor.
    /// - [`StartChildError::MaxChildren`], [`StartChildError::ShuttingDown`]: nothing ran. One that
    ///   waits for its restart counts as a child.
    /// - [`StartChildError::Failed`]: its `init` failed or declined; nothing is kept.
    ///
    /// # Cancel safety
    /// The start goes on when the future is dropped after its first poll.
    pub async fn start_child<P: Process>(
        &self,
        args: P::Args,
        spec: ChildSpec,
    ) -> Result<ProcessRef<P::Message>, StartChildError> {
        spec.check(false)?;
        let parent: Arc<dyn Parent> = self.pool.clone();
        let parent = Arc::downgrade(&parent);
        let child = Arc::new(ProcessChild::<P>::new(String::new(), args, spec, parent));
        child::address::<P>(self.pool.start(child).await?)
    }

    /// Starts a supervisor as a child, with its own children.
    ///
    /// # Errors
    /// As [`start_child`](Self::start_child).
    ///
    /// # Cancel safety
    /// As [`start_child`](Self::start_child).
    pub async fn start_supervisor(
        &self,
        builder: SupervisorBuilder,
    ) -> Result<Supervisor, StartChildError> {
        let spec = builder.spec.clone();
        spec.check(false)?;
        let group = builder.group(self.pool.closing.clone())?;
        let parent: Arc<dyn Parent> = self.pool.clone();
        self.pool.start(builder::make(&group, spec)(Arc::downgrade(&parent))).await?;
        Ok(Supervisor::of(group))
    }

    /// Ends a child for good, and waits until it has ended (OTP's `terminate_child/2`). Also one
    /// that is being restarted, by the address of any of its incarnations.
    ///
    /// # Errors
    /// [`StopError::NotFound`]; [`StopError::StillStopping`] if its code is stuck;
    /// [`StopError::Cycle`] for a child that would wait for its own end.
    pub async fn terminate_child<M: Message>(
        &self,
        process: &ProcessRef<M>,
    ) -> Result<(), StopError> {
        let number = process.port.child_number();
        let found = self.pool.table.find(hash(number), |child| child.number() == number);
        child::terminate(found.ok_or(StopError::NotFound)?).await
    }

    /// How many children there are, in whatever state. Counted as they come and go.
    pub fn count_children(&self) -> usize {
        self.pool.table.len()
    }

    /// How many children there are of which sort (OTP's `count_children/1`). They are looked
    /// through, a part at a time, between which others run.
    pub async fn count_each(&self) -> ChildCount {
        let mut count = ChildCount::default();
        for shard in 0..self.pool.table.shards() {
            self.pool.table.rows(shard).iter().for_each(|child| count.add(&**child));
            yield_now().await;
        }
        count
    }

    /// A page of the children, and of what they have below them, as data; see
    /// [`Supervisor::tree`].
    pub async fn tree(&self, page: &TreePage) -> Option<TreeNode> {
        let pool = &self.pool;
        let process = pool
            .escalation
            .process()
            .map(|process| ProcessInfo { name: pool.name.clone(), ..process.info() });
        let top = look::top(pool.name.clone(), &**pool, process);
        look::look(pool.clone(), top, page).await
    }

    /// What happens to its children from now on, by their names; see [`Supervisor::events`].
    pub fn events(&self) -> broadcast::Receiver<Event<String>> {
        self.pool.events.get_or_init(|| broadcast::Sender::new(limits::EVENTS)).subscribe()
    }

    /// Shows every child to `see`, in no order, a part at a time, between which others run (OTP's
    /// `which_children/1`, without the copy of all).
    pub async fn each_child(&self, mut see: impl FnMut(ProcessInfo)) {
        for shard in 0..self.pool.table.shards() {
            self.pool.table.rows(shard).iter().filter_map(|child| child.info()).for_each(&mut see);
            yield_now().await;
        }
    }
}

impl DynamicSupervisorBuilder {
    /// What it is called: its child id. Default: `dynamic_supervisor`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many restarts its children together may use up before it ends. Default: three in five
    /// seconds.
    pub fn restart_budget(mut self, budget: RestartBudget) -> Self {
        self.budget = budget;
        self
    }

    /// When it is started again by its own supervisor. Default: permanent.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.spec = self.spec.restart(restart);
        self
    }

    /// Whether its own supervisor may end because of it, see [`ChildSpec::significant`]. Default:
    /// no.
    pub fn significant(mut self, significant: bool) -> Self {
        self.spec = self.spec.significant(significant);
        self
    }

    /// How many children it may have; none, if zero. Default: a million.
    pub fn max_children(mut self, max: usize) -> Self {
        self.max_children = max;
        self
    }

    /// Starts it as a child of `supervisor`. When too many of its children crash it ends with all
    /// of them, and comes back without any, as in OTP.
    ///
    /// # Errors
    /// [`StartChildError`] if the supervisor has a child of that name, or is ending, or if there
    /// can be no such supervisor.
    pub async fn start(
        self,
        supervisor: &Supervisor,
    ) -> Result<DynamicSupervisor, StartChildError> {
        supervisor.check(&self.spec)?;
        let (name, make, pool) = self.make(supervisor.closing())?;
        supervisor.add(&name, make).await?;
        Ok(DynamicSupervisor { pool })
    }

    /// Its name, and how the child is made that is its process.
    pub(crate) fn make(
        self,
        closing: Arc<Closing>,
    ) -> Result<(String, Make, Arc<Pool>), StartChildError> {
        self.budget.check()?;
        let table = Table::new();
        // Closed until its process runs.
        table.close();
        let pool = Arc::new(Pool {
            max_children: self.max_children,
            table,
            escalation: Escalation::new(self.name.clone(), self.budget),
            closing,
            spawner: OnceLock::new(),
            events: OnceLock::new(),
            name: self.name.clone(),
        });
        let container: Arc<dyn Container> = pool.clone();
        pool.closing.join(Arc::downgrade(&container));
        let (id, args, spec) = (self.name.clone(), pool.clone(), self.spec);
        let make = move |parent| -> Arc<dyn Child> {
            Arc::new(ProcessChild::<Keeper>::new(id, args, spec, parent).of(container))
        };
        Ok((self.name, Box::new(make), pool))
    }
}

impl Pool {
    /// Puts a child in and starts it.
    async fn start(&self, child: Arc<dyn Child>) -> Result<Started, StartChildError> {
        let (hash, max) = (child.hash(), self.max_children);
        let mut launch = None;
        let make = || {
            // In the same step as it is put in: whoever ends all children finds a process to end.
            launch = Some(child.clone().prepare());
            Ok(child.clone())
        };
        let entered = self.table.enter(hash, max, |_| false, |_| false, make);
        entered.map_err(|refused| match refused {
            Refused::Closed => StartChildError::ShuttingDown,
            Refused::Full => StartChildError::MaxChildren { max },
        })?;
        // Open, so its process has run.
        let (Some(launch), Some(spawner)) = (launch, self.spawner.get()) else {
            return Err(StartChildError::ShuttingDown);
        };
        launch(spawner).await.map_err(StartChildError::Failed)
    }
}

/// The process of a dynamic supervisor.
struct Keeper {
    pool: Arc<Pool>,
}

impl Process for Keeper {
    type Args = Arc<Pool>;
    type Message = SupervisorMessage;

    async fn init(pool: &Arc<Pool>, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        pool.escalation.begin(ctx.process());
        let _ = pool.spawner.set(Spawner::current());
        pool.table.open();
        Ok(Keeper { pool: pool.clone() })
    }

    async fn handle(
        &mut self,
        message: SupervisorMessage,
        _: ReplyTo<SupervisorMessage>,
        ctx: &mut Context<Self>,
    ) {
        match message {
            SupervisorMessage::End => ctx.stop(ExitReason::Shutdown),
        }
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.pool.table.close();
        self.pool.escalation.end();
        let mut ends = Vec::new();
        for shard in 0..self.pool.table.shards() {
            ends.extend(self.pool.table.rows(shard).iter().map(|child| child.stop()));
            yield_now().await;
        }
        for end in ends {
            end.await;
        }
    }
}

impl Parent for Pool {
    fn ruling(&self, child: &dyn Child, reason: &ExitReason) -> Ruling<'static> {
        if !child.spec().restart.follows(reason) {
            return Ruling::Free;
        }
        let after = self.escalation.allow(child, reason);
        after.map_or(Ruling::Free, |after| Ruling::Restart { after })
    }

    fn ended(&self, child: Arc<dyn Child>, reason: &ExitReason, _: bool) {
        if *reason == ExitReason::Killed && self.table.is_closed() {
            self.closing.killed(format!("{}/{}", self.name, child.id()));
        }
        self.table.remove(&child);
        self.escalation.ended(&*child);
    }

    fn observe(&self, child: &dyn Child, incarnation: Incarnation, what: What) {
        if let Some(events) = self.events.get() {
            let event = Event { key: child.id().to_owned(), incarnation, what };
            // Nobody left to hear it is no failure.
            let _ = events.send(event);
        }
    }
}

impl Container for Pool {
    fn survivors(&self, names: &mut Names) {
        for shard in 0..self.table.shards() {
            for child in self.table.rows(shard) {
                names.add(|| format!("{}/{}", self.name, child.id()));
            }
        }
    }

    fn kind(&self) -> Kind {
        Kind::DynamicSupervisor
    }

    fn len(&self) -> usize {
        self.table.len()
    }

    /// One scan of all children that keeps the page.
    fn page(self: Arc<Self>, after: u64, limit: usize) -> Pending<(Vec<Arc<dyn Child>>, bool)> {
        Box::pin(async move {
            let (mut page, mut more) = (BTreeMap::new(), false);
            for shard in 0..self.table.shards() {
                let rows = self.table.rows(shard).into_iter();
                for child in rows.filter(|child| child.number() > after) {
                    page.insert(child.number(), child);
                    if page.len() > limit {
                        page.pop_last();
                        more = true;
                    }
                }
                yield_now().await;
            }
            (page.into_values().collect(), more)
        })
    }

    fn child(&self, at: u64) -> Option<Arc<dyn Child>> {
        self.table.find(hash(at), |child| child.number() == at)
    }

    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Row for dyn Child {
    fn hash(&self) -> u64 {
        hash(self.number())
    }
}

/// Spreads numbers that follow each other: Fibonacci hashing.
fn hash(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl fmt::Debug for DynamicSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisor")
            .field("name", &self.pool.name)
            .field("children", &self.count_children())
            .finish_non_exhaustive()
    }
}
