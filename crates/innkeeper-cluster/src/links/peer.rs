//! A link to another node as the one who asks: it is connected when there is something to say.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::calls::Calls;
use super::events::{Event, Listeners};
use super::failed::{Down, Failed, NotExecuted, Unknown};
use super::handshake::{Begun, NoLink};
use super::line::{Cut, Line, Side};
use super::outbox::Outbox;
use super::{Core, Dropped, Response};
use crate::frame::{BadFrame, Ended, Frame, Id, Outcome};
use crate::limits;
use crate::net::Wire;
use crate::ownership::record::{Member, Session};

/// Another node's session, as the one who is asked.
pub(crate) struct Peer {
    pub(crate) session: Session,
    member: Member,
    pub(crate) outbox: Outbox,
    pub(crate) calls: Calls,
    pub(crate) listeners: Listeners,
    next: AtomicU64,
    /// What the last try to connect came to. `None`: it is connected, or was not tried.
    why: Mutex<Option<String>>,
    /// Nothing more is to be said to it.
    over: CancellationToken,
    dropped: Arc<Dropped>,
}

impl Peer {
    pub(crate) fn new(session: Session, member: Member, dropped: Arc<Dropped>) -> Peer {
        Peer {
            session,
            member,
            outbox: Outbox::default(),
            calls: Calls::default(),
            listeners: Listeners::default(),
            next: AtomicU64::new(0),
            why: Mutex::new(None),
            over: CancellationToken::new(),
            dropped,
        }
    }

    pub(crate) fn next_id(&self) -> Id {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Why something could not be sent in time.
    pub(crate) fn why_late(&self) -> NotExecuted {
        match &*self.why.lock() {
            Some(why) => NotExecuted::Unreachable { why: why.clone() },
            None => NotExecuted::Late,
        }
    }

    /// The time of a request is over.
    pub(crate) fn late(&self, id: Id) {
        self.calls.late(id, || self.why_late());
    }

    /// Nobody listens to it any more.
    pub(crate) fn unsubscribe(&self, id: Id) {
        if self.listeners.forget(id) {
            self.hush(id);
        }
    }

    fn hush(&self, id: Id) {
        // Nothing else of this sender is in its lane, so it has room, or the link is closed.
        let _ = self.outbox.owe(id, Frame::Unsubscribe { id });
    }

    /// Nothing more is said to it, and nothing more will be heard.
    pub(crate) fn end(&self, not_sent: NotExecuted, sent: Unknown) {
        self.outbox.close();
        self.over.cancel();
        self.fail_all(not_sent, sent);
    }

    fn fail_all(&self, not_sent: NotExecuted, sent: Unknown) {
        self.calls.end_all(&not_sent, &sent);
        let cut = Down::Cut { why: sent.to_string() };
        self.listeners.end_all(&Down::NotExecuted(not_sent), &cut);
    }

    /// Connects whenever there is something to say, until the session is over.
    pub(crate) async fn run(self: Arc<Peer>, core: Arc<Core>) {
        let work = async {
            let mut failures = 0_u32;
            loop {
                self.outbox.ready().await;
                let dialled = tokio::time::timeout(limits::CONNECT_WAIT, self.connect(&core)).await;
                let late = || NoLink::Broken(io::ErrorKind::TimedOut.into());
                match dialled.unwrap_or_else(|_| Err(late())) {
                    Ok(connected) => {
                        failures = 0;
                        let cut = self.talk(&core, connected).await;
                        self.lost(&cut);
                    }
                    Err(no_link) => {
                        failures = failures.saturating_add(1);
                        self.not_reached(no_link);
                    }
                }
                tokio::time::sleep(self.backoff(failures)).await;
            }
        };
        tokio::select! {
            biased;
            () = self.over.cancelled() => {}
            () = work => {}
        }
    }

    /// Connects, and stays connected for as long as it goes.
    async fn connect(&self, core: &Core) -> Result<Connected, NoLink> {
        let Member { address, name, .. } = self.member.clone();
        let mut wire = core.net.connect(address, name).await?;
        let to = (self.session, &self.member);
        let begun = core.identity.dial(&mut wire, to, &*core.standing).await?;
        Ok(Connected { wire, begun })
    }

    async fn talk(&self, core: &Core, connected: Connected) -> Cut {
        let Connected { wire, begun } = connected;
        *self.why.lock() = None;
        if let Some(nonce) = begun.asked {
            self.outbox.asked(nonce);
        }
        let line = Line::new(core, self, begun);
        line.run(wire).await
    }

    fn lost(&self, cut: &Cut) {
        tracing::debug!(to = %self.member.name, %cut, "a link is no more");
        let why = cut.to_string();
        self.outbox.disconnect();
        self.calls.cut(&Unknown::Cut { why: why.clone() });
        self.listeners.cut(&Down::Cut { why });
    }

    fn not_reached(&self, no_link: NoLink) {
        tracing::debug!(to = %self.member.name, %no_link, "no link");
        *self.why.lock() = Some(no_link.to_string());
        match no_link {
            NoLink::Refused(refusal) if refusal.is_final() => {
                let gone = Unknown::Cut { why: refusal.to_string() };
                self.outbox.retain(|_| false);
                self.fail_all(NotExecuted::Refused(refusal), gone);
            }
            // It may get better. Who does not want to wait any longer has taken back what it said.
            _ => self.outbox.retain(|frame| self.is_wanted(frame)),
        }
    }

    fn is_wanted(&self, frame: &Frame) -> bool {
        match frame {
            Frame::Request { id, .. } => self.calls.is_wanted(*id),
            Frame::Subscribe { id, .. } => self.listeners.is_wanted(*id),
            _ => true,
        }
    }

    /// How long the node is left alone after so many tries that came to nothing. Not the same for
    /// any two nodes, so that they do not come at once; but the same when a run is repeated.
    fn backoff(&self, failures: u32) -> Duration {
        let whole = limits::BACKOFF.saturating_mul(1 << failures.min(16)).min(limits::BACKOFF_MAX);
        let mut chance = DefaultHasher::new();
        (self.session, &self.member.name, failures).hash(&mut chance);
        let percent = u32::try_from(chance.finish() % 50).unwrap_or(0);
        whole - whole * percent / 100
    }
}

/// A connection that was just made.
struct Connected {
    wire: Wire,
    begun: Begun,
}

impl Side for Peer {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn doubted(&self) {
        for id in self.listeners.doubt() {
            self.hush(id);
        }
    }

    fn take(&self, frame: Frame, is_proven: bool) -> Result<(), Cut> {
        match frame {
            // A call that was not carried out was not, whoever says so.
            Frame::Reply { id, outcome: Outcome::NotTaken(why), .. } => {
                self.calls.end(id, Err(NotExecuted::from(why).into()));
            }
            Frame::Reply { id, .. } if !is_proven => {
                self.calls.end(id, Err(Unknown::Unproven.into()));
            }
            Frame::Reply { id, under, outcome } => {
                let result = match outcome {
                    Outcome::Done(body) => Ok(Response { under, body }),
                    Outcome::Declined(why) => Err(NotExecuted::Declined(why).into()),
                    Outcome::NotTaken(why) => Err(NotExecuted::from(why).into()),
                    Outcome::Unknown(why) => Err(Failed::Unknown(Unknown::Lost(why))),
                };
                self.calls.end(id, result);
            }
            Frame::Event { id, also, under, body } => {
                let event = Event { under, body };
                for id in iter::once(id).chain(also) {
                    let is_over = match is_proven {
                        true => !self.listeners.hear(id, &event),
                        false => self.listeners.end(id, Down::Unproven),
                    };
                    if is_over {
                        self.hush(id);
                    }
                }
            }
            Frame::Down { id, reason } => {
                let why = match reason {
                    Ended::Said(why) => Down::Said(why),
                    Ended::Dropped => Down::Dropped,
                    Ended::Overflow => Down::Overflow,
                    Ended::Disowned => Down::Disowned,
                    Ended::NotTaken(why) => Down::NotExecuted(why.into()),
                };
                self.listeners.end(id, why);
            }
            _ => return Err(Cut::Bad(BadFrame::Unreadable)),
        }
        Ok(())
    }

    fn send(&self, frame: &Frame) -> bool {
        match frame {
            Frame::Request { id, .. } => self.calls.send(*id),
            Frame::Subscribe { id, .. } => self.listeners.send(*id),
            _ => true,
        }
    }

    fn disowned(&self, frame: Frame) -> Vec<Frame> {
        match frame {
            Frame::Request { id, .. } => self.calls.end(id, Err(NotExecuted::Disowned.into())),
            Frame::Subscribe { id, .. } => {
                self.listeners.end(id, Down::NotExecuted(NotExecuted::Disowned));
            }
            _ => {
                self.dropped.disowned.fetch_add(1, Ordering::Relaxed);
            }
        }
        Vec::new()
    }

    fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.listeners.is_empty() && self.outbox.is_empty()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("session", &self.session).finish_non_exhaustive()
    }
}
