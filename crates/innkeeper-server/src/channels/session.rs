//! What one socket is in the midst of: the rooms it is in, and the pushes that wait for an answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use innkeeper::{CallError, NotDelivered, ProcessRef};
use innkeeper_api::{Code, RoomKey};
use serde::{Deserialize, Serialize};
use tokio::sync::SetOnce;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::app::App;
use crate::channels::frame::{self, Empty, Frame, Reply};
use crate::channels::outbox::Outbox;
use crate::error::ApiError;
use crate::limits;
use crate::room::{Joining, MemberId, NotJoined, RoomApi, RoomMessage};

type RoomRef = ProcessRef<RoomMessage>;
type Push = Pin<Box<dyn Future<Output = Option<JoinRefused>> + Send>>;

/// What a socket is in the midst of.
pub(crate) struct Session {
    app: Arc<App>,
    user: Arc<str>,
    peer: SocketAddr,
    pub(crate) outbox: Arc<Outbox>,
    topics: HashMap<String, Topic>,
    pushes: FuturesUnordered<Push>,
    bad_frames: u32,
}

/// A room that the socket is in, or is about to be.
struct Topic {
    id: MemberId,
    join_ref: Option<String>,
    room: Arc<Joined>,
}

/// The outcome of a join: the room, or nothing if it was refused. What is pushed before the join is
/// done waits for it; the client may know of it a little earlier than we do.
type Joined = SetOnce<Option<RoomRef>>;

/// A join that was refused; the client was told.
struct JoinRefused {
    topic: String,
    id: MemberId,
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
    pub(crate) fn new(app: Arc<App>, user: Arc<str>, peer: SocketAddr) -> Self {
        Session {
            app,
            user,
            peer,
            outbox: Arc::new(Outbox::new()),
            topics: HashMap::new(),
            pushes: FuturesUnordered::new(),
            bad_frames: 0,
        }
    }

    /// Whether another frame may be read: not too many pushes are under way.
    pub(crate) fn has_room(&self) -> bool {
        self.pushes.len() < limits::PUSHES_PER_SOCKET
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.pushes.is_empty()
    }

    /// Waits for a push to be answered. Cancel safe.
    pub(crate) async fn next_push(&mut self) {
        if let Some(Some(refused)) = self.pushes.next().await {
            self.refused(&refused);
        }
    }

    /// Takes a frame of the client.
    pub(crate) async fn hear(&mut self, text: &str) -> Verdict {
        let frame = match Frame::parse(text) {
            Ok(frame) => frame,
            Err(error) => return self.bad_frame(&error),
        };
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
        if let Some(old) = self.topics.remove(&answer.topic) {
            // As Phoenix does it: a second join of a topic ends the first.
            self.end(&answer.topic, old);
        }
        let id = MemberId::next();
        let room = Arc::new(Joined::new());
        let topic = Topic { id, join_ref: answer.join_ref.clone(), room: room.clone() };
        self.topics.insert(answer.topic.clone(), topic);
        let (app, user, peer) = (self.app.clone(), self.user.clone(), self.peer);
        self.push(Box::pin(async move {
            let joining = JoiningRoom { app, user, peer, id, answer };
            let joined = joining.run(&key).await;
            let refused = joined.is_none();
            // Only this join sets it.
            let _ = room.set(joined);
            drop(work);
            refused.then_some(JoinRefused { topic: joining.answer.topic, id })
        }))
        .await;
    }

    fn may_join(&self, answer: &Answer) -> Result<TaskTrackerToken, ApiError> {
        let key = answer.topic.strip_prefix("room:").ok_or_else(|| {
            let detail = format_args!("expected a topic \"room:KEY\", got {:?}", answer.topic);
            ApiError::new(Code::BadRequest, detail)
        })?;
        key.parse::<RoomKey>()?;
        let known = self.topics.contains_key(&answer.topic);
        if !known && self.topics.len() >= limits::TOPICS_PER_SOCKET {
            let max = limits::TOPICS_PER_SOCKET;
            let detail = format_args!("this socket is in {max} rooms; leave one, or open another");
            return Err(ApiError::new(Code::RateLimited, detail));
        }
        self.app.intake.enter()
    }

    fn refused(&mut self, refused: &JoinRefused) {
        // Unless the topic was joined anew meanwhile.
        if self.topics.get(&refused.topic).is_some_and(|topic| topic.id == refused.id) {
            self.topics.remove(&refused.topic);
        }
    }

    async fn leave(&mut self, answer: Answer) {
        let is_current = |topic: &Topic| answer.join_ref == topic.join_ref;
        if !self.topics.get(&answer.topic).is_some_and(is_current) {
            return answer.error(&ApiError::unjoined());
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

    /// Ends a join that another one takes the place of.
    fn end(&mut self, name: &str, topic: Topic) {
        let (outbox, join_ref) = (self.outbox.clone(), topic.join_ref.clone());
        let answer = Answer { outbox, reference: join_ref.clone(), join_ref, topic: name.into() };
        answer.close();
        self.pushes.push(Box::pin(async move {
            topic.leave().await;
            None
        }));
    }

    async fn say(&mut self, answer: Answer, payload: &str) {
        match self.may_say(&answer, payload) {
            Err(error) => answer.error(&error),
            Ok((id, room, text, work)) => {
                let app = self.app.clone();
                self.push(Box::pin(async move {
                    let Some(room) = room.wait().await else {
                        answer.error(&ApiError::unjoined());
                        return None;
                    };
                    let said = room.say(id, text).timeout(limits::ROOM_TIMEOUT).await;
                    app.tally.call(&said);
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
                }))
                .await;
            }
        }
    }

    fn may_say(
        &self,
        answer: &Answer,
        payload: &str,
    ) -> Result<(MemberId, Arc<Joined>, String, TaskTrackerToken), ApiError> {
        let Say { text } = serde_json::from_str(payload).map_err(|error| {
            ApiError::new(Code::BadRequest, format_args!("expected {{\"text\":TEXT}}: {error}"))
        })?;
        let max = self.app.config.max_message_bytes;
        if text.len() > max {
            return Err(ApiError::too_long(text.len(), max));
        }
        let topic = self.topics.get(&answer.topic);
        let topic = topic.filter(|topic| topic.join_ref == answer.join_ref);
        let topic = topic.ok_or_else(ApiError::unjoined)?;
        Ok((topic.id, topic.room.clone(), text, self.app.intake.enter()?))
    }

    /// Begins a push. Polled at once, so that pushes reach a room in the order they came in.
    async fn push(&mut self, mut push: Push) {
        match std::future::poll_fn(|cx| Poll::Ready(push.as_mut().poll(cx))).await {
            Poll::Ready(Some(refused)) => self.refused(&refused),
            Poll::Ready(None) => {}
            Poll::Pending => self.pushes.push(push),
        }
    }

    /// The socket is gone: waits out what is under way, for a while, and leaves every room.
    pub(crate) async fn close(mut self) {
        self.outbox.close();
        let finish = async {
            while self.is_waiting() {
                self.next_push().await
            }
        };
        let _ = tokio::time::timeout(limits::ROOM_TIMEOUT * 2, finish).await;
        for topic in self.topics.into_values() {
            let _ = tokio::time::timeout(limits::LEAVE_TIMEOUT, topic.leave()).await;
        }
    }
}

/// A join under way.
struct JoiningRoom {
    app: Arc<App>,
    user: Arc<str>,
    peer: SocketAddr,
    id: MemberId,
    answer: Answer,
}

impl JoiningRoom {
    /// Joins; `None` if that was refused, and the client told.
    async fn run(&self, key: &RoomKey) -> Option<RoomRef> {
        let mut found = None;
        let join = |room: RoomRef| {
            found = Some(room.clone());
            let (outbox, reference) = (self.answer.outbox.clone(), self.answer.reference.clone());
            let (user, join_ref) = (self.user.clone(), self.answer.join_ref.clone());
            let joining = Joining { id: self.id, user, join_ref, outbox };
            async move { room.join(joining, reference).timeout(limits::ROOM_TIMEOUT).await }
        };
        let joined = self.app.ask(&self.app.rooms, key, Some(self.peer.ip()), join).await;
        let error = match joined {
            Ok(Ok(())) => return found,
            Ok(Err(full)) => ApiError::from(full),
            Err(error) => error,
        };
        if let Some(room) = found {
            // Nobody knows whether it was let in after all.
            tell_leave(&room, self.id).await;
        }
        self.answer.error(&error);
        None
    }
}

impl Topic {
    /// Leaves the room, once the join is done.
    async fn leave(&self) {
        if let Some(room) = self.room.wait().await {
            tell_leave(room, self.id).await;
        }
    }
}

/// Tells a room that a member has gone; again, while its mailbox is full.
async fn tell_leave(room: &RoomRef, id: MemberId) {
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
        self.outbox.answer(frame::encode(join_ref, reference, &self.topic, event, payload));
    }
}
