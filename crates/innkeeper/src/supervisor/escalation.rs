//! When the crashes of children become the crash of their supervisor.

use std::time::Duration;

use crate::child_spec::RestartBudget;
use crate::clock;
use crate::exit::ExitReason;
use crate::process::Message;
use crate::process_ref::ProcessRef;
use crate::seam::Mutex;
use crate::supervisor::child::Child;
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
    /// The children whose exit was one too many, and who have not ended yet.
    too_many: Vec<u64>,
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
        let state = State { process: Some(process), ..State::default() };
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
    /// is ending, or is to end once this child has, for there were too many restarts.
    pub(crate) fn allow(&self, child: &dyn Child, reason: &ExitReason) -> Option<Duration> {
        let mut state = self.state.lock();
        state.process.as_ref()?;
        let (max, window) = (self.budget.max(), self.budget.window());
        if let Some(nth) = state.intensity.allow(clock::now(), max, window) {
            return Some(self.budget.backoff_before(nth));
        }
        state.too_many.push(child.number());
        drop(state);
        let (supervisor, child) = (&self.supervisor, child.id());
        tracing::error!(supervisor, child, %reason, "too many restarts");
        None
    }

    /// A child has ended for good. Whether the supervisor was told to end because of it.
    pub(crate) fn ended(&self, child: &dyn Child) -> bool {
        let too_many = self.state.lock().too_many.contains(&child.number());
        if too_many {
            self.end_supervisor();
        }
        too_many
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
