//! What any process is to another, whatever can be said to it: something to wait for, to watch, to
//! stop.

use std::any::Any;
use std::sync::{Arc, Weak};

use tokio::sync::SetOnce;

use crate::exit::ExitReason;
use crate::groups::Lagged;
use crate::guard::contained;
use crate::incarnation::Incarnation;
use crate::monitor::{Down, LinkExit, MonitorId};
use crate::observe::ProcessInfo;
use crate::placement::{Placed, Tenure};
use crate::registry::slot::Signal;
use crate::wait_for::WaitNode;

/// A process, without the type of its messages.
pub(crate) trait Node: Send + Sync {
    /// Its node in the graph of waits.
    fn wait_node(&self) -> Arc<WaitNode>;

    /// Puts a message of the runtime beside its mailbox; gone if `to` has ended.
    fn notify(&self, to: Incarnation, notice: Notice);

    /// Registers to be told of the end of `of`.
    ///
    /// # Errors
    /// The reason, if it has ended already, or with nothing done if it is watched too often.
    fn watch(&self, of: Incarnation, watcher: Watcher) -> Result<(), ExitReason>;

    /// Takes a watcher off again.
    fn unwatch(&self, of: Incarnation, id: MonitorId);

    /// Whether an abnormal exit of a linked process comes as a notice or ends this one.
    fn trap_exits(&self, trap: bool);

    /// Lets others see this in its snapshots, until it ends.
    fn expose(&self, seen: Arc<dyn Any + Send + Sync>);

    /// The place where the end of `of` will be announced.
    ///
    /// # Errors
    /// The reason, if it has ended already.
    fn end_of(&self, of: Incarnation) -> Result<Arc<SetOnce<ExitReason>>, ExitReason>;

    /// Tells `which` to exit, if it has not ended. What follows is for its restart rule to say.
    fn exit(&self, which: Incarnation, signal: Signal);

    /// Whether it is ordered to stop. An order wakes the task of the process.
    fn is_told_to_stop(&self) -> bool;

    /// Whether `which` handles messages now.
    fn is_live(&self, which: Incarnation) -> bool;

    /// Which child of a supervisor it is; 0 if it is none.
    fn child_number(&self) -> u64;

    /// A snapshot. Never waits for the process.
    fn info(&self) -> ProcessInfo;

    /// The epoch of the ownership that it runs under; 0 where there is none.
    fn epoch(&self) -> u64 {
        0
    }

    /// Whether it is on another node.
    fn is_distant(&self) -> bool {
        false
    }

    /// The right that it runs under, where that can be lost.
    fn tenure(&self) -> Option<Arc<dyn Tenure>> {
        None
    }

    /// What it had on another node, for its first `init`.
    fn handed(&self) -> Option<Vec<u8>> {
        None
    }

    /// Where what it brings about gets out, if it may run only while its node acts for its key.
    fn placed(&self) -> Option<&Placed> {
        None
    }
}

/// What the runtime tells a process.
#[derive(Debug)]
pub(crate) enum Notice {
    Down(Down),
    LinkExit(LinkExit),
    /// It did not keep up with a group.
    Lagged(Lagged),
    /// Nothing has happened for a while: may it go?
    Idle,
}

/// Who is told of an end.
pub(crate) enum Watcher {
    /// A process that monitors.
    Monitor { id: MonitorId, who: Weak<dyn Node>, incarnation: Incarnation },
    /// A process that is linked.
    Link { id: MonitorId, who: Weak<dyn Node>, incarnation: Incarnation },
    /// A part of the runtime that keeps a record of the process.
    Hook { id: MonitorId, tell: Box<dyn FnOnce(&ExitReason) + Send> },
}

impl Watcher {
    pub(crate) fn id(&self) -> MonitorId {
        match self {
            Watcher::Monitor { id, .. } | Watcher::Link { id, .. } | Watcher::Hook { id, .. } => {
                *id
            }
        }
    }

    pub(crate) fn is_link(&self) -> bool {
        matches!(self, Watcher::Link { .. })
    }

    /// Tells it that `ended` is no more.
    pub(crate) fn tell(self, ended: Incarnation, reason: &ExitReason) {
        match self {
            Watcher::Monitor { id, who, incarnation } => {
                if let Some(who) = who.upgrade() {
                    let down = Down { monitor: id, incarnation: ended, reason: reason.clone() };
                    who.notify(incarnation, Notice::Down(down));
                }
            }
            Watcher::Link { id, who, incarnation } => {
                if let Some(who) = who.upgrade() {
                    // The other half of the link, or a long life would keep one of each short one.
                    who.unwatch(incarnation, id);
                    let exit = LinkExit { incarnation: ended, reason: reason.clone() };
                    who.notify(incarnation, Notice::LinkExit(exit));
                }
            }
            // What a hook lets go of may be user data, whose drop may panic: others are to be told.
            Watcher::Hook { tell, .. } => drop(contained(|| tell(reason))),
        }
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watcher").field(&self.id()).finish()
    }
}
