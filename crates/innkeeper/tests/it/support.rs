//! A room whose every step a test can hold, fail or count, and a process that does as it is told.

mod script;

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use innkeeper::testing::{Alive, Census};
use innkeeper::{
    ChildSpec, Context, ExitReason, Keyed, KeyedBuilder, Message, Process, ProcessRef, ReplyTo,
    Restart, Shutdown, StartError, Supervisor,
};
use tokio::sync::Notify;

pub(crate) use script::{Heard, Log, Order, Script, Told, act, plan, script, scripted, tell};

/// A key of the tests: short to write.
pub(crate) type Key = String;

pub(crate) fn key(name: &str) -> Key {
    name.to_owned()
}

/// What the `init` of a room does.
#[derive(Clone, Default)]
pub(crate) enum InitPlan {
    #[default]
    Ok,
    /// Says that it is there, then waits to be let go.
    Hold(Gate),
    /// As `Hold`, and then as the other plan.
    HoldThen(Gate, Box<InitPlan>),
    Fail(&'static str),
    Decline,
    Panic,
    /// Blocks its thread until let go: code that never yields.
    Block(Gate),
    /// Looks for this key first, from within.
    Ask(Key),
}

/// What the `terminate` of a room does.
#[derive(Clone, Default)]
pub(crate) enum EndPlan {
    #[default]
    Ok,
    Hold(Gate),
    Panic,
    Block(Gate),
    /// Ends in order; the state panics when it is dropped.
    PanicInDrop,
}

/// Two meetings: somebody is here; you may go on.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<GateInner>);

#[derive(Default)]
struct GateInner {
    here: Notify,
    go: Notify,
    open: AtomicBool,
}

impl Gate {
    /// Waits until somebody holds here.
    pub(crate) async fn reached(&self) {
        self.0.here.notified().await;
    }

    /// Lets all go on, those who come later too.
    pub(crate) fn open(&self) {
        self.0.open.store(true, Ordering::SeqCst);
        self.0.go.notify_waiters();
    }

    pub(crate) async fn hold(&self) {
        let go = self.0.go.notified();
        tokio::pin!(go);
        go.as_mut().enable();
        self.0.here.notify_one();
        if !self.0.open.load(Ordering::SeqCst) {
            go.await;
        }
    }

    /// Holds the thread: for code that never yields.
    pub(crate) fn block(&self) {
        self.0.here.notify_one();
        while !self.0.open.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What the rooms of one test share.
#[derive(Clone, Default)]
pub(crate) struct House {
    pub(crate) census: Census<Key>,
    plans: Arc<Mutex<HashMap<Key, (InitPlan, EndPlan)>>>,
    pub(crate) rooms: Arc<Mutex<Option<Keyed<Key, Room>>>>,
    pub(crate) ended: Arc<Mutex<Vec<(Key, ExitReason)>>>,
}

impl House {
    pub(crate) fn new() -> Self {
        House::default()
    }

    pub(crate) fn plan_init(&self, name: &str, plan: InitPlan) {
        self.plans.lock().unwrap().entry(key(name)).or_default().0 = plan;
    }

    pub(crate) fn plan_end(&self, name: &str, plan: EndPlan) {
        self.plans.lock().unwrap().entry(key(name)).or_default().1 = plan;
    }

    pub(crate) fn planned_init(&self, name: &str) -> Option<InitPlan> {
        self.plans.lock().unwrap().get(name).map(|plans| plans.0.clone())
    }

    fn plan(&self, name: &str) -> (InitPlan, EndPlan) {
        self.plans.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn builder(&self, spec: ChildSpec) -> KeyedBuilder<Key, Room> {
        let house = self.clone();
        Keyed::with_args(spec, move |key: &Key| (key.clone(), house.clone()))
    }

    /// Opens a scope of rooms under a supervisor of its own.
    pub(crate) async fn open(&self, builder: KeyedBuilder<Key, Room>) -> Keyed<Key, Room> {
        let supervisor = Supervisor::new().start().await.unwrap();
        self.open_under(&supervisor, builder).await
    }

    pub(crate) async fn open_under(
        &self,
        supervisor: &Supervisor,
        builder: KeyedBuilder<Key, Room>,
    ) -> Keyed<Key, Room> {
        let rooms = builder.start(supervisor).await.unwrap();
        *self.rooms.lock().unwrap() = Some(rooms.clone());
        rooms
    }

    /// Transient rooms with everything else as it comes.
    pub(crate) async fn rooms(&self) -> Keyed<Key, Room> {
        self.open(self.builder(spec())).await
    }

    pub(crate) fn reasons(&self, name: &str) -> Vec<ExitReason> {
        let ended = self.ended.lock().unwrap();
        ended.iter().filter(|(key, _)| key == name).map(|(_, reason)| reason.clone()).collect()
    }
}

pub(crate) fn spec() -> ChildSpec {
    ChildSpec::new().restart(Restart::Transient).shutdown(Shutdown::Timeout(secs(5)))
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A room that counts, and does as it is told.
pub(crate) struct Room {
    key: Key,
    house: House,
    count: u64,
    seen: Vec<u64>,
    end: EndPlan,
    bomb: Option<Bomb>,
    _alive: Alive,
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("drop panics");
    }
}

pub(crate) enum Say {
    /// Adds, and answers the sum.
    Add(u64),
    /// Notes a number; answers nothing.
    Note(u64),
    /// Answers all numbers noted.
    Noted,
    Panic,
    Stop(ExitReason),
    StopIfIdle,
    /// Holds until let go.
    Hold(Gate),
    /// Never yields until let go.
    Block(Gate),
    /// Calls another key from within its handler, then answers 1 if that worked, 0 if it was a
    /// cycle, 2 otherwise.
    CallKey(Key),
    /// Stops a key from within its handler; answers as `CallKey`.
    StopKey(Key),
    /// Spawns this.
    Task(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Answers without ever replying.
    Forget,
    /// Counts that it was handled; answers nothing.
    Tally(Arc<AtomicU64>),
    /// Calls the first of these keys with the others; answers the most telling outcome of all, as
    /// `CallKey`.
    Chain(Vec<Key>),
    /// Stops every key there is; answers how many.
    StopAll,
}

/// As `verdict`, of a stop.
fn stop_verdict(stopped: &Result<(), innkeeper::StopError>) -> u64 {
    match stopped {
        Ok(()) => 1,
        Err(innkeeper::StopError::Cycle(_)) => 0,
        Err(_) => 2,
    }
}

/// Whether a wait was refused as a cycle (0), worked (1), or neither (2).
fn verdict<T>(outcome: Result<T, innkeeper::CallError<Say>>) -> u64 {
    match outcome {
        Ok(_) => 1,
        Err(innkeeper::CallError::NotDelivered {
            why: innkeeper::NotDelivered::Cycle(_), ..
        }) => 0,
        Err(_) => 2,
    }
}

#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Number(u64),
    Numbers(Vec<u64>),
}

impl Message for Say {
    type Reply = Said;
}

impl Process for Room {
    type Args = (Key, House);
    type Message = Say;

    async fn init(args: &(Key, House), ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let (key, house) = args.clone();
        let alive = house.census.enter(key.clone());
        let (mut init, end) = house.plan(&key);
        while let InitPlan::HoldThen(gate, then) = init {
            gate.hold().await;
            init = *then;
        }
        match init {
            InitPlan::Ok | InitPlan::HoldThen(..) => {}
            InitPlan::Hold(gate) => gate.hold().await,
            InitPlan::Fail(why) => return Err(StartError::failed(why)),
            InitPlan::Decline => return Err(StartError::ignore()),
            InitPlan::Panic => panic!("init panics"),
            InitPlan::Block(gate) => gate.block(),
            InitPlan::Ask(other) => {
                let rooms = house.rooms.lock().unwrap().clone().unwrap();
                let _ = rooms.get_or_start(&other).await?;
            }
        }
        let _ = ctx;
        Ok(Room { key, house, count: 0, seen: Vec::new(), end, bomb: None, _alive: alive })
    }

    async fn handle(&mut self, said: Say, reply: ReplyTo<Say>, ctx: &mut Context<Self>) {
        match said {
            Say::Add(more) => {
                self.count += more;
                reply.send(Said::Number(self.count));
            }
            Say::Note(number) => self.seen.push(number),
            Say::Noted => reply.send(Said::Numbers(self.seen.clone())),
            Say::Panic => panic!("told to panic"),
            Say::Stop(reason) => {
                ctx.stop(reason);
                reply.send(Said::Number(0));
            }
            Say::StopIfIdle => {
                ctx.stop_if_idle();
                reply.send(Said::Number(0));
            }
            Say::Hold(gate) => {
                gate.hold().await;
                reply.send(Said::Number(self.count));
            }
            Say::Block(gate) => {
                gate.block();
                reply.send(Said::Number(self.count));
            }
            Say::CallKey(other) => {
                let rooms = self.house.rooms.lock().unwrap().clone().unwrap();
                let outcome = rooms.via(&other).call(Say::Add(1)).await;
                reply.send(Said::Number(verdict(outcome)));
            }
            Say::StopKey(other) => {
                let rooms = self.house.rooms.lock().unwrap().clone().unwrap();
                reply.send(Said::Number(stop_verdict(&rooms.stop(&other).await)));
            }
            Say::Task(task) => {
                ctx.spawn(task);
                reply.send(Said::Number(0));
            }
            Say::Forget => drop(reply),
            Say::Tally(count) => {
                count.fetch_add(1, Ordering::SeqCst);
            }
            Say::Chain(keys) => {
                let Some((next, rest)) = keys.split_first() else {
                    return reply.send(Said::Number(1));
                };
                let rooms = self.house.rooms.lock().unwrap().clone().unwrap();
                let outcome = rooms.via(next).call(Say::Chain(rest.to_vec())).await;
                reply.send(match outcome {
                    Ok(said) => said,
                    other => Said::Number(verdict(other)),
                });
            }
            Say::StopAll => {
                let rooms = self.house.rooms.lock().unwrap().clone().unwrap();
                reply.send(Said::Number(rooms.stop_all().await as u64));
            }
        }
    }

    async fn terminate(&mut self, why: &ExitReason, _: &mut Context<Self>) {
        self.house.ended.lock().unwrap().push((self.key.clone(), why.clone()));
        match &self.end {
            EndPlan::Ok => {}
            EndPlan::Hold(gate) => gate.hold().await,
            EndPlan::Panic => panic!("terminate panics"),
            EndPlan::Block(gate) => gate.block(),
            EndPlan::PanicInDrop => self.bomb = Some(Bomb),
        }
    }
}

/// Adds through a reference and answers the sum.
pub(crate) async fn add(room: &ProcessRef<Say>, more: u64) -> u64 {
    match room.call(Say::Add(more)).await.unwrap() {
        Said::Number(sum) => sum,
        Said::Numbers(_) => unreachable!("Add answers a number"),
    }
}

pub(crate) async fn noted(room: &ProcessRef<Say>) -> Vec<u64> {
    match room.call(Say::Noted).await.unwrap() {
        Said::Numbers(numbers) => numbers,
        Said::Number(_) => unreachable!("Noted answers numbers"),
    }
}

/// Polls a condition by yielding, for what nothing announces. Bounded.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    // Other threads may be at work, on a busy machine: give them real time.
    for _ in 0..60_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(millis(1)).await;
    }
    panic!("did not come about");
}

/// Polls a future once, with the waker of the task that asks.
pub(crate) async fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Polls a future so many times, letting all others run in between, and drops it. Whether it was
/// done before that.
pub(crate) async fn dropped_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        if poll_once(&mut future).await.is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// Lets every other task of this thread run until none has anything to do.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Fails a test that would hang, in the time of its runtime.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    tokio::time::timeout(secs(3600), future.as_mut()).await.expect("it hangs")
}
