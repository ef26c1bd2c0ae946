//! The process of a supervisor: starts its children in order, and ends them in reverse.

use std::sync::Arc;

use crate::call::ReplyTo;
use crate::child_spec::RestartBudget;
use crate::context::Context;
use crate::exit::ExitReason;
use crate::process::{Process, StartError};
use crate::registry::slot::Ruling;
use crate::seam::{Mutex, Spawner};
use crate::supervisor::StartChildError;
use crate::supervisor::child::{Child, Launch, Parent};
use crate::supervisor::closing::{Closing, Container, Names};
use crate::supervisor::escalation::{Escalation, SupervisorMessage};

/// What a supervisor, its process and its children share.
///
/// It outlives the incarnations of the process: children that are known here are started again when
/// the supervisor is.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) closing: Arc<Closing>,
    escalation: Escalation,
    children: Mutex<Children>,
}

#[derive(Default)]
struct Children {
    /// In the order of their first start.
    list: Vec<Arc<dyn Child>>,
    /// What to start more of them on, while they may be.
    spawner: Option<Spawner>,
}

impl Group {
    pub(crate) fn new(name: String, budget: RestartBudget, closing: Arc<Closing>) -> Arc<Self> {
        let escalation = Escalation::new(name.clone(), budget);
        let group = Arc::new(Group { name, closing, escalation, children: Mutex::default() });
        let container: Arc<dyn Container> = group.clone();
        group.closing.join(Arc::downgrade(&container));
        group
    }

    /// Puts a child in before the supervisor is started, which starts it.
    pub(crate) fn declare(&self, child: Arc<dyn Child>) -> Result<(), StartChildError> {
        self.children.lock().enter(child)
    }

    /// Puts a child in at the end, and answers how and on what to launch it.
    pub(crate) fn enter(
        &self,
        child: Arc<dyn Child>,
    ) -> Result<(Launch, Spawner), StartChildError> {
        let mut children = self.children.lock();
        let spawner = children.spawner.clone().ok_or(StartChildError::ShuttingDown)?;
        children.enter(child.clone())?;
        // Still under the lock: whoever ends all children finds a process to end.
        Ok((child.prepare(), spawner))
    }

    pub(crate) fn children(&self) -> Vec<Arc<dyn Child>> {
        self.children.lock().list.clone()
    }

    pub(crate) fn forget(&self, child: &Arc<dyn Child>) {
        let mut children = self.children.lock();
        let found = children.list.iter().position(|other| other.number() == child.number());
        let removed = found.map(|at| children.list.remove(at));
        drop(children);
        drop(removed);
    }

    async fn start_all(&self, spawner: &Spawner) -> Result<(), StartError> {
        for child in self.children() {
            if let Err(error) = child.clone().prepare()(spawner).await {
                let id = child.id();
                return Err(StartError::failed(format_args!("child {id} did not start: {error}")));
            }
        }
        Ok(())
    }

    /// Takes no more children, and ends those there are one by one, the last one first.
    async fn close(&self) {
        self.children.lock().spawner = None;
        self.escalation.end();
        for child in self.children().into_iter().rev() {
            child.stop().await;
        }
    }
}

impl Children {
    fn enter(&mut self, child: Arc<dyn Child>) -> Result<(), StartChildError> {
        match self.list.iter().find(|other| other.id() == child.id()) {
            None => {
                self.list.push(child);
                Ok(())
            }
            Some(other) if other.info().is_some() => Err(StartChildError::AlreadyStarted),
            Some(_) => Err(StartChildError::AlreadyPresent),
        }
    }
}

impl Parent for Group {
    fn ruling(&self, child: &str, reason: &ExitReason) -> Ruling<'static> {
        self.escalation.ruling(child, reason)
    }

    fn ended(&self, child: Arc<dyn Child>, reason: &ExitReason, forget: bool) {
        if *reason == ExitReason::Killed && self.escalation.has_ended() {
            self.closing.killed(format!("{}/{}", self.name, child.id()));
        }
        if forget {
            self.forget(&child);
        }
    }
}

impl Container for Group {
    fn survivors(&self, names: &mut Names) {
        for child in self.children() {
            if child.info().is_some() {
                names.add(|| format!("{}/{}", self.name, child.id()));
            }
        }
    }
}

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
        // Only now: a child that came earlier would be started twice.
        group.children.lock().spawner = Some(spawner);
        Ok(Tree { group: group.clone() })
    }

    async fn handle(
        &mut self,
        message: SupervisorMessage,
        _: ReplyTo<SupervisorMessage>,
        ctx: &mut Context<Self>,
    ) {
        match message {
            SupervisorMessage::Escalate => ctx.stop(ExitReason::Shutdown),
        }
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.group.close().await;
    }
}
