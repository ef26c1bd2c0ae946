//! What a process is: the trait that user code implements.

use std::fmt;

use crate::call::ReplyTo;
use crate::context::Context;
use crate::exit::ExitReason;
use crate::groups::Lagged;
use crate::monitor::{Down, LinkExit};

/// What can be said to a process, and what it answers.
///
/// References are typed by this, not by the process, so that code which talks to a process need not
/// know how it is made. `#[process]` writes it; by hand it is an enum of what can be said.
///
/// # Examples
/// ```
/// enum Count {
///     Add(u64),
///     Get,
/// }
///
/// impl innkeeper::Message for Count {
///     type Reply = u64;
/// }
/// ```
pub trait Message: Send + 'static {
    /// What a call is answered with. `()` where nothing is ever answered.
    type Reply: Send + 'static;
}

/// A process: state that handles one message at a time (OTP's `GenServer`).
///
/// Every callback runs in the process's own task, never under a lock and never beside another
/// callback of the same process. A panic in any of them is a crash of this process and of nothing
/// else.
///
/// # Examples
/// ```
/// use innkeeper::{Context, Message, Process, ReplyTo, StartError};
///
/// struct Counter(u64);
///
/// enum Count {
///     Add(u64),
///     Get,
/// }
///
/// impl Message for Count {
///     type Reply = u64;
/// }
///
/// impl Process for Counter {
///     type Args = u64;
///     type Message = Count;
///
///     async fn init(first: &u64, _: &mut Context<Self>) -> Result<Self, StartError> {
///         Ok(Counter(*first))
///     }
///
///     async fn handle(&mut self, message: Count, reply: ReplyTo<Count>, _: &mut Context<Self>) {
///         match message {
///             Count::Add(more) => self.0 += more,
///             Count::Get => reply.send(self.0),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counter = innkeeper::start::<Counter>(40, Default::default()).await?;
/// counter.cast(Count::Add(2)).await?;
/// assert_eq!(counter.call(Count::Get).await?, 42);
/// # Ok(())
/// # }
/// ```
pub trait Process: Sized + Send + 'static {
    /// What `init` is given, at the first start and at every restart. Under
    /// [`Keyed`](crate::Keyed) usually the key.
    type Args: Send + Sync + 'static;

    /// What can be said to it.
    type Message: Message;

    /// Makes the state (OTP's `init/1`). The process is ready, and can be found, once this returns
    /// `Ok`. It may start and call other processes, but not itself.
    ///
    /// # Errors
    /// [`StartError::ignore`] declines to start, which is a value and not a failure; any other
    /// error fails the start.
    ///
    /// # Cancel safety
    /// May be dropped at any await point, when the start timeout passes or the process is stopped
    /// meanwhile; a caller who loses interest does not drop it.
    fn init(
        args: &Self::Args,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Self, StartError>> + Send;

    /// Handles one message (OTP's `handle_call/3` and `handle_cast/2`).
    ///
    /// `reply` answers a call; it may be moved elsewhere and used later. Dropped unused, the caller
    /// is told that the outcome is unknown. For a cast it goes nowhere.
    ///
    /// # Cancel safety
    /// May be dropped at an await point if the process is killed.
    fn handle(
        &mut self,
        message: Self::Message,
        reply: ReplyTo<Self::Message>,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = ()> + Send;

    /// Told once for each monitor set with [`Context::monitor`] when that process has ended
    /// (OTP's `DOWN` message).
    fn down(&mut self, down: Down, ctx: &mut Context<Self>) -> impl Future<Output = ()> + Send {
        let _ = (down, ctx);
        async {}
    }

    /// Told when a linked process has ended, if this one traps exits (OTP's `EXIT` message).
    fn link_exit(
        &mut self,
        exit: LinkExit,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (exit, ctx);
        async {}
    }

    /// Told that it has been dropped from a group, because its mailbox was full when something was
    /// published there; see [`Groups`](crate::Groups). It may join again.
    fn lagged(
        &mut self,
        lagged: Lagged,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (lagged, ctx);
        async {}
    }

    /// Asked when nothing has happened for the idle time of its scope. `true`, the default, lets it
    /// go, unless a message arrives first; a process that is still needed answers `false`.
    fn idle(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = bool> + Send {
        let _ = ctx;
        async { true }
    }

    /// Asked, instead of [`terminate`](Self::terminate), when the key is about to go to another
    /// node of a cluster: what the process takes along. It ends then, and the `init` there is given
    /// it by [`Context::handed`]. `None`, the default, takes nothing along: `terminate` runs, and
    /// the process begins anew there when it is asked for. So it is with more bytes than
    /// [`limits::HANDOFF_BYTES_MAX`](crate::limits::HANDOFF_BYTES_MAX), which is also an event,
    /// [`What::StateTooLarge`](crate::What::StateTooLarge): keep what `terminate` is to save.
    ///
    /// If the key stays after all, the `init` of its next process here is given the same. It is not
    /// asked of a process that ends for another reason meanwhile.
    ///
    /// # Cancel safety
    /// As `terminate`.
    fn on_handoff(
        &mut self,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Option<Vec<u8>>> + Send {
        let _ = ctx;
        async { None }
    }

    /// Runs last (OTP's `terminate/2`): after an orderly stop, and after a panic in a handler, when
    /// the state is as the panic left it. Not after a kill.
    ///
    /// # Cancel safety
    /// Dropped at an await point when the shutdown time of the child spec is over.
    fn terminate(
        &mut self,
        why: &ExitReason,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (why, ctx);
        async {}
    }
}

/// What `init` returns instead of a state.
///
/// Made from any error with `?`, so it is not an error type itself.
#[derive(Debug)]
pub struct StartError {
    /// `None`: it declined.
    pub(crate) failure: Option<ExitReason>,
}

impl StartError {
    /// Declines to start (OTP's `ignore`): nothing runs, the key is free, and whoever asked is told
    /// that, as a value.
    pub const fn ignore() -> Self {
        StartError { failure: None }
    }

    /// Fails the start with this explanation.
    pub fn failed(why: impl fmt::Display) -> Self {
        StartError { failure: Some(ExitReason::failed(why)) }
    }
}

impl<E: std::error::Error> From<E> for StartError {
    fn from(error: E) -> Self {
        StartError::failed(error)
    }
}
