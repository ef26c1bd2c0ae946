//! A process that does whatever a test hands it, and tells what it hears.

use std::pin::Pin;
use std::sync::Arc;

use innkeeper::{
    ChildSpec, Context, Down, ExitReason, Incarnation, LinkExit, Message, Process, ProcessRef,
    ReplyTo, StartError,
};
use tokio::sync::mpsc::{self, error::TrySendError};

type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something for a [`Script`] to do in its handler.
pub(crate) type Act =
    Box<dyn for<'a> FnOnce(&'a mut Script, &'a mut Context<Script>) -> Later<'a, ()> + Send>;

type Init =
    dyn for<'a> Fn(&'a mut Context<Script>) -> Later<'a, Result<(), StartError>> + Send + Sync;

/// What a script hears, in the order it does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Init(Incarnation),
    Beat(u64),
    Down(Down),
    LinkExit(LinkExit),
    Idle,
    Terminate(ExitReason),
    Dropped,
}

/// Where all scripts of one test tell what they hear.
pub(crate) struct Log {
    pub(crate) sender: mpsc::Sender<Heard>,
    receiver: mpsc::Receiver<Heard>,
}

impl Log {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(10_000);
        Log { sender, receiver }
    }

    /// The next thing heard.
    pub(crate) async fn next(&mut self) -> Heard {
        super::soon(self.receiver.recv()).await.expect("the log is open")
    }

    /// What was heard so far.
    pub(crate) fn so_far(&mut self) -> Vec<Heard> {
        std::iter::from_fn(|| self.receiver.try_recv().ok()).collect()
    }

    /// The next thing heard that is wanted; all before it is thrown away.
    pub(crate) async fn find<T>(&mut self, mut wanted: impl FnMut(Heard) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.next().await) {
                return found;
            }
        }
    }

    pub(crate) async fn down(&mut self) -> Down {
        let down = |heard| if let Heard::Down(down) = heard { Some(down) } else { None };
        self.find(down).await
    }
}

/// How a script starts.
#[derive(Clone)]
pub(crate) struct Told {
    log: mpsc::Sender<Heard>,
    init: Option<Arc<Init>>,
    keep_when_idle: bool,
}

impl Told {
    /// What it does in `init`.
    pub(crate) fn init(
        mut self,
        init: impl for<'a> Fn(&'a mut Context<Script>) -> Later<'a, Result<(), StartError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.init = Some(Arc::new(init));
        self
    }

    /// Answers `false` when it is asked whether it may go.
    pub(crate) fn keep_when_idle(mut self) -> Self {
        self.keep_when_idle = true;
        self
    }
}

/// A plan that only logs.
pub(crate) fn plan(log: &Log) -> Told {
    Told { log: log.sender.clone(), init: None, keep_when_idle: false }
}

/// Does as it is told.
pub(crate) struct Script {
    told: Told,
    /// Whatever a test wants to keep in a state.
    pub(crate) kept: Vec<Box<dyn std::any::Any + Send>>,
}

impl Script {
    pub(crate) fn say(&self, heard: Heard) {
        let full = matches!(self.told.log.try_send(heard), Err(TrySendError::Full(_)));
        assert!(!full, "the log is too small");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // The test may be over.
        let _ = self.told.log.try_send(Heard::Dropped);
    }
}

pub(crate) enum Order {
    Act(Act),
    Beat(u64),
    /// Keeps the place of the answer and everything else of the call.
    Keep,
    /// Answers what it kept.
    AnswerKept,
}

impl Message for Order {
    type Reply = u64;
}

/// An order to do something.
pub(crate) fn act<F>(act: F) -> Order
where
    F: for<'a> FnOnce(&'a mut Script, &'a mut Context<Script>) -> Later<'a, ()> + Send + 'static,
{
    Order::Act(Box::new(act))
}

impl Process for Script {
    type Args = Told;
    type Message = Order;

    async fn init(told: &Told, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let _ = told.log.try_send(Heard::Init(ctx.incarnation()));
        if let Some(init) = &told.init {
            init(ctx).await?;
        }
        Ok(Script { told: told.clone(), kept: Vec::new() })
    }

    async fn handle(&mut self, order: Order, reply: ReplyTo<Order>, ctx: &mut Context<Self>) {
        match order {
            Order::Act(act) => {
                act(self, ctx).await;
                reply.send(0);
            }
            Order::Beat(number) => {
                self.say(Heard::Beat(number));
                reply.send(number);
            }
            Order::Keep => self.kept.push(Box::new(reply)),
            Order::AnswerKept => {
                for kept in self.kept.drain(..) {
                    if let Ok(reply) = kept.downcast::<ReplyTo<Order>>() {
                        reply.send(7);
                    }
                }
                reply.send(0);
            }
        }
    }

    async fn down(&mut self, down: Down, _: &mut Context<Self>) {
        self.say(Heard::Down(down));
    }

    async fn link_exit(&mut self, exit: LinkExit, _: &mut Context<Self>) {
        self.say(Heard::LinkExit(exit));
    }

    async fn idle(&mut self, _: &mut Context<Self>) -> bool {
        self.say(Heard::Idle);
        !self.told.keep_when_idle
    }

    async fn terminate(&mut self, why: &ExitReason, _: &mut Context<Self>) {
        self.say(Heard::Terminate(why.clone()));
    }
}

/// A script that nobody supervises.
pub(crate) async fn script(log: &Log) -> ProcessRef<Order> {
    scripted(plan(log)).await
}

pub(crate) async fn scripted(told: Told) -> ProcessRef<Order> {
    innkeeper::start::<Script>(told, ChildSpec::new()).await.unwrap()
}

/// Has a script do something, and waits until it is done.
pub(crate) async fn tell<F>(script: &ProcessRef<Order>, what: F)
where
    F: for<'a> FnOnce(&'a mut Script, &'a mut Context<Script>) -> Later<'a, ()> + Send + 'static,
{
    script.call(act(what)).await.unwrap();
}
