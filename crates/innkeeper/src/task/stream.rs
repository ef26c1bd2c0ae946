//! Many inputs, a task for each, so many at once: OTP's `Task.async_stream`.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::clock::{self, Alarm};
use crate::limits;
use crate::task::supervisor::TaskSupervisor;
use crate::task::{Task, TaskError};

pub(super) type Working<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The results of many tasks, as they are asked for; made by [`TaskSupervisor::stream`].
///
/// # Guarantees
/// At most so many tasks run at once, and no more results than that wait to be taken. Dropped, all
/// that still runs is told to end. It may be made in one place and used up in another.
///
/// # Differences from OTP
/// A task that is late or crashes is an item, with the input that it was for, and never an exit of
/// the caller: `?` ends the stream where that is wanted. In order, results behind a slow one count
/// against the bound.
///
/// # Examples
/// ```
/// # use innkeeper::{Supervisor, TaskSupervisor};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let supervisor = Supervisor::new().start().await?;
/// # let tasks = TaskSupervisor::new().start(&supervisor).await?;
/// let mut squares = tasks.stream(1..=3, |n| async move { n * n });
/// while let Some(square) = squares.next().await {
///     println!("{}", square?);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing runs until results are asked for"]
pub struct TaskStream<I, T> {
    tasks: TaskSupervisor,
    inputs: Box<dyn Iterator<Item = I> + Send>,
    work: Box<dyn Fn(I) -> Working<T> + Send>,
    at_once: usize,
    in_order: bool,
    timeout: Option<Duration>,
    /// Taken from the inputs, and not started yet.
    next: Option<I>,
    running: VecDeque<Running<I, T>>,
}

/// Why there is no result for one of the inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError<I> {
    /// Which.
    pub input: I,
    /// Why.
    pub why: TaskError,
}

impl<I: fmt::Debug> fmt::Display for StreamError<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no result for {:?}: {}", self.input, self.why)
    }
}

impl<I: fmt::Debug> std::error::Error for StreamError<I> {}

struct Running<I, T> {
    input: I,
    state: State<T>,
}

enum State<T> {
    AtWork(Task<T>, Option<(Duration, Alarm)>),
    Over(Result<T, TaskError>),
}

impl<I, T> TaskStream<I, T>
where
    I: Clone + Send + 'static,
    T: Send + 'static,
{
    pub(super) fn new(
        tasks: TaskSupervisor,
        inputs: Box<dyn Iterator<Item = I> + Send>,
        work: Box<dyn Fn(I) -> Working<T> + Send>,
    ) -> Self {
        let at_once = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        TaskStream {
            tasks,
            inputs,
            work,
            at_once,
            in_order: true,
            timeout: Some(limits::CALL_TIMEOUT),
            next: None,
            running: VecDeque::new(),
        }
    }

    /// How many tasks run at once (OTP's `:max_concurrency`). Default: as many as there are cores.
    pub fn max_concurrency(mut self, tasks: NonZeroUsize) -> Self {
        self.at_once = tasks.get();
        self
    }

    /// Gives results as they come, and not in the order of the inputs (OTP's `ordered: false`).
    pub fn unordered(mut self) -> Self {
        self.in_order = false;
        self
    }

    /// How long each task may take, from its start on. Past it the task is told to end, and its
    /// input is given back. Default: five seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets each task take as long as it does (OTP's `:infinity`).
    pub fn without_timeout(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// The next result; `None` after the last.
    ///
    /// # Errors
    /// [`StreamError`]: there is none for this input. The stream goes on.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped: no input, no result.
    pub async fn next(&mut self) -> Option<Result<T, StreamError<I>>> {
        self.fill().await;
        if self.running.is_empty() {
            return None;
        }
        let at = std::future::poll_fn(|cx| self.poll_over(cx)).await;
        let Running { input, state } = self.running.remove(at)?;
        let State::Over(result) = state else { return None };
        Some(result.map_err(|why| StreamError { input, why }))
    }

    /// Starts as many as may run.
    async fn fill(&mut self) {
        while self.running.len() < self.at_once {
            if self.next.is_none() {
                self.next = self.inputs.next();
            }
            let Some(input) = &self.next else { return };
            // Given up here, nothing of it has run, and it is started anew.
            let started = self.tasks.start((self.work)(input.clone())).await;
            let Some(input) = self.next.take() else { return };
            let state = match started {
                Ok(task) => {
                    let alarm = |time| (time, clock::alarm(clock::now().after(time)));
                    State::AtWork(task, self.timeout.map(alarm))
                }
                Err(error) => State::Over(Err(TaskError::NotStarted(error))),
            };
            self.running.push_back(Running { input, state });
        }
    }

    /// Which one is to be given next.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        for running in &mut self.running {
            running.state.poll(cx);
        }
        let over = |running: &Running<I, T>| matches!(running.state, State::Over(_));
        let at = if self.in_order {
            self.running.front().is_some_and(over).then_some(0)
        } else {
            self.running.iter().position(over)
        };
        at.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T: Send + 'static> State<T> {
    fn poll(&mut self, cx: &mut Context<'_>) {
        let State::AtWork(task, alarm) = self else { return };
        // The result first: one that was in time counts, however late it is looked for.
        if let Poll::Ready(outcome) = task.poll_outcome(cx) {
            *self = State::Over(outcome.map_err(TaskError::Exited));
        } else if let Some((time, alarm)) = alarm
            && alarm.as_mut().poll(cx).is_ready()
        {
            *self = State::Over(Err(TaskError::Timeout { waited: *time }));
        }
    }
}

impl<I, T> fmt::Debug for TaskStream<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskStream")
            .field("at_once", &self.at_once)
            .field("in_order", &self.in_order)
            .finish_non_exhaustive()
    }
}
