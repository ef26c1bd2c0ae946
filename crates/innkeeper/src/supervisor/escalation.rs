//! When the crashes of children become the crash of their supervisor.

use crate::child_spec::RestartBudget;
use crate::clock;
use crate::exit::ExitReason;
use crate::process::Message;
use crate::process_ref::ProcessRef;
use crate::registry::slot::Ruling;
use crate::seam::Mutex;
use crate::supervisor::intensity::Intensity;

/// The restarts of all children of one supervisor, and whom to tell when there are too many.
pub(crate) struct Escalation {
    supervisor: String,
    budget: RestartBudget,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    intensity: Intensity,
    /// There while the supervisor runs.
    process: Option<ProcessRef<SupervisorMessage>>,
}

/// What is said to the process of a supervisor.
pub(crate) enum SupervisorMessage {
    /// There were too many restarts: it is to end.
    Escalate,
}

impl Message for SupervisorMessage {
    type Reply = ();
}

impl Escalation {
    pub(crate) fn new(supervisor: String, budget: RestartBudget) -> Self {
        Escalation { supervisor, budget, state: Mutex::default() }
    }

    /// The supervisor begins, with nothing counted.
    pub(crate) fn begin(&self, process: ProcessRef<SupervisorMessage>) {
        let state = State { intensity: Intensity::default(), process: Some(process) };
        let old = std::mem::replace(&mut *self.state.lock(), state);
        drop(old);
    }

    /// The supervisor is ending: nothing is restarted any more.
    pub(crate) fn end(&self) {
        let process = self.state.lock().process.take();
        drop(process);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state.lock().process.is_none()
    }

    /// What follows the exit of a child that wants to be restarted.
    pub(crate) fn ruling(&self, child: &str, reason: &ExitReason) -> Ruling<'static> {
        let mut state = self.state.lock();
        let Some(process) = state.process.clone() else {
            return Ruling::Free;
        };
        let (max, window) = (self.budget.max(), self.budget.window());
        if let Some(nth) = state.intensity.allow(clock::now(), max, window) {
            return Ruling::Restart { after: self.budget.backoff_before(nth) };
        }
        drop(state);
        tracing::error!(supervisor = self.supervisor, child, %reason, "too many restarts");
        // Refused only if it is ending already.
        let _ = process.cast(SupervisorMessage::Escalate).send();
        Ruling::Free
    }
}
