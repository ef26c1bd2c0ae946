//! Supervisors: children started in order, restarted when they crash, ended in reverse order.

pub(crate) mod child;
pub(crate) mod closing;
pub(crate) mod escalation;
pub(crate) mod intensity;
mod tree;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::cell::{Cell, Stopping};
use crate::child_spec::{ChildSpec, Restart, RestartBudget, Shutdown};
use crate::clock;
use crate::error::{GetError, StopError};
use crate::exit::ExitReason;
use crate::observe::ProcessInfo;
use crate::process::Process;
use crate::process_ref::ProcessRef;
use crate::solo::{self, Solo};
use crate::supervisor::child::{Child, Parent, ProcessChild};
use crate::supervisor::closing::Closing;
use crate::supervisor::tree::{Group, Tree};

pub use closing::{Names, ShutdownReport};

/// A supervisor (OTP's `Supervisor` with the strategy one_for_one): each of its children is
/// restarted by itself; too many restarts end the supervisor, and with it all children.
///
/// # Differences from OTP
/// A child's `init` does not hold up the supervisor: children that are added run theirs side by
/// side. Children that were added, and not only those it was made with, are started again when the
/// supervisor itself is restarted. Restarts after the first in a window wait a little, see
/// [`RestartBudget::backoff`].
///
/// # Examples
/// See [`Keyed`](crate::Keyed).
#[derive(Clone)]
pub struct Supervisor {
    group: Arc<Group>,
    /// The process of a supervisor that has no supervisor itself.
    root: Option<Arc<Cell<Solo<Tree>>>>,
}

/// Sets up a supervisor; made by [`Supervisor::new`].
#[must_use = "a supervisor does nothing until it is started"]
pub struct SupervisorBuilder {
    name: String,
    budget: RestartBudget,
    children: Vec<Declared>,
}

/// A child that is made once its supervisor is.
type Declared = Box<dyn FnOnce(Weak<dyn Parent>) -> Arc<dyn Child> + Send>;

/// Why a child was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartChildError {
    /// A child of that id runs (OTP's `already_started`).
    AlreadyStarted,
    /// A child of that id is known, and does not run (OTP's `already_present`).
    AlreadyPresent,
    /// As many children run as may.
    MaxChildren {
        /// The most there may be.
        max: usize,
    },
    /// The supervisor is ending, or has not started.
    ShuttingDown,
    /// It could not be started.
    Failed(GetError),
}

impl fmt::Display for StartChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartChildError::AlreadyStarted => f.write_str("a child of that id runs already"),
            StartChildError::AlreadyPresent => {
                f.write_str("a child of that id is known already, though it does not run")
            }
            StartChildError::MaxChildren { max } => write!(f, "{max} children run already"),
            StartChildError::ShuttingDown => f.write_str("the supervisor is not running"),
            StartChildError::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartChildError {}

fn parent(group: &Arc<Group>) -> Weak<dyn Parent> {
    let parent: Arc<dyn Parent> = group.clone();
    Arc::downgrade(&parent)
}

/// A supervisor is asked to end its children as long as they take; each has its own limit.
const SPEC: ChildSpec = ChildSpec::new()
    .restart(Restart::Permanent)
    .shutdown(Shutdown::Infinity)
    .start_timeout(Duration::from_secs(86_400));

impl Supervisor {
    /// Sets up a supervisor without children.
    #[allow(clippy::new_ret_no_self)] // The supervisor is made by `start`.
    pub fn new() -> SupervisorBuilder {
        SupervisorBuilder {
            name: "supervisor".to_owned(),
            budget: RestartBudget::default(),
            children: Vec::new(),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.group.name
    }

    /// Adds a child at the end and starts it (OTP's `Supervisor.start_child/2`).
    ///
    /// # Errors
    /// [`StartChildError`]; a child whose first start fails is not kept.
    ///
    /// # Cancel safety
    /// The start goes on when the future is dropped after its first poll.
    pub async fn start_child<P: Process>(
        &self,
        id: &str,
        args: P::Args,
        spec: ChildSpec,
    ) -> Result<ProcessRef<P::Message>, StartChildError> {
        let child = ProcessChild::<P>::new(id.to_owned(), args, spec, self.parent());
        self.add(child.clone()).await?;
        child.process().ok_or(StartChildError::Failed(GetError::ShuttingDown))
    }

    /// Adds a supervisor as a child.
    ///
    /// # Errors
    /// As [`start_child`](Self::start_child).
    pub async fn start_supervisor(
        &self,
        builder: SupervisorBuilder,
    ) -> Result<Supervisor, StartChildError> {
        let group = builder.group(self.group.closing.clone())?;
        let name = group.name.clone();
        self.add(ProcessChild::<Tree>::new(name, group.clone(), SPEC, self.parent())).await?;
        Ok(Supervisor { group, root: None })
    }

    /// Ends a child for good, and waits until it has ended (OTP's `terminate_child/2`). It stays
    /// known, unless it is temporary.
    ///
    /// # Errors
    /// [`StopError::NotFound`]; [`StopError::StillStopping`] if its code is stuck;
    /// [`StopError::Cycle`] for a child that would wait for its own end.
    pub async fn terminate_child(&self, id: &str) -> Result<(), StopError> {
        let mut children = self.group.children().into_iter();
        let child = children.find(|child| child.id() == id).ok_or(StopError::NotFound)?;
        child::terminate(child).await
    }

    /// The children, in the order of their first start, with their ids; without a process those
    /// that are known but do not run (OTP's `which_children/1`).
    pub fn which_children(&self) -> Vec<(String, Option<ProcessInfo>)> {
        let children = self.group.children();
        children.iter().map(|child| (child.id().to_owned(), child.info())).collect()
    }

    /// Ends the supervisor, its children before it in reverse order, each within its own limit.
    /// Returns by `timeout` either way, and says who was killed and who has not ended.
    ///
    /// Only the supervisor at the root of a tree can be shut down so; another one is ended as a
    /// child of its own supervisor, and this does nothing.
    ///
    /// # Cancel safety
    /// The shutdown goes on when the future is dropped after its first poll.
    pub async fn shutdown(&self, timeout: Duration) -> ShutdownReport {
        let Some(root) = &self.root else {
            return ShutdownReport::default();
        };
        let closing = &self.group.closing;
        closing.begin();
        if let Stopping::Wait(flight, _) = root.stop(ExitReason::Shutdown) {
            let deadline = clock::now().after(timeout);
            drop(root.settled(&flight, None, deadline).await);
        }
        closing.report()
    }

    /// Waits until the supervisor has ended, by a shutdown or because there were too many restarts.
    /// For ever, if it is not the root of its tree.
    pub async fn ended(&self) -> ExitReason {
        match &self.root {
            None => std::future::pending().await,
            Some(root) => ProcessRef::new(root.clone(), root.incarnation()).ended().await,
        }
    }

    /// Starts a child that is set up already.
    pub(crate) async fn add(&self, child: Arc<dyn Child>) -> Result<(), StartChildError> {
        let (launch, spawner) = self.group.enter(child)?;
        launch(&spawner).await.map_err(StartChildError::Failed)
    }

    /// What the children of this supervisor call their parent.
    pub(crate) fn parent(&self) -> Weak<dyn Parent> {
        parent(&self.group)
    }

    /// What this supervisor's tree notes about its shutdown.
    pub(crate) fn closing(&self) -> Arc<Closing> {
        self.group.closing.clone()
    }
}

impl SupervisorBuilder {
    /// What it is called: its child id, where it has a supervisor. Default: `supervisor`.
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

    /// Gives it a child, after those it has. They are started in this order, each once the one
    /// before it is ready, and ended in reverse.
    pub fn child<P: Process>(
        mut self,
        id: impl Into<String>,
        args: P::Args,
        spec: ChildSpec,
    ) -> Self {
        let id = id.into();
        self.children.push(Box::new(|parent| ProcessChild::<P>::new(id, args, spec, parent)));
        self
    }

    /// Starts it at the root of a tree of its own, with its children.
    ///
    /// # Errors
    /// [`StartChildError::AlreadyPresent`] if two children have the same id;
    /// [`StartChildError::Failed`] if a child did not start: those before it were ended again.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is done, what was started is ended again.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(self) -> Result<Supervisor, StartChildError> {
        let group = self.group(Arc::new(Closing::default()))?;
        let started = solo::launch::<Tree>(group.clone(), SPEC).await;
        let (root, _) = started.map_err(StartChildError::Failed)?;
        Ok(Supervisor { group, root: Some(root) })
    }

    fn group(self, closing: Arc<Closing>) -> Result<Arc<Group>, StartChildError> {
        let group = Group::new(self.name, self.budget, closing);
        for child in self.children {
            group.declare(child(parent(&group)))?;
        }
        Ok(group)
    }
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("name", &self.group.name).finish_non_exhaustive()
    }
}
