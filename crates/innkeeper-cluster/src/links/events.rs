//! What happens at a process on another node, as it is heard here.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::calls::in_order;
use super::failed::{Down, NotExecuted};
use super::peer::Peer;
use crate::frame::{Id, Under};
use crate::limits;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Under which ownership.
    pub under: Option<Under>,
    /// What.
    pub body: Bytes,
}

/// What happens at a process on another node, in order and without gaps, until it ends.
#[derive(Debug)]
pub struct Events {
    id: Id,
    peer: Weak<Peer>,
    events: mpsc::Receiver<Event>,
    down: Arc<OnceLock<Down>>,
}

impl Events {
    /// The next event, once there is one.
    ///
    /// # Errors
    /// [`Down`]: it is over, and everything before was answered. It stays so.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Event, Down> {
        match self.events.recv().await {
            Some(event) => Ok(event),
            None => Err(self.down.get().cloned().unwrap_or(Down::Dropped)),
        }
    }
}

impl Events {
    /// Nobody wants to hear it any more. Why what was said to begin it was not carried out and will
    /// not be, if that is certain.
    pub(crate) fn withdraw(self) -> Option<NotExecuted> {
        let peer = self.peer.upgrade()?;
        let was_waiting = peer.listeners.withdraw(self.id);
        was_waiting.then(|| peer.why_late())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(peer) = self.peer.upgrade() {
            peer.unsubscribe(self.id);
        }
    }
}

/// The subscriptions at one node.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<HashMap<Id, Listener>>);

struct Listener {
    is_sent: bool,
    events: mpsc::Sender<Event>,
    down: Arc<OnceLock<Down>>,
}

impl Listener {
    fn end(self, why: Down) {
        // Before the queue is closed by its last sender, so that whoever sees that sees why.
        let _ = self.down.set(why);
    }
}

impl Listeners {
    pub(crate) fn begin(&self, id: Id, peer: Weak<Peer>) -> Events {
        let (sender, events) = mpsc::channel(limits::EVENTS_MAX);
        let down = Arc::new(OnceLock::new());
        let listener = Listener { is_sent: false, events: sender, down: down.clone() };
        self.0.lock().insert(id, listener);
        Events { id, peer, events, down }
    }

    /// Whether it is still wanted. From then on it counts as begun.
    pub(crate) fn send(&self, id: Id) -> bool {
        let mut listeners = self.0.lock();
        listeners.get_mut(&id).is_some_and(|listener| {
            listener.is_sent = true;
            true
        })
    }

    pub(crate) fn is_wanted(&self, id: Id) -> bool {
        self.0.lock().contains_key(&id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Whether the other side need not be told more: the event could be kept.
    pub(crate) fn hear(&self, id: Id, event: &Event) -> bool {
        let mut listeners = self.0.lock();
        let Some(listener) = listeners.get(&id) else { return true };
        if listener.events.try_send(event.clone()).is_ok() {
            return true;
        }
        if let Some(listener) = listeners.remove(&id) {
            listener.end(Down::Overflow);
        }
        false
    }

    /// Whether it was there.
    pub(crate) fn end(&self, id: Id, why: Down) -> bool {
        let listener = self.0.lock().remove(&id);
        listener.map(|listener| listener.end(why)).is_some()
    }

    /// Nobody listens any more. Whether the other side is to be told.
    pub(crate) fn forget(&self, id: Id) -> bool {
        self.0.lock().remove(&id).is_some_and(|listener| listener.is_sent)
    }

    /// Takes one back that was not sent; whether it was.
    pub(crate) fn withdraw(&self, id: Id) -> bool {
        let mut listeners = self.0.lock();
        let is_waiting = listeners.get(&id).is_some_and(|listener| !listener.is_sent);
        is_waiting && listeners.remove(&id).is_some()
    }

    /// The other node cannot prove its session: ends what was begun there, and answers what that
    /// was, for the other node to be told.
    pub(crate) fn doubt(&self) -> Vec<Id> {
        let doubted: Vec<_> = self.0.lock().extract_if(|_, listener| listener.is_sent).collect();
        let ids = doubted.iter().map(|(id, _)| *id).collect();
        in_order(doubted, |listener: Listener| listener.end(Down::Unproven));
        ids
    }

    /// The connection is no more.
    pub(crate) fn cut(&self, why: &Down) {
        let cut = self.0.lock().extract_if(|_, listener| listener.is_sent).collect();
        in_order(cut, |listener: Listener| listener.end(why.clone()));
    }

    /// The node is no more, or will not talk.
    pub(crate) fn end_all(&self, not_sent: &Down, sent: &Down) {
        let all = std::mem::take(&mut *self.0.lock()).into_iter().collect();
        in_order(all, |listener: Listener| {
            let why = if listener.is_sent { sent } else { not_sent };
            listener.end(why.clone());
        });
    }
}
