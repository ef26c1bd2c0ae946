//! A process whose every step is a closure of the test, and what tests of the holes share.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use innkeeper::testing::{Alive, Census};
use innkeeper::{
    ChildSpec, Context, Event, ExitReason, Key, Keyed, KeyedBuilder, Message, Process, ProcessRef,
    ReplyTo, RestartBudget, StartError, Supervisor, What,
};
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast};
use tokio::task::{JoinHandle, yield_now};

/// A step of a script.
pub(crate) type Step<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type Init<K> = Arc<dyn Fn(K, u64) -> Step<Result<(), StartError>> + Send + Sync>;
type Task<K> = Arc<dyn Fn(K) -> Step<()> + Send + Sync>;
type End<K> = Arc<dyn Fn(K) -> Step<()> + Send + Sync>;

/// What all processes of one scope do.
#[derive(Clone)]
pub(crate) struct Script<K: Key> {
    pub(crate) census: Census<K>,
    runs: Arc<AtomicU64>,
    init: Init<K>,
    task: Option<Task<K>>,
    end: End<K>,
}

impl<K: Key> Script<K> {
    /// A script in which nothing happens.
    pub(crate) fn new() -> Self {
        Script {
            census: Census::new(),
            runs: Arc::default(),
            init: Arc::new(|_, _| Box::pin(async { Ok(()) })),
            task: None,
            end: Arc::new(|_| Box::pin(async {})),
        }
    }

    /// What `init` does, given the key and how many runs there were before this one.
    pub(crate) fn init<F>(mut self, init: impl Fn(K, u64) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), StartError>> + Send + 'static,
    {
        self.init = Arc::new(move |key, run| Box::pin(init(key, run)));
        self
    }

    /// What a task beside each process does.
    pub(crate) fn tasks<F>(mut self, task: impl Fn(K) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.task = Some(Arc::new(move |key| Box::pin(task(key))));
        self
    }

    /// What `terminate` does.
    pub(crate) fn end<F>(mut self, end: impl Fn(K) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.end = Arc::new(move |key| Box::pin(end(key)));
        self
    }

    pub(crate) fn builder(&self, spec: ChildSpec) -> KeyedBuilder<K, Scripted<K>> {
        let script = self.clone();
        Keyed::with_args(spec, move |key: &K| (key.clone(), script.clone()))
    }

    /// A scope of such processes under a supervisor of its own.
    pub(crate) async fn open(&self, spec: ChildSpec) -> Keyed<K, Scripted<K>> {
        let supervisor = Supervisor::new().start().await.unwrap();
        self.builder(spec).start(&supervisor).await.unwrap()
    }
}

/// A process that follows a script.
pub(crate) struct Scripted<K: Key> {
    key: K,
    script: Script<K>,
    run: u64,
    _alive: Alive,
}

/// What can be said to it.
pub(crate) enum Tell {
    /// Answers which run of the scope this is, from 0 on.
    Run,
    /// Ends in order.
    Stop(ExitReason),
    Panic,
}

impl Message for Tell {
    type Reply = u64;
}

impl<K: Key> Process for Scripted<K> {
    type Args = (K, Script<K>);
    type Message = Tell;

    async fn init(
        (key, script): &(K, Script<K>),
        ctx: &mut Context<Self>,
    ) -> Result<Self, StartError> {
        let alive = script.census.enter(key.clone());
        let run = script.runs.fetch_add(1, Ordering::SeqCst);
        (script.init)(key.clone(), run).await?;
        if let Some(task) = &script.task {
            ctx.spawn(task(key.clone()));
        }
        Ok(Scripted { key: key.clone(), script: script.clone(), run, _alive: alive })
    }

    async fn handle(&mut self, tell: Tell, reply: ReplyTo<Tell>, ctx: &mut Context<Self>) {
        match tell {
            Tell::Run => reply.send(self.run),
            Tell::Stop(reason) => {
                ctx.stop(reason);
                reply.send(self.run);
            }
            Tell::Panic => panic!("told to panic"),
        }
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        (self.script.end)(self.key.clone()).await;
    }
}

/// A process that knows its arguments and nothing else.
pub(crate) struct Echo<A>(A);

/// Asks for the arguments.
pub(crate) struct Ask<A>(PhantomData<fn() -> A>);

pub(crate) fn ask<A>() -> Ask<A> {
    Ask(PhantomData)
}

impl<A: Send + 'static> Message for Ask<A> {
    type Reply = A;
}

impl<A: Clone + Send + Sync + 'static> Process for Echo<A> {
    type Args = A;
    type Message = Ask<A>;

    async fn init(args: &A, _: &mut Context<Self>) -> Result<Self, StartError> {
        Ok(Echo(args.clone()))
    }

    async fn handle(&mut self, _: Ask<A>, reply: ReplyTo<Ask<A>>, _: &mut Context<Self>) {
        reply.send(self.0.clone());
    }
}

/// Crashes the child that holds it, whichever incarnation that is; after others that were started
/// before it, it tells that their supervisor is there again.
#[derive(Clone, Default)]
pub(crate) struct Fuse(Arc<(Notify, Notify)>);

impl Fuse {
    /// A supervisor under `root` that ends, and is restarted, each time the fuse blows.
    pub(crate) async fn supervisor(root: &Supervisor) -> Supervisor {
        let never = RestartBudget::new(0, Duration::from_secs(1));
        let inner = Supervisor::new().name("inner").restart_budget(never);
        root.start_supervisor(inner).await.unwrap()
    }

    /// Puts the fuse in, after the children that the supervisor has.
    pub(crate) async fn put_in(supervisor: &Supervisor) -> Fuse {
        let fuse = Fuse::default();
        let spec = ChildSpec::new();
        supervisor.start_child::<Fused>("fuse", fuse.clone(), spec).await.unwrap();
        fuse.up().await;
        fuse
    }

    pub(crate) fn blow(&self) {
        self.0.0.notify_one();
    }

    /// Waits until all children are there again.
    pub(crate) async fn up(&self) {
        self.0.1.notified().await;
    }
}

pub(crate) struct Fused;

impl Process for Fused {
    type Args = Fuse;
    type Message = Ask<()>;

    async fn init(fuse: &Fuse, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let blown = fuse.clone();
        ctx.spawn(async move {
            blown.0.0.notified().await;
            panic!("the fuse blows");
        });
        fuse.0.1.notify_one();
        Ok(Fused)
    }

    async fn handle(&mut self, _: Ask<()>, _: ReplyTo<Ask<()>>, _: &mut Context<Self>) {}
}

/// Runs a task beside the test.
pub(crate) fn aside<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    Handle::current().spawn(task)
}

/// The process of a key, started if need be.
pub(crate) async fn get<K: Key, P: Process>(
    rooms: &Keyed<K, P>,
    key: impl Into<K>,
) -> ProcessRef<P::Message> {
    rooms.get_or_start(&key.into()).await.unwrap().process().unwrap()
}

/// Polls once: what is there at once?
pub(crate) async fn at_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Gives everybody else many turns, during which `future` must not be done.
pub(crate) async fn still_waits<F: Future + Unpin>(future: &mut F) {
    for _ in 0..100 {
        assert!(at_once(&mut *future).await.is_none(), "it was done too early");
        yield_now().await;
    }
}

/// Waits for an event that `wanted` picks.
pub(crate) async fn hears<K: Key>(
    events: &mut broadcast::Receiver<Event<K>>,
    mut wanted: impl FnMut(&What) -> bool,
) -> Event<K> {
    loop {
        let event = events.recv().await.unwrap();
        if wanted(&event.what) {
            return event;
        }
    }
}
