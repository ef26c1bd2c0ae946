//! Supervisors: starts in order, restarts, escalation, dynamic children, trees (P1, P8).

use std::time::Duration;

use innkeeper::{
    ChildSpec, DynamicSupervisor, ExitReason, GetError, Incarnation, ProcessRef, Restart,
    RestartBudget, Shutdown, StartChildError, StartError, State, StopError, Supervisor,
};
use tokio::time::Instant;

use crate::support::{
    Gate, Heard, House, Log, Order, Script, Told, act, add, eventually, key, millis, plan,
    poll_once, secs, settle, soon, spec, tell,
};

fn panics() -> Order {
    act(|_, _| Box::pin(async { panic!("told to") }))
}

fn stops(reason: ExitReason) -> Order {
    act(move |_, ctx| Box::pin(async { ctx.stop(reason) }))
}

async fn child(supervisor: &Supervisor, id: &str, log: &Log, spec: ChildSpec) -> ProcessRef<Order> {
    supervisor.start_child::<Script>(id, plan(log), spec).await.unwrap()
}

fn incarnation(supervisor: &Supervisor, id: &str) -> Option<Incarnation> {
    let children = supervisor.which_children();
    let info = children.into_iter().find(|(other, _)| other == id)?.1?;
    Some(info.incarnation)
}

fn ids(supervisor: &Supervisor) -> Vec<(String, bool)> {
    let children = supervisor.which_children().into_iter();
    children.map(|(id, info)| (id, info.is_some())).collect()
}

/// Says its name in `init`, so that the order of starts shows.
fn named(log: &Log, number: u64) -> Told {
    let sender = log.sender.clone();
    plan(log).init(move |_| {
        sender.try_send(Heard::Beat(number)).unwrap();
        Box::pin(async { Ok(()) })
    })
}

fn beats(log: &mut Log) -> Vec<u64> {
    let beat = |heard| if let Heard::Beat(number) = heard { Some(number) } else { None };
    log.so_far().into_iter().filter_map(beat).collect()
}

#[tokio::test(start_paused = true)]
async fn declared_children_start_in_order_each_once_the_one_before_it_is_ready() {
    let mut log = Log::new();
    let gate = Gate::default();
    let hold = gate.clone();
    let held = plan(&log).init(move |_| {
        let hold = hold.clone();
        Box::pin(async move {
            hold.hold().await;
            Ok(())
        })
    });
    let builder = Supervisor::new()
        .child::<Script>("one", named(&log, 1), ChildSpec::new())
        .child::<Script>("two", held, ChildSpec::new())
        .child::<Script>("three", named(&log, 3), ChildSpec::new());
    let mut start = Box::pin(builder.start());
    assert!(poll_once(&mut start).await.is_pending());
    gate.reached().await;
    settle().await;
    assert_eq!(beats(&mut log), [1]);
    gate.open();
    let supervisor = soon(start).await.unwrap();
    assert_eq!(beats(&mut log), [3]);
    let all = ["one", "two", "three"].map(|id| (id.to_owned(), true));
    assert_eq!(ids(&supervisor), all);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_one_of_whose_children_does_not_start_ends_those_before_it() {
    let mut log = Log::new();
    let failing = plan(&log).init(|_| Box::pin(async { Err(StartError::failed("disk full")) }));
    let builder = Supervisor::new()
        .child::<Script>("one", named(&log, 1), ChildSpec::new())
        .child::<Script>("two", named(&log, 2), ChildSpec::new())
        .child::<Script>("three", failing, ChildSpec::new())
        .child::<Script>("four", named(&log, 4), ChildSpec::new());
    let error = builder.start().await.unwrap_err();
    assert!(error.to_string().contains("child three did not start"), "{error}");
    let heard = log.so_far();
    let ended = heard.iter().filter(|heard| **heard == Heard::Dropped).count();
    assert_eq!(ended, 2, "{heard:?}");
    assert!(!heard.contains(&Heard::Beat(4)));
}

#[tokio::test(start_paused = true)]
async fn two_declared_children_cannot_have_one_id() {
    let log = Log::new();
    let builder = Supervisor::new()
        .child::<Script>("one", plan(&log), ChildSpec::new())
        .child::<Script>("one", plan(&log), ChildSpec::new());
    assert_eq!(builder.start().await.unwrap_err(), StartChildError::AlreadyPresent);
}

/// SUP-09
#[tokio::test(start_paused = true)]
async fn an_id_is_taken_by_a_child_that_runs_and_by_one_that_is_only_known() {
    let log = Log::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let one = child(&supervisor, "one", &log, ChildSpec::new()).await;
    let again = supervisor.start_child::<Script>("one", plan(&log), ChildSpec::new()).await;
    assert_eq!(again.unwrap_err(), StartChildError::AlreadyStarted);
    supervisor.terminate_child("one").await.unwrap();
    assert!(!one.is_alive());
    let again = supervisor.start_child::<Script>("one", plan(&log), ChildSpec::new()).await;
    assert_eq!(again.unwrap_err(), StartChildError::AlreadyPresent);
    assert_eq!(supervisor.terminate_child("two").await, Err(StopError::NotFound));
    // A temporary child is forgotten.
    child(&supervisor, "temp", &log, ChildSpec::new().restart(Restart::Temporary)).await;
    supervisor.terminate_child("temp").await.unwrap();
    assert_eq!(ids(&supervisor), [("one".to_owned(), false)]);
    child(&supervisor, "temp", &log, ChildSpec::new()).await;
}

/// P3: a first start that fails leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_start_is_not_kept() {
    let log = Log::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    for _ in 0..10 {
        let failing = plan(&log).init(|_| Box::pin(async { Err(StartError::failed("no")) }));
        let error = supervisor.start_child::<Script>("one", failing, ChildSpec::new()).await;
        let failed = GetError::InitFailed(ExitReason::failed("no"));
        assert_eq!(error.unwrap_err(), StartChildError::Failed(failed));
        let declining = plan(&log).init(|_| Box::pin(async { Err(StartError::ignore()) }));
        let error = supervisor.start_child::<Script>("one", declining, ChildSpec::new()).await;
        assert_eq!(error.unwrap_err(), StartChildError::Failed(GetError::Declined));
    }
    assert!(ids(&supervisor).is_empty());
    child(&supervisor, "one", &log, ChildSpec::new()).await;
}

/// P8, DS-21, DS-22: the restart rules of OTP.
#[tokio::test(start_paused = true)]
async fn a_child_is_restarted_as_its_rule_says() {
    let reasons = [
        (ExitReason::Normal, false),
        (ExitReason::Shutdown, false),
        (ExitReason::shutdown_with("x"), false),
        (ExitReason::failed("x"), true),
    ];
    for (reason, abnormal) in reasons {
        for (restart, again) in [
            (Restart::Permanent, true),
            (Restart::Transient, abnormal),
            (Restart::Temporary, false),
        ] {
            let log = Log::new();
            let supervisor = Supervisor::new().start().await.unwrap();
            let one = child(&supervisor, "one", &log, ChildSpec::new().restart(restart)).await;
            one.cast(stops(reason.clone())).await.unwrap();
            one.ended().await;
            settle().await;
            let next = incarnation(&supervisor, "one");
            assert_eq!(next.is_some(), again, "{restart:?} after {reason}");
            assert!(next.is_none_or(|next| next > one.incarnation()));
        }
    }
}

/// P8: one for one.
#[tokio::test(start_paused = true)]
async fn a_crash_of_one_child_is_nothing_to_its_siblings() {
    let mut log = Log::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let [one, two, three] = ["one", "two", "three"];
    let first = child(&supervisor, one, &log, ChildSpec::new()).await;
    let second = child(&supervisor, two, &log, ChildSpec::new()).await;
    let third = child(&supervisor, three, &log, ChildSpec::new()).await;
    log.so_far();
    second.cast(panics()).await.unwrap();
    second.ended().await;
    settle().await;
    assert!(incarnation(&supervisor, two).unwrap() > second.incarnation());
    assert!(first.is_alive() && third.is_alive());
    let order: Vec<_> = ids(&supervisor).into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, [one, two, three], "a restart moves nothing");
}

/// P8: too many restarts end a supervisor, and its own restarts it with all that it has.
#[tokio::test(start_paused = true)]
async fn too_many_crashes_escalate_to_the_supervisor_above() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let inner = Supervisor::new()
        .name("inner")
        .restart_budget(RestartBudget::new(2, secs(60)).backoff(secs(0), secs(0)))
        .child::<Script>("declared", plan(&log), ChildSpec::new());
    let inner = root.start_supervisor(inner).await.unwrap();
    let (told, mut doors) = addressed(&log);
    inner.start_child::<Script>("added", told, ChildSpec::new()).await.unwrap();
    let declared = incarnation(&inner, "declared").unwrap();
    let sibling = child(&root, "sibling", &log, ChildSpec::new()).await;
    let before = incarnation(&root, "inner").unwrap();
    let mut last = None;
    for _ in 0..3 {
        assert_eq!(incarnation(&root, "inner"), Some(before));
        let now = soon(doors.recv()).await.unwrap();
        now.cast(panics()).await.unwrap();
        now.ended().await;
        last = Some(now.incarnation());
        settle().await;
    }
    let again = soon(doors.recv()).await.unwrap();
    assert!(Some(again.incarnation()) > last, "children that were added are started again too");
    eventually(|| ids(&inner).iter().all(|(_, up)| *up)).await;
    assert!(incarnation(&root, "inner").unwrap() > before);
    assert!(incarnation(&inner, "declared").unwrap() > declared, "all were started anew");
    assert!(sibling.is_alive());
    child(&inner, "late", &log, ChildSpec::new()).await;
}

/// P8, P1: it ends its other children before it comes back.
#[tokio::test(start_paused = true)]
async fn a_supervisor_that_escalates_ends_all_children_before_it_starts_them_again() {
    let mut log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let inner = Supervisor::new().name("inner").restart_budget(RestartBudget::new(0, secs(5)));
    let inner = root.start_supervisor(inner).await.unwrap();
    let one = child(&inner, "one", &log, ChildSpec::new()).await;
    let two = child(&inner, "two", &log, ChildSpec::new()).await;
    log.so_far();
    one.cast(panics()).await.unwrap();
    two.ended().await;
    eventually(|| ids(&inner).iter().all(|(_, up)| *up)).await;
    let heard = log.so_far();
    let dropped = heard.iter().rposition(|heard| *heard == Heard::Dropped).unwrap();
    let begun = heard.iter().position(|heard| matches!(heard, Heard::Init(_))).unwrap();
    assert!(dropped < begun, "{heard:?}");
}

/// P8: at the root there is nobody to restart it: it ends, and says so.
#[tokio::test(start_paused = true)]
async fn a_root_supervisor_with_too_many_crashes_ends_with_all_its_children() {
    let log = Log::new();
    let root = Supervisor::new().restart_budget(RestartBudget::new(1, secs(60))).start();
    let root = root.await.unwrap();
    let healthy = child(&root, "healthy", &log, ChildSpec::new()).await;
    let (told, mut doors) = addressed(&log);
    root.start_child::<Script>("crashing", told, ChildSpec::new()).await.unwrap();
    let mut ended = Box::pin(root.ended());
    for _ in 0..2 {
        assert!(poll_once(&mut ended).await.is_pending());
        soon(doors.recv()).await.unwrap().cast(panics()).await.unwrap();
        settle().await;
    }
    assert_eq!(soon(ended).await, ExitReason::Shutdown);
    assert!(!healthy.is_alive());
    let late = root.start_child::<Script>("late", plan(&log), ChildSpec::new()).await;
    assert_eq!(late.unwrap_err(), StartChildError::ShuttingDown);
}

/// P8: a crash that is not restarted, or was no crash, costs no budget.
#[tokio::test(start_paused = true)]
async fn only_restarts_count_against_the_budget_of_a_supervisor() {
    let log = Log::new();
    let root = Supervisor::new().restart_budget(RestartBudget::new(0, secs(60))).start();
    let root = root.await.unwrap();
    let healthy = child(&root, "healthy", &log, ChildSpec::new()).await;
    for n in 0..10 {
        let id = format!("temporary {n}");
        let spec = ChildSpec::new().restart(Restart::Temporary);
        let one = child(&root, &id, &log, spec).await;
        one.cast(panics()).await.unwrap();
        one.ended().await;
        let id = format!("transient {n}");
        let spec = ChildSpec::new().restart(Restart::Transient);
        let one = child(&root, &id, &log, spec).await;
        one.cast(stops(ExitReason::Normal)).await.unwrap();
        one.ended().await;
        let failing = plan(&log).init(|_| Box::pin(async { Err(StartError::failed("no")) }));
        let id = format!("failing {n}");
        root.start_child::<Script>(&id, failing, ChildSpec::new()).await.unwrap_err();
    }
    settle().await;
    assert!(healthy.is_alive());
}

/// P8: restarts back off as for keys.
#[tokio::test(start_paused = true)]
async fn the_second_restart_of_a_child_in_a_window_waits_a_little() {
    let log = Log::new();
    let budget = RestartBudget::new(10, secs(600)).backoff(secs(1), secs(2));
    let root = Supervisor::new().restart_budget(budget).start().await.unwrap();
    let (told, mut doors) = addressed(&log);
    root.start_child::<Script>("one", told, ChildSpec::new()).await.unwrap();
    let mut waits = Vec::new();
    for _ in 0..4 {
        let now = soon(doors.recv()).await.unwrap();
        now.cast(panics()).await.unwrap();
        now.ended().await;
        let before = Instant::now();
        eventually(|| incarnation(&root, "one").is_some()).await;
        while doors.is_empty() {
            tokio::time::sleep(millis(1)).await;
        }
        waits.push(before.elapsed());
    }
    assert!(waits[0] <= millis(1), "{waits:?}");
    assert!(waits[1] >= millis(500) && waits[1] <= millis(1002), "{waits:?}");
    assert!(waits[2] >= secs(1) && waits[3] <= millis(2002), "{waits:?}");
}

/// DS-52: a child between two incarnations can be ended.
#[tokio::test(start_paused = true)]
async fn a_child_that_waits_for_its_restart_is_ended_at_once() {
    let log = Log::new();
    let budget = RestartBudget::new(10, secs(600)).backoff(secs(60), secs(60));
    let root = Supervisor::new().restart_budget(budget).start().await.unwrap();
    let (told, mut doors) = addressed(&log);
    root.start_child::<Script>("one", told, ChildSpec::new()).await.unwrap();
    for _ in 0..2 {
        let now = soon(doors.recv()).await.unwrap();
        now.cast(panics()).await.unwrap();
        now.ended().await;
    }
    let before = Instant::now();
    soon(root.terminate_child("one")).await.unwrap();
    assert_eq!(before.elapsed(), secs(0));
    tokio::time::sleep(secs(100)).await;
    assert_eq!(ids(&root), [("one".to_owned(), false)]);
    assert!(doors.is_empty(), "no restart comes late");
}

#[tokio::test(start_paused = true)]
async fn what_is_seen_of_children_is_where_they_are_in_their_lives() {
    let log = Log::new();
    let root = Supervisor::new().name("root").start().await.unwrap();
    assert_eq!(root.name(), "root");
    let one = child(&root, "one", &log, ChildSpec::new()).await;
    let gate = Gate::default();
    let hold = gate.clone();
    let slow = plan(&log).init(move |_| {
        let hold = hold.clone();
        Box::pin(async move {
            hold.hold().await;
            Ok(())
        })
    });
    let mut start = Box::pin(root.start_child::<Script>("slow", slow, ChildSpec::new()));
    assert!(poll_once(&mut start).await.is_pending());
    gate.reached().await;
    // A slow start holds up neither a look nor another start.
    let states: Vec<_> = root
        .which_children()
        .into_iter()
        .map(|(_, info)| info.and_then(|info| info.state))
        .collect();
    assert_eq!(states, [Some(State::Live), Some(State::Starting)]);
    child(&root, "other", &log, ChildSpec::new()).await;
    let info = root.which_children().remove(0).1.unwrap();
    assert_eq!((info.name.as_str(), info.incarnation), ("one", one.incarnation()));
    gate.open();
    soon(start).await.unwrap();
}

/// A child that is slow to end holds up only who ends it.
#[tokio::test(start_paused = true)]
async fn a_child_that_takes_longer_than_it_may_is_killed_by_terminate_child() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let spec = ChildSpec::new().shutdown(Shutdown::Timeout(secs(2)));
    let one = child(&root, "one", &log, spec).await;
    one.cast(act(|_, _| Box::pin(std::future::pending()))).await.unwrap();
    settle().await;
    let before = Instant::now();
    root.terminate_child("one").await.unwrap();
    assert_eq!(before.elapsed(), secs(2));
    assert!(!one.is_alive());
}

async fn jobs(supervisor: &Supervisor) -> DynamicSupervisor {
    DynamicSupervisor::new().start(supervisor).await.unwrap()
}

/// DS-01, DS-51
#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_starts_and_ends_children_of_any_type() {
    let log = Log::new();
    let house = House::new();
    let root = Supervisor::new().start().await.unwrap();
    let jobs = jobs(&root).await;
    assert_eq!(jobs.count_children(), 0);
    let script = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await.unwrap();
    let args = (key("lobby"), house.clone());
    let room = jobs.start_child::<crate::support::Room>(args, ChildSpec::new()).await.unwrap();
    assert_eq!(add(&room, 2).await, 2);
    let mut names = Vec::new();
    jobs.each_child(|info| names.push(info.name)).await;
    names.sort();
    assert!(names[0].starts_with("Room#") && names[1].starts_with("Script#"), "{names:?}");
    jobs.terminate_child(&script).await.unwrap();
    assert_eq!(jobs.terminate_child(&script).await, Err(StopError::NotFound));
    assert_eq!((jobs.count_children(), script.is_alive(), room.is_alive()), (1, false, true));
    jobs.terminate_child(&room).await.unwrap();
    assert_eq!((jobs.count_children(), house.census.alive()), (0, 0));
}

/// DS-52: by the address of any of its incarnations, also between two of them.
#[tokio::test(start_paused = true)]
async fn a_dynamic_child_can_be_ended_by_the_address_of_an_earlier_incarnation() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let budget = RestartBudget::new(5, secs(600)).backoff(secs(60), secs(60));
    let jobs = DynamicSupervisor::new().restart_budget(budget).start(&root).await.unwrap();
    let (told, mut doors) = addressed(&log);
    let first = jobs.start_child::<Script>(told, ChildSpec::new()).await.unwrap();
    for _ in 0..2 {
        let now = soon(doors.recv()).await.unwrap();
        now.cast(panics()).await.unwrap();
        now.ended().await;
    }
    assert_eq!(jobs.count_children(), 1, "one that is being restarted is there");
    let before = Instant::now();
    soon(jobs.terminate_child(&first)).await.unwrap();
    assert_eq!((before.elapsed(), jobs.count_children()), (secs(0), 0));
}

/// DS-21: what is not restarted is forgotten.
#[tokio::test(start_paused = true)]
async fn a_dynamic_child_that_is_done_is_forgotten() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let jobs = jobs(&root).await;
    for _ in 0..100 {
        let job = jobs.start_child::<Script>(plan(&log), spec()).await.unwrap();
        job.cast(stops(ExitReason::Normal)).await.unwrap();
        job.ended().await;
    }
    settle().await;
    assert_eq!(jobs.count_children(), 0);
}

/// P8 (DS-28): the budget of a dynamic supervisor is shared; past it, it comes back without any.
#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_with_too_many_crashes_comes_back_empty() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let builder =
        DynamicSupervisor::new().name("jobs").restart_budget(RestartBudget::new(1, secs(5)));
    let jobs = builder.start(&root).await.unwrap();
    let healthy = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await.unwrap();
    let before = incarnation(&root, "jobs");
    for _ in 0..2 {
        let job = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await.unwrap();
        job.cast(panics()).await.unwrap();
        job.ended().await;
    }
    healthy.ended().await;
    eventually(|| incarnation(&root, "jobs") > before).await;
    eventually(|| jobs.count_children() == 0).await;
    settle().await;
    jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await.unwrap();
    assert_eq!(jobs.count_children(), 1);
}

/// P8: a start that fails is no restart.
#[tokio::test(start_paused = true)]
async fn starts_that_fail_do_not_end_a_dynamic_supervisor() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let jobs = jobs(&root).await;
    let healthy = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await.unwrap();
    for _ in 0..50 {
        let failing = plan(&log).init(|_| Box::pin(async { panic!("no") }));
        let error = jobs.start_child::<Script>(failing, ChildSpec::new()).await.unwrap_err();
        assert!(matches!(error, StartChildError::Failed(GetError::InitFailed(_))), "{error}");
        assert_eq!(jobs.count_children(), 1, "nothing is kept");
    }
    settle().await;
    assert!(healthy.is_alive());
}

/// P4: neither a slow start nor a slow end holds up another child.
#[tokio::test(start_paused = true)]
async fn dynamic_children_start_and_end_side_by_side() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let jobs = jobs(&root).await;
    let slow = plan(&log).init(|_| Box::pin(std::future::pending()));
    let mut start = Box::pin(jobs.start_child::<Script>(slow, ChildSpec::new()));
    assert!(poll_once(&mut start).await.is_pending());
    let stuck = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await.unwrap();
    stuck.cast(act(|_, _| Box::pin(std::future::pending()))).await.unwrap();
    settle().await;
    let mut end = Box::pin(jobs.terminate_child(&stuck));
    assert!(poll_once(&mut end).await.is_pending());
    let before = Instant::now();
    for _ in 0..10 {
        let job = jobs.start_child::<Script>(plan(&log), ChildSpec::new()).await.unwrap();
        jobs.terminate_child(&job).await.unwrap();
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    soon(end).await.unwrap();
    assert_eq!(soon(start).await.unwrap_err(), StartChildError::Failed(GetError::StartTimeout));
}

/// P1: a supervised child is one process at any time, over restarts of itself and of all above it.
#[tokio::test(start_paused = true)]
async fn a_child_is_never_there_twice_over_restarts_at_every_level() {
    let house = House::new();
    let root = Supervisor::new().restart_budget(RestartBudget::new(100, secs(5))).start();
    let root = root.await.unwrap();
    let inner = Supervisor::new().name("inner").restart_budget(RestartBudget::new(1, secs(5)));
    let inner = root.start_supervisor(inner).await.unwrap();
    let args = (key("lobby"), house.clone());
    let room = inner.start_child::<crate::support::Room>("room", args, ChildSpec::new());
    let mut last = room.await.unwrap().incarnation();
    let log = Log::new();
    let (told, mut doors) = addressed(&log);
    inner.start_child::<Script>("trouble", told, ChildSpec::new()).await.unwrap();
    for _ in 0..10 {
        for _ in 0..2 {
            let now = soon(doors.recv()).await.unwrap();
            now.cast(panics()).await.unwrap();
            now.ended().await;
        }
        eventually(|| incarnation(&inner, "room").is_some_and(|now| now > last)).await;
        last = incarnation(&inner, "room").unwrap();
    }
    assert_eq!((house.census.most_of_one_key(), house.census.alive()), (1, 1));
    assert!(house.census.ever() > 10);
    tell(&soon(doors.recv()).await.unwrap(), |_, _| Box::pin(async {})).await;
}

/// A script that hands out the address of each of its incarnations.
fn addressed(log: &Log) -> (Told, tokio::sync::mpsc::Receiver<ProcessRef<Order>>) {
    let (sender, doors) = tokio::sync::mpsc::channel(1000);
    let told = plan(log).init(move |ctx| {
        sender.try_send(ctx.process()).unwrap();
        Box::pin(async { Ok(()) })
    });
    (told, doors)
}
