//! What a supervisor, its process and its children share: the children, and what is due among them.
//!
//! Nobody is in charge of a restart: whoever reports what happened to a child, mostly the task of
//! that child, carries out what the line says is due then.

use std::any::Any;
use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::{Notify, broadcast};

use crate::child_spec::{ChildSpec, Restart, RestartBudget};
use crate::clock;
use crate::error::GetError;
use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::limits;
use crate::observe::{Event, What};
use crate::process::StartError;
use crate::registry::slot::Ruling;
use crate::seam::{Mutex, MutexGuard, Spawner};
use crate::supervisor::child::{Child, Launch, Parent, Pending, Started};
use crate::supervisor::closing::{Closing, Container, Names};
use crate::supervisor::escalation::Escalation;
use crate::supervisor::line::{AutoShutdown, Due, Line, Strategy};
use crate::supervisor::look::Kind;
use crate::supervisor::refused::{DeleteError, RestartError, StartChildError};
use crate::wait_for;

/// What a supervisor, its process and its children share.
///
/// It outlives the incarnations of the process: children that are known here are started again when
/// the supervisor is.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) closing: Arc<Closing>,
    pub(crate) escalation: Escalation,
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    children: Mutex<Children>,
    /// Woken whenever something has happened to a child that others may wait for.
    changed: Notify,
    /// There once somebody has asked for them.
    events: OnceLock<broadcast::Sender<Event<String>>>,
}

struct Children {
    line: Line<Arc<dyn Child>>,
    /// Those that it was made with: the temporary ones among them too are there again when the
    /// supervisor is.
    declared: Vec<Arc<dyn Child>>,
    /// What to start more of them on, while they may be.
    spawner: Option<Spawner>,
    /// Somebody is carrying out what is due.
    is_conducted: bool,
}

/// Makes a child of this parent, which is in the line when that returns.
pub(crate) type Make = Box<dyn FnOnce(Weak<dyn Parent>) -> Arc<dyn Child> + Send>;

impl Group {
    pub(crate) fn new(
        name: String,
        budget: RestartBudget,
        (strategy, auto_shutdown): (Strategy, AutoShutdown),
        closing: Arc<Closing>,
    ) -> Arc<Self> {
        let escalation = Escalation::new(name.clone(), budget);
        let line = Line::new(strategy, auto_shutdown);
        let children =
            Mutex::new(Children { line, declared: Vec::new(), spawner: None, is_conducted: false });
        let (changed, events) = (Notify::new(), OnceLock::new());
        let group = Arc::new(Group {
            name,
            closing,
            escalation,
            strategy,
            auto_shutdown,
            children,
            changed,
            events,
        });
        let container: Arc<dyn Container> = group.clone();
        group.closing.join(Arc::downgrade(&container));
        group
    }

    /// What the children call their parent.
    pub(crate) fn parent(self: &Arc<Self>) -> Weak<dyn Parent> {
        let parent: Arc<dyn Parent> = self.clone();
        Arc::downgrade(&parent)
    }

    /// Whether there can be such a child here.
    pub(crate) fn check(&self, spec: &ChildSpec) -> Result<(), StartChildError> {
        let significance = self.auto_shutdown != AutoShutdown::Never;
        spec.check(significance).map_err(StartChildError::BadSpec)
    }

    /// Puts a child in before the supervisor is started, which starts it.
    pub(crate) fn declare(self: &Arc<Self>, id: &str, make: Make) -> Result<(), StartChildError> {
        let mut children = self.children.lock();
        let child = children.enter(id, || make(self.parent()))?;
        self.check(child.spec())?;
        child.keep();
        children.declared.push(child);
        Ok(())
    }

    /// Puts a child in at the end and starts it, once no siblings are being restarted.
    pub(crate) async fn add(
        self: &Arc<Self>,
        id: &str,
        make: Make,
    ) -> Result<Started, StartChildError> {
        let (launch, spawner) = {
            let (mut children, spawner) = self.at_rest().await?;
            let child = children.enter(id, || make(self.parent()))?;
            (children.launch(child), spawner)
        };
        launch(&spawner).await.map_err(StartChildError::Failed)
    }

    /// Starts a child that is known and does not run.
    pub(crate) async fn restart(&self, id: &str) -> Result<(), RestartError> {
        let (launch, spawner) = {
            let (mut children, spawner) = self.at_rest().await.map_err(RestartError::Refused)?;
            let child = children.find(id).ok_or(RestartError::NotFound)?;
            if child.info().is_some() {
                return Err(RestartError::Running);
            }
            (children.launch(child), spawner)
        };
        let started = launch(&spawner).await.map(drop);
        started.map_err(|error| RestartError::Refused(StartChildError::Failed(error)))
    }

    /// Forgets a child that does not run.
    pub(crate) fn delete(&self, id: &str) -> Result<(), DeleteError> {
        let mut children = self.children.lock();
        let child = children.find(id).ok_or(DeleteError::NotFound)?;
        if child.info().is_some() {
            return Err(DeleteError::Running);
        }
        let removed = children.line.remove(child.number());
        children.declared.retain(|other| other.number() != child.number());
        drop(children);
        drop(removed);
        Ok(())
    }

    /// The children, once none of them are being restarted together.
    async fn at_rest(&self) -> Result<(MutexGuard<'_, Children>, Spawner), StartChildError> {
        let began = clock::now();
        let deadline = began.after(limits::ASK_TIMEOUT);
        loop {
            let changed = self.changed.notified();
            let busy = {
                let children = self.children.lock();
                let spawner = children.spawner.clone().ok_or(StartChildError::ShuttingDown)?;
                match children.line.waits_for().cloned() {
                    None => return Ok((children, spawner)),
                    Some(busy) => busy,
                }
            };
            // A child that starts again would wait for itself.
            let cycle = |cycle| StartChildError::Failed(GetError::Cycle(cycle));
            let _wait = match busy.node() {
                Some(node) => wait_for::wait_for(&*node).map_err(cycle)?,
                None => None,
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = clock::alarm(deadline) => {
                    let waited = clock::now().since(began);
                    return Err(StartChildError::Failed(GetError::Timeout { waited }));
                }
            }
        }
    }

    /// The children in the order of their start.
    pub(crate) fn children(&self) -> Vec<Arc<dyn Child>> {
        self.children.lock().line.iter().map(|(_, child)| child.clone()).collect()
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<dyn Child>> {
        self.children.lock().find(id)
    }

    /// What happens to the children from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event<String>> {
        self.events.get_or_init(|| broadcast::Sender::new(limits::EVENTS)).subscribe()
    }

    /// Starts all children in order, each once the one before it is ready.
    pub(crate) async fn start_all(&self, spawner: &Spawner) -> Result<(), StartError> {
        {
            let mut children = self.children.lock();
            for child in children.declared.clone() {
                children.put(child);
            }
            children.line.open();
        }
        tokio::select! {
            biased;
            () = self.until(|children| !children.line.is_open()) => {
                return Err(StartError::failed("too many restarts while it started"));
            }
            started = self.start_each(spawner) => started?,
        }
        // Only now: a child that came earlier would be started twice.
        self.children.lock().spawner = Some(spawner.clone());
        Ok(())
    }

    async fn start_each(&self, spawner: &Spawner) -> Result<(), StartError> {
        for child in self.children() {
            // One that was started may have crashed, and have others restarted with it.
            self.until(|children| children.line.waits_for().is_none()).await;
            let launch = self.children.lock().launch(child.clone());
            match launch(spawner).await {
                Ok(_) | Err(GetError::Declined) => {}
                Err(error) => {
                    let id = child.id();
                    return Err(StartError::failed(format_args!(
                        "child {id} did not start: {error}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Waits until something holds of the children.
    async fn until(&self, holds: impl Fn(&Children) -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds(&self.children.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Takes no more children, and ends those there are one by one, the last one first.
    pub(crate) async fn close(&self) {
        {
            let mut children = self.children.lock();
            children.spawner = None;
            children.line.close();
        }
        self.changed.notify_waiters();
        self.escalation.end();
        for child in self.children().into_iter().rev() {
            child.stop().await;
        }
    }

    /// Notes what happened to a child, and carries out what is due then; unless somebody else does
    /// so at this moment, and goes on with this. One at a time, or a child could be told to begin
    /// after it was told to end.
    fn note(&self, happened: impl FnOnce(&mut Line<Arc<dyn Child>>)) {
        {
            let mut children = self.children.lock();
            happened(&mut children.line);
            if std::mem::replace(&mut children.is_conducted, true) {
                drop(children);
                self.changed.notify_waiters();
                return;
            }
        }
        while let Some(due) = self.due() {
            self.carry_out(due);
        }
        self.changed.notify_waiters();
    }

    /// What is due next; nothing, and then nobody is conducting any more.
    fn due(&self) -> Option<Due<Arc<dyn Child>>> {
        let mut children = self.children.lock();
        let due = children.line.due();
        children.is_conducted = due.is_some();
        due
    }

    fn carry_out(&self, due: Due<Arc<dyn Child>>) {
        match due {
            Due::Hold(child) if child.hold() => {}
            // Its end is reported like any other.
            Due::End(child) if child.node().is_some() => drop(child.stop()),
            // It ended meanwhile.
            Due::Hold(child) | Due::End(child) => {
                self.children.lock().line.gone(child.number());
            }
            Due::Resume(child, after) => child.resume(after),
            Due::ShutDown => self.escalation.end_supervisor(),
        }
    }
}

impl Children {
    fn find(&self, id: &str) -> Option<Arc<dyn Child>> {
        self.line.iter().map(|(_, child)| child).find(|child| child.id() == id).cloned()
    }

    /// Has a child made ready to run, under the lock: whoever ends all children finds a process to
    /// end.
    fn launch(&mut self, child: Arc<dyn Child>) -> Launch {
        self.line.started(child.number());
        child.prepare()
    }

    /// Puts a child in that is made under the lock, so that places only grow.
    fn enter(
        &mut self,
        id: &str,
        make: impl FnOnce() -> Arc<dyn Child>,
    ) -> Result<Arc<dyn Child>, StartChildError> {
        match self.find(id) {
            Some(other) if other.info().is_some() => return Err(StartChildError::AlreadyStarted),
            Some(_) => return Err(StartChildError::AlreadyPresent),
            None => {}
        }
        let max = limits::SIBLINGS_MAX;
        if self.line.len() >= max {
            return Err(StartChildError::MaxChildren { max });
        }
        let child = make();
        self.put(child.clone());
        Ok(child)
    }

    fn put(&mut self, child: Arc<dyn Child>) {
        let (at, spec) = (child.number(), child.spec());
        let (temporary, significant) = (spec.restart == Restart::Temporary, spec.significant);
        self.line.put(at, child, temporary, significant);
    }
}

impl Parent for Group {
    fn ruling(&self, child: &dyn Child, reason: &ExitReason) -> Ruling<'static> {
        let (at, restart) = (child.number(), child.spec().restart);
        let mut children = self.children.lock();
        if children.line.is_told_to_end(at) {
            return if restart == Restart::Temporary { Ruling::Free } else { Ruling::Hold };
        }
        if !restart.follows(reason) {
            children.line.leaving(at);
            return Ruling::Free;
        }
        drop(children);
        let Some(after) = self.escalation.allow(child, reason) else {
            return Ruling::Free;
        };
        if self.strategy == Strategy::OneForOne {
            return Ruling::Restart { after };
        }
        self.children.lock().line.delay(after);
        Ruling::Hold
    }

    fn held(&self, child: &dyn Child) {
        self.note(|line| line.held(child.number()));
    }

    fn ended(&self, child: Arc<dyn Child>, reason: &ExitReason, forget: bool) {
        if *reason == ExitReason::Killed && self.escalation.has_ended() {
            self.closing.killed(format!("{}/{}", self.name, child.id()));
        }
        let mut removed = None;
        let too_many = self.escalation.ended(&*child);
        self.note(|line| {
            if too_many {
                line.close();
            }
            line.gone(child.number());
            if forget {
                removed = line.remove(child.number());
            }
        });
        drop(removed);
    }

    fn observe(&self, child: &dyn Child, incarnation: Incarnation, what: What) {
        if let What::Ready { .. } = what {
            self.note(|line| line.ready(child.number()));
        }
        if let Some(events) = self.events.get() {
            let event = Event { key: child.id().to_owned(), incarnation, what };
            // Nobody left to hear it is no failure.
            let _ = events.send(event);
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

    fn kind(&self) -> Kind {
        Kind::Supervisor(self.strategy)
    }

    fn len(&self) -> usize {
        self.children.lock().line.len()
    }

    fn page(self: Arc<Self>, after: u64, limit: usize) -> Pending<(Vec<Arc<dyn Child>>, bool)> {
        let children = self.children.lock();
        let mut later = children.line.iter().filter(|(at, _)| *at > after);
        let page: Vec<_> = later.by_ref().take(limit).map(|(_, child)| child.clone()).collect();
        let more = later.next().is_some();
        Box::pin(std::future::ready((page, more)))
    }

    fn child(&self, at: u64) -> Option<Arc<dyn Child>> {
        let children = self.children.lock();
        children.line.iter().find(|(other, _)| *other == at).map(|(_, child)| child.clone())
    }

    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
