//! The processes of a placed scope that run here, for whoever places them: what other nodes ask of
//! them, and what becomes of them when the right to run them is lost.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::broadcast;

use super::{Tenure, Turn};
use crate::error::{Away, CallError, CastError, GetError, NotDelivered, StopError};
use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::keyed::{self, Key, Outcome, Scope};
use crate::observe::Event;
use crate::process::{Message, Process};
use crate::process_ref::ProcessRef;

/// What the process of a key takes along.
#[derive(Debug)]
pub struct Packed<K, M> {
    /// The key.
    pub key: K,
    /// What it answered to [`on_handoff`](crate::Process::on_handoff).
    pub state: Option<Vec<u8>>,
    /// Casts that it did not come to, in order.
    pub casts: Vec<M>,
}

/// The processes of a placed scope that run here. Clones are of the same scope.
///
/// Each question is one try under the tenure that is given, and ends in
/// [`Away`](crate::Away) if that is over.
pub struct Hosted<K: Key, P: Process> {
    /// Weak: the scope keeps its placement, which keeps this.
    pub(super) scope: Weak<Scope<K, P>>,
    /// Whether what is asked comes from within a process.
    from_within: bool,
}

impl<K: Key, P: Process> Hosted<K, P> {
    pub(crate) fn new(scope: &Arc<Scope<K, P>>) -> Self {
        Hosted { scope: Arc::downgrade(scope), from_within: false }
    }

    /// The same, as they are asked from within a process elsewhere, or not: what that has begin
    /// does not wait its turn, for somebody who was let in here may be waiting for the process.
    pub fn asked_from_within(&self, from_within: bool) -> Self {
        Hosted { scope: self.scope.clone(), from_within }
    }

    fn turn(&self) -> Turn {
        match self.from_within {
            true => Turn::AtOnce,
            false => Turn::InLine,
        }
    }

    /// The process of a key; started if `starts`.
    ///
    /// # Errors
    /// As [`Keyed::get_or_start`](crate::Keyed::get_or_start).
    pub async fn get(
        &self,
        tenure: &Arc<dyn Tenure>,
        key: &K,
        starts: bool,
        within: Duration,
    ) -> Result<Outcome<ProcessRef<P::Message>>, GetError> {
        let scope = self.scope.upgrade().ok_or(GetError::ShuttingDown)?;
        let found = keyed::get_here(&scope, tenure, key, None, self.turn(), starts, within).await;
        keyed::away(&**tenure).map_or(found, |away| Err(GetError::Away(away)))
    }

    /// What happens here from now on. `None`: the scope has ended.
    pub fn events(&self) -> Option<broadcast::Receiver<Event<K>>> {
        self.scope.upgrade().map(|scope| scope.events())
    }

    /// What takes messages for a key now: for this incarnation or, for `None`, for whichever is
    /// ready. `None`: nobody does, or it is to be waited for.
    pub fn ready(
        &self,
        tenure: &Arc<dyn Tenure>,
        key: &K,
        to: Option<Incarnation>,
    ) -> Option<ProcessRef<P::Message>> {
        let cell = self.scope.upgrade()?.find(key)?;
        if let Some(to) = to {
            return Some(ProcessRef::new(cell, to));
        }
        let is_ready = cell.owner.runs_under(tenure) && cell.live().is_some();
        is_ready.then(|| ProcessRef::whichever(cell))
    }

    /// Says something to the process of a key: to this incarnation or, for `None`, to whichever
    /// there is, started if need be.
    ///
    /// # Errors
    /// As [`Via::call`](crate::Via::call).
    ///
    /// # Cancel safety
    /// As [`Call`](crate::Call).
    pub async fn call(
        &self,
        tenure: &Arc<dyn Tenure>,
        key: &K,
        to: Option<Incarnation>,
        message: P::Message,
        within: Duration,
    ) -> Result<<P::Message as Message>::Reply, CallError<P::Message>> {
        let Some(scope) = self.scope.upgrade() else {
            let why = NotDelivered::Away(Away::NotOwner);
            return Err(CallError::NotDelivered { message, why });
        };
        let to = to.unwrap_or(Incarnation::NONE);
        keyed::call_here(&scope, tenure, key, to, self.turn(), message, within).await
    }

    /// As [`call`](Self::call), but waits only until it is in the mailbox.
    ///
    /// # Errors
    /// As [`Via::cast`](crate::Via::cast).
    pub async fn cast(
        &self,
        tenure: &Arc<dyn Tenure>,
        key: &K,
        to: Option<Incarnation>,
        message: P::Message,
        within: Duration,
    ) -> Result<(), CastError<P::Message>> {
        let Some(scope) = self.scope.upgrade() else {
            return Err(CastError { message, why: NotDelivered::Away(Away::NotOwner) });
        };
        let to = to.unwrap_or(Incarnation::NONE);
        keyed::cast_here(&scope, tenure, key, to, self.turn(), message, within).await
    }

    /// Ends the process of a key, and waits for its end.
    ///
    /// # Errors
    /// As [`Keyed::stop`](crate::Keyed::stop).
    pub async fn stop(
        &self,
        tenure: &Arc<dyn Tenure>,
        key: &K,
        reason: ExitReason,
        within: Duration,
    ) -> Result<(), StopError> {
        let scope = self.scope.upgrade().ok_or(StopError::NotFound)?;
        keyed::stop_here(&scope, tenure, key, self.turn(), reason, within).await
    }

    /// The address of one incarnation, if it runs here.
    pub fn process(&self, key: &K, incarnation: Incarnation) -> Option<ProcessRef<P::Message>> {
        let cell = self.scope.upgrade()?.find(key)?;
        Some(ProcessRef::new(cell, incarnation)).filter(ProcessRef::is_alive)
    }

    /// Ends every process under a tenure in order, waits until they have ended, and answers what
    /// they take along to wherever their keys go. Calls that waited went back to their callers.
    pub async fn pack(&self, tenure: &Arc<dyn Tenure>) -> Vec<Packed<K, P::Message>> {
        match self.scope.upgrade() {
            Some(scope) => scope.pack(tenure).await,
            None => Vec::new(),
        }
    }

    /// Kills every process whose tenure is over.
    pub async fn end_lost(&self) {
        if let Some(scope) = self.scope.upgrade() {
            scope.end_lost().await;
        }
    }
}

impl<K: Key, P: Process> Clone for Hosted<K, P> {
    fn clone(&self) -> Self {
        Hosted { scope: self.scope.clone(), from_within: self.from_within }
    }
}

impl<K: Key, P: Process> fmt::Debug for Hosted<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted").finish_non_exhaustive()
    }
}
