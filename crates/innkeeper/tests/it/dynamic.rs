//! Dynamic supervisors as OTP's suites try them: capacity, restarts that fail, ends of every kind
//! (P8, P11, P13).

use std::sync::atomic::{AtomicU32, Ordering};

use innkeeper::{
    ChildCount, ChildSpec, Context, DynamicSupervisor, ExitReason, GetError, Message, Process,
    ProcessRef, ReplyTo, Restart, RestartBudget, Shutdown, StartChildError, StartError, State,
    StopError, Supervisor,
};

use crate::support::{
    Gate, Heard, Log, Order, Script, Told, act, eventually, millis, plan, poll_once, secs, settle,
    soon,
};

fn stops(reason: ExitReason) -> Order {
    act(move |_, ctx| Box::pin(async { ctx.stop(reason) }))
}

async fn pool(builder: innkeeper::DynamicSupervisorBuilder) -> (Supervisor, DynamicSupervisor) {
    let root = Supervisor::new().start().await.unwrap();
    let jobs = builder.start(&root).await.unwrap();
    (root, jobs)
}

async fn job(jobs: &DynamicSupervisor, log: &Log, spec: ChildSpec) -> ProcessRef<Order> {
    jobs.start_child::<Script>(plan(log), spec).await.unwrap()
}

/// Its first start works, and the next ones as `again` says: with nothing, declining, or failing.
fn then(log: &Log, again: impl Fn(u32) -> Option<StartError> + Send + Sync + 'static) -> Told {
    let starts = AtomicU32::new(0);
    plan(log).init(move |_| {
        let start = starts.fetch_add(1, Ordering::SeqCst);
        let refused = (start > 0).then(|| again(start)).flatten();
        Box::pin(async move { refused.map_or(Ok(()), Err) })
    })
}

async fn counts(jobs: &DynamicSupervisor) -> [usize; 4] {
    let ChildCount { known, active, supervisors, processes, .. } = jobs.count_each().await;
    assert_eq!(jobs.count_children(), known);
    [known, active, supervisors, processes]
}

fn eager(max: u32) -> RestartBudget {
    RestartBudget::new(max, secs(60)).backoff(secs(0), secs(0))
}

/// DS-15
#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_without_places_starts_nothing() {
    let mut log = Log::new();
    let (_root, jobs) = pool(DynamicSupervisor::new().max_children(0)).await;
    let refused = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await;
    assert_eq!(refused.unwrap_err(), StartChildError::MaxChildren { max: 0 });
    assert!(log.so_far().is_empty());
}

/// DS-16, DS-25, DS-27: one whose restart fails is there, takes its place, and is not active; it is
/// tried again, and once that works it is active as before.
#[tokio::test(start_paused = true)]
async fn a_child_whose_restart_fails_keeps_its_place_and_is_tried_again() {
    let log = Log::new();
    let budget = RestartBudget::new(100, secs(600)).backoff(secs(10), secs(10));
    let builder = DynamicSupervisor::new().max_children(1).restart_budget(budget);
    let (_root, jobs) = pool(builder).await;
    let told = then(&log, |start| (start < 4).then(|| StartError::failed("not yet")));
    let first = jobs.start_child::<Script>(told, ChildSpec::new()).await.unwrap();
    assert_eq!(counts(&jobs).await, [1, 1, 0, 1]);
    first.kill();
    first.ended().await;
    settle().await;
    assert_eq!(counts(&jobs).await, [1, 0, 0, 1]);
    let mut states = Vec::new();
    jobs.each_child(|info| states.push(info.state)).await;
    assert_eq!(states, [Some(State::Restarting)]);
    let refused = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await;
    assert_eq!(refused.unwrap_err(), StartChildError::MaxChildren { max: 1 });
    tokio::time::sleep(secs(60)).await;
    assert_eq!(counts(&jobs).await, [1, 1, 0, 1]);
    // DS-52: still the same child, by its first address.
    jobs.terminate_child(&first).await.unwrap();
    assert_eq!(jobs.terminate_child(&first).await, Err(StopError::NotFound));
    assert_eq!(counts(&jobs).await, [0, 0, 0, 0]);
}

/// DS-52: in the midst of its restart a child is ended, and no other try follows.
#[tokio::test(start_paused = true)]
async fn a_child_is_ended_in_the_midst_of_its_restart() {
    let mut log = Log::new();
    let (_root, jobs) = pool(DynamicSupervisor::new()).await;
    let gate = Gate::default();
    let (hold, starts) = (gate.clone(), AtomicU32::new(0));
    let told = plan(&log).init(move |_| {
        let (hold, again) = (hold.clone(), starts.fetch_add(1, Ordering::SeqCst) > 0);
        Box::pin(async move {
            if again {
                hold.hold().await;
            }
            Ok(())
        })
    });
    let one = jobs.start_child::<Script>(told, ChildSpec::new()).await.unwrap();
    one.kill();
    gate.reached().await;
    soon(jobs.terminate_child(&one)).await.unwrap();
    assert_eq!(counts(&jobs).await, [0, 0, 0, 0]);
    log.so_far();
    tokio::time::sleep(secs(100)).await;
    assert!(log.so_far().is_empty());
}

/// DS-24: a child that declines to be restarted is gone.
#[tokio::test(start_paused = true)]
async fn a_child_that_declines_its_restart_is_forgotten() {
    let log = Log::new();
    let (_root, jobs) = pool(DynamicSupervisor::new()).await;
    let told = then(&log, |_| Some(StartError::ignore()));
    let one = jobs.start_child::<Script>(told, ChildSpec::new()).await.unwrap();
    one.kill();
    one.ended().await;
    settle().await;
    assert_eq!(counts(&jobs).await, [0, 0, 0, 0]);
}

/// DS-28
#[tokio::test(start_paused = true)]
async fn a_child_whose_restart_always_fails_ends_its_supervisor() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let jobs = DynamicSupervisor::new()
        .name("jobs")
        .restart(Restart::Temporary)
        .restart_budget(eager(1))
        .start(&root)
        .await
        .unwrap();
    let healthy = job(&jobs, &log, ChildSpec::new()).await;
    let mut events = root.events();
    let told = then(&log, |_| Some(StartError::failed("never again")));
    let one = jobs.start_child::<Script>(told, ChildSpec::new()).await.unwrap();
    one.kill();
    let event = soon(events.recv()).await.unwrap();
    assert_eq!(event.key, "jobs");
    assert_eq!(event.what, innkeeper::What::Stopped(ExitReason::Shutdown));
    assert!(!healthy.is_alive());
    assert!(root.which_children().is_empty(), "it is temporary");
    let late = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await;
    assert_eq!(late.unwrap_err(), StartChildError::ShuttingDown);
}

/// DS-21, DS-22: with room enough a permanent child comes back after every kind of exit.
#[tokio::test(start_paused = true)]
async fn dynamic_children_are_restarted_as_their_rule_says() {
    let log = Log::new();
    let (_root, jobs) = pool(DynamicSupervisor::new().restart_budget(eager(100))).await;
    let orderly = [ExitReason::Normal, ExitReason::Shutdown, ExitReason::shutdown_with("x")];
    let crash = ExitReason::failed("x");
    for reason in orderly.iter().chain([&crash]) {
        for (restart, left) in [
            (Restart::Permanent, [1, 1, 0, 1]),
            (Restart::Transient, if *reason == crash { [1, 1, 0, 1] } else { [0; 4] }),
            (Restart::Temporary, [0; 4]),
        ] {
            let one = job(&jobs, &log, ChildSpec::new().restart(restart)).await;
            one.cast(stops(reason.clone())).await.unwrap();
            one.ended().await;
            settle().await;
            assert_eq!(counts(&jobs).await, left, "{restart:?} after {reason}");
            let _ = jobs.terminate_child(&one).await;
        }
    }
}

/// DS-10, DS-13: a child of any type, whatever its arguments; what its `init` says is passed on.
#[tokio::test(start_paused = true)]
async fn every_outcome_of_a_start_is_passed_on_and_nothing_is_kept_of_one_that_failed() {
    let log = Log::new();
    let (_root, jobs) = pool(DynamicSupervisor::new()).await;
    let failed = |reason| StartChildError::Failed(GetError::InitFailed(reason));
    let declining = plan(&log).init(|_| Box::pin(async { Err(StartError::ignore()) }));
    let refused = jobs.start_child::<Script>(declining, ChildSpec::new()).await;
    assert_eq!(refused.unwrap_err(), StartChildError::Failed(GetError::Declined));
    let failing = plan(&log).init(|_| Box::pin(async { Err(StartError::failed("disk full")) }));
    let refused = jobs.start_child::<Script>(failing, ChildSpec::new()).await;
    assert_eq!(refused.unwrap_err(), failed(ExitReason::failed("disk full")));
    let panicking = plan(&log).init(|_| Box::pin(async { panic!("boom") }));
    let refused = jobs.start_child::<Script>(panicking, ChildSpec::new()).await;
    assert!(refused.unwrap_err().to_string().contains("boom"));
    assert_eq!(counts(&jobs).await, [0; 4]);
    assert!(job(&jobs, &log, ChildSpec::new()).await.is_alive());
}

/// DS-18, DS-40, DS-42, DS-43, DS-45, DS-46: all are told at once, and each ends as its own limit
/// says.
#[tokio::test(start_paused = true)]
async fn children_of_every_kind_end_together_each_within_its_own_limit() {
    let log = Log::new();
    let (root, jobs) = pool(DynamicSupervisor::new()).await;
    let limits = [
        (Shutdown::BrutalKill, ExitReason::Killed, secs(0)),
        (Shutdown::Timeout(secs(0)), ExitReason::Killed, secs(0)),
        (Shutdown::Timeout(millis(1)), ExitReason::Killed, millis(1)),
        (Shutdown::Timeout(secs(2)), ExitReason::Killed, secs(2)),
        (Shutdown::Infinity, ExitReason::Shutdown, secs(7)),
    ];
    let mut ends = Vec::new();
    for (shutdown, reason, after) in limits {
        let one = job(&jobs, &log, ChildSpec::new().shutdown(shutdown)).await;
        one.cast(act(|_, _| Box::pin(tokio::time::sleep(secs(7))))).await.unwrap();
        ends.push((one, reason, after));
    }
    let idle = job(&jobs, &log, ChildSpec::new().restart(Restart::Permanent)).await;
    ends.push((idle, ExitReason::Shutdown, secs(0)));
    // It ends by itself meanwhile; it is permanent, and not restarted.
    let normal = job(&jobs, &log, ChildSpec::new()).await;
    let order = act(|_, ctx| {
        Box::pin(async {
            tokio::time::sleep(secs(1)).await;
            ctx.stop(ExitReason::Normal);
        })
    });
    normal.cast(order).await.unwrap();
    ends.push((normal, ExitReason::Normal, secs(1)));
    for (one, ..) in &ends {
        eventually(|| one.info().mailbox_len == 0).await;
    }
    let before = tokio::time::Instant::now();
    let waiting: Vec<_> = ends
        .into_iter()
        .map(|(one, reason, after)| {
            tokio::spawn(async move {
                let ended = one.ended().await;
                (ended, before.elapsed(), reason, after)
            })
        })
        .collect();
    settle().await;
    let report = root.shutdown(secs(60)).await;
    assert_eq!(before.elapsed(), secs(7));
    assert_eq!((report.killed.count, report.stuck.count), (4, 0), "{report:?}");
    for waiting in waiting {
        let (ended, at, reason, after) = soon(waiting).await.unwrap();
        assert_eq!(ended, reason);
        // The timers of a runtime go by milliseconds.
        assert!(at >= after && at <= after + millis(1), "{at:?} instead of {after:?}");
    }
}

/// PS-12: children that have children themselves are told apart.
#[tokio::test(start_paused = true)]
async fn supervisors_among_dynamic_children_are_counted_as_such() {
    let mut log = Log::new();
    let (root, jobs) = pool(DynamicSupervisor::new()).await;
    job(&jobs, &log, ChildSpec::new()).await;
    let tree = Supervisor::new().name("tree").child::<Script>("leaf", plan(&log), ChildSpec::new());
    let tree = jobs.start_supervisor(tree).await.unwrap();
    assert_eq!(counts(&jobs).await, [2, 2, 1, 1]);
    assert_eq!(tree.count_children().active, 1);
    log.so_far();
    assert!(root.shutdown(secs(10)).await.is_clean());
    let dropped = log.so_far().into_iter().filter(|heard| *heard == Heard::Dropped).count();
    assert_eq!(dropped, 2, "nothing outlives it");
}

/// A child belongs to its supervisor, and so does what it runs on: not to whoever asked for it.
#[test]
fn a_child_outlives_the_runtime_of_whoever_asked_for_it() {
    let build = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (own, other) = (build(), build());
    let log = Log::new();
    let (root, jobs) = own.block_on(pool(DynamicSupervisor::new()));
    let mut asking = Box::pin(async {
        let one = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await.unwrap();
        let two = root.start_child::<Script>("two", plan(&log), ChildSpec::new()).await.unwrap();
        [one, two]
    });
    // It asks on one runtime, and the supervisors' own is the other.
    let polled = other.block_on(async { poll_once(&mut asking).await });
    assert!(polled.is_pending());
    own.block_on(settle());
    assert!(other.block_on(async { poll_once(&mut asking).await }).is_pending());
    own.block_on(settle());
    let [one, two] = other.block_on(async { soon(asking).await });
    drop(other);
    own.block_on(async {
        assert!(one.is_alive() && two.is_alive());
        assert_eq!(one.call(Order::Beat(1)).await.unwrap(), 1);
        assert_eq!(two.call(Order::Beat(2)).await.unwrap(), 2);
    });
}

/// PS-04: what partitions are spread by is an argument like any other; nothing is rewritten.
#[tokio::test(start_paused = true)]
async fn several_dynamic_supervisors_may_share_the_children_of_one_kind() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let mut parts = Vec::new();
    for number in 0..3 {
        let part = DynamicSupervisor::new().name(format!("part {number}"));
        parts.push(part.start(&root).await.unwrap());
    }
    for key in 0..30_usize {
        job(&parts[key % parts.len()], &log, ChildSpec::new()).await;
    }
    assert!(parts.iter().all(|part| part.count_children() == 10));
    let again = DynamicSupervisor::new().name("part 1").start(&root).await;
    assert_eq!(again.unwrap_err(), StartChildError::AlreadyStarted);
}

/// What a held child ended of is not what a shutdown killed.
#[tokio::test(start_paused = true)]
async fn a_child_that_waits_for_its_restart_is_not_reported_as_killed() {
    let log = Log::new();
    let slow = RestartBudget::new(10, secs(600)).backoff(secs(60), secs(60));
    let (root, jobs) = pool(DynamicSupervisor::new().restart_budget(slow)).await;
    for _ in 0..2 {
        let one = job(&jobs, &log, ChildSpec::new()).await;
        one.kill();
        one.ended().await;
        settle().await;
    }
    assert_eq!(counts(&jobs).await, [2, 1, 0, 2]);
    let report = root.shutdown(secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
}

/// Ends as soon as it is ready.
struct Brief;

struct Never;

impl Message for Never {
    type Reply = ();
}

impl Process for Brief {
    type Args = ();
    type Message = Never;

    async fn init((): &(), ctx: &mut Context<Self>) -> Result<Self, StartError> {
        ctx.stop(ExitReason::Normal);
        Ok(Brief)
    }

    async fn handle(&mut self, _: Never, _: ReplyTo<Never>, _: &mut Context<Self>) {}
}

/// A start is a start, also of a child that has ended before its starter could look.
#[tokio::test(start_paused = true)]
async fn a_child_that_ends_at_once_was_started_all_the_same() {
    let (supervisor, jobs) = pool(DynamicSupervisor::new()).await;
    let temporary = ChildSpec::new().restart(Restart::Temporary);
    let child = jobs.start_child::<Brief>((), temporary.clone()).await.unwrap();
    child.ended().await;
    assert!(!child.is_alive());
    let child = supervisor.start_child::<Brief>("brief", (), temporary).await.unwrap();
    child.ended().await;
    assert!(!child.is_alive());
}
