//! The requests that wait for an answer: each was either sent, or can still be taken back.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Response;
use super::failed::{Failed, NotExecuted, Unknown};
use super::overdue::Wait;
use crate::frame::Id;

/// The requests to one node.
#[derive(Default)]
pub(crate) struct Calls(Mutex<HashMap<Id, Waiting>>);

struct Waiting {
    /// Whether it may have reached the other side.
    is_sent: bool,
    tell: Tell,
    /// How long, where nobody else sees to that.
    _until: Option<Wait>,
}

/// What goes on with what became of a request. It is done by whoever learns that, and is short.
pub(crate) type Tell = Box<dyn FnOnce(Result<Response, Failed>) + Send>;

impl Calls {
    pub(crate) fn begin(&self, id: Id) -> oneshot::Receiver<Result<Response, Failed>> {
        let (tell, told) = oneshot::channel();
        let tell = Box::new(|result| {
            // Nobody waits any more.
            let _ = tell.send(result);
        });
        self.begin_until(id, tell, None);
        told
    }

    pub(crate) fn begin_until(&self, id: Id, tell: Tell, until: Option<Wait>) {
        self.0.lock().insert(id, Waiting { is_sent: false, tell, _until: until });
    }

    /// Whether it is still wanted. From then on it counts as sent.
    pub(crate) fn send(&self, id: Id) -> bool {
        let mut calls = self.0.lock();
        let waiting = calls.get_mut(&id);
        waiting.is_some_and(|waiting| {
            waiting.is_sent = true;
            true
        })
    }

    pub(crate) fn is_wanted(&self, id: Id) -> bool {
        self.0.lock().contains_key(&id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// What became of it. An answer that nobody waits for means nothing.
    pub(crate) fn end(&self, id: Id, result: Result<Response, Failed>) {
        let waiting = self.0.lock().remove(&id);
        if let Some(waiting) = waiting {
            (waiting.tell)(result);
        }
    }

    /// Its time is over.
    pub(crate) fn late(&self, id: Id, not_sent: impl FnOnce() -> NotExecuted) {
        let waiting = self.0.lock().remove(&id);
        if let Some(Waiting { is_sent, tell, .. }) = waiting {
            tell(Err(if is_sent { Unknown::Late.into() } else { not_sent().into() }));
        }
    }

    /// Nobody waits any more. `None`: it has ended already; otherwise, whether it was sent.
    pub(crate) fn withdraw(&self, id: Id) -> Option<bool> {
        self.0.lock().remove(&id).map(|waiting| waiting.is_sent)
    }

    /// The connection is no more: what was sent over it will not be answered.
    pub(crate) fn cut(&self, why: &Unknown) {
        let cut = self.0.lock().extract_if(|_, waiting| waiting.is_sent).collect();
        in_order(cut, |waiting: Waiting| (waiting.tell)(Err(why.clone().into())));
    }

    /// The node is no more, or will not talk: nothing that waits will be sent either.
    pub(crate) fn end_all(&self, not_sent: &NotExecuted, sent: &Unknown) {
        let all = std::mem::take(&mut *self.0.lock()).into_iter().collect();
        in_order(all, |waiting: Waiting| {
            let why = if waiting.is_sent { sent.clone().into() } else { not_sent.clone().into() };
            (waiting.tell)(Err(why));
        });
    }
}

/// One after the other as they were begun: a run can be repeated.
pub(crate) fn in_order<T>(mut all: Vec<(Id, T)>, f: impl FnMut(T)) {
    all.sort_unstable_by_key(|(id, _)| *id);
    all.into_iter().map(|(_, it)| it).for_each(f);
}
