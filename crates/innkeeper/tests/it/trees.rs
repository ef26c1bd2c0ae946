//! Supervision trees of any shape, against a model of them: who runs, in what order they begin and
//! end (P8, P13).

mod model;

use std::sync::{Arc, Mutex};

use innkeeper::testing::{Alive, Census};
use innkeeper::{
    AutoShutdown, ChildSpec, Context, ExitReason, Message, Process, ProcessRef, ReplyTo, Restart,
    RestartBudget, StartError, StopError, Strategy, Supervisor, SupervisorBuilder, TreeNode,
    TreePage,
};
use proptest::prelude::{BoxedStrategy, Just, ProptestConfig, any, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

use self::model::{After, Below, Model, Node, Seen};
use crate::support::{millis, secs};

/// A leaf, which ends as it is told.
struct Leaf {
    number: usize,
    world: Arc<World>,
    _alive: Alive,
}

#[derive(Default)]
struct World {
    census: Census<usize>,
    fails: Mutex<Vec<u32>>,
    seen: Mutex<Vec<Seen>>,
    doors: Mutex<Vec<Option<ProcessRef<End>>>>,
}

impl World {
    fn see(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Crash,
    Normal,
}

impl Message for End {
    type Reply = ();
}

impl Process for Leaf {
    type Args = (usize, Arc<World>);
    type Message = End;

    async fn init(
        (number, world): &(usize, Arc<World>),
        ctx: &mut Context<Self>,
    ) -> Result<Self, StartError> {
        let alive = world.census.enter(*number);
        world.see(Seen::Begin(*number));
        let fails = world.fails.lock().unwrap()[*number];
        if fails > 0 {
            world.fails.lock().unwrap()[*number] = fails - 1;
            world.see(Seen::Fail(*number));
            return Err(StartError::failed("told to fail"));
        }
        world.doors.lock().unwrap()[*number] = Some(ctx.process());
        Ok(Leaf { number: *number, world: world.clone(), _alive: alive })
    }

    async fn handle(&mut self, end: End, _: ReplyTo<End>, ctx: &mut Context<Self>) {
        match end {
            End::Crash => ctx.stop(ExitReason::failed("told to")),
            End::Normal => ctx.stop(ExitReason::Normal),
        }
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        self.world.see(Seen::End(self.number));
    }
}

fn builder(node: &Node, world: &Arc<World>) -> SupervisorBuilder {
    let below = node.below.as_ref().unwrap();
    let mut builder = Supervisor::new()
        .name(node.number.to_string())
        .strategy(below.strategy)
        .auto_shutdown(below.auto)
        .restart_budget(RestartBudget::new(below.max, secs(1_000_000)).backoff(secs(0), secs(0)))
        .restart(node.restart)
        .significant(node.significant);
    for child in &below.children {
        builder = if child.below.is_some() {
            builder.supervisor(self::builder(child, world))
        } else {
            let spec = ChildSpec::new().restart(child.restart).significant(child.significant);
            let args = (child.number, world.clone());
            builder.child::<Leaf>(child.number.to_string(), args, spec)
        };
    }
    builder
}

/// What is done to a tree; the numbers pick one of those that can have it done.
#[derive(Clone, Copy, Debug)]
enum Act {
    Crash(usize),
    Stop(usize),
    Kill(usize),
    /// It crashes, and its next starts fail.
    CrashAndFail(usize, u32),
    Terminate(usize),
    Restart(usize),
}

fn acts() -> impl proptest::strategy::Strategy<Value = Vec<Act>> {
    let one = prop_oneof![
        6 => any::<usize>().prop_map(Act::Crash),
        2 => any::<usize>().prop_map(Act::Stop),
        1 => any::<usize>().prop_map(Act::Kill),
        2 => (any::<usize>(), 1..4_u32).prop_map(|(leaf, fails)| Act::CrashAndFail(leaf, fails)),
        1 => any::<usize>().prop_map(Act::Terminate),
        2 => any::<usize>().prop_map(Act::Restart),
    ];
    proptest::collection::vec(one, 1..12)
}

/// A node of some level, with those below it, all numbers still zero.
fn nodes(level: u32) -> BoxedStrategy<Node> {
    let restart = prop_oneof![
        4 => Just(Restart::Permanent),
        2 => Just(Restart::Transient),
        1 => Just(Restart::Temporary)
    ];
    let own = (restart, any::<bool>());
    let below = if level == 0 {
        Just(None).boxed()
    } else {
        let leaf_or_not = (0..level).prop_flat_map(nodes);
        let children = proptest::collection::vec(leaf_or_not, 1..7);
        let strategy = prop_oneof![
            Just(Strategy::OneForOne),
            Just(Strategy::OneForAll),
            Just(Strategy::RestForOne)
        ];
        let auto = prop_oneof![
            3 => Just(AutoShutdown::Never),
            1 => Just(AutoShutdown::AnySignificant),
            1 => Just(AutoShutdown::AllSignificant)
        ];
        (strategy, auto, 0..5_u32, children)
            .prop_map(|(strategy, auto, max, children)| {
                Some(Below::new((strategy, auto, max), children))
            })
            .boxed()
    };
    (own, below)
        .prop_map(|((restart, significant), below)| Node {
            number: 0,
            restart,
            significant,
            below,
            runs: false,
            forgotten: false,
        })
        .boxed()
}

/// Gives every node its number, and takes significance from those that cannot have it.
fn number(node: &mut Node, next: &mut usize) {
    node.number = *next;
    *next += 1;
    let Some(below) = &mut node.below else { return };
    for child in &mut below.children {
        child.significant &=
            below.auto != AutoShutdown::Never && child.restart != Restart::Permanent;
        number(child, next);
    }
}

/// The ways to all nodes below that `wanted` picks.
fn paths(node: &Node, wanted: &impl Fn(&Node) -> bool) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    let children = node.below.iter().flat_map(|below| &below.children).enumerate();
    for (index, child) in children.filter(|_| node.runs) {
        if wanted(child) {
            found.push(vec![index]);
        }
        for mut path in paths(child, wanted) {
            path.insert(0, index);
            found.push(path);
        }
    }
    found
}

fn at<'a>(node: &'a mut Node, path: &[usize]) -> &'a mut Node {
    let Some((index, rest)) = path.split_first() else { return node };
    at(&mut node.below.as_mut().unwrap().children[*index], rest)
}

/// The handle of the supervisor whose child is at `path`.
fn supervisor(top: &Supervisor, root: &Node, path: &[usize]) -> Supervisor {
    let (mut found, mut node) = (top.clone(), root);
    for index in &path[..path.len() - 1] {
        node = &node.below.as_ref().unwrap().children[*index];
        found = found.supervisor(&node.number.to_string()).unwrap();
    }
    found
}

fn pick(paths: &[Vec<usize>], number: usize) -> Option<Vec<usize>> {
    (!paths.is_empty()).then(|| paths[number % paths.len()].clone())
}

/// A tree that runs and the model of it.
struct Trial {
    top: Supervisor,
    root: Node,
    world: Arc<World>,
    model: Model,
}

impl Trial {
    /// Does it to both, and answers what the model says of the root.
    async fn act(&mut self, act: Act) -> After {
        let leaf = |node: &Node| node.runs && node.below.is_none();
        match act {
            Act::Crash(number)
            | Act::Stop(number)
            | Act::Kill(number)
            | Act::CrashAndFail(number, _) => {
                let Some(path) = pick(&paths(&self.root, &leaf), number) else {
                    return After::Nothing;
                };
                let number = at(&mut self.root, &path).number;
                if let Act::CrashAndFail(_, fails) = act {
                    self.world.fails.lock().unwrap()[number] = fails;
                    self.model.fails[number] = fails;
                }
                let door = self.world.doors.lock().unwrap()[number].clone().unwrap();
                match act {
                    Act::Kill(_) => door.kill(),
                    Act::Stop(_) => door.cast(End::Normal).await.unwrap(),
                    _ => door.cast(End::Crash).await.unwrap(),
                }
                self.model.exit(&mut self.root, &path, !matches!(act, Act::Stop(_)))
            }
            Act::Terminate(number) => {
                let known = paths(&self.root, &|node| !node.forgotten);
                let Some(path) = pick(&known, number) else { return After::Nothing };
                let supervisor = supervisor(&self.top, &self.root, &path);
                let node = at(&mut self.root, &path);
                let ended = supervisor.terminate_child(&node.number.to_string()).await;
                assert_eq!(ended, Ok::<(), StopError>(()));
                self.model.end(node);
                After::Nothing
            }
            Act::Restart(number) => {
                let down = paths(&self.root, &|node| !node.runs && !node.forgotten);
                let Some(path) = pick(&down, number) else { return After::Nothing };
                let supervisor = supervisor(&self.top, &self.root, &path);
                let node = at(&mut self.root, &path);
                let started = supervisor.restart_child(&node.number.to_string()).await;
                let begun = self.model.begin(node);
                assert_eq!(started.is_ok(), begun, "{started:?}");
                node.forgotten = !begun && node.restart == Restart::Temporary;
                After::Nothing
            }
        }
    }

    /// Compares all that can be seen with the model, once nothing happens any more.
    async fn compare(&mut self) {
        // Time stands still as long as anybody has something to do.
        tokio::time::sleep(millis(1)).await;
        assert_eq!(*self.world.seen.lock().unwrap(), self.model.seen, "{:#?}", self.root);
        let alive = paths(&self.root, &|node| node.runs && node.below.is_none()).len();
        assert_eq!(self.world.census.alive(), alive);
        assert!(self.world.census.most_of_one_key() <= 1);
        let tree = self.top.tree(&TreePage::default()).await.unwrap();
        compare(&tree, &self.root);
    }
}

/// What is shown of the tree is what the model says.
fn compare(shown: &TreeNode, node: &Node) {
    assert_eq!(shown.id, node.number.to_string());
    assert_eq!(shown.process.is_some(), node.runs);
    let children = node.below.iter().flat_map(|below| &below.children);
    let known: Vec<_> = children.filter(|child| !child.forgotten).collect();
    assert_eq!((shown.count, shown.children.len()), (known.len(), known.len()));
    for (shown, node) in shown.children.iter().zip(known) {
        compare(shown, node);
    }
}

async fn try_out(mut root: Node, acts: Vec<Act>) {
    let mut count = 0;
    number(&mut root, &mut count);
    (root.restart, root.significant) = (Restart::Permanent, false);
    let world = Arc::new(World::default());
    *world.fails.lock().unwrap() = vec![0; count];
    *world.doors.lock().unwrap() = vec![None; count];
    let mut model = Model { fails: vec![0; count], seen: Vec::new() };
    let top = builder(&root, &world).start().await.unwrap();
    assert!(model.begin(&mut root));
    let mut trial = Trial { top, root, world, model };
    trial.compare().await;
    for act in acts {
        let after = trial.act(act).await;
        trial.compare().await;
        if after == After::Ended {
            trial.top.ended().await;
            break;
        }
    }
    let report = trial.top.shutdown(secs(60)).await;
    assert!(report.is_clean(), "{report:?}");
    trial.model.end(&mut trial.root);
    assert_eq!(*trial.world.seen.lock().unwrap(), trial.model.seen);
    assert_eq!(trial.world.census.alive(), 0, "something outlived its supervisor");
}

fn paused(future: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(future);
}

/// Few, for each is a whole tree.
fn config() -> ProptestConfig {
    let (cases, max_shrink_iters) = (1_000, 300);
    ProptestConfig { cases, max_shrink_iters, failure_persistence: None, ..Default::default() }
}

proptest! {
    #![proptest_config(config())]

    /// P8, P13: whoever crashes, stops, fails to start, is ended or started again: those run that
    /// the strategies demand, and all begin and end in the order they say.
    #[test]
    fn a_tree_of_any_shape_does_what_its_strategies_say(root in nodes(3), acts in acts()) {
        paused(try_out(root, acts));
    }
}
