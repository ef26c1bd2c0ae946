//! The process of a supervisor: has its children started in order, and ends them in reverse.

use std::sync::Arc;

use crate::call::ReplyTo;
use crate::child_spec::{ChildSpec, Restart, Shutdown};
use crate::context::Context;
use crate::exit::ExitReason;
use crate::limits;
use crate::process::{Process, StartError};
use crate::seam::Spawner;
use crate::supervisor::escalation::SupervisorMessage;
use crate::supervisor::group::Group;

/// A supervisor is asked to end its children as long as they take; each has its own limit.
pub(crate) const SPEC: ChildSpec = ChildSpec::new()
    .restart(Restart::Permanent)
    .shutdown(Shutdown::Infinity)
    .start_timeout(limits::TREE_START_TIMEOUT);

/// The process of a supervisor.
pub(crate) struct Tree {
    group: Arc<Group>,
}

impl Process for Tree {
    type Args = Arc<Group>;
    type Message = SupervisorMessage;

    async fn init(group: &Arc<Group>, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let spawner = Spawner::current();
        group.escalation.begin(ctx.process());
        let started = tokio::select! {
            biased;
            () = ctx.told_to_stop() => Err(StartError::failed("told to stop while it started")),
            started = group.start_all(&spawner) => started,
        };
        if let Err(error) = started {
            group.close().await;
            return Err(error);
        }
        Ok(Tree { group: group.clone() })
    }

    async fn handle(
        &mut self,
        message: SupervisorMessage,
        _: ReplyTo<SupervisorMessage>,
        ctx: &mut Context<Self>,
    ) {
        match message {
            SupervisorMessage::End => ctx.stop(ExitReason::Shutdown),
        }
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.group.close().await;
    }
}
