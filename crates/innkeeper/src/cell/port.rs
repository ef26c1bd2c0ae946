//! What others do to a process: send, withdraw, watch, order, look.

use std::any::Any;
use std::sync::Arc;
use std::task::Waker;

use tokio::sync::SetOnce;

use super::{Cell, Core, MessageOf, turn};
use crate::call::Answer;
use crate::clock;
use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::limits;
use crate::mailbox::Envelope;
use crate::monitor::MonitorId;
use crate::node::{Node, Notice, Watcher};
use crate::observe::ProcessInfo;
use crate::owner::Owner;
use crate::placement::{Placed, Tenure};
use crate::process::Message;
use crate::process_ref::{Port, Refused};
use crate::registry::slot::Signal;
use crate::seam::atomic::Ordering;
use crate::wait_for::WaitNode;

impl<O: Owner> Port<MessageOf<O>> for Cell<O> {
    fn deliver(
        &self,
        to: Incarnation,
        message: &mut Option<MessageOf<O>>,
        answer: Option<&Arc<Answer<MessageOf<O>>>>,
    ) -> Result<(), Refused> {
        // Shared before the lock, at which others may wait.
        let answer = answer.cloned();
        let mut core = self.core.lock();
        if !core.slot.takes_mail(to) {
            return Err(core.refusal(to));
        }
        let bound = || (self.capacity(), self.taken.load(Ordering::Relaxed));
        if !core.inbox.has_room(bound) {
            drop(core);
            return Err(self.full());
        }
        let Some(message) = message.take() else { return Ok(()) };
        core.inbox.push(Envelope { message, answer });
        core.quiet = 0;
        // A runner in the midst of a handler will look by itself when that is done.
        if core.idle {
            core.idle = false;
            let waker = core.waker.take();
            drop(core);
            wake(waker);
        }
        Ok(())
    }

    fn withdraw(&self, answer: &Arc<Answer<MessageOf<O>>>) -> Option<MessageOf<O>> {
        self.core.lock().inbox.withdraw(answer)
    }
}

impl<M: Message> Core<M> {
    /// Why there is no mail for `to`.
    #[cold]
    fn refusal(&self, to: Incarnation) -> Refused {
        let names_another = to != Incarnation::NONE && to != self.slot.incarnation();
        if names_another || (to != Incarnation::NONE && self.slot.has_ended()) {
            Refused::Ended
        } else {
            Refused::Stopping
        }
    }
}

impl<O: Owner> Cell<O> {
    #[cold]
    fn full(&self) -> Refused {
        self.owner.refused();
        Refused::Full { capacity: self.capacity() }
    }
}

#[cold] // Rare beside the messages that find the process awake.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl<O: Owner> Node for Cell<O> {
    fn wait_node(&self) -> Arc<WaitNode> {
        if let Some(node) = self.core.lock().extras().wait_node.clone() {
            return node;
        }
        // The name is made by user code (the key's Debug), so not under the lock.
        let node = WaitNode::new(self.owner.name());
        self.core.lock().extras().wait_node.get_or_insert(node).clone()
    }

    fn notify(&self, to: Incarnation, notice: Notice) {
        let mut core = self.core.lock();
        if core.slot.incarnation() != to || core.slot.has_ended() {
            return;
        }
        let extras = core.extras();
        let wake = match notice {
            Notice::LinkExit(exit) if !extras.traps_exits => {
                if !exit.reason.is_abnormal() {
                    return;
                }
                self.order(&mut core, Signal::Kill(exit.reason), clock::now())
            }
            Notice::Down(_) | Notice::LinkExit(_) | Notice::Lagged(_) | Notice::Idle => {
                extras.notices.push_back(notice);
                self.raise(&mut core, turn::NOTICE)
            }
        };
        drop(core);
        if let Some(waker) = wake {
            waker.wake();
        }
    }

    fn watch(&self, of: Incarnation, watcher: Watcher) -> Result<(), ExitReason> {
        let mut core = self.core.lock();
        if core.slot.incarnation() != of || core.slot.has_ended() {
            return Err(core.slot.reason_of(of));
        }
        let extras = core.extras();
        if extras.watchers.len() >= limits::WATCHERS_MAX {
            return Err(ExitReason::failed("watched too often"));
        }
        extras.links += usize::from(watcher.is_link());
        extras.watchers.insert(watcher.id(), watcher);
        Ok(())
    }

    fn unwatch(&self, of: Incarnation, id: MonitorId) {
        let mut core = self.core.lock();
        if core.slot.incarnation() != of {
            return;
        }
        let Some(extras) = &mut core.extras else {
            return;
        };
        let taken = extras.watchers.remove(&id);
        extras.links -= usize::from(taken.as_ref().is_some_and(Watcher::is_link));
        drop(core);
        drop(taken);
    }

    fn expose(&self, seen: Arc<dyn Any + Send + Sync>) {
        let old = self.core.lock().extras().exposed.replace(seen);
        drop(old);
    }

    fn trap_exits(&self, trap: bool) {
        self.core.lock().extras().traps_exits = trap;
    }

    fn end_of(&self, of: Incarnation) -> Result<Arc<SetOnce<ExitReason>>, ExitReason> {
        let mut core = self.core.lock();
        if core.slot.incarnation() != of || core.slot.has_ended() {
            return Err(core.slot.reason_of(of));
        }
        Ok(core.extras().end.get_or_insert_default().clone())
    }

    fn exit(&self, which: Incarnation, signal: Signal) {
        let mut core = self.core.lock();
        if core.slot.incarnation() != which || core.slot.has_ended() {
            return;
        }
        let wake = self.order(&mut core, signal, clock::now());
        drop(core);
        if let Some(waker) = wake {
            waker.wake();
        }
    }

    fn is_told_to_stop(&self) -> bool {
        self.is_ordered(turn::STOP | turn::KILL)
    }

    fn is_live(&self, which: Incarnation) -> bool {
        self.live() == Some(which)
    }

    fn child_number(&self) -> u64 {
        self.owner.child_number()
    }

    fn info(&self) -> ProcessInfo {
        ProcessInfo { name: self.owner.name(), ..self.snapshot() }
    }

    fn epoch(&self) -> u64 {
        self.owner.placed().map_or(0, |placed| placed.tenure().epoch())
    }

    fn tenure(&self) -> Option<Arc<dyn Tenure>> {
        self.owner.placed().map(|placed| placed.tenure().clone())
    }

    fn handed(&self) -> Option<Vec<u8>> {
        self.owner.handed()
    }

    fn placed(&self) -> Option<&Placed> {
        self.owner.placed()
    }
}
