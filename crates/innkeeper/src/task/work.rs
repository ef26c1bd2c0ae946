//! The process that does the work of a task: it runs it once and ends.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::call::ReplyTo;
use crate::child_spec::{ChildSpec, Restart};
use crate::context::Context;
use crate::exit::ExitReason;
use crate::process::{Message, Process, StartError};
use crate::seam::Mutex;

/// A task that is started once.
pub(super) const TEMPORARY: ChildSpec = ChildSpec::new().restart(Restart::Temporary);

/// Lets work begin: until it is used, or dropped, the work waits.
pub(super) type Go = oneshot::Sender<()>;

type Working = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a task does, once for each start.
pub struct TaskWork(Arc<dyn Fn() -> Working + Send + Sync>);

impl TaskWork {
    /// Work that is done once, at the word, and leaves its result.
    pub(super) fn once<T: Send + 'static>(
        work: impl Future<Output = T> + Send + 'static,
    ) -> (Self, Go, oneshot::Receiver<T>) {
        let (answer, reply) = oneshot::channel();
        let (go, word) = oneshot::channel();
        let once = Mutex::new(Some(async move {
            if word.await.is_ok() {
                // Whoever wanted it may have gone.
                let _ = answer.send(work.await);
            }
        }));
        let take = move || -> Working {
            match once.lock().take() {
                Some(work) => Box::pin(work),
                None => Box::pin(async {}),
            }
        };
        (TaskWork(Arc::new(take)), go, reply)
    }

    /// Work that is done anew at each restart, the first time at the word.
    pub(super) fn again<F>(work: impl Fn() -> F + Send + Sync + 'static) -> (Self, Go)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (go, word) = oneshot::channel();
        let (word, work) = (Mutex::new(Some(word)), Arc::new(work));
        let again = move || -> Working {
            let (word, work) = (word.lock().take(), work.clone());
            Box::pin(async move {
                if let Some(word) = word {
                    // Dropped without the word, whoever started it has left; the start stands.
                    let _ = word.await;
                }
                work().await;
            })
        };
        (TaskWork(Arc::new(again)), go)
    }
}

/// The process of a task.
pub struct TaskProcess(Arc<dyn Fn() -> Working + Send + Sync>);

/// What a task says to itself.
#[derive(Debug)]
pub struct TaskMessage(());

impl Message for TaskMessage {
    type Reply = ();
}

impl Process for TaskProcess {
    type Args = TaskWork;
    type Message = TaskMessage;

    async fn init(work: &TaskWork, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        // Done once it is ready, as OTP's `handle_continue` would.
        ctx.process().cast(TaskMessage(())).send()?;
        Ok(TaskProcess(work.0.clone()))
    }

    async fn handle(&mut self, _: TaskMessage, _: ReplyTo<TaskMessage>, ctx: &mut Context<Self>) {
        let work = (self.0)();
        tokio::select! {
            biased;
            // At once, at its next await point: it has no end of its own to see to.
            () = ctx.told_to_stop() => {}
            () = work => ctx.stop(ExitReason::Normal),
        }
    }
}

impl fmt::Debug for TaskWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskWork").finish_non_exhaustive()
    }
}

impl fmt::Debug for TaskProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskProcess").finish_non_exhaustive()
    }
}
