//! The end of a whole tree: order, limits, who was killed, who is stuck (P13).

use innkeeper::{
    ChildSpec, DynamicSupervisor, ExitReason, GetError, Keyed, RestartBudget, Shutdown,
    ShutdownReport, StartChildError, Supervisor, limits,
};
use tokio::time::Instant;

use crate::support::{
    EndPlan, Gate, Heard, House, InitPlan, Log, Say, Script, act, eventually, key, millis, plan,
    poll_once, secs, settle, soon, spec,
};

fn ended(log: &mut Log) -> Vec<String> {
    let why = |heard| match heard {
        Heard::Terminate(ExitReason::ShutdownWith(name)) => Some(name.to_string()),
        _ => None,
    };
    log.so_far().into_iter().filter_map(why).collect()
}

/// A child that, told to end, says its name.
async fn named(supervisor: &Supervisor, id: &'static str, log: &Log) {
    let sender = log.sender.clone();
    struct Last(&'static str, tokio::sync::mpsc::Sender<Heard>);
    impl Drop for Last {
        fn drop(&mut self) {
            let _ = self.1.try_send(Heard::Terminate(ExitReason::shutdown_with(self.0)));
        }
    }
    let child = supervisor.start_child::<Script>(id, plan(&Log::new()), ChildSpec::new());
    let last = Last(id, sender);
    let keep = act(move |script, _| {
        Box::pin(async move {
            script.kept.push(Box::new(last));
        })
    });
    child.await.unwrap().call(keep).await.unwrap();
}

/// P13
#[tokio::test(start_paused = true)]
async fn a_supervisor_ends_its_children_in_reverse_order_and_before_itself() {
    let mut log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    named(&root, "first", &log).await;
    let inner = root.start_supervisor(Supervisor::new().name("inner")).await.unwrap();
    named(&inner, "inner first", &log).await;
    named(&inner, "inner last", &log).await;
    named(&root, "last", &log).await;
    let mut end = Box::pin(root.ended());
    assert!(poll_once(&mut end).await.is_pending());
    let report = root.shutdown(secs(60)).await;
    assert_eq!(report, ShutdownReport::default());
    assert!(report.is_clean());
    assert_eq!(ended(&mut log), ["last", "inner last", "inner first", "first"]);
    assert_eq!(soon(end).await, ExitReason::Shutdown);
}

/// P13: one after the other, or what a later one needs of an earlier one would be gone.
#[tokio::test(start_paused = true)]
async fn an_earlier_child_is_alive_until_the_later_ones_have_ended() {
    let log = Log::new();
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let first = root.start_child::<Script>("first", plan(&log), ChildSpec::new()).await.unwrap();
    let rooms = house.open_under(&root, house.builder(spec())).await;
    let gate = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(gate.clone()));
    let _ = rooms.get_or_start(&key("lobby")).await.unwrap();
    let mut shutdown = Box::pin(root.shutdown(secs(60)));
    assert!(poll_once(&mut shutdown).await.is_pending());
    gate.reached().await;
    settle().await;
    assert!(first.is_alive());
    gate.open();
    assert!(soon(shutdown).await.is_clean());
    assert!(!first.is_alive());
}

/// P13 (NEW-13): new starts are refused, those in flight are torn down, all at once.
#[tokio::test(start_paused = true)]
async fn keyed_and_dynamic_children_end_all_at_once_and_nothing_new_is_started() {
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let rooms = house.open_under(&root, house.builder(spec())).await;
    let jobs = DynamicSupervisor::new().start(&root).await.unwrap();
    let gate = Gate::default();
    for n in 0..50 {
        let name = n.to_string();
        house.plan_end(&name, EndPlan::Hold(gate.clone()));
        let _ = rooms.get_or_start(&name).await.unwrap();
        let args = (format!("job {n}"), house.clone());
        house.plan_end(&format!("job {n}"), EndPlan::Hold(gate.clone()));
        jobs.start_child::<crate::support::Room>(args, spec()).await.unwrap();
    }
    house.plan_init("starting", InitPlan::Hold(Gate::default()));
    let starting = key("starting");
    let mut start = Box::pin(rooms.get_or_start(&starting));
    assert!(poll_once(&mut start).await.is_pending());
    settle().await;

    let mut shutdown = Box::pin(root.shutdown(secs(60)));
    assert!(poll_once(&mut shutdown).await.is_pending());
    eventually(|| house.ended.lock().unwrap().len() == 50).await;
    let args = (key("late"), house.clone());
    let late = jobs.start_child::<crate::support::Room>(args, spec()).await;
    assert_eq!(late.unwrap_err(), StartChildError::ShuttingDown);
    gate.open();
    let before = Instant::now();
    assert!(soon(shutdown).await.is_clean());
    assert_eq!(before.elapsed(), secs(0));
    assert_eq!(soon(start).await, Err(GetError::ShuttingDown));
    assert_eq!(rooms.get_or_start(&key("late")).await, Err(GetError::ShuttingDown));
    let refused = rooms.via(&key("late")).cast(Say::Note(1)).await.unwrap_err();
    assert_eq!(refused.why, innkeeper::NotDelivered::NoProcess(GetError::ShuttingDown));
    assert_eq!((rooms.count(), jobs.count_children(), house.census.alive()), (0, 0, 0));
    assert_eq!(house.ended.lock().unwrap().len(), 100);
}

/// P13: each within its own limit; who was killed is named.
#[tokio::test(start_paused = true)]
async fn who_does_not_end_in_time_is_killed_and_named() {
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let limited = spec().shutdown(Shutdown::Timeout(secs(3)));
    let rooms = house.open_under(&root, house.builder(limited.clone()).name("rooms")).await;
    let jobs = DynamicSupervisor::new().name("jobs").start(&root).await.unwrap();
    let never = Gate::default();
    for name in ["slow", "slower", "fine"] {
        if name != "fine" {
            house.plan_end(name, EndPlan::Hold(never.clone()));
        }
        let _ = rooms.get_or_start(&key(name)).await.unwrap();
    }
    house.plan_end("job", EndPlan::Hold(never.clone()));
    let args = (key("job"), house.clone());
    jobs.start_child::<crate::support::Room>(args.clone(), limited.clone()).await.unwrap();
    root.start_child::<crate::support::Room>("child", args, limited).await.unwrap();

    let before = Instant::now();
    let report = root.shutdown(secs(60)).await;
    // The child, then the job, then the rooms: one limit after the other.
    assert_eq!(before.elapsed(), secs(9));
    let mut names = report.killed.names.clone();
    names.sort();
    assert_eq!(report.killed.count, 4);
    assert!(names[0].starts_with("jobs/Room#"), "{names:?}");
    assert_eq!(names[1..], [r#"rooms "slow""#, r#"rooms "slower""#, "supervisor/child"]);
    assert_eq!(report.stuck.count, 0);
    assert!(!report.is_clean());
    assert_eq!(house.census.alive(), 0);
}

/// P13: brutal ones need no time; an infinite one is waited for, within the time of the whole.
#[tokio::test(start_paused = true)]
async fn a_shutdown_returns_by_its_deadline_and_names_who_has_not_ended() {
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let patient = spec().shutdown(Shutdown::Infinity);
    let rooms = house.open_under(&root, house.builder(patient).name("rooms")).await;
    let gate = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(gate.clone()));
    let _ = rooms.get_or_start(&key("lobby")).await.unwrap();
    let before = Instant::now();
    let report = root.shutdown(secs(10)).await;
    assert_eq!(before.elapsed(), secs(10));
    assert!(report.stuck.names.contains(&r#"rooms "lobby""#.to_owned()), "{report:?}");
    assert_eq!(report.killed.count, 0);
    assert_eq!(rooms.get_or_start(&key("late")).await, Err(GetError::ShuttingDown));
    // It goes on, and can be waited for again.
    gate.open();
    assert!(root.shutdown(secs(10)).await.is_clean());
    assert_eq!(house.census.alive(), 0);
}

/// P13: two who shut down at once are both told who was killed.
#[tokio::test(start_paused = true)]
async fn a_second_shutdown_does_not_forget_whom_the_first_one_has_killed() {
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let limited = spec().shutdown(Shutdown::Timeout(secs(1)));
    let rooms = house.open_under(&root, house.builder(limited.clone()).name("rooms")).await;
    house.plan_end("lobby", EndPlan::Hold(Gate::default()));
    let _ = rooms.get_or_start(&key("lobby")).await.unwrap();
    // This one ends first, and late.
    house.plan_end("late", EndPlan::Hold(Gate::default()));
    let args = (key("late"), house.clone());
    root.start_child::<crate::support::Room>("late", args, limited).await.unwrap();
    let mut first = Box::pin(root.shutdown(secs(60)));
    assert!(poll_once(&mut first).await.is_pending());
    tokio::time::sleep(millis(1500)).await;
    let second = root.shutdown(secs(60)).await;
    assert_eq!(second.killed.count, 2, "{second:?}");
    assert_eq!(soon(first).await, second);
}

/// P13, P14: only code that never yields can outlive its supervisor, and is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_never_yields_outlives_its_supervisor_and_is_named_as_stuck() {
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let hasty = spec().shutdown(Shutdown::Timeout(millis(1)));
    let rooms = house.open_under(&root, house.builder(hasty).name("rooms")).await;
    let gate = Gate::default();
    rooms.via(&key("lobby")).cast(Say::Block(gate.clone())).await.unwrap();
    gate.reached().await;
    let report = root.shutdown(secs(600)).await;
    assert_eq!(report.stuck.names, [r#"rooms "lobby""#]);
    assert_eq!((rooms.count(), house.census.alive()), (1, 1));
    gate.open();
    eventually(|| rooms.count() == 0).await;
    assert_eq!(house.census.alive(), 0);
}

/// P13: of very many the last ones come to their turn late, and are not stuck for that. Here fewer,
/// that keep the only thread busy for longer than one of them may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn processes_that_end_one_after_the_other_are_waited_for_however_many_there_are() {
    /// Keys that are told to end at the same time, as all have one hash.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Alike(u32);
    impl std::hash::Hash for Alike {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
    }
    struct Busy;
    impl Drop for Busy {
        fn drop(&mut self) {
            std::thread::sleep(millis(2));
        }
    }
    const ALL: u32 = 1000;
    let root = Supervisor::new().start().await.unwrap();
    let spec = spec().shutdown(Shutdown::BrutalKill);
    let scope = Keyed::<Alike, Script>::with_args(spec, |_| plan(&Log::new()));
    let scope = scope.start(&root).await.unwrap();
    let start_all = async || {
        for key in 0..ALL {
            let keep = act(|script, _| Box::pin(async move { script.kept.push(Box::new(Busy)) }));
            scope.via(&Alike(key)).call(keep).await.unwrap();
        }
    };
    start_all().await;
    assert_eq!((scope.stop_all().await, scope.count()), (ALL as usize, 0));
    start_all().await;
    let report = root.shutdown(secs(60)).await;
    assert_eq!((report.stuck.count, scope.count()), (0, 0), "{report:?}");
}

/// P13, P11: the names are bounded, the counts are not.
#[tokio::test(start_paused = true)]
async fn of_many_who_were_killed_all_are_counted_and_some_are_named() {
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let limited = spec().shutdown(Shutdown::Timeout(millis(1)));
    let rooms = house.open_under(&root, house.builder(limited)).await;
    for n in 0..limits::NAMES_REPORTED + 50 {
        house.plan_end(&n.to_string(), EndPlan::Hold(Gate::default()));
        let _ = rooms.get_or_start(&n.to_string()).await.unwrap();
    }
    let report = root.shutdown(secs(60)).await;
    let (count, names) = (report.killed.count, report.killed.names.len());
    assert_eq!((count, names), (limits::NAMES_REPORTED + 50, limits::NAMES_REPORTED));
    assert!(report.killed.to_string().ends_with(" and 50 more"));
}

/// P13, P5: a supervisor that is told to end while it starts ends what it has started.
#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_ended_while_it_starts_leaves_no_child_behind() {
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let gate = Gate::default();
    house.plan_init("second", InitPlan::Hold(gate.clone()));
    let args = |name: &str| (key(name), house.clone());
    let inner = Supervisor::new()
        .name("inner")
        .child::<crate::support::Room>("first", args("first"), ChildSpec::new())
        .child::<crate::support::Room>("second", args("second"), ChildSpec::new());
    let mut start = Box::pin(root.start_supervisor(inner));
    assert!(poll_once(&mut start).await.is_pending());
    gate.reached().await;
    assert_eq!(house.census.alive(), 2);
    let before = Instant::now();
    assert!(root.shutdown(secs(600)).await.is_clean());
    assert_eq!((before.elapsed(), house.census.alive()), (secs(0), 0));
    assert_eq!(house.reasons("first"), [ExitReason::Shutdown]);
    let error = soon(start).await.unwrap_err();
    assert_eq!(error, StartChildError::Failed(GetError::ShuttingDown));
}

/// P13: crashes during a shutdown are not restarted.
#[tokio::test(start_paused = true)]
async fn a_child_that_crashes_while_its_supervisor_ends_is_not_restarted() {
    let house = House::new();
    let root = Supervisor::new().restart_budget(RestartBudget::new(100, secs(5))).start();
    let root = root.await.unwrap();
    let args = |name: &str| (key(name), house.clone());
    let spec = ChildSpec::new;
    root.start_child::<crate::support::Room>("a", args("a"), spec()).await.unwrap();
    let b = root.start_child::<crate::support::Room>("b", args("b"), spec()).await.unwrap();
    let rooms = house.open_under(&root, house.builder(spec())).await;
    let gate = Gate::default();
    house.plan_end("c", EndPlan::Hold(gate.clone()));
    let c = rooms.get_or_start(&key("c")).await.unwrap().process().unwrap();
    let mut shutdown = Box::pin(root.shutdown(secs(60)));
    assert!(poll_once(&mut shutdown).await.is_pending());
    gate.reached().await;
    // Not told yet, for `c` is still ending.
    b.cast(Say::Panic).await.unwrap();
    b.ended().await;
    settle().await;
    assert_eq!(house.census.ever(), 3, "b is not restarted any more");
    gate.open();
    assert!(soon(shutdown).await.is_clean());
    assert_eq!((house.census.ever(), house.census.alive(), c.is_alive()), (3, 0, false));
}

/// P13: only the root can be shut down as a whole.
#[tokio::test(start_paused = true)]
async fn a_supervisor_below_the_root_is_ended_as_a_child() {
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let inner = root.start_supervisor(Supervisor::new().name("inner")).await.unwrap();
    let rooms = house.open_under(&inner, house.builder(spec())).await;
    let _ = rooms.get_or_start(&key("lobby")).await.unwrap();
    assert!(inner.shutdown(secs(1)).await.is_clean());
    assert_eq!(house.census.alive(), 1, "that does nothing");
    root.terminate_child("inner").await.unwrap();
    assert_eq!((house.census.alive(), rooms.count()), (0, 0));
    assert_eq!(rooms.get_or_start(&key("lobby")).await, Err(GetError::ShuttingDown));
    assert!(root.shutdown(secs(1)).await.is_clean());
}

/// P13: where only the killed were late, the shutdown takes no longer than their limit.
#[tokio::test(start_paused = true)]
async fn any_number_of_rooms_share_one_limit() {
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let limited = spec().shutdown(Shutdown::Timeout(secs(2)));
    let rooms = house.open_under(&root, house.builder(limited)).await;
    for n in 0..100 {
        house.plan_end(&n.to_string(), EndPlan::Hold(Gate::default()));
        let _ = rooms.get_or_start(&n.to_string()).await.unwrap();
    }
    let before = Instant::now();
    let report = root.shutdown(secs(600)).await;
    assert_eq!((before.elapsed(), report.killed.count), (secs(2), 100));
}
