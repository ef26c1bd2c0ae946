//! A room: numbers what is said, remembers the last of it, and passes it to everybody in it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use innkeeper::{Context, ExitReason, StartError, Subscriber, process};
use innkeeper_api::{Line, MemberInfo, MembersPage, RoomKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::channels::frame::{self, Reply};
use crate::channels::outbox::By;
use crate::channels::presence::{Diff, Meta, Users};
use crate::channels::seat::Heard;
use crate::channels::session;
use crate::clock;
use crate::limits;

/// What a room is started with.
pub(crate) struct RoomArgs {
    pub(crate) key: RoomKey,
    pub(crate) node: Arc<str>,
    pub(crate) max_members: usize,
}

/// What others see of a room without asking it, on other nodes too.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Gauge {
    members: AtomicU64,
    messages: AtomicU64,
}

impl Gauge {
    pub(crate) fn members(&self) -> u64 {
        self.members.load(Ordering::Relaxed)
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }
}

/// One join of one socket, of whichever node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct MemberId(u64);

impl MemberId {
    pub(crate) fn next() -> Self {
        // Every node begins somewhere else.
        static NEXT: LazyLock<AtomicU64> =
            LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(())));
        MemberId(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// What clients are told that it is.
    fn phx_ref(self) -> String {
        format!("{:x}", self.0)
    }

    fn of(phx_ref: &str) -> Option<MemberId> {
        u64::from_str_radix(phx_ref, 16).ok().map(MemberId)
    }
}

/// Who wants to join, and where what is said goes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Joining {
    pub(crate) id: MemberId,
    pub(crate) user: Arc<str>,
    /// The node that its socket is at.
    pub(crate) node: Arc<str>,
    /// The reference of the join, and of the push that asks for it.
    pub(crate) join_ref: Option<String>,
    pub(crate) reference: Option<String>,
    #[serde(with = "innkeeper_cluster::subscriber")]
    pub(crate) seat: Subscriber<Heard>,
}

/// Why somebody cannot join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoomFull {
    pub(crate) max: usize,
}

/// Whoever speaks is not in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotJoined;

pub(crate) struct Room {
    topic: Arc<str>,
    key: RoomKey,
    node: Arc<str>,
    incarnation: String,
    max_members: usize,
    seq: u64,
    /// The last lines, each as the JSON that members were sent.
    history: VecDeque<Box<RawValue>>,
    members: Members,
    users: Users,
    diff: Diff,
    /// Who has not been told yet who is there, by the reference of the join.
    newcomers: HashMap<MemberId, Option<String>>,
    gauge: Arc<Gauge>,
}

/// Those in the room. Whoever is still here when the room ends is told so.
#[derive(Default)]
struct Members {
    all: HashMap<MemberId, Member>,
    /// The room ends in order: its members are not to come back by themselves.
    closing: bool,
}

struct Member {
    user: Arc<str>,
    node: Arc<str>,
    phx_ref: String,
    seat: Subscriber<Heard>,
}

/// The answer to a join.
#[derive(Serialize)]
struct Welcome<'a> {
    room: &'a RoomKey,
    incarnation: &'a str,
    epoch: u64,
    node: &'a str,
    history: &'a VecDeque<Box<RawValue>>,
}

/// What a room takes along to another node: the members follow by themselves.
#[derive(Default, Serialize, Deserialize)]
struct Luggage {
    seq: u64,
    history: VecDeque<Box<RawValue>>,
}

#[process(remote, exposes = Gauge)]
impl Room {
    async fn init(args: &RoomArgs, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let gauge = Arc::new(Gauge::default());
        ctx.expose(gauge.clone());
        let Luggage { seq, history } = match ctx.handed() {
            Some(packed) => serde_json::from_slice(&packed).map_err(StartError::failed)?,
            None => Luggage::default(),
        };
        gauge.messages.store(seq, Ordering::Relaxed);
        Ok(Room {
            topic: format!("room:{}", args.key).into(),
            key: args.key.clone(),
            node: args.node.clone(),
            incarnation: ctx.incarnation().to_string(),
            max_members: args.max_members,
            seq,
            history,
            members: Members::default(),
            users: Users::default(),
            diff: Diff::default(),
            newcomers: HashMap::new(),
            gauge,
        })
    }

    /// Lets somebody in. The reply frame is told here: nothing said later can come before it.
    #[call]
    pub(crate) fn join(
        &mut self,
        joining: Joining,
        ctx: &mut Context<Self>,
    ) -> Result<(), RoomFull> {
        if self.members.all.len() >= self.max_members {
            return Err(RoomFull { max: self.max_members });
        }
        let Joining { id, user, node, join_ref, reference, seat } = joining;
        let meta = Meta { phx_ref: id.phx_ref(), online_at: clock::stamp() };
        let welcome = Reply::ok(Welcome {
            room: &self.key,
            incarnation: &self.incarnation,
            epoch: ctx.epoch(),
            node: &self.node,
            history: &self.history,
        });
        let (join, reference) = (join_ref.as_deref(), reference.as_deref());
        let reply = frame::encode(join, reference, &self.topic, "phx_reply", &welcome);
        // Who is gone already is found out when it is next told something.
        let _ = ctx.push(&seat, Heard::Owed(reply));
        self.changed(ctx);
        self.users.add(&user, meta.clone());
        self.diff.joined(&user, meta.clone());
        self.newcomers.insert(id, join_ref);
        if seat.is_distant() {
            // Nobody tells this room if that node is no more.
            let (seat, room) = (seat.clone(), ctx.process());
            ctx.spawn(async move {
                seat.over().await;
                session::tell_leave(&room, id).await;
            });
        }
        self.members.all.insert(id, Member { user, node, phx_ref: meta.phx_ref, seat });
        self.note_members();
        Ok(())
    }

    /// Lets somebody go who does not wait for it.
    #[cast]
    pub(crate) fn leave(&mut self, id: MemberId, ctx: &mut Context<Self>) {
        self.remove(id, ctx);
    }

    /// Lets somebody go; once it is answered, nothing more is put into the outbox.
    #[call]
    pub(crate) fn let_go(&mut self, id: MemberId, ctx: &mut Context<Self>) {
        self.remove(id, ctx);
    }

    /// A member says something.
    #[call]
    pub(crate) fn say(
        &mut self,
        id: MemberId,
        text: String,
        ctx: &mut Context<Self>,
    ) -> Result<u64, NotJoined> {
        let user = self.members.all.get(&id).ok_or(NotJoined)?.user.clone();
        Ok(self.tell_all(&user, text, ctx))
    }

    /// Somebody says something who need not be in the room.
    #[call]
    pub(crate) fn post(&mut self, user: String, text: String, ctx: &mut Context<Self>) -> u64 {
        self.tell_all(&user, text, ctx)
    }

    /// Tells everybody who has come and gone, and those who have come who is there. One of these is
    /// under way while there is something to tell, behind what waits already: many joins make
    /// one change and one list.
    #[cast]
    pub(crate) fn tell_changes(&mut self, ctx: &mut Context<Self>) {
        let (diff, newcomers) = (take(&mut self.diff), take(&mut self.newcomers));
        let frame = frame::encode(None, None, &self.topic, "presence_diff", &diff);
        self.pass_on(&frame, |id| !newcomers.contains_key(id), ctx);
        let list = frame::tail(&self.users);
        for (id, join_ref) in newcomers {
            let Some(member) = self.members.all.get(&id) else { continue };
            let head = frame::head(join_ref.as_deref(), &self.topic, "presence_state", &list);
            if ctx.push(&member.seat, Heard::List(head, list.clone())).is_err() {
                self.remove(id, ctx);
            }
        }
    }

    /// Who is in it: the first of them, by name. Only asked by who looks at this room.
    #[call]
    pub(crate) fn roster(&mut self) -> MembersPage {
        let named = self.users.iter().take(limits::MEMBERS_NAMED);
        let members = named.map(|(user, metas)| MemberInfo {
            user: user.to_owned(),
            since: metas.iter().map(|meta| meta.online_at.clone()).min().unwrap_or_default(),
            connections: metas.len() as u64,
            nodes: self.nodes_of(metas),
        });
        MembersPage { members: members.collect(), count: self.users.len() as u64 }
    }

    async fn idle(&mut self) -> bool {
        self.members.all.is_empty()
    }

    /// The room goes on at another node; its members are told to join again.
    async fn on_handoff(&mut self) -> Option<Vec<u8>> {
        let history = take(&mut self.history);
        // Numbers and JSON can always be written as JSON.
        serde_json::to_vec(&Luggage { seq: self.seq, history }).ok()
    }

    async fn terminate(&mut self, why: &ExitReason) {
        self.members.closing = !why.is_abnormal();
    }

    fn tell_all(&mut self, user: &str, text: String, ctx: &mut Context<Self>) -> u64 {
        self.seq += 1;
        let line = Line { seq: self.seq, from: user.to_owned(), text, at: clock::stamp() };
        // Numbers and text can always be written as JSON.
        let line = serde_json::value::to_raw_value(&line).unwrap_or_default();
        let frame = frame::encode(None, None, &self.topic, "said", &line);
        if self.history.len() == limits::HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(line);
        self.gauge.messages.store(self.seq, Ordering::Relaxed);
        self.pass_on(&frame, |_| true, ctx);
        self.seq
    }

    /// Passes a frame to everybody whom it concerns, the same bytes; drops those who are too slow
    /// for it.
    fn pass_on(
        &mut self,
        frame: &Bytes,
        concerns: impl Fn(&MemberId) -> bool,
        ctx: &mut Context<Self>,
    ) {
        let mut gone = Vec::new();
        let members = self.members.all.iter().filter(|(id, _)| concerns(id));
        for (n, (id, member)) in members.enumerate() {
            // On another node each member is told by a task of its own. And all by the same words:
            // those go there once.
            let by_caller = n < limits::WRITTEN_BY_ROOM || member.seat.is_distant();
            let by = if by_caller { By::Caller } else { By::Task };
            if ctx.push(&member.seat, Heard::Said(frame.clone(), by)).is_err() {
                gone.push(*id);
            }
        }
        for id in gone {
            self.remove(id, ctx);
        }
    }

    fn remove(&mut self, id: MemberId, ctx: &mut Context<Self>) {
        let Some(member) = self.members.all.remove(&id) else { return };
        if let Some(meta) = self.users.remove(&member.user, &member.phx_ref) {
            self.changed(ctx);
            self.diff.left(&member.user, meta);
        }
        self.note_members();
    }

    /// Before the first change since the last diff: has the next diff sent. The more there are to
    /// hear it, the more changes it may have to wait for.
    fn changed(&mut self, ctx: &mut Context<Self>) {
        if !self.diff.is_empty() {
            return;
        }
        let mut wait = limits::presence_wait(self.members.all.len());
        if wait.is_zero() {
            if ctx.process().cast(RoomMessage::TellChanges {}).send().is_ok() {
                return;
            }
            // The mailbox is full: a moment later, then.
            wait = limits::PRESENCE_RETRY;
        }
        let _ = ctx.send_after(wait, RoomMessage::TellChanges {});
    }

    /// The nodes that these connections came to, each once.
    fn nodes_of(&self, metas: &[Meta]) -> Vec<String> {
        let of = |meta: &Meta| self.members.all.get(&MemberId::of(&meta.phx_ref)?);
        let nodes = metas.iter().filter_map(of).map(|member| &*member.node);
        nodes.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
    }

    fn note_members(&self) {
        self.gauge.members.store(self.members.all.len() as u64, Ordering::Relaxed);
    }
}

impl Drop for Members {
    /// Runs however the room ends, by a panic too.
    fn drop(&mut self) {
        let why = if self.closing { ExitReason::Normal } else { ExitReason::Killed };
        for member in self.all.values() {
            member.seat.end(why.clone());
        }
    }
}
