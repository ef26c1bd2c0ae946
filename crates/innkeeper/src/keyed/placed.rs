//! Asking for a key whose process may be on another node: one try after the other, each with
//! whoever acts for the key then, until there is an answer or the caller's time is over.

use std::sync::Arc;
use std::time::Duration;

use crate::call::Call;
use crate::cell::{Asked, Stopping};
use crate::child_spec::Shutdown;
use crate::clock::{self, Moment};
use crate::error::{Away, CallError, CastError, GetError, NotDelivered, StopError};
use crate::exit::ExitReason;
use crate::gathered::NoAnswer;
use crate::incarnation::Incarnation;
use crate::keyed::get::{self, Answer};
use crate::keyed::owner::KeyedCell;
use crate::keyed::scope::{Found, Scope, Wanted};
use crate::keyed::via::{mailbox, no_process};
use crate::keyed::{Key, Outcome, kept, stop};
use crate::observe::ProcessInfo;
use crate::owner::Owner;
use crate::placement::{Packed, Placed, Placement, Standing, Tenure, Turn};
use crate::process::{Message, Process};
use crate::process_ref::ProcessRef;
use crate::rate::StartRate;
use crate::seam::yield_now;

type Reply<M> = Result<<M as Message>::Reply, CallError<M>>;

/// The tries of one question.
struct Tries {
    deadline: Moment,
    made: u32,
}

impl Tries {
    fn within(timeout: Duration) -> Tries {
        Tries { deadline: clock::now().after(timeout), made: 0 }
    }

    /// How much of the caller's time is left.
    fn left(&self) -> Duration {
        self.deadline.since(clock::now())
    }

    /// Waits for the next try; `false` if the caller's time is over before.
    async fn again<K: Key, P: Process>(
        &mut self,
        placement: &dyn Placement<K, P>,
        key: &K,
    ) -> bool {
        self.made += 1;
        let pause = placement.pause(key, self.made);
        tokio::select! {
            biased;
            () = clock::alarm(self.deadline) => false,
            () = pause => true,
        }
    }
}

/// Why nothing can be done under a tenure now, if nothing can.
pub(crate) fn away(tenure: &dyn Tenure) -> Option<Away> {
    match tenure.begin() {
        Standing::Yes => None,
        Standing::NotNow => Some(Away::Frozen),
        Standing::Never => Some(Away::NotOwner),
    }
}

/// The process of a key, wherever it is.
pub(super) async fn get<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    placement: &dyn Placement<K, P>,
    key: &K,
    client: Option<&StartRate>,
    starts: bool,
    timeout: Duration,
) -> Answer<P> {
    let mut tries = Tries::within(timeout);
    let mut started = None;
    loop {
        let answer = match placement.here(key) {
            Some(tenure) => {
                let (turn, left) = (Turn::of_asker(), tries.left());
                let found = get_here(scope, &tenure, key, client, turn, starts, left).await;
                if let Ok(Outcome::Started(process)) = &found {
                    started = Some(process.incarnation());
                }
                // An answer counts from the instant at which this node was sure to act for the key.
                away(&*tenure).map_or(found, |away| Err(GetError::Away(away)))
            }
            None => placement.get(key, starts, tries.left()).await,
        };
        match answer {
            Err(GetError::Away(why)) if !tries.again(placement, key).await => {
                return Err(GetError::Away(why));
            }
            Err(GetError::Away(_)) => {}
            Err(GetError::Timeout { .. }) => return Err(GetError::Timeout { waited: timeout }),
            Ok(Outcome::Existing(process)) if started == Some(process.incarnation()) => {
                return Ok(Outcome::Started(process));
            }
            answer => return answer,
        }
    }
}

/// One try, on this node.
pub(crate) async fn get_here<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    tenure: &Arc<dyn Tenure>,
    key: &K,
    client: Option<&StartRate>,
    turn: Turn,
    starts: bool,
    timeout: Duration,
) -> Answer<P> {
    let mut wanted = Wanted { args: None, client, turn };
    match scope.find_or_start(key, scope.see(key), &mut wanted, Some(tenure), starts)? {
        Found::Live(cell, incarnation) => Ok(Outcome::Existing(ProcessRef::new(cell, incarnation))),
        found @ Found::Cell { .. } => {
            get::wait(scope, key, wanted, Some(tenure), starts, timeout, found).await
        }
    }
}

/// Says something to the process of a key, wherever it is.
pub(super) async fn call<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    placement: &dyn Placement<K, P>,
    key: &K,
    mut message: P::Message,
    timeout: Duration,
) -> Reply<P::Message> {
    let mut tries = Tries::within(timeout);
    loop {
        let said = match placement.here(key) {
            Some(tenure) => {
                let (to, turn) = (Incarnation::NONE, Turn::of_asker());
                call_here(scope, &tenure, key, to, turn, message, tries.left()).await
            }
            None => {
                let said = placement.call(key, &message, tries.left());
                said.await.map_err(|failed| failed.of(message))
            }
        };
        let (returned, why) = match said {
            Err(CallError::NotDelivered { message, why }) if is_passing(&why) => (message, why),
            said => return said,
        };
        message = returned;
        if !tries.again(placement, key).await {
            return Err(CallError::NotDelivered { message, why });
        }
    }
}

/// Whether the next one who acts for the key, or the next process, may well take it.
fn is_passing(why: &NotDelivered) -> bool {
    matches!(why, NotDelivered::Away(_) | NotDelivered::Stopping)
}

/// One try, on this node: to one incarnation, or to whichever there is.
pub(crate) async fn call_here<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    tenure: &Arc<dyn Tenure>,
    key: &K,
    to: Incarnation,
    turn: Turn,
    message: P::Message,
    timeout: Duration,
) -> Reply<P::Message> {
    let deadline = clock::now().after(timeout);
    let said = match process_here(scope, tenure, key, to, turn, deadline, timeout).await {
        Ok(process) => {
            let left = deadline.since(clock::now());
            Call::new(&process, message, std::convert::identity).timeout(left).await
        }
        Err(why) => Err(CallError::NotDelivered { message, why }),
    };
    said.map_err(|error| match error {
        CallError::NotDelivered { message, why } => {
            CallError::NotDelivered { message, why: unless_over(&**tenure, why) }
        }
        unknown @ CallError::Unknown(_) => unknown,
    })
}

/// Says something to the process of a key, wherever it is, and goes on once it is accepted.
pub(super) async fn cast<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    placement: &dyn Placement<K, P>,
    key: &K,
    mut message: P::Message,
    timeout: Duration,
) -> Result<(), CastError<P::Message>> {
    let mut tries = Tries::within(timeout);
    loop {
        let said = match placement.here(key) {
            Some(tenure) => {
                let (to, turn) = (Incarnation::NONE, Turn::of_asker());
                cast_here(scope, &tenure, key, to, turn, message, tries.left()).await
            }
            None => {
                let said = placement.cast(key, &message, tries.left());
                said.await.map_err(|why| CastError { message, why })
            }
        };
        let Err(CastError { message: returned, why }) = said else { return Ok(()) };
        message = returned;
        if !is_passing(&why) || !tries.again(placement, key).await {
            return Err(CastError { message, why });
        }
    }
}

/// One try, on this node.
pub(crate) async fn cast_here<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    tenure: &Arc<dyn Tenure>,
    key: &K,
    to: Incarnation,
    turn: Turn,
    message: P::Message,
    timeout: Duration,
) -> Result<(), CastError<P::Message>> {
    let deadline = clock::now().after(timeout);
    let said = match process_here(scope, tenure, key, to, turn, deadline, timeout).await {
        Ok(process) => process.cast(message).await,
        Err(why) => Err(CastError { message, why }),
    };
    said.map_err(|CastError { message, why }| CastError {
        message,
        why: unless_over(&**tenure, why),
    })
}

/// What takes messages for a key, or for one incarnation of it, on this node.
async fn process_here<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    tenure: &Arc<dyn Tenure>,
    key: &K,
    to: Incarnation,
    turn: Turn,
    deadline: Moment,
    timeout: Duration,
) -> Result<ProcessRef<P::Message>, NotDelivered> {
    if to != Incarnation::NONE {
        let cell = scope.find(key).ok_or(NotDelivered::Ended)?;
        return Ok(ProcessRef::new(cell, to));
    }
    let cell = mailbox(scope, key, Some(tenure), turn, deadline, timeout).await;
    let cell = cell.map_err(no_process)?;
    Ok(ProcessRef::whichever(cell))
}

/// Why it was not delivered; if the tenure is over, that is why.
pub(crate) fn unless_over(tenure: &dyn Tenure, why: NotDelivered) -> NotDelivered {
    match tenure.begin() {
        Standing::Never => NotDelivered::Away(Away::NotOwner),
        Standing::Yes | Standing::NotNow => why,
    }
}

/// Ends the process of a key, wherever it is.
pub(super) async fn stop<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    placement: &dyn Placement<K, P>,
    key: &K,
    reason: ExitReason,
    timeout: Duration,
) -> Result<(), StopError> {
    let mut tries = Tries::within(timeout);
    loop {
        let stopped = match placement.here(key) {
            Some(tenure) => {
                let (turn, left) = (Turn::of_asker(), tries.left());
                stop_here(scope, &tenure, key, turn, reason.clone(), left).await
            }
            None => placement.stop(key, reason.clone(), tries.left()).await,
        };
        match stopped {
            Err(StopError::Away(_)) if tries.again(placement, key).await => {}
            stopped => return stopped,
        }
    }
}

/// One try, on this node.
pub(crate) async fn stop_here<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    tenure: &Arc<dyn Tenure>,
    key: &K,
    turn: Turn,
    reason: ExitReason,
    timeout: Duration,
) -> Result<(), StopError> {
    if let Some(away) = away(&**tenure) {
        return Err(StopError::Away(away));
    }
    let deadline = clock::now().after(timeout);
    let was_kept = kept::begin(scope, tenure, key, turn, timeout).await?;
    let stopped = stop::stop(scope, key, reason, deadline.since(clock::now())).await;
    let stopped = match stopped {
        Err(StopError::NotFound) if was_kept => Ok(()),
        stopped => stopped,
    };
    // That there is nothing counts from the instant at which this node was sure to know.
    away(&**tenure).map_or(stopped, |away| Err(StopError::Away(away)))
}

/// A snapshot of the process of a key, wherever it is.
pub(super) async fn info<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    placement: &dyn Placement<K, P>,
    key: &K,
    timeout: Duration,
) -> Result<Option<ProcessInfo>, NoAnswer> {
    let mut tries = Tries::within(timeout);
    loop {
        let seen = match placement.here(key) {
            Some(tenure) => info_here(scope, &tenure, key).map_err(NoAnswer::Away),
            None => placement.info(key, tries.left()).await,
        };
        match seen {
            Err(NoAnswer::Away(_)) if tries.again(placement, key).await => {}
            seen => return seen,
        }
    }
}

/// One try, on this node.
pub(crate) fn info_here<K: Key, P: Process>(
    scope: &Scope<K, P>,
    tenure: &Arc<dyn Tenure>,
    key: &K,
) -> Result<Option<ProcessInfo>, Away> {
    if scope.shared.kept(key, Some(tenure)).is_some() {
        // What comes of it is seen below.
        let (seen, nothing) = (scope.see(key), &mut Wanted::nothing());
        drop(scope.find_or_start(key, seen, nothing, Some(tenure), false));
    }
    // What is left of an earlier tenure is not the process of the key any more.
    let cell = scope.find(key).filter(|cell| cell.owner.runs_under(tenure));
    let info = cell.map(|cell| scope.describe(&cell)).filter(|info| info.state.is_some());
    // That there is none counts from the instant at which this node was sure to know.
    away(&**tenure).map_or(Ok(info), Err)
}

impl<K: Key, P: Process> Scope<K, P> {
    /// What is here of another tenure: of an earlier one it ends first, and the next waits for
    /// that; who asks under the earlier one is late.
    pub(super) fn of_another(
        &self,
        cell: Arc<KeyedCell<K, P>>,
        tenure: &dyn Tenure,
    ) -> Result<Option<Found<K, P>>, GetError> {
        if cell.owner.placed().is_some_and(|placed| placed.tenure().epoch() > tenure.epoch()) {
            return Err(GetError::Away(Away::NotOwner));
        }
        Ok(match self.stop_cell_by(&cell, ExitReason::Killed, Shutdown::BrutalKill) {
            Stopping::NotFound | Stopping::Unparked => None,
            Stopping::Wait { flight, .. } => {
                Some(Found::Cell { cell, asked: Asked::WaitForEnd(flight), made: None })
            }
        })
    }

    /// Ends every process under a tenure in order, waits until they have ended, and answers what
    /// they take along.
    pub(crate) async fn pack(&self, tenure: &Arc<dyn Tenure>) -> Vec<Packed<K, P::Message>> {
        let mut ends = Vec::new();
        for shard in 0..self.table.shards() {
            for cell in self.table.rows(shard) {
                if let Some(guest) = &cell.owner.placed
                    && cell.owner.runs_under(tenure)
                {
                    // What is ending does so on its own account.
                    if !matches!(cell.ask(), Asked::WaitForEnd(_)) {
                        guest.pack();
                    }
                    let stopping = self.stop_cell(&cell, ExitReason::Shutdown);
                    ends.push((cell, stopping));
                }
            }
            yield_now().await;
        }
        let mut packed = Vec::new();
        for (cell, stopping) in ends {
            if let Stopping::Wait { flight: end, .. } = stopping {
                end.wait().await;
            }
            if let Some((state, casts)) = cell.owner.placed.as_ref().map(|guest| guest.unpack())
                && (state.is_some() || !casts.is_empty())
            {
                packed.push(Packed { key: cell.owner.key.clone(), state, casts: casts.into() });
            }
        }
        packed
    }

    /// Kills every process whose tenure is over.
    pub(crate) async fn end_lost(&self) {
        for shard in 0..self.table.shards() {
            for cell in self.table.rows(shard) {
                let is_lost = |placed: &Placed| placed.tenure().release() == Standing::Never;
                if cell.owner.placed().is_some_and(is_lost) {
                    drop(self.stop_cell_by(&cell, ExitReason::Killed, Shutdown::BrutalKill));
                }
            }
            yield_now().await;
        }
    }
}
