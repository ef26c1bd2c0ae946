//! Nodes that have nothing but links: what they know is said by the test, and what they are asked
//! is written down.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use innkeeper_cluster::VERSIONS;
use innkeeper_cluster::frame::{Message, Part, Request, Under};
use innkeeper_cluster::links::{
    Answer, From, LinkSettings, Linking, Links, Origin, Service, Standing, Subscriber,
};
use innkeeper_cluster::net::Net;
use innkeeper_cluster::ownership::Release;
use innkeeper_cluster::ownership::record::{Member, NodeId, Session, Versions};
use innkeeper_cluster::ownership::timing::Now;
use innkeeper_cluster::start_key::StartKey;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// How long a session lasts.
pub(crate) const SESSION: Duration = Duration::from_secs(5);

/// What all nodes of a test know.
#[derive(Clone)]
pub(crate) struct World {
    members: Arc<Mutex<BTreeMap<Session, Member>>>,
    changed: watch::Sender<u64>,
    began: Instant,
}

/// One node.
pub(crate) struct Node {
    pub(crate) links: Links,
    pub(crate) session: Session,
    pub(crate) standing: Arc<Known>,
    pub(crate) heard: Arc<Heard>,
    running: JoinHandle<()>,
}

/// What a node knows.
pub(crate) struct Known {
    world: World,
    session: Session,
    /// For how long it can prove its session, from now on.
    pub(crate) remaining: Mutex<Duration>,
    /// What its own clock is ahead by.
    pub(crate) ahead: Mutex<Duration>,
    /// What becomes of outputs; `Now` where nothing is said.
    pub(crate) releases: Mutex<HashMap<Under, Release>>,
    /// What is leaving.
    pub(crate) leaving: Mutex<Vec<Under>>,
}

/// What a node was told and asked.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) casts: Mutex<Vec<Message>>,
    pub(crate) parts: Mutex<Vec<Part>>,
    /// Calls that were not answered yet, where that is left to the test.
    pub(crate) calls: Mutex<Vec<(From, Message, Answer)>>,
    pub(crate) subscribers: Mutex<Vec<Subscriber>>,
    /// Whether calls are kept, and not answered by what they say.
    pub(crate) keeps: Mutex<bool>,
    pub(crate) something: Notify,
}

impl World {
    pub(crate) fn new() -> World {
        let (changed, _) = watch::channel(0);
        World { members: Arc::default(), changed, began: Instant::now() }
    }

    /// What is known now, to somebody who learns of nothing else.
    pub(crate) fn apart(&self) -> World {
        let members = Arc::new(Mutex::new(self.members.lock().clone()));
        World { members, changed: watch::channel(0).0, began: self.began }
    }

    /// A session begins.
    pub(crate) fn enter(&self, number: u64, address: &str) -> Session {
        let session = Session { node: NodeId(number), created: 100 + number };
        let member = Member {
            name: format!("node-{number}"),
            address: address.to_owned(),
            weight: 1,
            draining: false,
            versions: Versions::FIRST,
            key: None,
        };
        self.members.lock().insert(session, member);
        self.changed.send_modify(|count| *count += 1);
        session
    }

    /// A session ends.
    pub(crate) fn exit(&self, session: Session) {
        self.members.lock().remove(&session);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn settings(&self, number: u64) -> LinkSettings {
        LinkSettings {
            cluster: "test".to_owned(),
            name: format!("node-{number}"),
            versions: VERSIONS,
            key: Arc::new(StartKey::new().unwrap()),
            session: SESSION,
        }
    }

    /// What is written of a session is what its program is made with.
    pub(crate) fn describe_as(&self, session: Session, settings: &LinkSettings) {
        self.describe(session, |member| {
            (member.versions, member.key) = (settings.versions, Some(settings.key.public()));
        });
    }

    pub(crate) fn describe(&self, session: Session, change: impl Fn(&mut Member)) {
        change(self.members.lock().get_mut(&session).unwrap());
    }

    /// A node that has a session, with its links.
    pub(crate) fn node(&self, net: Arc<dyn Net>, number: u64, address: &str) -> Node {
        self.node_with(net, self.enter(number, address), &self.settings(number))
    }

    pub(crate) fn node_with(
        &self,
        net: Arc<dyn Net>,
        session: Session,
        settings: &LinkSettings,
    ) -> Node {
        self.describe_as(session, settings);
        let standing = Arc::new(Known {
            world: self.clone(),
            session,
            remaining: Mutex::new(4 * SECOND),
            ahead: Mutex::default(),
            releases: Mutex::default(),
            leaving: Mutex::default(),
        });
        let heard = Arc::new(Heard::default());
        let (links, linking): (Links, Linking) =
            Links::new(net, standing.clone(), heard.clone(), settings);
        let running = tokio::task::spawn(linking.run());
        Node { links, session, standing, heard, running }
    }
}

impl Node {
    /// The node's program ends without a word.
    pub(crate) async fn die(mut self) {
        self.running.abort();
        let _ = (&mut self.running).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Known {
    /// Waits until so much is leaving.
    pub(crate) async fn until_leaving(&self, what: impl Fn(usize) -> bool) {
        let wait = async {
            while !what(self.leaving.lock().len()) {
                tokio::time::sleep(SECOND / 100).await;
            }
        };
        tokio::time::timeout(60 * SECOND, wait).await.expect("it does not come about");
    }
}

impl Standing for Known {
    fn session(&self) -> Session {
        self.session
    }

    fn now(&self) -> Now {
        let raw = self.world.began.elapsed() + *self.ahead.lock();
        Now { raw: raw.as_nanos() as u64, slept: 0 }
    }

    fn remaining(&self) -> Duration {
        *self.remaining.lock()
    }

    fn member(&self, session: Session) -> Option<Member> {
        self.world.members.lock().get(&session).cloned()
    }

    fn membership(&self) -> watch::Receiver<u64> {
        self.world.changed.subscribe()
    }

    fn leave(&self, under: Under) -> Release {
        let release = self.releases.lock().get(&under).copied().unwrap_or(Release::Now);
        if release == Release::Now {
            self.leaving.lock().push(under);
        }
        release
    }

    fn left(&self, under: Under) {
        let mut leaving = self.leaving.lock();
        let at = leaving.iter().position(|it| *it == under).expect("it was leaving");
        leaving.swap_remove(at);
    }
}

impl Heard {
    /// Waits until there is something to see.
    pub(crate) async fn until(&self, what: impl Fn(&Heard) -> bool) {
        let wait = async {
            while !what(self) {
                self.something.notified().await;
            }
        };
        tokio::time::timeout(60 * SECOND, wait).await.expect("it does not come about");
    }

    pub(crate) fn bodies(&self) -> Vec<Bytes> {
        self.casts.lock().iter().map(|cast| cast.body.clone()).collect()
    }
}

impl Service for Heard {
    fn call(&self, from: From, message: Message, answer: Answer) {
        if *self.keeps.lock() {
            self.calls.lock().push((from, message, answer));
        } else {
            answer.done(None, message.body);
        }
        self.something.notify_one();
    }

    fn cast(&self, _: From, message: Message) {
        self.casts.lock().push(message);
        self.something.notify_one();
    }

    fn subscribe(&self, _: From, _: Message, subscriber: Subscriber) {
        self.subscribers.lock().push(subscriber);
        self.something.notify_one();
    }

    /// Takes what has anything in it.
    fn prepare(&self, _: From, part: Part, answer: Answer) {
        match part.body.len() {
            0 => answer.declined(Bytes::from_static(b"too late")),
            count => answer.done(None, Bytes::from(count.to_string())),
        }
        self.parts.lock().push(part);
        self.something.notify_one();
    }
}

pub(crate) fn message(body: impl Into<Bytes>) -> Message {
    let (scope, key) = (Bytes::from_static(b"rooms"), Bytes::from_static(b"lobby"));
    Message { shard: 3, epoch: 7, scope, key, body: body.into() }
}

pub(crate) fn call(body: impl Into<Bytes>) -> Request {
    Request::Call(message(body))
}

pub(crate) fn nobody() -> Origin {
    Origin::default()
}
