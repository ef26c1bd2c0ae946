//! Supervisors: children started in order, restarted when they crash, ended in reverse order.

pub(crate) mod builder;
pub(crate) mod child;
pub(crate) mod closing;
pub(crate) mod escalation;
pub(crate) mod group;
pub(crate) mod intensity;
pub(crate) mod line;
pub(crate) mod look;
pub(crate) mod refused;
pub(crate) mod tree;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::cell::{Cell, Stopping};
use crate::child_spec::ChildSpec;
use crate::clock;
use crate::dynamic_supervisor::DynamicSupervisor;
use crate::error::StopError;
use crate::exit::ExitReason;
use crate::observe::{Event, ProcessInfo};
use crate::process::Process;
use crate::process_ref::ProcessRef;
use crate::solo::Solo;
use crate::supervisor::child::{ProcessChild, Started, address};
use crate::supervisor::closing::Closing;
use crate::supervisor::group::{Group, Make};
use crate::supervisor::tree::Tree;

pub use builder::SupervisorBuilder;
pub use closing::{Names, ShutdownReport};
pub use line::{AutoShutdown, Strategy};
pub use look::{ChildCount, Kind, TreeNode, TreePage};
pub use refused::{DeleteError, RestartError, StartChildError};

/// A supervisor (OTP's `Supervisor`): it starts its children in order, restarts them as its
/// [`Strategy`] says, and ends them in reverse order; too many restarts end it, and with it all of
/// them.
///
/// # Guarantees
/// In a restart of several children those that have to end do so one by one, the last one first,
/// each within its own limit; then they begin one by one, the first one first, each once the one
/// before it is ready. Temporary children end then, and are forgotten. A child that is ended
/// because of a sibling costs no restart budget. No child outlives its supervisor, unless its code
/// is stuck; a restart of several children waits for stuck code until it has ended, for nothing is
/// ever started beside it.
///
/// # Differences from OTP
/// A child's `init` does not hold up the supervisor: children that are added run theirs side by
/// side, save that they wait while their siblings are restarted together. Messages that wait for a
/// child are handled by its next incarnation also when it was ended because of a sibling. Children
/// that were added, and not only those it was made with, are started again when the supervisor
/// itself is restarted. One that is added and declines to start is not kept. Restarts after the
/// first in a window wait a little, see
/// [`RestartBudget::backoff`](crate::RestartBudget::backoff).
///
/// # Examples
/// ```
/// # use innkeeper::{ChildSpec, Context, Message, Process, ReplyTo, StartError};
/// use innkeeper::{Strategy, Supervisor, TreePage};
/// # struct Store;
/// # struct Get;
/// # impl Message for Get { type Reply = (); }
/// # impl Process for Store {
/// #     type Args = ();
/// #     type Message = Get;
/// #     async fn init(_: &(), _: &mut Context<Self>) -> Result<Self, StartError> { Ok(Store) }
/// #     async fn handle(&mut self, _: Get, _: ReplyTo<Get>, _: &mut Context<Self>) {}
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = Supervisor::new()
///     .strategy(Strategy::RestForOne)
///     .child::<Store>("store", (), ChildSpec::new())
///     .child::<Store>("cache", (), ChildSpec::new())
///     .start()
///     .await?;
/// let tree = supervisor.tree(&TreePage::default()).await.ok_or("no such place")?;
/// let ids: Vec<_> = tree.children.iter().map(|child| child.id.as_str()).collect();
/// assert_eq!(ids, ["store", "cache"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Supervisor {
    group: Arc<Group>,
    /// The process of a supervisor that has no supervisor itself.
    root: Option<Arc<Cell<Solo<Tree>>>>,
}

impl Supervisor {
    /// Sets up a supervisor without children.
    #[allow(clippy::new_ret_no_self)] // The supervisor is made by `start`.
    pub fn new() -> SupervisorBuilder {
        SupervisorBuilder::new()
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.group.name
    }

    /// Adds a child at the end and starts it (OTP's `Supervisor.start_child/2`).
    ///
    /// # Errors
    /// [`StartChildError`]; a child whose first start fails is not kept. While siblings are
    /// restarted together it waits for that, up to [`limits::ASK_TIMEOUT`](crate::limits).
    ///
    /// # Cancel safety
    /// The start goes on when the future is dropped after the child is in.
    pub async fn start_child<P: Process>(
        &self,
        id: &str,
        args: P::Args,
        spec: ChildSpec,
    ) -> Result<ProcessRef<P::Message>, StartChildError> {
        self.group.check(&spec)?;
        let started = self.add(id, ProcessChild::<P>::make(id.to_owned(), args, spec)).await?;
        address::<P>(started)
    }

    /// Adds a supervisor as a child.
    ///
    /// # Errors
    /// As [`start_child`](Self::start_child).
    pub async fn start_supervisor(
        &self,
        builder: SupervisorBuilder,
    ) -> Result<Supervisor, StartChildError> {
        let spec = builder.spec.clone();
        self.group.check(&spec)?;
        let group = builder.group(self.closing())?;
        self.add(&group.name, builder::make(&group, spec)).await?;
        Ok(Supervisor { group, root: None })
    }

    /// The supervisor that is its child of that id.
    pub fn supervisor(&self, id: &str) -> Option<Supervisor> {
        let container = self.group.find(id)?.container()?;
        Some(Supervisor { group: container.any().downcast().ok()?, root: None })
    }

    /// The dynamic supervisor that is its child of that id.
    pub fn dynamic_supervisor(&self, id: &str) -> Option<DynamicSupervisor> {
        let container = self.group.find(id)?.container()?;
        Some(DynamicSupervisor { pool: container.any().downcast().ok()? })
    }

    /// Starts a child again that is known and does not run, at its old place, with its first
    /// arguments (OTP's `restart_child/2`).
    ///
    /// # Errors
    /// [`RestartError`]; a child that does not start stays known.
    ///
    /// # Cancel safety
    /// As [`start_child`](Self::start_child).
    pub async fn restart_child(&self, id: &str) -> Result<(), RestartError> {
        self.group.restart(id).await
    }

    /// Ends a child for good, and waits until it has ended (OTP's `terminate_child/2`). It stays
    /// known, unless it is temporary.
    ///
    /// # Errors
    /// [`StopError::NotFound`]; [`StopError::StillStopping`] if its code is stuck;
    /// [`StopError::Cycle`] for a child that would wait for its own end.
    ///
    /// # Cancel safety
    /// The order stands when the future is dropped after its first poll.
    pub async fn terminate_child(&self, id: &str) -> Result<(), StopError> {
        child::terminate(self.group.find(id).ok_or(StopError::NotFound)?).await
    }

    /// Forgets a child that does not run (OTP's `delete_child/2`).
    ///
    /// # Errors
    /// [`DeleteError`].
    pub fn delete_child(&self, id: &str) -> Result<(), DeleteError> {
        self.group.delete(id)
    }

    /// How many children it has (OTP's `count_children/1`).
    pub fn count_children(&self) -> ChildCount {
        let mut count = ChildCount::default();
        for child in self.group.children() {
            count.add(&*child);
        }
        count
    }

    /// The tree below it, as data: a page of the children of each supervisor, or of one of them.
    /// `None` if there is nothing at the path of `page`.
    ///
    /// # Guarantees
    /// It asks nobody: no process is in the way, not even one that is stuck in its `init`, and none
    /// notices. What is seen of one process is of one instant, but not that of all together.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn tree(&self, page: &TreePage) -> Option<TreeNode> {
        let group = &self.group;
        let process = group
            .escalation
            .process()
            .map(|process| ProcessInfo { name: group.name.clone(), ..process.info() });
        let top = look::top(group.name.clone(), &**group, process);
        look::look(group.clone(), top, page).await
    }

    /// What happens to its children from now on, by their ids; not to those of the supervisors
    /// among them, which have their own. Bounded: a subscriber that falls behind is told how many
    /// it missed.
    pub fn events(&self) -> broadcast::Receiver<Event<String>> {
        self.group.events()
    }

    /// The children, in the order of their first start, with their ids; without a process those
    /// that are known but do not run (OTP's `which_children/1`).
    pub fn which_children(&self) -> Vec<(String, Option<ProcessInfo>)> {
        let children = self.group.children();
        children.iter().map(|child| (child.id().to_owned(), child.info())).collect()
    }

    /// Tells the supervisor to stop, and waits until it and all its children have (OTP's
    /// `Supervisor.stop/3`). As for any process this is an exit like any other: one that has a
    /// supervisor is restarted by it, if it is permanent. To end it for good use
    /// [`shutdown`](Self::shutdown), or [`terminate_child`](Self::terminate_child) of its own
    /// supervisor.
    ///
    /// # Errors
    /// [`StopError`].
    ///
    /// # Cancel safety
    /// The order stands when the future is dropped after its first poll.
    pub async fn stop(&self, reason: ExitReason, timeout: Duration) -> Result<(), StopError> {
        let process = self.group.escalation.process().ok_or(StopError::NotFound)?;
        process.stop(reason, timeout).await
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
        if let Stopping::Wait { flight, .. } = root.stop(ExitReason::Shutdown) {
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
    pub(crate) async fn add(&self, id: &str, make: Make) -> Result<Started, StartChildError> {
        self.group.add(id, make).await
    }

    /// Whether there can be such a child here.
    pub(crate) fn check(&self, spec: &ChildSpec) -> Result<(), StartChildError> {
        self.group.check(spec)
    }

    /// A supervisor that has one itself.
    pub(crate) fn of(group: Arc<Group>) -> Supervisor {
        Supervisor { group, root: None }
    }

    /// What this supervisor's tree notes about its shutdown.
    pub(crate) fn closing(&self) -> Arc<Closing> {
        self.group.closing.clone()
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("name", &self.group.name).finish_non_exhaustive()
    }
}
