//! What one socket is in the midst of: the rooms it is in, and the pushes that wait for an answer.

use std::collections::HashMap;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use innkeeper::{CallError, NotDelivered, ProcessRef, Subscriber};
use innkeeper_api::{Code, RoomKey};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use crate::app::App;
use crate::auth::Permit;
use crate::channels::frame::{self, Empty, Frame, Reply};
use crate::channels::outbox::Outbox;
use crate::channels::seat::Seat;
use crate::error::ApiError;
use crate::limits;
use crate::room::{Joining, MemberId, NotJoined, RoomApi, RoomMessage};
use crate::span;

type RoomRef = ProcessRef<RoomMessage>;
type Push = Pin<Box<dyn Future<Output = Option<JoinDone>> + Send>>;

/// What a socket is in the midst of.
pub(crate) struct Session {
    app: Arc<App>,
    user: Arc<str>,
    permit: Permit,
    peer: SocketAddr,
    pub(crate) outbox: Arc<Outbox>,
    topics: HashMap<String, Topic>,
    pushes: FuturesUnordered<Push>,
    /// Frames that wait for the join of their topic, in all.
    waiting: usize,
    bad_frames: u32,
}

/// A room that the socket is in, or is about to be.
struct Topic {
    id: MemberId,
    join_ref: Option<String>,
    seat: Arc<Seat>,
    /// There once the join is done.
    room: Option<RoomRef>,
    /// What was sent behind the join, and is heard when it is done: in the order of the client.
    waiting: Vec<Utf8Bytes>,
}

/// A join that has an outcome.
pub(crate) struct JoinDone {
    topic: String,
    /// `None`: refused, and the client was told.
    room: Option<RoomRef>,
}

/// The payload of a `say`.
#[derive(Deserialize)]
struct Say {
    text: String,
}

/// The answer to it.
#[derive(Serialize)]
struct Said {
    seq: u64,
}

/// Where the answer to a push goes.
#[derive(Clone)]
struct Answer {
    outbox: Arc<Outbox>,
    join_ref: Option<String>,
    reference: Option<String>,
    topic: String,
}

/// Whether a socket may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    /// It has sent too much that makes no sense.
    HangUp,
}

impl Session {
    pub(crate) fn new(
        app: Arc<App>,
        user: Arc<str>,
        permit: Permit,
        peer: SocketAddr,
        outbox: Arc<Outbox>,
    ) -> Self {
        Session {
            app,
            user,
            permit,
            peer,
            outbox,
            topics: HashMap::new(),
            pushes: FuturesUnordered::new(),
            waiting: 0,
            bad_frames: 0,
        }
    }

    /// Whether another frame may be read: not too many pushes are under way.
    pub(crate) fn has_room(&self) -> bool {
        self.pushes.len() + self.waiting < limits::PUSHES_PER_SOCKET
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.pushes.is_empty()
    }

    /// Waits for a push to be answered; a join that is done is to be passed to [`Self::joined`].
    /// Cancel safe.
    pub(crate) async fn next_push(&mut self) -> Option<JoinDone> {
        self.pushes.next().await.flatten()
    }

    /// Takes a frame of the client.
    pub(crate) async fn hear(&mut self, text: Utf8Bytes) -> Verdict {
        let frame = match Frame::parse(&text) {
            Ok(frame) => frame,
            Err(error) => return self.bad_frame(&error),
        };
        let topic = self.topics.get_mut(frame.topic());
        if let Some(topic) = topic.filter(|topic| topic.room.is_none()) {
            topic.waiting.push(text);
            self.waiting += 1;
            return Verdict::GoOn;
        }
        let answer = Answer {
            outbox: self.outbox.clone(),
            join_ref: frame.join_ref().map(str::to_owned),
            reference: frame.reference().map(str::to_owned),
            topic: frame.topic().to_owned(),
        };
        match (frame.topic(), frame.event()) {
            ("phoenix", "heartbeat") => answer.ok(Empty {}),
            (_, "phx_join") => self.join(answer).await,
            (_, "phx_leave") => self.leave(answer).await,
            (_, "say") => self.say(answer, frame.payload().get()).await,
            (_, event) => {
                let known = "expected phx_join, phx_leave or say, or heartbeat to phoenix";
                let detail = format_args!("unknown event {event:?}: {known}");
                answer.error(&ApiError::new(Code::BadRequest, detail));
            }
        }
        Verdict::GoOn
    }

    /// Answers a frame that cannot be read.
    pub(crate) fn bad_frame(&mut self, error: &str) -> Verdict {
        let answer = Answer {
            outbox: self.outbox.clone(),
            join_ref: None,
            reference: None,
            topic: "phoenix".to_owned(),
        };
        answer.error(&ApiError::new(Code::BadRequest, error));
        self.bad_frames += 1;
        if self.bad_frames >= limits::BAD_FRAMES { Verdict::HangUp } else { Verdict::GoOn }
    }

    async fn join(&mut self, answer: Answer) {
        let work = match self.may_join(&answer) {
            Ok(work) => work,
            Err(error) => return answer.error(&error),
        };
        // The topic is checked already.
        let Some(Ok(key)) = answer.topic.strip_prefix("room:").map(str::parse) else { return };
        let id = MemberId::next();
        let (join_ref, waiting) = (answer.join_ref.clone(), Vec::new());
        let seat = Seat::new(self.outbox.clone(), &answer.topic, join_ref.as_deref());
        let seat = Arc::new(seat);
        let topic = Topic { id, join_ref, seat: seat.clone(), room: None, waiting };
        let old = self.topics.insert(answer.topic.clone(), topic);
        let (app, user, peer) = (self.app.clone(), self.user.clone(), self.peer);
        let span = span::push(&app.config.node, &answer.topic, "phx_join");
        let joining = async move {
            if let Some(old) = old {
                // As Phoenix does it: a second join of a topic ends the first. Only then does the
                // second begin, so that nothing is told twice to one socket.
                let (outbox, join_ref) = (answer.outbox.clone(), old.join_ref.clone());
                let (reference, topic) = (join_ref.clone(), answer.topic.clone());
                old.leave().await;
                Answer { outbox, join_ref, reference, topic }.close();
            }
            let joining = JoiningRoom { app, user, peer, id, seat, answer };
            Some(joining.run(&key, work).await)
        };
        self.push(Box::pin(joining.instrument(span))).await;
    }

    fn may_join(&mut self, answer: &Answer) -> Result<TaskTrackerToken, ApiError> {
        let key = answer.topic.strip_prefix("room:").ok_or_else(|| {
            let detail = format_args!("expected a topic \"room:KEY\", got {:?}", answer.topic);
            ApiError::new(Code::BadRequest, detail)
        })?;
        self.permit.check(&key.parse()?)?;
        let max = limits::TOPICS_PER_SOCKET;
        if self.topics.len() >= max {
            // Those that have ended do not count: nobody tells this socket when one does.
            self.topics.retain(|_, topic| topic.room.is_none() || !topic.seat.is_left());
        }
        if self.topics.len() >= max && !self.topics.contains_key(&answer.topic) {
            let detail = format_args!("this socket is in {max} rooms; leave one, or open another");
            return Err(ApiError::new(Code::RateLimited, detail));
        }
        self.app.intake.enter()
    }

    /// A join has an outcome: hears what was sent behind it. Not cancel safe.
    pub(crate) async fn joined(&mut self, done: JoinDone) {
        // Whatever would take it away waits for the join, so it is there.
        let Some(topic) = self.topics.get_mut(&done.topic) else { return };
        let waiting = std::mem::take(&mut topic.waiting);
        self.waiting -= waiting.len();
        match done.room {
            Some(room) => topic.room = Some(room),
            None => drop(self.topics.remove(&done.topic)),
        }
        for text in waiting {
            // It was read before, so it cannot be a frame that makes no sense.
            let _ = self.hear(text).await;
        }
    }

    async fn leave(&mut self, answer: Answer) {
        match self.topics.get(&answer.topic) {
            // As in Phoenix: whoever is out already has what it wants.
            None => return answer.ok(Empty {}),
            Some(topic) if topic.join_ref != answer.join_ref => {
                return answer.error(&ApiError::unjoined());
            }
            Some(_) => {}
        }
        let Some(topic) = self.topics.remove(&answer.topic) else { return };
        self.push(Box::pin(async move {
            topic.leave().await;
            answer.ok(Empty {});
            answer.close();
            None
        }))
        .await;
    }

    async fn say(&mut self, answer: Answer, payload: &str) {
        match self.may_say(&answer, payload) {
            Err(error) => answer.error(&error),
            Ok((id, room, text, work)) => {
                let app = self.app.clone();
                let span = span::push(&app.config.node, &answer.topic, "say");
                let saying = async move {
                    let said = room.say(id, text).timeout(limits::ROOM_TIMEOUT).await;
                    app.tally.call(room.is_distant(), &said);
                    match said {
                        Ok(Ok(seq)) => answer.ok(Said { seq }),
                        // It was for a join, or an incarnation, that is over.
                        Ok(Err(NotJoined)) => answer.error(&ApiError::unjoined()),
                        Err(CallError::NotDelivered {
                            why: NotDelivered::Ended | NotDelivered::Stopping,
                            ..
                        }) => answer.error(&ApiError::unjoined()),
                        Err(error) => answer.error(&error.into()),
                    }
                    // Only now: a drain waits for the answer, too.
                    drop(work);
                    None
                };
                self.push(Box::pin(saying.instrument(span))).await;
            }
        }
    }

    fn may_say(
        &self,
        answer: &Answer,
        payload: &str,
    ) -> Result<(MemberId, RoomRef, String, TaskTrackerToken), ApiError> {
        let Say { text } = serde_json::from_str(payload).map_err(|error| {
            ApiError::new(Code::BadRequest, format_args!("expected {{\"text\":TEXT}}: {error}"))
        })?;
        let max = self.app.config.max_message_bytes;
        if text.len() > max {
            return Err(ApiError::too_long(text.len(), max));
        }
        let topic = self.topics.get(&answer.topic);
        let topic = topic.filter(|topic| topic.join_ref == answer.join_ref);
        self.permit.check_time()?;
        let topic = topic.ok_or_else(ApiError::unjoined)?;
        let room = topic.room.clone().ok_or_else(ApiError::unjoined)?;
        Ok((topic.id, room, text, self.app.intake.enter()?))
    }

    /// Begins a push. Polled at once, so that pushes reach a room in the order they came in.
    async fn push(&mut self, mut push: Push) {
        match std::future::poll_fn(|cx| Poll::Ready(push.as_mut().poll(cx))).await {
            // Its turn comes with the others'.
            Poll::Ready(Some(done)) => self.pushes.push(Box::pin(ready(Some(done)))),
            Poll::Ready(None) => {}
            Poll::Pending => self.pushes.push(push),
        }
    }

    /// Nothing more is read: waits out what was begun, for a while.
    pub(crate) async fn finish(&mut self) {
        let finish = async {
            while self.is_waiting() {
                if let Some(done) = self.next_push().await {
                    self.joined(done).await;
                }
            }
        };
        let _ = tokio::time::timeout(limits::ROOM_TIMEOUT * 2, finish).await;
    }

    /// This node cannot be sure of its rooms any more: lets those go that run here. Whoever wants
    /// back in joins again, here or at another node.
    pub(crate) async fn freeze(&mut self) {
        let is_here = |topic: &str| {
            let key = topic.strip_prefix("room:").and_then(|key| key.parse().ok());
            key.is_some_and(|key| self.app.is_here(&key))
        };
        let mut gone = Vec::new();
        for (name, topic) in &self.topics {
            if topic.room.is_some() && is_here(name) {
                topic.seat.close("phx_error", Some(Code::Frozen));
                gone.push(name.clone());
            }
        }
        for topic in gone.iter().filter_map(|name| self.topics.remove(name)) {
            if let Some(room) = &topic.room {
                // It is told when it may begin anything again, if it ever may.
                let _ = room.cast(RoomMessage::Leave { id: topic.id }).send();
            }
        }
    }

    /// The socket is gone: leaves every room.
    pub(crate) async fn close(mut self) {
        self.outbox.close();
        let topics = std::mem::take(&mut self.topics).into_values();
        // All seats are left before the first room is told: one that is slow holds up no other.
        let rooms: Vec<_> = topics.filter_map(|it| Some((it.room.clone()?, it.id))).collect();
        for (room, id) in rooms {
            tell_leave(&room, id).await;
        }
    }
}

impl Drop for Session {
    /// However it ends, rooms do not go on writing to a socket that nobody reads.
    fn drop(&mut self) {
        self.outbox.close();
    }
}

/// A join under way.
struct JoiningRoom {
    app: Arc<App>,
    user: Arc<str>,
    peer: SocketAddr,
    id: MemberId,
    seat: Arc<Seat>,
    answer: Answer,
}

impl JoiningRoom {
    async fn run(self, key: &RoomKey, work: TaskTrackerToken) -> JoinDone {
        let mut found = None;
        let join = |room: RoomRef| {
            found = Some(room.clone());
            let (join_ref, reference) =
                (self.answer.join_ref.clone(), self.answer.reference.clone());
            let (user, seat) = (self.user.clone(), Subscriber::to(self.seat.clone()));
            let node = self.app.node.clone();
            let joining = Joining { id: self.id, user, node, join_ref, reference, seat };
            async move { room.join(joining).timeout(limits::ROOM_TIMEOUT).await }
        };
        let joined = self.app.ask(&self.app.rooms, key, Some(self.peer.ip()), join).await;
        let error = match joined {
            Ok(Ok(())) => None,
            Ok(Err(full)) => Some(ApiError::from(full)),
            Err(error) => Some(error),
        };
        if let Some(error) = &error {
            self.seat.leave();
            if let Some(room) = found.take() {
                // Nobody knows whether it was let in after all.
                tell_leave(&room, self.id).await;
            }
            self.answer.error(error);
        }
        drop(work);
        JoinDone { topic: self.answer.topic, room: found }
    }
}

impl Drop for Topic {
    /// However it ends: a room on another node holds on to a member until its seat is left.
    fn drop(&mut self) {
        self.seat.leave();
    }
}

impl Topic {
    /// Leaves, and waits until the room has let go: nothing of it comes afterwards.
    async fn leave(&self) {
        let Some(room) = &self.room else { return };
        let left = room.let_go(self.id).timeout(limits::ROOM_TIMEOUT).await;
        if let Err(CallError::NotDelivered { .. }) = left {
            tell_leave(room, self.id).await;
        }
    }
}

/// Tells a room that a member has gone; again, while its mailbox is full.
pub(crate) async fn tell_leave(room: &RoomRef, id: MemberId) {
    let tell = async {
        while let Err(error) = room.leave(id).await {
            match error.why {
                NotDelivered::Full { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
                // It has ended, and with it who is in it.
                _ => return,
            }
        }
    };
    let _ = tokio::time::timeout(limits::LEAVE_TIMEOUT, tell).await;
}

impl Answer {
    fn ok(&self, response: impl Serialize) {
        self.send("phx_reply", &Reply::ok(response));
    }

    fn error(&self, error: &ApiError) {
        self.send("phx_reply", &Reply::error(error.refusal()));
    }

    /// The last frame of a join that was left.
    fn close(&self) {
        self.send("phx_close", &Empty {});
    }

    fn send(&self, event: &str, payload: &impl Serialize) {
        let (join_ref, reference) = (self.join_ref.as_deref(), self.reference.as_deref());
        self.outbox.answer([frame::encode(join_ref, reference, &self.topic, event, payload)]);
    }
}
