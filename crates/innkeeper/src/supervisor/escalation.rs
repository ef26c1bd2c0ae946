//! When the crashes of children become the crash of their supervisor.

use std::time::Duration;

use crate::child_spec::RestartBudget;
use crate::clock;
use crate::exit::ExitReason;
use crate::process::Message;
use crate::process_ref::ProcessRef;
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
    /// It is to end, and all its children with it.
    End,
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

    /// How long a child waits at most that is to be restarted; `None` if it is not: the supervisor
    /// is ending, or there were too many restarts, for which it ends now.
    pub(crate) fn allow(&self, child: &str, reason: &ExitReason) -> Option<Duration> {
        let mut state = self.state.lock();
        state.process.as_ref()?;
        let (max, window) = (self.budget.max(), self.budget.window());
        if let Some(nth) = state.intensity.allow(clock::now(), max, window) {
            return Some(self.budget.backoff_before(nth));
        }
        drop(state);
        tracing::error!(supervisor = self.supervisor, child, %reason, "too many restarts");
        self.end_supervisor();
        None
    }

    /// Tells the supervisor to end.
    pub(crate) fn end_supervisor(&self) {
        if let Some(process) = self.process() {
            // Refused only if it is ending already.
            let _ = process.cast(SupervisorMessage::End).send();
        }
    }

    /// The process of the supervisor, while it runs.
    pub(crate) fn process(&self) -> Option<ProcessRef<SupervisorMessage>> {
        self.state.lock().process.clone()
    }
}
