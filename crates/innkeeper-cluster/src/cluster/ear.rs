//! What happens to the processes of a scope on all nodes, put together for whoever listens here.

use std::collections::BTreeSet;
use std::sync::Arc;

use innkeeper::placement::Hosted;
use innkeeper::{Heard, Hearing, Key, Process, Tidings};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::asked;
use super::told::{self, Told};
use crate::frame::Message;
use crate::limits;
use crate::links::{Events, Origin, Subscriber};
use crate::ownership::record::Session;

/// One who listens to all nodes.
struct Ear<K> {
    inner: Arc<Inner>,
    /// How another node is asked.
    message: Message,
    tell: mpsc::Sender<Heard<K>>,
    /// The scope has ended here.
    over: CancellationToken,
}

/// Held by whoever is still about to be heard; nobody sends anything.
type NotYet = mpsc::Sender<()>;

/// Listens to every node, and answers when each of them is heard, or said not to be.
pub(crate) async fn listen<K, P>(
    inner: Arc<Inner>,
    message: Message,
    here: Hosted<K, P>,
) -> Hearing<K>
where
    K: Key + Serialize + DeserializeOwned,
    P: Process,
{
    let (tell, heard) = mpsc::channel(limits::EVENTS_MAX);
    let ear = Arc::new(Ear { inner, message, tell, over: CancellationToken::new() });
    let (not_yet, mut all) = mpsc::channel(1);
    ear.inner.run(ear.clone().here(here));
    ear.inner.run(ear.clone().everybody(not_yet));
    // Until nobody holds it any more.
    let _ = all.recv().await;
    Hearing::everywhere(heard)
}

/// Tells another node what happens here.
pub(crate) async fn tell<K, P>(here: &Hosted<K, P>, subscriber: &Subscriber)
where
    K: Key + Serialize,
    P: Process,
{
    let Some(mut events) = here.events() else { return };
    let mut told = Some(Told::Begun);
    loop {
        let body = told.as_ref().and_then(asked::write);
        if body.is_some_and(|body| subscriber.push(None, body).is_err()) {
            return;
        }
        let event = tokio::select! {
            event = events.recv() => event,
            () = subscriber.over() => return,
        };
        told = match event {
            Ok(event) => Told::of(event),
            Err(RecvError::Lagged(missed)) => Some(Told::Missed(missed)),
            Err(RecvError::Closed) => return,
        };
    }
}

impl<K: Key + Serialize + DeserializeOwned> Ear<K> {
    /// Listens to this node, and ends all of it with the scope.
    async fn here<P: Process>(self: Arc<Self>, here: Hosted<K, P>) {
        let _over = self.over.clone().drop_guard();
        let Some(mut events) = here.events() else { return };
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = self.tell.closed() => return,
            };
            let what = match event {
                Ok(event) => Tidings::Event(event),
                Err(RecvError::Lagged(missed)) => Tidings::Missed(missed),
                Err(RecvError::Closed) => return,
            };
            if self.tell.send(Heard { node: None, what }).await.is_err() {
                return;
            }
        }
    }

    /// Listens to every other node that has a session, until nobody wants to know.
    async fn everybody(self: Arc<Self>, not_yet: NotYet) {
        let mut not_yet = Some(not_yet);
        let mut membership = self.inner.node.membership();
        let mut heard: BTreeSet<Session> = BTreeSet::new();
        loop {
            membership.borrow_and_update();
            let members = self.inner.node.members();
            heard.retain(|session| members.iter().any(|(member, _)| member == session));
            for (session, member) in members {
                if session != self.inner.node.session() && heard.insert(session) {
                    let name = member.name.into();
                    self.inner.run(self.clone().there(session, name, not_yet.clone()));
                }
            }
            not_yet = None;
            tokio::select! {
                changed = membership.changed() => if changed.is_err() { return },
                () = self.over() => return,
            }
        }
    }

    /// Waits until nobody wants to know any more, or the scope has ended here.
    async fn over(&self) {
        tokio::select! {
            () = self.tell.closed() => {}
            () = self.over.cancelled() => {}
        }
    }

    /// Listens to one node for as long as its session lasts and somebody wants to know.
    async fn there(self: Arc<Self>, session: Session, name: Arc<str>, not_yet: Option<NotYet>) {
        tokio::select! {
            () = self.listen_to(session, name, not_yet) => {}
            () = self.over() => {}
        }
    }

    async fn listen_to(&self, session: Session, name: Arc<str>, mut not_yet: Option<NotYet>) {
        // Of one who comes later nothing is missed before it is heard.
        let (mut is_deaf, mut tries) = (not_yet.is_none(), 0);
        while self.inner.node.member(session).is_some() {
            let origin = Origin { sender: 0, under: None };
            let events = self.inner.links().subscribe(session, origin, self.message.clone());
            if let Ok(events) = events
                && self.hear(events, &name, &mut not_yet).await
            {
                (is_deaf, tries) = (false, 0);
            }
            let deaf = Heard { node: Some(name.clone()), what: Tidings::Deaf };
            if !is_deaf && self.tell.send(deaf).await.is_err() {
                return;
            }
            is_deaf = true;
            not_yet = None;
            tries += 1;
            sleep(self.inner.pause(tries)).await;
        }
    }

    /// Passes on what a node tells, until it tells no more; whether it has begun to.
    async fn hear(
        &self,
        mut events: Events,
        name: &Arc<str>,
        not_yet: &mut Option<NotYet>,
    ) -> bool {
        let Ok(Ok(begun)) = timeout(limits::HEARING_WAIT, events.next()).await else {
            return false;
        };
        if !matches!(asked::read::<Told<K>>(&begun.body), Some(Told::Begun)) {
            return false;
        }
        *not_yet = None;
        while let Ok(event) = events.next().await {
            let what = match asked::read::<Told<K>>(&event.body) {
                Some(Told::Event(key, incarnation, happened)) => {
                    Tidings::Event(told::event(key, incarnation, happened))
                }
                Some(Told::Missed(missed)) => Tidings::Missed(missed),
                Some(Told::Begun) | None => return true,
            };
            if self.tell.send(Heard { node: Some(name.clone()), what }).await.is_err() {
                return true;
            }
        }
        true
    }
}
