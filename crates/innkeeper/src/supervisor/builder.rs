//! How a supervisor is set up: its strategy, its budget, its children.

use std::fmt;
use std::sync::Arc;

use crate::child_spec::{ChildSpec, Restart, RestartBudget};
use crate::dynamic_supervisor::DynamicSupervisorBuilder;
use crate::process::Process;
use crate::solo;
use crate::supervisor::Supervisor;
use crate::supervisor::child::ProcessChild;
use crate::supervisor::closing::{Closing, Container};
use crate::supervisor::group::{Group, Make};
use crate::supervisor::line::{AutoShutdown, Strategy};
use crate::supervisor::refused::StartChildError;
use crate::supervisor::tree::{self, Tree};

/// Sets up a supervisor; made by [`Supervisor::new`].
#[must_use = "a supervisor does nothing until it is started"]
pub struct SupervisorBuilder {
    pub(crate) name: String,
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    budget: RestartBudget,
    pub(crate) spec: ChildSpec,
    children: Vec<Declared>,
}

/// A child that is made once its supervisor is.
type Declared = Box<dyn FnOnce(&Arc<Group>) -> Result<(), StartChildError> + Send>;

impl SupervisorBuilder {
    pub(crate) fn new() -> Self {
        SupervisorBuilder {
            name: "supervisor".to_owned(),
            strategy: Strategy::default(),
            auto_shutdown: AutoShutdown::default(),
            budget: RestartBudget::default(),
            spec: tree::SPEC,
            children: Vec::new(),
        }
    }

    /// What it is called: its child id, where it has a supervisor. Default: `supervisor`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whom it restarts when one of its children has to be. Default: one for one.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Whether it ends when its significant children have. Default: never.
    pub fn auto_shutdown(mut self, when: AutoShutdown) -> Self {
        self.auto_shutdown = when;
        self
    }

    /// How many restarts its children together may use up before it ends. Default: three in five
    /// seconds.
    pub fn restart_budget(mut self, budget: RestartBudget) -> Self {
        self.budget = budget;
        self
    }

    /// When it is started again by a supervisor of its own. One with [`AutoShutdown`] is to be
    /// transient or temporary, or it comes back. Default: permanent.
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

    /// Gives it a child, after those it has. They are started in this order, each once the one
    /// before it is ready, and ended in reverse. One that declines to start is known, and does not
    /// run.
    pub fn child<P: Process>(
        mut self,
        id: impl Into<String>,
        args: P::Args,
        spec: ChildSpec,
    ) -> Self {
        let id = id.into();
        self.children.push(Box::new(move |group| {
            let make = ProcessChild::<P>::make(id.clone(), args, spec);
            group.declare(&id, make)
        }));
        self
    }

    /// Gives it a supervisor as a child, after those it has; found by
    /// [`Supervisor::supervisor`].
    pub fn supervisor(mut self, builder: SupervisorBuilder) -> Self {
        self.children.push(Box::new(move |group| {
            let (id, spec) = (builder.name.clone(), builder.spec.clone());
            let inner = builder.group(group.closing.clone())?;
            group.declare(&id, make(&inner, spec))
        }));
        self
    }

    /// Gives it a dynamic supervisor as a child, after those it has; found by
    /// [`Supervisor::dynamic_supervisor`].
    pub fn dynamic_supervisor(mut self, builder: DynamicSupervisorBuilder) -> Self {
        self.children.push(Box::new(move |group| {
            let (id, make, _) = builder.make(group.closing.clone())?;
            group.declare(&id, make)
        }));
        self
    }

    /// Starts it at the root of a tree of its own, with its children.
    ///
    /// # Errors
    /// - [`StartChildError::AlreadyPresent`] if two children have the same id;
    ///   [`StartChildError::BadSpec`] if there can be no such child or supervisor: nothing ran.
    /// - [`StartChildError::Failed`] if a child did not start: those before it were ended again.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is done, what was started is ended again.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(self) -> Result<Supervisor, StartChildError> {
        let spec = self.spec.clone();
        let group = self.group(Arc::new(Closing::default()))?;
        let started = solo::launch::<Tree>(group.clone(), spec).await;
        let (root, _) = started.map_err(StartChildError::Failed)?;
        Ok(Supervisor { group, root: Some(root) })
    }

    pub(crate) fn group(self, closing: Arc<Closing>) -> Result<Arc<Group>, StartChildError> {
        self.budget.check()?;
        let group =
            Group::new(self.name, self.budget, (self.strategy, self.auto_shutdown), closing);
        for declare in self.children {
            declare(&group)?;
        }
        Ok(group)
    }
}

/// How the child is made that is the process of this group.
pub(crate) fn make(group: &Arc<Group>, spec: ChildSpec) -> Make {
    let (group, id) = (group.clone(), group.name.clone());
    let container: Arc<dyn Container> = group.clone();
    Box::new(move |parent| {
        Arc::new(ProcessChild::<Tree>::new(id, group, spec, parent).of(container))
    })
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder")
            .field("name", &self.name)
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}
