//! Asking for a key: one look where the process is there, a wait where it is on its way.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::cell::Asked;
use crate::clock;
use crate::error::GetError;
use crate::keyed::scope::{Found, Scope, Seen, Under, Wanted};
use crate::keyed::{Key, Outcome, placed};
use crate::limits;
use crate::process::Process;
use crate::process_ref::ProcessRef;
use crate::rate::StartRate;
use crate::registry::slot;
use crate::wait_for;

pub(crate) type Answer<P> = Result<Outcome<ProcessRef<<P as Process>::Message>>, GetError>;

/// A question for the process of a key; see [`Keyed::get_or_start`](crate::Keyed::get_or_start).
///
/// Nothing is asked before the first poll.
#[must_use = "nothing is asked until it is awaited"]
// In this order: scope and key side by side would be copied as one, right after the caller has
// written them as two, and the processor waits for that.
#[repr(C)]
pub struct GetOrStart<'a, K: Key, P: Process> {
    scope: &'a Arc<Scope<K, P>>,
    wanted: Wanted<'a, P>,
    key: &'a K,
    starts: bool,
    timeout: Duration,
    /// Made only where there is something to wait for.
    wait: Option<Pin<Box<dyn Future<Output = Answer<P>> + Send + 'a>>>,
    /// What was not found at once. It comes by this way so that what was passes through registers.
    answer: Option<Answer<P>>,
}

impl<'a, K: Key, P: Process> GetOrStart<'a, K, P> {
    pub(crate) fn new(scope: &'a Arc<Scope<K, P>>, key: &'a K, args: Option<P::Args>) -> Self {
        let wanted = Wanted { args, ..Wanted::nothing() };
        let timeout = limits::ASK_TIMEOUT;
        GetOrStart { scope, key, wanted, starts: true, timeout, wait: None, answer: None }
    }

    pub(crate) fn without_start(mut self) -> Self {
        self.starts = false;
        self
    }

    /// How long to wait, from the first poll on. Default: a minute.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whose rate a start counts against, besides that of all. An existing process costs nothing;
    /// on a cluster, nor does a start on another node.
    pub fn limited_by(mut self, client: &'a StartRate) -> Self {
        self.wanted.client = Some(client);
        self
    }
}

// Nothing in it is ever pinned: what needs to be is boxed.
impl<K: Key, P: Process> Unpin for GetOrStart<'_, K, P> {}

impl<K: Key, P: Process> Future for GetOrStart<'_, K, P> {
    type Output = Answer<P>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Where it is placed, it is to be asked first who may act for it.
        if this.wait.is_some() || this.scope.shared.placement.is_some() {
            this.poll_wait(cx);
        } else {
            let seen = this.scope.see(this.key);
            if this.wanted.args.is_none()
                && let Some(cell) = &seen.cell
                && let Some(incarnation) = cell.live()
                && let Some(cell) = seen.cell
            {
                return Poll::Ready(Ok(Outcome::Existing(ProcessRef::new(cell, incarnation))));
            }
            this.poll_slowly(cx, seen);
        }
        this.answer.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<K: Key, P: Process> GetOrStart<'_, K, P> {
    /// Where the question is on its way, or has to go further than this table.
    #[cold]
    fn poll_wait(&mut self, cx: &mut Context<'_>) {
        if let Some(wait) = &mut self.wait {
            self.answer = ready(wait.as_mut().poll(cx));
        } else if let Some(placement) = &self.scope.shared.placement {
            if self.wanted.args.is_some() {
                self.answer = Some(Err(GetError::ArgsStayHere));
                return;
            }
            let (client, starts, timeout) = (self.wanted.client, self.starts, self.timeout);
            let wait = placed::get(self.scope, &**placement, self.key, client, starts, timeout);
            self.answer = ready(self.wait.insert(Box::pin(wait)).as_mut().poll(cx));
        }
    }

    /// Where there may be something to start, to wait for or to compare.
    #[cold]
    fn poll_slowly(&mut self, cx: &mut Context<'_>, seen: Seen<K, P>) {
        let found = self.scope.find_or_start(self.key, seen, &mut self.wanted, None, self.starts);
        self.answer = match found {
            Err(error) => Some(Err(error)),
            Ok(Found::Live(cell, incarnation)) => {
                let same = self.scope.check_args(&cell, &self.wanted);
                Some(same.map(|()| Outcome::Existing(ProcessRef::new(cell, incarnation))))
            }
            Ok(found @ Found::Cell { .. }) => {
                let wanted = std::mem::replace(&mut self.wanted, Wanted::nothing());
                let (starts, timeout) = (self.starts, self.timeout);
                let wait = wait(self.scope, self.key, wanted, None, starts, timeout, found);
                ready(self.wait.insert(Box::pin(wait)).as_mut().poll(cx))
            }
        };
    }
}

fn ready<T>(polled: Poll<T>) -> Option<T> {
    match polled {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Waits at the cell that was found until the key has a process or an error to answer with.
pub(super) async fn wait<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    key: &K,
    mut wanted: Wanted<'_, P>,
    under: Under<'_>,
    starts: bool,
    timeout: Duration,
    mut found: Found<K, P>,
) -> Answer<P> {
    // One that was made for this caller was made now.
    let began = match found {
        Found::Cell { made: Some(made), .. } => made,
        Found::Cell { .. } | Found::Live(..) => clock::now(),
    };
    let deadline = began.after(timeout);
    loop {
        let (cell, asked, mine) = match found {
            Found::Live(cell, incarnation) => (cell, Asked::Found(incarnation), false),
            Found::Cell { cell, asked, made } => (cell, asked, made.is_some()),
        };
        let ready = match asked {
            Asked::Found(incarnation) => Some(incarnation),
            Asked::Parked(reason) => return Err(GetError::Parked(reason)),
            Asked::Vacant => None,
            Asked::Wait(flight, start_deadline) => {
                let _wait = wait_for::wait_for(&*cell).map_err(GetError::Cycle)?;
                let settled = cell.settled(&flight, start_deadline, deadline).await;
                match settled.ok_or(GetError::Timeout { waited: timeout })? {
                    slot::Outcome::Ready(incarnation) => Some(incarnation),
                    slot::Outcome::Declined => return Ok(Outcome::Ignored),
                    slot::Outcome::Failed(reason) => return Err(GetError::not_started(reason)),
                    slot::Outcome::Parked(reason) => return Err(GetError::Parked(reason)),
                    slot::Outcome::Ended => None,
                }
            }
            Asked::WaitForEnd(flight) => {
                let _wait = wait_for::wait_for(&*cell).map_err(GetError::Cycle)?;
                let settled = cell.settled(&flight, None, deadline).await;
                settled.ok_or(GetError::Timeout { waited: timeout })?;
                None
            }
        };
        if let Some(incarnation) = ready {
            scope.check_args(&cell, &wanted)?;
            let process = ProcessRef::new(cell, incarnation);
            return Ok(if mine { Outcome::Started(process) } else { Outcome::Existing(process) });
        }
        // It ended meanwhile: the next one is asked for anew, until this caller's time is over.
        if clock::now() >= deadline {
            return Err(GetError::Timeout { waited: timeout });
        }
        found = scope.find_or_start(key, scope.see(key), &mut wanted, under, starts)?;
    }
}

impl<K: Key, P: Process> fmt::Debug for GetOrStart<'_, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrStart").field("key", self.key).finish_non_exhaustive()
    }
}
