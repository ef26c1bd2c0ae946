//! A link to another node as the one who is asked.

use std::collections::HashMap;
use std::iter;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::handshake::Begun;
use super::line::{Cut, Line, Side};
use super::outbox::Outbox;
use super::service::{Answer, From, Service, Subscriber};
use super::{Core, Dropped};
use crate::frame::{BadFrame, Ended, Frame, Id, Lost, Message, NotTaken, Outcome, Request, Under};
use crate::limits;
use crate::net::Wire;
use crate::ownership::record::Session;

/// Another node's session, as the one who asks, for the length of one connection.
pub(crate) struct Guest {
    session: Session,
    outbox: Outbox,
    service: Arc<dyn Service>,
    /// Requests that have no answer yet.
    owed: AtomicUsize,
    subscriptions: Mutex<HashMap<Id, CancellationToken>>,
    /// The connection is to end, or has ended.
    pub(crate) over: CancellationToken,
    /// Nothing is taken from the connection any more.
    pub(crate) left: CancellationToken,
    dropped: Arc<Dropped>,
    me: Weak<Guest>,
}

impl Guest {
    pub(crate) fn new(
        session: Session,
        service: Arc<dyn Service>,
        dropped: Arc<Dropped>,
    ) -> Arc<Guest> {
        Arc::new_cyclic(|me| Guest {
            session,
            outbox: Outbox::default(),
            service,
            owed: AtomicUsize::new(0),
            subscriptions: Mutex::default(),
            over: CancellationToken::new(),
            left: CancellationToken::new(),
            dropped,
            me: me.clone(),
        })
    }

    /// Runs the connection until it ends.
    pub(crate) async fn run(&self, core: &Core, wire: Wire, begun: Begun) -> Cut {
        let _stay = Stay(self);
        let line = Line::new(core, self, begun);
        tokio::select! {
            biased;
            () = self.over.cancelled() => Cut::Over,
            cut = line.run(wire) => cut,
        }
    }

    /// Nothing more is heard from it or said to it.
    pub(crate) fn end(&self) {
        self.outbox.close();
        self.over.cancel();
        for (_, over) in std::mem::take(&mut *self.subscriptions.lock()) {
            over.cancel();
        }
    }

    /// Sends an answer that is owed.
    pub(crate) fn answer(&self, sender: u64, frame: Frame) {
        self.owed.fetch_sub(1, Ordering::AcqRel);
        self.owe(sender, frame);
    }

    /// Sends what the other side has to learn. If there is no room even for that, the link breaks,
    /// and it learns that.
    pub(crate) fn owe(&self, sender: u64, frame: Frame) {
        if self.outbox.owe(sender, frame).is_err() {
            self.over.cancel();
        }
    }

    /// Sends something, if there is room.
    pub(crate) fn push(&self, sender: u64, frame: Frame) -> bool {
        self.outbox.push(sender, frame).is_ok()
    }

    /// A subscription is over.
    pub(crate) fn forget(&self, id: Id) {
        let over = self.subscriptions.lock().remove(&id);
        if let Some(over) = over {
            over.cancel();
        }
    }

    /// Whether another request may be taken; if so, its answer is owed.
    fn may_owe(&self) -> bool {
        let is_backed_up = self.outbox.bytes() > limits::LANE_BYTES_MAX;
        !is_backed_up && self.owed.load(Ordering::Acquire) < limits::REQUESTS_MAX
    }

    fn from(&self, under: Option<Under>, within: Duration) -> From {
        From { session: self.session, under, within }
    }

    fn request(&self, id: Id, from: From, request: Request, is_proven: bool) {
        let refused = match (is_proven, self.me.upgrade()) {
            (false, _) => NotTaken::Unproven,
            (true, None) => NotTaken::Closed,
            (true, Some(_)) if !self.may_owe() => NotTaken::Full,
            (true, Some(me)) => {
                self.owed.fetch_add(1, Ordering::AcqRel);
                return match request {
                    Request::Call(message) => {
                        let answer = Answer::new(me, id, u64::from(message.shard));
                        self.service.call(from, message, answer);
                    }
                    Request::Prepare(part) => {
                        let answer = Answer::new(me, id, u64::from(part.under.shard));
                        self.service.prepare(from, part, answer);
                    }
                };
            }
        };
        let outcome = Outcome::NotTaken(refused);
        self.owe(id, Frame::Reply { id, under: None, outcome });
    }

    fn subscribe(&self, id: Id, from: From, message: Message, is_proven: bool) {
        let refused = match (is_proven, self.me.upgrade()) {
            (false, _) => NotTaken::Unproven,
            (true, None) => NotTaken::Closed,
            (true, Some(me)) => {
                let over = CancellationToken::new();
                let mut subscriptions = self.subscriptions.lock();
                if subscriptions.len() < limits::SUBSCRIPTIONS_MAX {
                    subscriptions.insert(id, over.clone());
                    drop(subscriptions);
                    let subscriber = Subscriber::new(me, id, u64::from(message.shard), over);
                    return self.service.subscribe(from, message, subscriber);
                }
                NotTaken::Full
            }
        };
        self.owe(id, Frame::Down { id, reason: Ended::NotTaken(refused) });
    }
}

/// The time in which something is taken from a connection, however it ends.
struct Stay<'a>(&'a Guest);

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        self.0.end();
        self.0.left.cancel();
    }
}

impl Side for Guest {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn take(&self, frame: Frame, is_proven: bool) -> Result<(), Cut> {
        if self.over.is_cancelled() {
            return Err(Cut::Overrun);
        }
        match frame {
            Frame::Request { id, wait_ms, under, request } => {
                let within = Duration::from_millis(u64::from(wait_ms));
                self.request(id, self.from(under, within), request, is_proven);
            }
            Frame::Cast { under, message } if is_proven => {
                self.service.cast(self.from(under, Duration::ZERO), message);
            }
            Frame::Cast { .. } => {
                self.dropped.unproven.fetch_add(1, Ordering::Relaxed);
            }
            Frame::Subscribe { id, under, message } => {
                self.subscribe(id, self.from(under, Duration::ZERO), message, is_proven);
            }
            Frame::Unsubscribe { id } => self.forget(id),
            _ => return Err(Cut::Bad(BadFrame::Unreadable)),
        }
        Ok(())
    }

    fn send(&self, _: &Frame) -> bool {
        true
    }

    fn disowned(&self, frame: Frame) -> Vec<Frame> {
        match frame {
            Frame::Reply { id, .. } => {
                let outcome = Outcome::Unknown(Lost::Disowned);
                vec![Frame::Reply { id, under: None, outcome }]
            }
            Frame::Event { id, also, .. } => {
                let mut subscriptions = self.subscriptions.lock();
                let ended = iter::once(id).chain(also).filter_map(|id| {
                    subscriptions.remove(&id)?.cancel();
                    Some(Frame::Down { id, reason: Ended::Disowned })
                });
                ended.collect()
            }
            _ => Vec::new(),
        }
    }

    fn is_idle(&self) -> bool {
        // It is for the one who connected to say.
        false
    }
}
