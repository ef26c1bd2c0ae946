//! What can be seen of a supervision tree, and of what happens in it, without anybody noticing.

use innkeeper::{
    ChildSpec, DynamicSupervisor, ExitReason, Keyed, Kind, Restart, RestartBudget, State, Strategy,
    Supervisor, TreeNode, TreePage, What,
};

use crate::support::{
    Gate, House, Log, Order, Script, act, eventually, key, plan, poll_once, script, secs, settle,
    soon, spec, tell,
};

async fn all(root: &Supervisor) -> TreeNode {
    root.tree(&TreePage::default()).await.unwrap()
}

fn ids(node: &TreeNode) -> Vec<&str> {
    node.children.iter().map(|child| child.id.as_str()).collect()
}

/// SUP-09, DS-01: all of it, as data: names, kinds, states, waiting messages, restarts, links.
#[tokio::test(start_paused = true)]
async fn the_whole_tree_is_seen_at_once_with_what_each_process_is_about() {
    let log = Log::new();
    let house = House::new();
    let leaf = ChildSpec::new().restart(Restart::Transient);
    let inner = Supervisor::new()
        .name("inner")
        .strategy(Strategy::RestForOne)
        .restart_budget(RestartBudget::new(9, secs(60)).backoff(secs(0), secs(0)))
        .child::<Script>("leaf", plan(&log), leaf);
    let root = Supervisor::new().name("root").supervisor(inner).start().await.unwrap();
    let jobs = DynamicSupervisor::new().name("jobs").start(&root).await.unwrap();
    let rooms: Keyed<_, _> = house.builder(spec()).name("rooms").start(&root).await.unwrap();
    let _room = rooms.get_or_start(&key("lobby")).await.unwrap();
    let job = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await.unwrap();
    let other = script(&log).await;
    let (linked, watched) = (job.clone(), job.clone());
    tell(&other, move |_, ctx| {
        Box::pin(async move {
            ctx.link(&linked);
            ctx.monitor(&watched);
        })
    })
    .await;
    job.cast(act(|_, _| Box::pin(std::future::pending()))).await.unwrap();
    settle().await;
    job.cast(Order::Beat(1)).await.unwrap();
    let inner = root.supervisor("inner").unwrap();
    inner.terminate_child("leaf").await.unwrap();
    inner.restart_child("leaf").await.unwrap();

    let tree = all(&root).await;
    assert_eq!((tree.place, tree.id.as_str(), tree.count), (0, "root", 3));
    assert_eq!(tree.process.as_ref().unwrap().state, Some(State::Live));
    assert_eq!(ids(&tree), ["inner", "jobs", "rooms"]);
    let kinds: Vec<_> = tree.children.iter().map(|child| child.kind).collect();
    let rest = Kind::Supervisor(Strategy::RestForOne);
    assert_eq!(kinds, [rest, Kind::DynamicSupervisor, Kind::Keyed]);
    let words: Vec<_> = kinds.iter().map(|kind| kind.word()).collect();
    assert_eq!(words, ["supervisor", "dynamic_supervisor", "keyed"]);
    let [inner, jobs, rooms] = &tree.children[..] else { panic!("three children") };
    assert_eq!((ids(inner), inner.children[0].restart), (vec!["leaf"], Restart::Transient));
    assert_eq!((inner.children[0].kind, inner.children[0].significant), (Kind::Process, false));
    let info = jobs.children[0].process.as_ref().unwrap();
    assert!(jobs.children[0].id.starts_with("Script#"));
    assert_eq!((info.mailbox_len, info.watchers, info.links), (1, 2, 1));
    assert_eq!((rooms.count, rooms.children.len()), (1, 0), "keys have pages of their own");
    drop(other.stop(ExitReason::Normal, secs(1)).await);
    let info = job.info();
    assert_eq!((info.watchers, info.links), (0, 0));
}

/// A page of each level, and the next ones of any of them.
#[tokio::test(start_paused = true)]
async fn a_tree_of_any_size_is_seen_a_page_at_a_time() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let jobs = DynamicSupervisor::new().name("jobs").start(&root).await.unwrap();
    let mut started = Vec::new();
    for _ in 0..25 {
        let job = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await.unwrap();
        started.push(job.info().name);
    }
    for number in 0..4 {
        let id = number.to_string();
        root.start_child::<Script>(&id, plan(&log), ChildSpec::new()).await.unwrap();
    }
    let first = root.tree(&TreePage { limit: 3, ..TreePage::default() }).await.unwrap();
    assert_eq!((ids(&first), first.count), (vec!["jobs", "0", "1"], 5));
    let below = &first.children[0];
    assert_eq!((below.children.len(), below.count), (3, 25));
    let after = first.next.unwrap();
    let rest = TreePage { after, limit: 3, ..TreePage::default() };
    let rest = root.tree(&rest).await.unwrap();
    assert_eq!((ids(&rest), rest.next), (vec!["2", "3"], None));
    // Of one supervisor below.
    let (mut seen, mut after) = (Vec::new(), Some(0));
    while let Some(at) = after {
        let page = TreePage { path: vec![below.place], after: at, limit: 7, depth: 1 };
        let page = root.tree(&page).await.unwrap();
        assert_eq!((page.id.as_str(), page.count), ("jobs", 25));
        assert!(page.children.len() <= 7);
        seen.extend(page.children.iter().map(|child| child.id.clone()));
        after = page.next;
    }
    assert_eq!(seen, started, "every child once, in the order of their start");
    let itself = jobs.tree(&TreePage { limit: 1, ..TreePage::default() }).await.unwrap();
    assert_eq!((itself.id.as_str(), ids(&itself)), ("jobs", vec![started[0].as_str()]));
    let only = root.tree(&TreePage { depth: 0, ..TreePage::default() }).await.unwrap();
    assert!(only.children.is_empty() && only.next.is_none());
    for path in [vec![u64::MAX], vec![below.place, 0], vec![first.children[1].place, 1]] {
        assert!(root.tree(&TreePage { path, ..TreePage::default() }).await.is_none());
    }
}

/// P4, P6: looking waits for nobody: not for an `init`, a handler or a `terminate` that is stuck.
#[tokio::test(start_paused = true)]
async fn a_tree_is_seen_while_its_processes_are_stuck() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let gate = Gate::default();
    let hold = gate.clone();
    let stuck = plan(&log).init(move |_| {
        let hold = hold.clone();
        Box::pin(async move {
            hold.hold().await;
            Ok(())
        })
    });
    let inner = Supervisor::new().name("inner").child::<Script>("stuck", stuck, ChildSpec::new());
    let mut start = Box::pin(root.start_supervisor(inner));
    assert!(poll_once(&mut start).await.is_pending());
    gate.reached().await;
    let busy = root.start_child::<Script>("busy", plan(&log), ChildSpec::new()).await.unwrap();
    busy.cast(act(|_, _| Box::pin(std::future::pending()))).await.unwrap();
    settle().await;
    let mut ending = Box::pin(root.terminate_child("busy"));
    assert!(poll_once(&mut ending).await.is_pending());
    let before = tokio::time::Instant::now();
    let tree = all(&root).await;
    let states = |node: &TreeNode| {
        let states = node.children.iter().map(|child| child.process.as_ref()?.state);
        states.collect::<Vec<_>>()
    };
    assert_eq!(states(&tree), [Some(State::Starting), Some(State::Stopping)]);
    assert_eq!(states(&tree.children[0]), [Some(State::Starting)]);
    assert_eq!(root.count_children().known, 2);
    assert_eq!(before.elapsed(), secs(0));
    gate.open();
    soon(start).await.unwrap();
    soon(ending).await.unwrap();
}

/// What happens to the children of a supervisor is told to whoever listens, in order.
#[tokio::test(start_paused = true)]
async fn the_events_of_a_supervisor_tell_each_start_restart_and_end() {
    let log = Log::new();
    let root = Supervisor::new().strategy(Strategy::OneForAll).start().await.unwrap();
    let one = root.start_child::<Script>("one", plan(&log), ChildSpec::new()).await.unwrap();
    let mut events = root.events();
    let spec = ChildSpec::new().restart(Restart::Temporary);
    root.start_child::<Script>("two", plan(&log), spec).await.unwrap();
    one.kill();
    eventually(|| root.which_children().len() == 1).await;
    settle().await;
    root.terminate_child("one").await.unwrap();
    let failing = plan(&log).init(|_| Box::pin(async { Err(innkeeper::StartError::failed("no")) }));
    drop(root.start_child::<Script>("three", failing, ChildSpec::new()).await);
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        let what = match event.what {
            What::Starting { again } => format!("starting {again}"),
            What::Ready { again, .. } => format!("ready {again}"),
            What::Held(reason) => format!("held {reason}"),
            What::StartFailed(reason) => format!("failed {reason}"),
            What::Stopped(reason) => format!("stopped {reason}"),
            what => panic!("{what:?}"),
        };
        told.push(format!("{} {what}", event.key));
    }
    assert_eq!(
        told,
        [
            "two starting false",
            "two ready false",
            "one held killed",
            "two stopped shutdown",
            "one starting true",
            "one ready true",
            "one stopped shutdown",
            "three starting false",
            "three failed failed: no",
            "three stopped failed: no",
        ]
    );
}

/// P11: a listener that falls behind is told how much it missed, and holds up nobody.
#[tokio::test(start_paused = true)]
async fn the_events_of_a_supervisor_are_bounded() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let jobs = DynamicSupervisor::new().start(&root).await.unwrap();
    let mut events = jobs.events();
    for _ in 0..innkeeper::limits::EVENTS {
        let job = jobs.start_child::<Script>(plan(&log), spec()).await.unwrap();
        jobs.terminate_child(&job).await.unwrap();
    }
    let lagged = events.try_recv().unwrap_err();
    assert!(matches!(lagged, tokio::sync::broadcast::error::TryRecvError::Lagged(_)), "{lagged}");
    let name = events.try_recv().unwrap().key;
    assert!(name.starts_with("Script#"), "{name}");
}
