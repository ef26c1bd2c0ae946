//! State behind a process, reached by closures: OTP's `Agent`.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::call::ReplyTo;
use crate::child_spec::ChildSpec;
use crate::context::Context;
use crate::error::{GetError, StopError};
use crate::exit::ExitReason;
use crate::process::{Message, Process, StartError};
use crate::process_ref::ProcessRef;
use crate::solo;
use crate::target::Target;

/// State of type `S` that many share, changed by one closure at a time (OTP's `Agent`).
///
/// A closure runs in the agent's process: while it runs nobody else's does, and a panic in it is a
/// crash of the agent.
///
/// `T` is how it is reached: the address of one incarnation, or with [`Agent::at`] a
/// [`Via`](crate::Via), which names a key and so reaches the agent across its restarts.
///
/// # Examples
/// Alone, under a supervisor, and by key:
/// ```
/// use std::sync::Arc;
/// use innkeeper::{Agent, AgentProcess, ChildSpec, Keyed, Supervisor};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let count = Agent::start(|| 0_u64).await?;
/// count.update(|n| *n += 1).await?;
/// assert_eq!(count.get(|n| *n).await?, 1);
///
/// let supervisor = Supervisor::new().start().await?;
/// let init = Arc::new(Vec::<String>::new);
/// type Lines = AgentProcess<Vec<String>>;
/// let lines = supervisor.start_child::<Lines>("lines", init, ChildSpec::new()).await?;
/// let lines = Agent::at(lines);
/// lines.cast(|lines| lines.push("hello".to_owned())).await?;
///
/// let hits = Keyed::<&str, AgentProcess<u64>>::with_args(ChildSpec::new(), |_| Arc::new(|| 0));
/// let hits = hits.start(&supervisor).await?;
/// let home = Agent::at(hits.via(&"/"));
/// let old = home.get_and_update(|n| std::mem::replace(n, *n + 1)).await?;
/// assert_eq!(old, 0);
/// # Ok(())
/// # }
/// ```
pub struct Agent<S: Send + 'static, T: Target<AgentMessage<S>> = ProcessRef<AgentMessage<S>>> {
    target: T,
    state: PhantomData<fn(&mut S)>,
}

/// How the state of an agent is made, at its start and at every restart.
pub type AgentInit<S> = Arc<dyn Fn() -> S + Send + Sync>;

/// The process of an [`Agent`], for supervisors and scopes.
pub struct AgentProcess<S>(S);

/// Something to be done with the state of an agent.
pub struct AgentMessage<S>(Box<dyn FnOnce(&mut S) -> Answer + Send>);

/// Of the type that the closure returns.
type Answer = Box<dyn Any + Send>;

impl<S: Send + 'static> Agent<S> {
    /// Starts an agent that nobody supervises (OTP's `Agent.start/2`).
    ///
    /// # Errors
    /// [`GetError::InitFailed`] if `init` panics.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(init: impl Fn() -> S + Send + Sync + 'static) -> Result<Self, GetError> {
        let process = solo::start::<AgentProcess<S>>(Arc::new(init), ChildSpec::new()).await?;
        Ok(Agent::at(process))
    }

    /// The process of the agent.
    pub fn process(&self) -> &ProcessRef<AgentMessage<S>> {
        &self.target
    }

    /// Ends the agent and waits until it has ended (OTP's `Agent.stop/3`).
    ///
    /// # Errors
    /// As [`ProcessRef::stop`].
    pub async fn stop(&self, timeout: Duration) -> Result<(), StopError> {
        self.target.stop(ExitReason::Normal, timeout).await
    }
}

impl<S: Send + 'static, T: Target<AgentMessage<S>>> Agent<S, T> {
    /// An agent that is there, by its address or by its key.
    pub fn at(target: T) -> Self {
        Agent { target, state: PhantomData }
    }

    /// What `read` makes of the state (OTP's `Agent.get/3`).
    ///
    /// # Errors
    /// Those of [`ProcessRef::call`]; the closure is handed back where it has not run.
    pub fn get<R: Send + 'static>(
        &self,
        read: impl FnOnce(&S) -> R + Send + 'static,
    ) -> T::Call<'_, R> {
        self.get_and_update(|state| read(state))
    }

    /// Changes the state, and waits until that is done (OTP's `Agent.update/3`).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn update(&self, change: impl FnOnce(&mut S) + Send + 'static) -> T::Call<'_, ()> {
        self.get_and_update(change)
    }

    /// Changes the state and answers what `change` returns (OTP's `Agent.get_and_update/3`, whose
    /// closure returns the new state too, and may get that wrong).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_and_update<R: Send + 'static>(
        &self,
        change: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> T::Call<'_, R> {
        self.target.call_with(AgentMessage::new(change), answer::<R>)
    }

    /// Changes the state, without waiting for it (OTP's `Agent.cast/2`, except that a change which
    /// cannot be accepted is an error).
    ///
    /// # Errors
    /// [`CastError`](crate::CastError): it will not run; the closure is handed back.
    pub fn cast(&self, change: impl FnOnce(&mut S) + Send + 'static) -> T::Cast<'_> {
        self.target.cast_with(AgentMessage::new(change))
    }
}

fn answer<R: 'static>(answer: Answer) -> R {
    match answer.downcast() {
        Ok(answer) => *answer,
        Err(_) => unreachable!("a closure's answer is of its own type"),
    }
}

impl<S> AgentMessage<S> {
    fn new<R: Send + 'static>(change: impl FnOnce(&mut S) -> R + Send + 'static) -> Self {
        AgentMessage(Box::new(|state| Box::new(change(state))))
    }
}

impl<S: 'static> Message for AgentMessage<S> {
    type Reply = Answer;
}

impl<S: Send + 'static> Process for AgentProcess<S> {
    type Args = AgentInit<S>;
    type Message = AgentMessage<S>;

    async fn init(init: &AgentInit<S>, _: &mut Context<Self>) -> Result<Self, StartError> {
        Ok(AgentProcess(init()))
    }

    async fn handle(
        &mut self,
        AgentMessage(change): AgentMessage<S>,
        reply: ReplyTo<AgentMessage<S>>,
        _: &mut Context<Self>,
    ) {
        reply.send(change(&mut self.0));
    }
}

impl<S: Send + 'static, T: Target<AgentMessage<S>> + Clone> Clone for Agent<S, T> {
    fn clone(&self) -> Self {
        Agent::at(self.target.clone())
    }
}

impl<S: Send + 'static, T: Target<AgentMessage<S>> + fmt::Debug> fmt::Debug for Agent<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Agent").field(&self.target).finish()
    }
}

impl<S> fmt::Debug for AgentProcess<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentProcess").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for AgentMessage<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentMessage").finish_non_exhaustive()
    }
}
