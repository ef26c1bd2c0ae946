//! The address of a process on another node: what can be said is said by whoever knows the way.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tokio::sync::SetOnce;

use crate::call::Answer;
use crate::error::{Away, CallError, NotDelivered, Unknown};
use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::limits;
use crate::monitor::MonitorId;
use crate::node::{Node, Notice, Watcher};
use crate::observe::ProcessInfo;
use crate::process::Message;
use crate::process_ref::{Port, ProcessRef, Refused};
use crate::registry::slot::{Signal, State};
use crate::seam::Mutex;
use crate::wait_for::WaitNode;

/// The way to one incarnation on another node.
pub trait Distant<M: Message>: Send + Sync + 'static {
    /// What the process is called.
    fn name(&self) -> String;

    /// The epoch of the ownership that it runs under.
    fn epoch(&self) -> u64;

    /// Says something to it, in the order of these calls, and goes on. What becomes of a call is
    /// told to `answer`; none, and it is a cast.
    ///
    /// # Errors
    /// It did not leave.
    fn say(&self, message: &M, answer: Option<Pending<M>>) -> Result<(), Away>;

    /// Tells it to end: in order, or, for `None`, at its next await point.
    fn exit(&self, reason: Option<ExitReason>);

    /// Tells when it has ended, or cannot be heard of any more. Asked at most once.
    fn watch(&self, tell: Box<dyn FnOnce(ExitReason) + Send>);
}

/// Where the outcome of a call to another node goes. Dropped, it is unknown.
#[derive(Debug)]
pub struct Pending<M: Message> {
    answer: Option<Arc<Answer<M>>>,
}

impl<M: Message> Pending<M> {
    /// The reply has come.
    pub fn reply(mut self, reply: M::Reply) {
        if let Some(answer) = self.answer.take() {
            answer.settle(Ok(reply));
        }
    }

    /// It did not run: here is the message again.
    pub fn not_delivered(mut self, message: M, why: NotDelivered) {
        if let Some(answer) = self.answer.take() {
            answer.fail(CallError::NotDelivered { message, why });
        }
    }

    /// It may have run.
    pub fn unknown(mut self, why: Unknown) {
        if let Some(answer) = self.answer.take() {
            answer.fail(CallError::Unknown(why));
        }
    }
}

impl<M: Message> Drop for Pending<M> {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer.fail(CallError::Unknown(Unknown::Unreachable));
        }
    }
}

/// The address of an incarnation on another node.
pub fn distant<M: Message>(incarnation: Incarnation, way: Arc<dyn Distant<M>>) -> ProcessRef<M> {
    let port = Arc::new_cyclic(|this| Far {
        this: this.clone(),
        incarnation,
        way,
        watched: Mutex::default(),
    });
    ProcessRef::new(port, incarnation)
}

/// A process on another node, as a process is seen here.
struct Far<M: Message> {
    this: Weak<Far<M>>,
    incarnation: Incarnation,
    way: Arc<dyn Distant<M>>,
    watched: Mutex<Watched>,
}

/// Who is told of its end.
#[derive(Default)]
struct Watched {
    asked: bool,
    ended: Option<ExitReason>,
    watchers: HashMap<MonitorId, Watcher>,
    end: Option<Arc<SetOnce<ExitReason>>>,
    wait_node: Option<Arc<WaitNode>>,
}

impl<M: Message> Far<M> {
    /// Has itself told of the end, the first time that somebody wants to know.
    fn watch_once(&self) {
        if std::mem::replace(&mut self.watched.lock().asked, true) {
            return;
        }
        // Kept until then: who monitors it need not keep its address.
        if let Some(this) = self.this.upgrade() {
            self.way.watch(Box::new(move |reason| this.ended(reason)));
        }
    }

    fn ended(&self, reason: ExitReason) {
        let mut watched = self.watched.lock();
        watched.ended = Some(reason.clone());
        let (watchers, end) = (std::mem::take(&mut watched.watchers), watched.end.take());
        drop(watched);
        if let Some(end) = end {
            // Whoever took it out sets it, so it is set once.
            let _ = end.set(reason.clone());
        }
        for watcher in watchers.into_values() {
            watcher.tell(self.incarnation, &reason);
        }
    }
}

impl<M: Message> Port<M> for Far<M> {
    fn deliver(
        &self,
        _: Incarnation,
        message: &mut Option<M>,
        answer: Option<&Arc<Answer<M>>>,
    ) -> Result<(), Refused> {
        let Some(said) = message.as_ref() else { return Ok(()) };
        let pending = answer.map(|answer| Pending { answer: Some(answer.clone()) });
        self.way.say(said, pending).map_err(Refused::Away)?;
        *message = None;
        Ok(())
    }

    /// It has left.
    fn withdraw(&self, _: &Arc<Answer<M>>) -> Option<M> {
        None
    }
}

impl<M: Message> Node for Far<M> {
    fn wait_node(&self) -> Arc<WaitNode> {
        let mut watched = self.watched.lock();
        watched.wait_node.get_or_insert_with(|| WaitNode::new(self.way.name())).clone()
    }

    /// What the runtime tells a process, it tells it where it runs.
    fn notify(&self, _: Incarnation, _: Notice) {}

    fn watch(&self, _: Incarnation, watcher: Watcher) -> Result<(), ExitReason> {
        let mut watched = self.watched.lock();
        if let Some(reason) = &watched.ended {
            return Err(reason.clone());
        }
        if watched.watchers.len() >= limits::WATCHERS_MAX {
            return Err(ExitReason::failed("watched too often"));
        }
        watched.watchers.insert(watcher.id(), watcher);
        drop(watched);
        self.watch_once();
        Ok(())
    }

    fn unwatch(&self, _: Incarnation, id: MonitorId) {
        let taken = self.watched.lock().watchers.remove(&id);
        drop(taken);
    }

    fn trap_exits(&self, _: bool) {}

    fn expose(&self, _: Arc<dyn Any + Send + Sync>) {}

    fn end_of(&self, _: Incarnation) -> Result<Arc<SetOnce<ExitReason>>, ExitReason> {
        let mut watched = self.watched.lock();
        if let Some(reason) = &watched.ended {
            return Err(reason.clone());
        }
        let end = watched.end.get_or_insert_default().clone();
        drop(watched);
        self.watch_once();
        Ok(end)
    }

    fn exit(&self, _: Incarnation, signal: Signal) {
        match signal {
            Signal::Stop(reason) => self.way.exit(Some(reason)),
            Signal::Kill(_) => self.way.exit(None),
            Signal::Look => {}
        }
    }

    fn is_told_to_stop(&self) -> bool {
        false
    }

    fn is_live(&self, which: Incarnation) -> bool {
        which == self.incarnation && self.watched.lock().ended.is_none()
    }

    fn child_number(&self) -> u64 {
        0
    }

    /// What is known of it here. More knows whoever asks where it runs.
    fn info(&self) -> ProcessInfo {
        let watched = self.watched.lock();
        ProcessInfo {
            epoch: self.way.epoch(),
            state: watched.ended.is_none().then_some(State::Live),
            watchers: watched.watchers.len(),
            links: watched.watchers.values().filter(|watcher| watcher.is_link()).count(),
            ..ProcessInfo::new(self.way.name(), self.incarnation)
        }
    }

    fn epoch(&self) -> u64 {
        self.way.epoch()
    }

    fn is_distant(&self) -> bool {
        true
    }
}
