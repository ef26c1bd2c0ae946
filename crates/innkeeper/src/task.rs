//! A piece of work in a process of its own, and its one result: OTP's `Task`.

mod stream;
mod supervisor;
mod work;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{SetOnce, oneshot};

use crate::clock;
use crate::error::{GetError, StopError};
use crate::exit::ExitReason;
use crate::process_ref::ProcessRef;
use crate::registry::slot::Signal;
use crate::solo;
use crate::supervisor::StartChildError;

pub use stream::{StreamError, TaskStream};
pub use supervisor::{TaskSupervisor, TaskSupervisorBuilder};
pub use work::{TaskMessage, TaskProcess, TaskWork};

/// Work under way in a process of its own, whose result somebody waits for (OTP's `Task`).
///
/// Whoever has this has the work: dropped, the work is told to end, and does so at its next await
/// point. That is what OTP's link to the caller is for. [`detach`](Self::detach) lets it go on.
///
/// A result is taken by value, so it cannot be waited for twice or by two, which in OTP is an
/// error of the caller; and what arrives late goes nowhere.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use innkeeper::{Supervisor, TaskSupervisor, Waited};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = Supervisor::new().start().await?;
/// let tasks = TaskSupervisor::new().start(&supervisor).await?;
/// let sum = tasks.start(async { 40 + 2 }).await?;
/// assert_eq!(sum.join(Duration::from_secs(1)).await?, 42);
/// # Ok(())
/// # }
/// ```
#[must_use = "the work is told to end as soon as this is dropped"]
pub struct Task<T> {
    process: ProcessRef<TaskMessage>,
    /// `None` once it is known that none will come.
    reply: Option<oneshot::Receiver<T>>,
    ended: Pin<Box<dyn Future<Output = ExitReason> + Send>>,
    detached: bool,
}

/// What waiting for a task brought.
#[derive(Debug)]
#[must_use]
pub enum Waited<T> {
    /// Its result.
    Done(T),
    /// It ended without a result.
    Exited(ExitReason),
    /// It is still at work; here it is.
    StillRuns(Task<T>),
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// It ended before it had one: it panicked, was killed, or was told to stop.
    Exited(ExitReason),
    /// It was not done in time, and has been told to end.
    Timeout {
        /// How long it was waited for.
        waited: Duration,
    },
    /// It was told to end and is not known to have.
    NotStopped(StopError),
    /// It was not started; nothing ran.
    NotStarted(StartChildError),
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Exited(reason) => write!(f, "the task ended without a result: {reason}"),
            TaskError::Timeout { waited } => {
                write!(f, "the task was not done after {} ms", waited.as_millis())
            }
            TaskError::NotStopped(error) => write!(f, "the task did not end: {error}"),
            TaskError::NotStarted(error) => write!(f, "the task was not started: {error}"),
        }
    }
}

impl std::error::Error for TaskError {}

impl<T: Send + 'static> Task<T> {
    /// Starts a task that nobody supervises (OTP's `Task.async/1`).
    ///
    /// # Errors
    /// [`GetError`]: nothing ran.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// Nothing has run when the future is dropped before it is done.
    pub async fn start(work: impl Future<Output = T> + Send + 'static) -> Result<Self, GetError> {
        let (work, go, reply) = TaskWork::once(work);
        let process = solo::start::<TaskProcess>(work, work::TEMPORARY).await?;
        Ok(Task::new(process, reply).begin(go))
    }

    fn new(process: ProcessRef<TaskMessage>, reply: oneshot::Receiver<T>) -> Self {
        let ended: Pin<Box<dyn Future<Output = ExitReason> + Send>> =
            match process.port.end_of(process.incarnation) {
                Ok(end) => Box::pin(told(end)),
                Err(reason) => Box::pin(std::future::ready(reason)),
            };
        Task { process, reply: Some(reply), ended, detached: false }
    }

    /// Lets the work begin, now that somebody has its address.
    fn begin(self, go: work::Go) -> Self {
        // Nobody listens if it was ended in the meantime.
        let _ = go.send(());
        self
    }

    /// Waits for the result (OTP's `Task.await/2`).
    ///
    /// # Errors
    /// - [`TaskError::Exited`]: it ended without one.
    /// - [`TaskError::Timeout`]: not within `timeout`. It is told to end, where OTP's caller exits
    ///   and takes the task along.
    ///
    /// # Cancel safety
    /// As dropping the task.
    pub async fn join(self, timeout: Duration) -> Result<T, TaskError> {
        match self.wait(timeout).await {
            Waited::Done(value) => Ok(value),
            Waited::Exited(reason) => Err(TaskError::Exited(reason)),
            Waited::StillRuns(_) => Err(TaskError::Timeout { waited: timeout }),
        }
    }

    /// Waits for the result for a while, and hands the task back if there is none yet (OTP's
    /// `Task.yield/2`).
    ///
    /// # Cancel safety
    /// As dropping the task.
    pub async fn wait(mut self, timeout: Duration) -> Waited<T> {
        let deadline = clock::alarm(clock::now().after(timeout));
        tokio::select! {
            biased;
            outcome = std::future::poll_fn(|cx| self.poll_outcome(cx)) => match outcome {
                Ok(value) => Waited::Done(value),
                Err(reason) => Waited::Exited(reason),
            },
            () = deadline => Waited::StillRuns(self),
        }
    }

    /// Ends the task, and waits until it has ended (OTP's `Task.shutdown/2`). Answers the result,
    /// if there was one in time.
    ///
    /// # Errors
    /// - [`TaskError::Exited`]: it had crashed.
    /// - [`TaskError::NotStopped`]: its code is stuck, or it waits for the caller.
    pub async fn shutdown(mut self, timeout: Duration) -> Result<Option<T>, TaskError> {
        match self.process.stop(ExitReason::Shutdown, timeout).await {
            Ok(()) | Err(StopError::NotFound) => {}
            Err(error) => return Err(TaskError::NotStopped(error)),
        }
        match std::future::poll_fn(|cx| self.poll_outcome(cx)).await {
            Ok(value) => Ok(Some(value)),
            // One that had ended in order, without a result, was told to by somebody else.
            Err(reason) if !reason.is_abnormal() => Ok(None),
            Err(reason) => Err(TaskError::Exited(reason)),
        }
    }

    /// Lets the work go on with nobody waiting for it (OTP's `Task.ignore/1`).
    pub fn detach(mut self) -> ProcessRef<TaskMessage> {
        self.detached = true;
        self.process.clone()
    }

    /// The process that does the work.
    pub fn process(&self) -> &ProcessRef<TaskMessage> {
        &self.process
    }

    /// The result, or why there will be none.
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, ExitReason>> {
        if let Some(reply) = &mut self.reply
            && let Poll::Ready(arrived) = Pin::new(reply).poll(cx)
        {
            self.reply = None;
            if let Ok(value) = arrived {
                return Poll::Ready(Ok(value));
            }
        }
        let Poll::Ready(reason) = self.ended.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        // It may have sent its result in the meantime, and ended for having done so.
        let arrived = self.reply.take().and_then(|mut reply| reply.try_recv().ok());
        Poll::Ready(arrived.ok_or(reason))
    }
}

async fn told(end: Arc<SetOnce<ExitReason>>) -> ExitReason {
    end.wait().await.clone()
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if !self.detached {
            self.process.port.exit(self.process.incarnation, Signal::Stop(ExitReason::Shutdown));
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.process).finish()
    }
}
