//! Children started on demand, without keys: OTP's `DynamicSupervisor`.

use std::fmt;
use std::sync::Arc;

use crate::call::ReplyTo;
use crate::child_spec::{ChildSpec, Restart, RestartBudget, Shutdown};
use crate::context::Context;
use crate::error::{GetError, StopError};
use crate::exit::ExitReason;
use crate::limits;
use crate::observe::ProcessInfo;
use crate::process::{Message, Process, StartError};
use crate::process_ref::ProcessRef;
use crate::registry::slot::Ruling;
use crate::registry::table::{Refused, Row, Table};
use crate::seam::{Spawner, yield_now};
use crate::supervisor::child::{self, Child, Parent, ProcessChild};
use crate::supervisor::closing::{Closing, Container, Names};
use crate::supervisor::escalation::{Escalation, SupervisorMessage};
use crate::supervisor::{StartChildError, Supervisor};

/// A supervisor of children that are started on demand, of any type (OTP's `DynamicSupervisor`).
///
/// # Differences from OTP
/// Children start side by side: neither a slow `init` nor a slow end holds up another child, so
/// there is no need to partition it. A child that is not restarted is forgotten.
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
    pool: Arc<Pool>,
}

/// Sets up a dynamic supervisor; made by [`DynamicSupervisor::new`].
#[must_use = "a supervisor does nothing until it is started"]
#[derive(Debug)]
pub struct DynamicSupervisorBuilder {
    name: String,
    budget: RestartBudget,
    max_children: usize,
}

struct Pool {
    name: String,
    max_children: usize,
    table: Table<dyn Child>,
    escalation: Escalation,
    closing: Arc<Closing>,
}

impl DynamicSupervisor {
    /// Sets up a dynamic supervisor.
    #[allow(clippy::new_ret_no_self)] // The supervisor is made by `start`.
    pub fn new() -> DynamicSupervisorBuilder {
        DynamicSupervisorBuilder {
            name: "dynamic_supervisor".to_owned(),
            budget: RestartBudget::default(),
            max_children: limits::CHILDREN_MAX,
        }
    }

    /// Starts a child (OTP's `DynamicSupervisor.start_child/2`).
    ///
    /// # Errors
    /// - [`StartChildError::MaxChildren`], [`StartChildError::ShuttingDown`]: nothing ran.
    /// - [`StartChildError::Failed`]: its `init` failed or declined; nothing is kept.
    ///
    /// # Cancel safety
    /// The start goes on when the future is dropped after its first poll.
    pub async fn start_child<P: Process>(
        &self,
        args: P::Args,
        spec: ChildSpec,
    ) -> Result<ProcessRef<P::Message>, StartChildError> {
        let parent: Arc<dyn Parent> = self.pool.clone();
        let parent = Arc::downgrade(&parent);
        let child = ProcessChild::<P>::new(String::new(), args, spec, parent);
        let row: Arc<dyn Child> = child.clone();
        let (hash, max) = (row.hash(), self.pool.max_children);
        let mut launch = None;
        let make = || {
            // In the same step as it is put in: whoever ends all children finds a process to end.
            launch = Some(row.clone().prepare());
            Ok(row.clone())
        };
        let entered = self.pool.table.enter(hash, max, |_| false, |_| false, make);
        entered.map_err(|refused| match refused {
            Refused::Closed => StartChildError::ShuttingDown,
            Refused::Full => StartChildError::MaxChildren { max },
        })?;
        if let Some(launch) = launch {
            launch(&Spawner::current()).await.map_err(StartChildError::Failed)?;
        }
        child.process().ok_or(StartChildError::Failed(GetError::ShuttingDown))
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

    /// How many children there are, in whatever state.
    pub fn count_children(&self) -> usize {
        self.pool.table.len()
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

    /// How many children it may have. Default: a million.
    pub fn max_children(mut self, max: usize) -> Self {
        self.max_children = max;
        self
    }

    /// Starts it as a child of `supervisor`. When too many of its children crash it ends with all
    /// of them, and comes back without any, as in OTP.
    ///
    /// # Errors
    /// [`StartChildError`] if the supervisor has a child of that name, or is ending.
    pub async fn start(
        self,
        supervisor: &Supervisor,
    ) -> Result<DynamicSupervisor, StartChildError> {
        let table = Table::new();
        // Closed until its process runs.
        table.close();
        let pool = Arc::new(Pool {
            max_children: self.max_children,
            table,
            escalation: Escalation::new(self.name.clone(), self.budget),
            closing: supervisor.closing(),
            name: self.name,
        });
        let container: Arc<dyn Container> = pool.clone();
        pool.closing.join(Arc::downgrade(&container));
        let (name, parent) = (pool.name.clone(), supervisor.parent());
        let spec = ChildSpec::new().restart(Restart::Permanent).shutdown(Shutdown::Infinity);
        supervisor.add(ProcessChild::<Keeper>::new(name, pool.clone(), spec, parent)).await?;
        Ok(DynamicSupervisor { pool })
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
            SupervisorMessage::Escalate => ctx.stop(ExitReason::Shutdown),
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
    fn ruling(&self, child: &str, reason: &ExitReason) -> Ruling<'static> {
        self.escalation.ruling(child, reason)
    }

    fn ended(&self, child: Arc<dyn Child>, reason: &ExitReason, _: bool) {
        if *reason == ExitReason::Killed && self.table.is_closed() {
            self.closing.killed(format!("{}/{}", self.name, child.id()));
        }
        self.table.remove(&child);
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
