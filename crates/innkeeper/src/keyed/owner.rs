//! The owner of one key's process: its arguments, what follows its end, who is told.

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::Span;
use tracing::span::Id;

use crate::cell::Cell;
use crate::child_spec::ChildSpec;
use crate::clock::Moment;
use crate::exit::ExitReason;
use crate::guard::contained;
use crate::incarnation::Incarnation;
use crate::keyed::Key;
use crate::keyed::guest::Guest;
use crate::keyed::scope::Shared;
use crate::limits;
use crate::observe::{Event, What};
use crate::owner::{Args, Owner};
use crate::placement::{Placed, Standing, Tenure};
use crate::process::Process;
use crate::registry::slot::Ruling;
use crate::registry::table::Row;
use crate::trace::TARGET;

pub(crate) type KeyedCell<K, P> = Cell<KeyedOwner<K, P>>;

impl<K: Key, P: Process> Row for KeyedCell<K, P> {
    fn hash(&self) -> u64 {
        self.owner.hash
    }
}

/// The owner of the process of one key.
pub(crate) struct KeyedOwner<K: Key, P: Process> {
    pub(crate) key: K,
    pub(super) hash: u64,
    pub(super) args: Option<Box<P::Args>>,
    pub(super) shared: Arc<Shared<K, P>>,
    /// Where the scope is placed.
    pub(super) placed: Option<Box<Guest<P>>>,
}

impl<K: Key, P: Process> Owner for KeyedOwner<K, P> {
    type Process = P;

    fn name(&self) -> String {
        // The key's own code: a panic in it is not to cost more than the name.
        contained(|| format!("{} {:?}", self.shared.name, self.key))
            .unwrap_or_else(|_| format!("{} (a key that panics)", self.shared.name))
    }

    fn spec(&self) -> &ChildSpec {
        &self.shared.spec
    }

    fn args(&self) -> Args<'_, P::Args> {
        match &self.args {
            Some(args) => Args::Kept(args),
            None => (self.shared.args)(&self.key),
        }
    }

    fn ruling(&self, reason: &ExitReason, now: Moment) -> Ruling<'_> {
        // What is lost here begins anew elsewhere, if at all.
        if self.placed().is_some_and(|placed| placed.tenure().release() == Standing::Never) {
            return Ruling::Free;
        }
        let group = match &self.shared.group {
            Some((intensity, budget)) if self.shared.policy.restart.follows(reason) => {
                intensity.lock().allow(now, budget.max(), budget.window()).is_some()
            }
            Some(_) | None => true,
        };
        Ruling::Own { policy: &self.shared.policy, group }
    }

    #[inline]
    fn placed(&self) -> Option<&Placed> {
        self.placed.as_ref().map(|guest| &guest.placed)
    }

    fn is_packing(&self) -> bool {
        self.placed.as_ref().is_some_and(|guest| guest.is_packing())
    }

    fn pack_state(&self, state: Vec<u8>) {
        if let Some(guest) = &self.placed {
            guest.pack_state(state);
        }
    }

    fn pack_casts(&self, casts: VecDeque<P::Message>) -> VecDeque<P::Message> {
        match &self.placed {
            Some(guest) => guest.pack_casts(casts),
            None => casts,
        }
    }

    fn handed(&self) -> Option<Vec<u8>> {
        let placement = self.shared.placement.as_ref()?;
        placement.handed(&self.key, &**self.placed()?.tenure())
    }

    fn settled(&self) -> Vec<P::Message> {
        match (&self.shared.placement, self.placed()) {
            (Some(placement), Some(placed)) => placement.settled(&self.key, &**placed.tenure()),
            _ => Vec::new(),
        }
    }

    fn refused(&self) {
        self.shared.tally.refused(self.hash);
    }

    fn released(cell: &Arc<Cell<Self>>, reason: &ExitReason) {
        let shared = &cell.owner.shared;
        if let Some(table) = shared.table.upgrade() {
            if *reason == ExitReason::Killed && table.is_closed() {
                shared.closing.killed(cell.owner.name());
            }
            table.remove(cell);
        }
        if let Some(remembering) = &shared.remembering
            && (!reason.is_abnormal() || *reason == ExitReason::Killed)
        {
            // The key's own code: a panic in it is not to cost the end of the process.
            let owner = &cell.owner;
            drop(contained(|| remembering.ended(&owner.key, owner.hash, owner.tenure())));
        }
    }

    fn span(&self, incarnation: Incarnation, parent: Option<Id>) -> Span {
        let (process, key) = (&*self.shared.name, &self.key);
        let tenure = self.placed().map(Placed::tenure);
        tracing::debug_span!(
            target: TARGET,
            parent: parent,
            "handle",
            process,
            ?key,
            %incarnation,
            node = tenure.and_then(|tenure| tenure.node()),
            shard = tenure.map(|tenure| tenure.shard()),
            epoch = tenure.map(|tenure| tenure.epoch()),
        )
    }

    fn observe(&self, incarnation: Incarnation, what: What) {
        self.shared.tally.count(self.hash, &what);
        // The key's own code: a panic in it costs the event, and not the process.
        if contained(|| self.tell(incarnation, what)).is_err() {
            tracing::error!(scope = self.shared.name, %incarnation, "the code of a key panicked");
        }
    }
}

impl<K: Key, P: Process> KeyedOwner<K, P> {
    /// Somebody who was let in may be waiting for its start.
    pub(super) fn hurry(&self) {
        if let Some(placed) = self.placed() {
            placed.hurry();
        }
    }

    /// What it runs under, where the scope is placed.
    pub(super) fn tenure(&self) -> Option<&dyn Tenure> {
        self.placed().map(|placed| &**placed.tenure())
    }

    pub(crate) fn runs_under(&self, tenure: &Arc<dyn Tenure>) -> bool {
        let of = |tenure: &Arc<dyn Tenure>| (tenure.shard(), tenure.epoch());
        self.placed().is_some_and(|placed| of(placed.tenure()) == of(tenure))
    }

    /// Tells the log and the subscribers what happened.
    fn tell(&self, incarnation: Incarnation, what: What) {
        let (key, tenure) = (&self.key, self.placed().map(Placed::tenure));
        let node = tenure.and_then(|tenure| tenure.node());
        let shard = tenure.map(|tenure| tenure.shard());
        let epoch = tenure.map(|tenure| tenure.epoch());
        match &what {
            What::Restarting { reason, .. } if reason.is_abnormal() => {
                let what = "process crashed, restarting";
                tracing::warn!(?key, node, shard, epoch, %incarnation, %reason, "{what}");
            }
            What::Parked(reason) => {
                tracing::error!(?key, node, shard, epoch, %incarnation, %reason, "process parked");
            }
            What::Stopped(reason) if reason.is_abnormal() => {
                tracing::warn!(?key, node, shard, epoch, %incarnation, %reason, "process ended");
            }
            What::StateTooLarge { bytes } => {
                let max = limits::HANDOFF_BYTES_MAX;
                tracing::error!(?key, %incarnation, bytes, max, "state is too large to go along");
            }
            _ => {}
        }
        let events = self.shared.events.get();
        if let Some(events) = events.filter(|events| events.receiver_count() > 0) {
            let event = Event { key: key.clone(), incarnation, what };
            // Nobody left to hear it is no failure.
            let _ = events.send(event);
        }
    }
}
