//! Tasks under supervision: OTP's `Task.Supervisor`.

use std::time::Duration;

use crate::child_spec::{ChildSpec, RestartBudget};
use crate::clock;
use crate::context::Context;
use crate::dynamic_supervisor::{DynamicSupervisor, DynamicSupervisorBuilder};
use crate::error::{CastError, StopError};
use crate::limits;
use crate::observe::ProcessInfo;
use crate::process::{Message, Process};
use crate::process_ref::ProcessRef;
use crate::supervisor::{StartChildError, Supervisor};
use crate::task::Task;
use crate::task::stream::TaskStream;
use crate::task::work::{self, TaskMessage, TaskProcess, TaskWork};

/// A supervisor of tasks (OTP's `Task.Supervisor`): a [`DynamicSupervisor`] whose children are
/// tasks.
///
/// # Differences from OTP
/// As many tasks as may run is an error, not an exception of the caller. A task has no caller chain
/// and no ancestors to look up; a `tracing` span around the work says more.
#[derive(Clone, Debug)]
pub struct TaskSupervisor {
    tasks: DynamicSupervisor,
}

/// Sets up a supervisor of tasks; made by [`TaskSupervisor::new`].
#[must_use = "a supervisor does nothing until it is started"]
#[derive(Debug)]
pub struct TaskSupervisorBuilder {
    tasks: DynamicSupervisorBuilder,
}

impl TaskSupervisor {
    /// How a task is supervised unless something else is said: never restarted, five seconds to
    /// end.
    pub const SPEC: ChildSpec = work::TEMPORARY;

    /// Sets up a supervisor of tasks.
    #[allow(clippy::new_ret_no_self)] // The supervisor is made by `start`.
    pub fn new() -> TaskSupervisorBuilder {
        TaskSupervisorBuilder { tasks: DynamicSupervisor::new().name("task_supervisor") }
    }

    /// Starts a task whose result is waited for (OTP's `Task.Supervisor.async_nolink/3`). A crash
    /// of it is a value for who waits and touches nobody else.
    ///
    /// # Errors
    /// [`StartChildError`]: nothing ran.
    ///
    /// # Cancel safety
    /// Nothing has run when the future is dropped before it is done.
    pub async fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<Task<T>, StartChildError> {
        let (work, go, reply) = TaskWork::once(work);
        let process = self.tasks.start_child::<TaskProcess>(work, Self::SPEC).await?;
        Ok(Task::new(process, reply).begin(go))
    }

    /// As [`start`](Self::start), linked to the process that asks (OTP's
    /// `Task.Supervisor.async/3`): if one crashes, so does the other, unless it traps exits.
    ///
    /// # Errors
    /// [`StartChildError`]: nothing ran.
    ///
    /// # Cancel safety
    /// Nothing has run when the future is dropped before it is done.
    pub async fn start_linked<P: Process, T: Send + 'static>(
        &self,
        ctx: &mut Context<P>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<Task<T>, StartChildError> {
        let (work, go, reply) = TaskWork::once(work);
        let process = self.tasks.start_child::<TaskProcess>(work, Self::SPEC).await?;
        // Before it begins: one that was done already could not be linked any more.
        ctx.link(&process);
        Ok(Task::new(process, reply).begin(go))
    }

    /// Starts a task that nobody waits for, linked to nobody but this supervisor (OTP's
    /// `Task.Supervisor.start_child/3`). It does `work` again at each restart that `spec` says;
    /// [`TaskSupervisor::SPEC`] says none.
    ///
    /// # Errors
    /// [`StartChildError`]: nothing ran.
    ///
    /// # Cancel safety
    /// The start goes on when the future is dropped after its first poll.
    pub async fn start_child<F: Future<Output = ()> + Send + 'static>(
        &self,
        spec: ChildSpec,
        work: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<ProcessRef<TaskMessage>, StartChildError> {
        let (work, go) = TaskWork::again(work);
        let process = self.tasks.start_child::<TaskProcess>(work, spec).await?;
        // Nobody listens if it was ended in the meantime.
        let _ = go.send(());
        Ok(process)
    }

    /// What `work` makes of each input, so many at once (OTP's
    /// `Task.Supervisor.async_stream_nolink/4`). Nothing runs before the first
    /// [`TaskStream::next`].
    pub fn stream<I, T, F>(
        &self,
        inputs: impl IntoIterator<Item = I, IntoIter: Send + 'static>,
        work: impl Fn(I) -> F + Send + 'static,
    ) -> TaskStream<I, T>
    where
        I: Clone + Send + 'static,
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let work = move |input| -> super::stream::Working<T> { Box::pin(work(input)) };
        TaskStream::new(self.clone(), Box::new(inputs.into_iter()), Box::new(work))
    }

    /// Says something to a process later, whoever asks (OTP's `Process.send_after/3` from outside
    /// that process; from within, [`Context::send_after`] costs less). Dropping what is returned
    /// cancels it; it answers whether the message was accepted.
    ///
    /// # Errors
    /// [`StartChildError`]: it will not be said.
    pub async fn send_after<M: Message>(
        &self,
        process: &ProcessRef<M>,
        delay: Duration,
        message: M,
    ) -> Result<Task<Result<(), CastError<M>>>, StartChildError> {
        let process = process.clone();
        let due = clock::now().after(delay.min(limits::TIMER_MAX));
        self.start(async move {
            clock::alarm(due).await;
            process.cast(message).await
        })
        .await
    }

    /// Ends a task, and waits until it has ended (OTP's `Task.Supervisor.terminate_child/2`).
    ///
    /// # Errors
    /// As [`DynamicSupervisor::terminate_child`].
    pub async fn terminate_child(&self, task: &ProcessRef<TaskMessage>) -> Result<(), StopError> {
        self.tasks.terminate_child(task).await
    }

    /// How many tasks there are.
    pub fn count_children(&self) -> usize {
        self.tasks.count_children()
    }

    /// Shows every task to `see`, in no order (OTP's `Task.Supervisor.children/1`).
    pub async fn each_child(&self, see: impl FnMut(ProcessInfo)) {
        self.tasks.each_child(see).await;
    }
}

impl TaskSupervisorBuilder {
    /// What it is called: its child id. Default: `task_supervisor`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.tasks = self.tasks.name(name);
        self
    }

    /// How many tasks there may be. Default: a million.
    pub fn max_children(mut self, max: usize) -> Self {
        self.tasks = self.tasks.max_children(max);
        self
    }

    /// How many restarts its tasks together may use up before it ends. Default: three in five
    /// seconds.
    pub fn restart_budget(mut self, budget: RestartBudget) -> Self {
        self.tasks = self.tasks.restart_budget(budget);
        self
    }

    /// Starts it as a child of `supervisor`.
    ///
    /// # Errors
    /// [`StartChildError::AlreadyStarted`] if the supervisor has a child of that name;
    /// [`StartChildError::ShuttingDown`] if it is ending.
    pub async fn start(self, supervisor: &Supervisor) -> Result<TaskSupervisor, StartChildError> {
        Ok(TaskSupervisor { tasks: self.tasks.start(supervisor).await? })
    }
}
