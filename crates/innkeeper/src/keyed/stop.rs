//! Ending the process of a key, and knowing that the key is free.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::cell::Stopping;
use crate::clock;
use crate::error::StopError;
use crate::exit::ExitReason;
use crate::keyed::scope::Scope;
use crate::keyed::{Key, placed};
use crate::limits;
use crate::process::Process;
use crate::wait_for;

type Answer = Result<(), StopError>;

/// An order to end the process of a key; see [`Keyed::stop`](crate::Keyed::stop).
///
/// Nothing is ordered before the first poll.
#[must_use = "nothing is stopped until it is awaited"]
pub struct Stop<'a, K: Key, P: Process> {
    scope: &'a Arc<Scope<K, P>>,
    key: &'a K,
    reason: ExitReason,
    timeout: Duration,
    wait: Option<Pin<Box<dyn Future<Output = Answer> + Send + 'a>>>,
}

impl<'a, K: Key, P: Process> Stop<'a, K, P> {
    pub(crate) fn new(scope: &'a Arc<Scope<K, P>>, key: &'a K) -> Self {
        let (reason, timeout) = (ExitReason::Shutdown, limits::ASK_TIMEOUT);
        Stop { scope, key, reason, timeout, wait: None }
    }

    /// How long to wait for the end. Default: a minute.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Why, as its `terminate` and its monitors are told. Default: [`ExitReason::Shutdown`].
    pub fn reason(mut self, reason: ExitReason) -> Self {
        self.reason = reason;
        self
    }
}

// Nothing in it is ever pinned: what needs to be is boxed.
impl<K: Key, P: Process> Unpin for Stop<'_, K, P> {}

impl<K: Key, P: Process> Future for Stop<'_, K, P> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = &mut *self;
        if this.wait.is_none() {
            let (scope, key, reason) = (this.scope, this.key, this.reason.clone());
            this.wait = Some(match &scope.shared.placement {
                None => Box::pin(stop(scope, key, reason, this.timeout)),
                Some(placement) => {
                    Box::pin(placed::stop(scope, &**placement, key, reason, this.timeout))
                }
            });
        }
        this.wait.as_mut().map_or(Poll::Pending, |wait| wait.as_mut().poll(cx))
    }
}

pub(super) async fn stop<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    key: &K,
    reason: ExitReason,
    timeout: Duration,
) -> Answer {
    let cell = scope.find(key).ok_or(StopError::NotFound)?;
    // Before the order: a process that would wait for its own end is not told to end either.
    let _wait = wait_for::wait_for(&*cell).map_err(StopError::Cycle)?;
    match scope.stop_cell(&cell, reason) {
        Stopping::NotFound => Err(StopError::NotFound),
        Stopping::Unparked => Ok(()),
        Stopping::Wait { flight, told, now } => {
            let deadline = now.after(timeout);
            match cell.settled(&flight, None, deadline).await {
                Some(_) => Ok(()),
                None => Err(StopError::StillStopping { age: clock::now().since(told) }),
            }
        }
    }
}

impl<K: Key, P: Process> fmt::Debug for Stop<'_, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("key", self.key).finish_non_exhaustive()
    }
}
