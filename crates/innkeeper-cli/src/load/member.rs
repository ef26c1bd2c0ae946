//! One member: comes in, says what is due, and checks everything that is said.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::door::{Door, Socket};
use super::tokens::Guest;
use super::{Phase, Room, SETTLE, Shared};
use crate::clock;

/// How long whoever is refused for coming too fast waits before it comes again.
const AGAIN: Duration = Duration::from_millis(250);

/// How often a member that has heard all looks whether the others have, too.
const LOOK: Duration = Duration::from_millis(20);

/// What a member is to do.
pub(super) struct Plan {
    pub(super) guest: Guest,
    pub(super) door: Arc<Door>,
    pub(super) room: Arc<Room>,
    pub(super) shared: Arc<Shared>,
    /// Between two messages of its own.
    pub(super) every: Duration,
    /// From the beginning of the talk to its first one.
    pub(super) first: Duration,
}

/// What a member has to tell at the end.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) room: String,
    pub(super) incarnation: String,
    /// The number of the last message there was when it came in, and of the last it heard.
    pub(super) from: u64,
    pub(super) to: u64,
    /// The highest number that anybody in the room was answered.
    pub(super) answered: u64,
    pub(super) sent: u64,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) broken: Vec<String>,
    /// Microseconds from when it was due until its sender was answered, and until it was heard.
    pub(super) replies: Histogram<u64>,
    pub(super) deliveries: Histogram<u64>,
}

/// A frame: join_ref, ref, topic, event, payload.
#[derive(Deserialize)]
struct Frame(IgnoredAny, Option<String>, IgnoredAny, String, Value);

struct Member {
    socket: Socket,
    plan: Plan,
    topic: String,
    heard: Heard,
    /// What was said and not answered: when it was due.
    open: HashMap<u64, Instant>,
    began: Option<Instant>,
    is_talking: bool,
}

/// # Errors
/// What went wrong with its connection, in words.
pub(super) async fn run(plan: Plan, phase: watch::Receiver<Phase>) -> Result<Heard, String> {
    let mut member = Member::connect(plan).await?;
    member.join().await?;
    member.plan.shared.joined.fetch_add(1, Ordering::Release);
    member.talk(phase).await?;
    let answered = member.plan.room.answered.load(Ordering::Acquire);
    let _ = member.socket.close(None).await;
    Ok(Heard { answered, ..member.heard })
}

/// From a microsecond to a minute and more, in three digits.
fn histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_max(100_000_000, 3).map_err(|error| error.to_string())
}

impl Member {
    async fn connect(plan: Plan) -> Result<Member, String> {
        let socket = plan.door.open(&plan.guest).await;
        let socket = socket.map_err(|failure| failure.what().to_owned())?;
        let heard = Heard {
            room: plan.room.key.to_string(),
            incarnation: String::new(),
            from: 0,
            to: 0,
            answered: 0,
            sent: 0,
            refused: BTreeMap::new(),
            broken: Vec::new(),
            replies: histogram()?,
            deliveries: histogram()?,
        };
        let topic = format!("room:{}", plan.room.key);
        let (open, began) = (HashMap::new(), None);
        Ok(Member { socket, plan, topic, heard, open, began, is_talking: true })
    }

    async fn push(&mut self, reference: &str, event: &str, payload: Value) -> Result<(), String> {
        let frame = json!(["0", reference, self.topic, event, payload]);
        let sent = self.socket.send(Message::text(frame.to_string())).await;
        sent.map_err(|error| format!("{}: {error}", self.plan.door.address))
    }

    async fn hear(&mut self) -> Result<Frame, String> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let read = serde_json::from_str(&text);
                    return read.map_err(|error| format!("a frame makes no sense: {error}"));
                }
                Some(Ok(Message::Close(frame))) => {
                    let why = frame.map_or("without a code".to_owned(), |at| at.code.to_string());
                    return Err(format!("the server closed: {why}"));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(format!("{}: {error}", self.plan.door.address)),
                None => return Err("the server hung up".to_owned()),
            }
        }
    }

    async fn join(&mut self) -> Result<(), String> {
        loop {
            self.push("join", "phx_join", json!({})).await?;
            let reply = loop {
                let Frame(_, reference, _, event, payload) = self.hear().await?;
                if event == "phx_reply" && reference.as_deref() == Some("join") {
                    break payload;
                }
            };
            let response = &reply["response"];
            if reply["status"] == "ok" {
                self.heard.incarnation = text(&response["incarnation"]);
                let history = response["history"].as_array().and_then(|lines| lines.last());
                self.heard.from = history.and_then(|line| line["seq"].as_u64()).unwrap_or(0);
                self.heard.to = self.heard.from;
                return Ok(());
            }
            if response["code"] != "rate_limited" {
                return Err(format!("could not join: {}", text(&response["message"])));
            }
            sleep(AGAIN).await;
        }
    }

    async fn talk(&mut self, mut phase: watch::Receiver<Phase>) -> Result<(), String> {
        // Moved on to whatever is next: a message that is due, a phase, the end.
        let mut due: Option<Instant> = None;
        let mut deadline: Option<Instant> = None;
        loop {
            let now = *phase.borrow_and_update();
            match now {
                Phase::ComeIn => {}
                Phase::Talk(began) => {
                    self.began = Some(began);
                    due = due.or(Some(began + self.plan.first));
                }
                Phase::Settle => {
                    due = None;
                    let end = *deadline.get_or_insert_with(|| clock::now() + SETTLE);
                    if self.has_heard_all() || clock::now() > end {
                        return Ok(());
                    }
                }
            }
            let wake = due.or(deadline.map(|_| clock::now() + LOOK));
            tokio::select! {
                frame = self.hear() => { let frame = frame?; self.take(&frame); }
                changed = phase.changed() => changed.map_err(|_| "given up".to_owned())?,
                () = at(wake) => if let Some(at) = due {
                    self.say(at).await?;
                    due = Some(at + self.plan.every);
                },
            }
        }
    }

    /// Whether nothing more can come: everybody in the room is answered, and all was heard.
    fn has_heard_all(&mut self) -> bool {
        let room = &self.plan.room;
        if self.is_talking && self.open.is_empty() {
            self.is_talking = false;
            room.talking.fetch_sub(1, Ordering::AcqRel);
        }
        room.talking.load(Ordering::Acquire) == 0
            && self.heard.to >= room.answered.load(Ordering::Acquire)
    }

    /// Says something that was due at an instant. What comes late counts from there: a server that
    /// stalls is not to slow down those who measure it.
    async fn say(&mut self, due: Instant) -> Result<(), String> {
        self.heard.sent += 1;
        let n = self.heard.sent;
        self.open.insert(n, due);
        let micros = self.began.map_or(0, |began| (due - began).as_micros());
        self.push(&n.to_string(), "say", json!({ "text": format!("due {micros}") })).await
    }

    fn take(&mut self, frame: &Frame) {
        let Frame(_, reference, _, event, payload) = frame;
        match event.as_str() {
            "phx_reply" => self.answered(reference.as_deref(), payload),
            "said" => self.said(payload),
            "phx_error" | "phx_close" => {
                self.heard.broken.push(format!("the room ended: {event} {payload}"));
            }
            _ => {}
        }
    }

    fn answered(&mut self, reference: Option<&str>, payload: &Value) {
        let number = reference.and_then(|reference| reference.parse().ok());
        let Some(due) = number.and_then(|number: u64| self.open.remove(&number)) else { return };
        self.heard.replies.saturating_record(due.elapsed().as_micros() as u64);
        match payload["response"]["seq"].as_u64() {
            Some(seq) if payload["status"] == "ok" => {
                self.plan.room.answered.fetch_max(seq, Ordering::AcqRel);
            }
            _ => *self.heard.refused.entry(text(&payload["response"]["code"])).or_default() += 1,
        }
    }

    fn said(&mut self, payload: &Value) {
        let seq = payload["seq"].as_u64().unwrap_or(0);
        if seq != self.heard.to + 1 {
            self.heard.broken.push(format!("message {seq} came after {}", self.heard.to));
        }
        self.heard.to = seq;
        self.plan.shared.delivered.fetch_add(1, Ordering::Relaxed);
        let micros = payload["text"].as_str().and_then(|text| text.strip_prefix("due "));
        if let (Some(began), Some(Ok(micros))) = (self.began, micros.map(str::parse)) {
            let due = began + Duration::from_micros(micros);
            self.heard.deliveries.saturating_record(due.elapsed().as_micros() as u64);
        }
    }
}

/// At an instant; never, if there is none.
async fn at(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
