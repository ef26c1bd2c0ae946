//! What a cell needs to know of whoever had it made: how to start, what follows an exit, whom to
//! tell.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use tracing::Span;
use tracing::span::Id;

use crate::cell::{Cell, MessageOf};
use crate::child_spec::ChildSpec;
use crate::clock::Moment;
use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::observe::What;
use crate::placement::Placed;
use crate::process::Process;
use crate::registry::slot::Ruling;
use crate::trace::TARGET;

/// Whoever had a process made: a scope, a supervisor, or nobody in particular.
///
/// The runner and the cell know only this, never a registry or a supervisor.
pub(crate) trait Owner: Send + Sync + Sized + 'static {
    type Process: Process;

    /// What the process is called, for errors, logs and screens.
    fn name(&self) -> String;

    fn spec(&self) -> &ChildSpec;

    /// Which child of a supervisor this is; 0 if it is none.
    fn child_number(&self) -> u64 {
        0
    }

    /// The arguments of every start.
    fn args(&self) -> Args<'_, <Self::Process as Process>::Args>;

    /// Who decides what follows this exit. Called without a lock.
    fn ruling(&self, reason: &ExitReason, now: Moment) -> Ruling<'_>;

    /// The process has ended for good: forget it. Called before anybody is told.
    fn released(cell: &Arc<Cell<Self>>, reason: &ExitReason);

    /// The process has ended, and waits to be resumed. Called without a lock.
    fn held(_: &Arc<Cell<Self>>) {}

    /// What it has where it may run only while this node acts for its key.
    #[inline]
    fn placed(&self) -> Option<&Placed> {
        None
    }

    /// Whether the process is ending because its key goes to another node.
    fn is_packing(&self) -> bool {
        false
    }

    /// Takes what the process has to take along.
    fn pack_state(&self, _: Vec<u8>) {}

    /// Takes casts along that no process here will handle; answers those that are lost. What comes
    /// later was sent before.
    fn pack_casts(&self, casts: VecDeque<MessageOf<Self>>) -> VecDeque<MessageOf<Self>> {
        casts
    }

    /// What it had on another node.
    fn handed(&self) -> Option<Vec<u8>> {
        None
    }

    /// It is ready, with what was handed to it: the casts that came along, in order.
    fn settled(&self) -> Vec<MessageOf<Self>> {
        Vec::new()
    }

    /// A message was refused because the mailbox is full.
    fn refused(&self) {}

    /// A span for its code, as a part of another.
    fn span(&self, incarnation: Incarnation, parent: Option<Id>) -> Span {
        let process = self.name();
        tracing::debug_span!(target: TARGET, parent: parent, "handle", process, %incarnation)
    }

    /// Something happened to the process.
    fn observe(&self, incarnation: Incarnation, what: What);
}

/// Start arguments, kept or made for the occasion.
#[derive(Debug)]
pub(crate) enum Args<'a, A> {
    Kept(&'a A),
    Made(A),
}

impl<A> Deref for Args<'_, A> {
    type Target = A;

    fn deref(&self) -> &A {
        match self {
            Args::Kept(args) => args,
            Args::Made(args) => args,
        }
    }
}
