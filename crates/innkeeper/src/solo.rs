//! A process that nobody supervises.

use std::sync::Arc;

use crate::cell::Cell;
use crate::child_spec::ChildSpec;
use crate::clock::{self, Moment};
use crate::error::GetError;
use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::observe::What;
use crate::owner::{Args, Owner};
use crate::process::Process;
use crate::process_ref::ProcessRef;
use crate::registry::slot::Ruling;
use crate::runner;
use crate::seam::Spawner;
use crate::supervisor::child::{short_name, started};

/// The owner of a process that nobody supervises.
pub(crate) struct Solo<P: Process> {
    args: P::Args,
    spec: ChildSpec,
}

/// Ends a process whose start is given up: nobody else knows it, so nobody else ever could.
struct Unclaimed<P: Process>(Option<Arc<Cell<Solo<P>>>>);

impl<P: Process> Drop for Unclaimed<P> {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            drop(cell.stop(ExitReason::Shutdown));
        }
    }
}

/// Makes such a process and has it run, until it is ready.
pub(crate) async fn launch<P: Process>(
    args: P::Args,
    spec: ChildSpec,
) -> Result<(Arc<Cell<Solo<P>>>, Incarnation), GetError> {
    let cell = Cell::new(Solo { args, spec }, clock::now());
    // Asked before it runs: afterwards a start that failed would be nowhere to be seen.
    let asked = cell.ask();
    runner::spawn(&Spawner::current(), cell.clone());
    let mut unclaimed = Unclaimed(Some(cell.clone()));
    let incarnation = started(&cell, asked).await?;
    unclaimed.0 = None;
    Ok((cell, incarnation))
}

/// Starts a process outside of any supervision tree (OTP's `GenServer.start/3`).
///
/// It is not restarted after a crash, and what waits in its mailbox then is lost. Of its spec only
/// the times and the mailbox apply.
///
/// # Errors
/// [`GetError::InitFailed`], [`GetError::Declined`] or [`GetError::StartTimeout`].
///
/// # Panics
/// Outside of a tokio runtime.
///
/// # Cancel safety
/// When the future is dropped before it is done, the process is told to stop.
pub async fn start<P: Process>(
    args: P::Args,
    spec: ChildSpec,
) -> Result<ProcessRef<P::Message>, GetError> {
    let (cell, incarnation) = launch::<P>(args, spec).await?;
    Ok(ProcessRef::new(cell, incarnation))
}

impl<P: Process> Owner for Solo<P> {
    type Process = P;

    fn name(&self) -> String {
        short_name::<P>().to_owned()
    }

    fn spec(&self) -> &ChildSpec {
        &self.spec
    }

    fn args(&self) -> Args<'_, P::Args> {
        Args::Kept(&self.args)
    }

    fn ruling(&self, _: &ExitReason, _: Moment) -> Ruling<'_> {
        Ruling::Free
    }

    fn released(_: &Arc<Cell<Self>>, _: &ExitReason) {}

    fn observe(&self, incarnation: Incarnation, what: What) {
        if let What::Stopped(reason) = what
            && reason.is_abnormal()
        {
            tracing::warn!(name = self.name(), %incarnation, %reason, "process ended");
        }
    }
}
