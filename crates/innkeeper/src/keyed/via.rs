//! Talking to a key, whichever incarnation it has.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::call::Call;
use crate::cell::Asked;
use crate::clock::{self, Moment};
use crate::error::{CallError, CastError, GetError, NotDelivered};
use crate::keyed::owner::KeyedCell;
use crate::keyed::scope::{Found, Scope, Under, Wanted};
use crate::keyed::{Key, placed};
use crate::limits;
use crate::placement::Turn;
use crate::process::{Message, Process};
use crate::process_ref::ProcessRef;
use crate::wait_for;

/// The address of whichever process a key has; see [`Keyed::via`](crate::Keyed::via).
pub struct Via<K: Key, P: Process> {
    scope: Arc<Scope<K, P>>,
    key: K,
}

impl<K: Key, P: Process> Via<K, P> {
    pub(crate) fn new(scope: Arc<Scope<K, P>>, key: K) -> Self {
        Via { scope, key }
    }

    /// The key it names.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Says something to the key's process and waits for the reply.
    ///
    /// Starts the process if there is none. During a start or restart the message waits in the
    /// mailbox; during a stop it waits for the end and starts the next process. A message that was
    /// handed back because its process stopped is said to the next one: it has not run.
    ///
    /// # Errors
    /// As [`ProcessRef::call`]; a process that could not be had is
    /// [`NotDelivered::NoProcess`].
    pub fn call(&self, message: P::Message) -> ViaCall<'_, P::Message> {
        self.say(message, std::convert::identity)
    }

    /// Says something to the key's process and goes on once it is accepted.
    ///
    /// Accepted means that it waits in the mailbox. If it is lost there, because the process ends
    /// without a successor, that is an event: [`What::CastsLost`](crate::What::CastsLost).
    ///
    /// # Errors
    /// [`CastError`]: it was not accepted; the message is handed back.
    pub fn cast(&self, message: P::Message) -> ViaCast<'_, P::Message> {
        let timeout = limits::CALL_TIMEOUT;
        ViaCast { future: Box::pin(cast(&self.scope, &self.key, message, timeout)) }
    }

    pub(crate) fn say<T: 'static>(
        &self,
        message: P::Message,
        read: fn(<P::Message as Message>::Reply) -> T,
    ) -> ViaCall<'_, P::Message, T> {
        let ask = move |message, timeout| -> Asking<'_, P::Message> {
            Box::pin(call(&self.scope, &self.key, message, timeout))
        };
        let stage = Stage::Unsent(message, Box::new(ask));
        ViaCall { timeout: limits::CALL_TIMEOUT, read, stage }
    }
}

impl<K: Key, P: Process> Clone for Via<K, P> {
    fn clone(&self) -> Self {
        Via { scope: self.scope.clone(), key: self.key.clone() }
    }
}

impl<K: Key, P: Process> fmt::Debug for Via<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Via").field(&self.key).finish()
    }
}

type Reply<M> = Result<<M as Message>::Reply, CallError<M>>;
type Asking<'a, M> = Pin<Box<dyn Future<Output = Reply<M>> + Send + 'a>>;
type Ask<'a, M> = Box<dyn FnOnce(M, Duration) -> Asking<'a, M> + Send + 'a>;

enum Stage<'a, M: Message> {
    Unsent(M, Ask<'a, M>),
    Asking(Asking<'a, M>),
    Done,
}

/// A call to a key under way; see [`Via::call`].
///
/// # Cancel safety
/// As [`Call`].
#[must_use = "nothing is sent until the call is awaited"]
pub struct ViaCall<'a, M: Message, T = <M as Message>::Reply> {
    timeout: Duration,
    read: fn(M::Reply) -> T,
    stage: Stage<'a, M>,
}

impl<M: Message, T> ViaCall<'_, M, T> {
    /// How long to wait, from the first poll on, for a process and for its reply. Default: five
    /// seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

// Nothing in it is ever pinned: what needs to be is boxed.
impl<M: Message, T> Unpin for ViaCall<'_, M, T> {}

impl<M: Message, T> Future for ViaCall<'_, M, T> {
    type Output = Result<T, CallError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Stage::Unsent(..) = this.stage
            && let Stage::Unsent(message, ask) = std::mem::replace(&mut this.stage, Stage::Done)
        {
            this.stage = Stage::Asking(ask(message, this.timeout));
        }
        let Stage::Asking(asking) = &mut this.stage else {
            return Poll::Pending;
        };
        let polled = asking.as_mut().poll(cx);
        if polled.is_ready() {
            this.stage = Stage::Done;
        }
        polled.map(|reply| reply.map(this.read))
    }
}

impl<M: Message, T> fmt::Debug for ViaCall<'_, M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViaCall").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A cast to a key under way; see [`Via::cast`].
///
/// # Cancel safety
/// Dropped before it is ready, it was not sent; to a process on another node it may have been.
#[must_use = "nothing is sent until the cast is awaited"]
pub struct ViaCast<'a, M: Message> {
    future: Pin<Box<dyn Future<Output = Result<(), CastError<M>>> + Send + 'a>>,
}

impl<M: Message> Future for ViaCast<'_, M> {
    type Output = Result<(), CastError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl<M: Message> fmt::Debug for ViaCast<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViaCast").finish_non_exhaustive()
    }
}

async fn call<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    key: &K,
    mut message: P::Message,
    timeout: Duration,
) -> Reply<P::Message> {
    if let Some(placement) = &scope.shared.placement {
        return placed::call(scope, &**placement, key, message, timeout).await;
    }
    let deadline = clock::now().after(timeout);
    loop {
        let cell = match mailbox(scope, key, None, Turn::default(), deadline, timeout).await {
            Ok(cell) => cell,
            Err(error) => {
                let why = no_process(error);
                return Err(CallError::NotDelivered { message, why });
            }
        };
        let process = ProcessRef::whichever(cell);
        let left = deadline.since(clock::now());
        let said = Call::new(&process, message, std::convert::identity).timeout(left).await;
        match said {
            // It stopped before it came to this message. The next one can have it.
            Err(CallError::NotDelivered { message: returned, why: NotDelivered::Stopping }) => {
                message = returned;
            }
            other => return other,
        }
    }
}

async fn cast<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    key: &K,
    mut message: P::Message,
    timeout: Duration,
) -> Result<(), CastError<P::Message>> {
    if let Some(placement) = &scope.shared.placement {
        return placed::cast(scope, &**placement, key, message, timeout).await;
    }
    let deadline = clock::now().after(timeout);
    loop {
        let cell = match mailbox(scope, key, None, Turn::default(), deadline, timeout).await {
            Ok(cell) => cell,
            Err(error) => {
                return Err(CastError { message, why: no_process(error) });
            }
        };
        match ProcessRef::whichever(cell).cast(message).await {
            Err(CastError { message: returned, why: NotDelivered::Stopping }) => message = returned,
            other => return other,
        }
    }
}

pub(super) fn no_process(error: GetError) -> NotDelivered {
    match error {
        GetError::Away(away) => NotDelivered::Away(away),
        GetError::Timeout { .. } => NotDelivered::Timeout,
        GetError::Cycle(cycle) => NotDelivered::Cycle(cycle),
        error => NotDelivered::NoProcess(error),
    }
}

/// A cell of the key that takes mail, perhaps one that is only starting.
pub(super) async fn mailbox<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    key: &K,
    under: Under<'_>,
    turn: Turn,
    deadline: Moment,
    timeout: Duration,
) -> Result<Arc<KeyedCell<K, P>>, GetError> {
    let mut wanted = Wanted { turn, ..Wanted::nothing() };
    loop {
        match scope.find_or_start(key, scope.see(key), &mut wanted, under, true)? {
            Found::Live(cell, _) => return Ok(cell),
            Found::Cell { cell, asked, .. } => match asked {
                Asked::Found(_) | Asked::Wait(..) => return Ok(cell),
                Asked::Parked(reason) => return Err(GetError::Parked(reason)),
                Asked::Vacant => {}
                Asked::WaitForEnd(flight) => {
                    let _wait = wait_for::wait_for(&*cell).map_err(GetError::Cycle)?;
                    let settled = cell.settled(&flight, None, deadline).await;
                    settled.ok_or(GetError::Timeout { waited: timeout })?;
                }
            },
        }
    }
}
