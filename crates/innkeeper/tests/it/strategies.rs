//! Supervisors as OTP's suites try them: specs, the life of a known child, significant children,
//! groups that restart together (P8, P13). All shapes of trees are tried in `trees`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use innkeeper::{
    AutoShutdown, BadSpec, ChildSpec, DeleteError, DynamicSupervisor, ExitReason, GetError,
    ProcessRef, Restart, RestartBudget, RestartError, Shutdown, StartChildError, StartError, State,
    StopError, Strategy, Supervisor, SupervisorBuilder,
};

use crate::support::{
    Gate, Heard, House, Log, Order, Script, Told, act, eventually, plan, poll_once, secs, settle,
    soon, tell,
};

fn stops(reason: ExitReason) -> Order {
    act(move |_, ctx| Box::pin(async { ctx.stop(reason) }))
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

fn state(supervisor: &Supervisor, id: &str) -> Option<State> {
    let children = supervisor.which_children();
    children.into_iter().find(|(other, _)| other == id)?.1?.state
}

fn known(supervisor: &Supervisor) -> Vec<String> {
    supervisor.which_children().into_iter().map(|(id, _)| id).collect()
}

fn counts(supervisor: &Supervisor) -> [usize; 4] {
    let count = supervisor.count_children();
    [count.known, count.active, count.supervisors, count.processes]
}

/// SUP-01, SUP-03, DS-04, GS-01: what is not said is as in OTP; what is said is kept.
#[tokio::test(start_paused = true)]
async fn the_defaults_are_those_of_otp_and_each_can_be_set() {
    let budget = RestartBudget::default();
    assert_eq!((budget.max(), budget.window()), (3, secs(5)));
    assert_eq!(Strategy::default(), Strategy::OneForOne);
    assert_eq!(AutoShutdown::default(), AutoShutdown::Never);
    let log = Log::new();
    // Permanent, and five seconds to end.
    let supervisor = Supervisor::new().start().await.unwrap();
    let (told, mut doors) = addressed(&log);
    let one = supervisor.start_child::<Script>("one", told, ChildSpec::new()).await.unwrap();
    doors.recv().await.unwrap();
    one.cast(stops(ExitReason::Normal)).await.unwrap();
    let again = soon(doors.recv()).await.unwrap();
    again.cast(act(|_, _| Box::pin(std::future::pending()))).await.unwrap();
    settle().await;
    let before = tokio::time::Instant::now();
    supervisor.terminate_child("one").await.unwrap();
    assert_eq!(before.elapsed(), secs(5));
    assert_eq!(supervisor.restart_child("one").await, Ok(()));
}

/// SUP-09
#[tokio::test(start_paused = true)]
async fn a_known_child_is_ended_started_again_and_forgotten() {
    let log = Log::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    assert!(known(&supervisor).is_empty());
    assert_eq!(counts(&supervisor), [0, 0, 0, 0]);
    let (told, mut doors) = addressed(&log);
    supervisor.start_child::<Script>("one", told, ChildSpec::new()).await.unwrap();
    let first = doors.recv().await.unwrap();
    tell(&first, |script, _| Box::pin(async { script.kept.push(Box::new(7)) })).await;
    assert_eq!(known(&supervisor), ["one"]);
    assert_eq!(counts(&supervisor), [1, 1, 0, 1]);
    assert_eq!(supervisor.delete_child("one"), Err(DeleteError::Running));
    assert_eq!(supervisor.restart_child("one").await, Err(RestartError::Running));
    supervisor.terminate_child("one").await.unwrap();
    assert_eq!(counts(&supervisor), [1, 0, 0, 1]);
    supervisor.restart_child("one").await.unwrap();
    let second = doors.recv().await.unwrap();
    assert!(second.incarnation() > first.incarnation());
    tell(&second, |script, _| {
        assert!(script.kept.is_empty());
        Box::pin(async {})
    })
    .await;
    assert!(second.is_alive(), "it has a state of its own");
    supervisor.terminate_child("one").await.unwrap();
    assert_eq!(supervisor.delete_child("one"), Ok(()));
    assert_eq!(supervisor.delete_child("one"), Err(DeleteError::NotFound));
    assert_eq!(supervisor.restart_child("one").await, Err(RestartError::NotFound));
    assert_eq!(supervisor.terminate_child("one").await, Err(StopError::NotFound));
    assert_eq!(counts(&supervisor), [0, 0, 0, 0]);
}

/// SUP-09: one that does not start again stays known.
#[tokio::test(start_paused = true)]
async fn a_restart_by_hand_that_fails_leaves_the_child_known() {
    let log = Log::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let starts = Arc::new(AtomicU32::new(0));
    let counted = starts.clone();
    let told = plan(&log).init(move |_| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move { if first { Ok(()) } else { Err(StartError::failed("no")) } })
    });
    supervisor.start_child::<Script>("one", told, ChildSpec::new()).await.unwrap();
    supervisor.terminate_child("one").await.unwrap();
    let failed = GetError::InitFailed(ExitReason::failed("no"));
    let refused = RestartError::Refused(StartChildError::Failed(failed));
    assert_eq!(supervisor.restart_child("one").await, Err(refused));
    assert_eq!((known(&supervisor), state(&supervisor, "one")), (vec!["one".to_owned()], None));
    assert!(starts.load(Ordering::SeqCst) == 2, "no restart follows");
}

/// SUP-07, DS-01: a tree is declared as a whole, and its parts are found by their ids.
#[tokio::test(start_paused = true)]
async fn supervisors_of_every_kind_can_be_declared_as_children() {
    let log = Log::new();
    let inner = Supervisor::new().name("inner").child::<Script>("leaf", plan(&log), spec());
    let jobs = DynamicSupervisor::new().name("jobs").max_children(1);
    let root = Supervisor::new()
        .child::<Script>("first", plan(&log), spec())
        .supervisor(inner)
        .dynamic_supervisor(jobs)
        .start()
        .await
        .unwrap();
    assert_eq!(known(&root), ["first", "inner", "jobs"]);
    assert_eq!(counts(&root), [3, 3, 2, 1]);
    let inner = root.supervisor("inner").unwrap();
    assert_eq!(known(&inner), ["leaf"]);
    let jobs = root.dynamic_supervisor("jobs").unwrap();
    assert_eq!(jobs.count_children(), 0);
    jobs.start_child::<Script>(plan(&log), spec()).await.unwrap();
    assert!(root.supervisor("first").is_none() && root.supervisor("jobs").is_none());
    assert!(root.dynamic_supervisor("inner").is_none());
    assert!(root.shutdown(secs(10)).await.is_clean());
}

fn spec() -> ChildSpec {
    ChildSpec::new()
}

/// A declared child may decline; it is known, and can be started later.
#[tokio::test(start_paused = true)]
async fn a_declared_child_that_declines_is_known_and_does_not_run() {
    let log = Log::new();
    let declines = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let now = declines.clone();
    let told = plan(&log).init(move |_| {
        let declines = now.load(Ordering::SeqCst);
        Box::pin(async move { if declines { Err(StartError::ignore()) } else { Ok(()) } })
    });
    let root = Supervisor::new().child::<Script>("shy", told, spec()).start().await.unwrap();
    assert_eq!(counts(&root), [1, 0, 0, 1]);
    let declined = RestartError::Refused(StartChildError::Failed(GetError::Declined));
    assert_eq!(root.restart_child("shy").await, Err(declined));
    declines.store(false, Ordering::SeqCst);
    root.restart_child("shy").await.unwrap();
    assert_eq!(state(&root, "shy"), Some(State::Live));
}

/// A group of three, and where the addresses of their incarnations come out.
async fn group(
    log: &Log,
    builder: SupervisorBuilder,
    specs: [ChildSpec; 3],
) -> (Supervisor, [tokio::sync::mpsc::Receiver<ProcessRef<Order>>; 3]) {
    let budget = RestartBudget::new(10, secs(5)).backoff(secs(0), secs(0));
    let mut builder = builder.restart_budget(budget);
    let mut doors = Vec::new();
    for (id, spec) in ["one", "two", "three"].into_iter().zip(specs) {
        let (told, door) = addressed(log);
        builder = builder.child::<Script>(id, told, spec);
        doors.push(door);
    }
    (builder.start().await.unwrap(), doors.try_into().unwrap())
}

/// P9: what waits for a sibling that is ended is handled by its next incarnation.
#[tokio::test(start_paused = true)]
async fn messages_that_wait_for_a_sibling_survive_the_restart_of_the_group() {
    let mut log = Log::new();
    let all = Supervisor::new().strategy(Strategy::OneForAll);
    let (root, [mut ones, mut twos, _threes]) = group(&log, all, [spec(), spec(), spec()]).await;
    let (one, two) = (ones.recv().await.unwrap(), twos.recv().await.unwrap());
    let gate = Gate::default();
    let hold = gate.clone();
    two.cast(act(move |_, _| Box::pin(async move { hold.hold().await }))).await.unwrap();
    gate.reached().await;
    two.cast(Order::Beat(7)).await.unwrap();
    let caller = two.clone();
    let calling = tokio::spawn(async move { caller.call(Order::Beat(8)).await.unwrap() });
    settle().await;
    log.so_far();
    one.kill();
    eventually(|| state(&root, "two") == Some(State::Restarting)).await;
    gate.open();
    assert_eq!(soon(calling).await.unwrap(), 8);
    assert!(log.so_far().contains(&Heard::Beat(7)));
    let again = soon(twos.recv()).await.unwrap();
    assert!(again.incarnation() > two.incarnation());
    assert_eq!(again.info().exits[0].reason, ExitReason::Shutdown);
    assert_eq!(again.info().restarts, 1);
}

/// SUP-09: a temporary child ends with its group, and is forgotten; until its supervisor is
/// restarted, if it was made with it.
#[tokio::test(start_paused = true)]
async fn a_temporary_child_is_gone_after_the_restart_of_its_group() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let budget = RestartBudget::new(1, secs(60)).backoff(secs(0), secs(0));
    let (told, mut ones) = addressed(&log);
    let temporary = ChildSpec::new().restart(Restart::Temporary);
    let inner = Supervisor::new()
        .name("inner")
        .strategy(Strategy::OneForAll)
        .restart_budget(budget)
        .child::<Script>("temporary", plan(&log), temporary)
        .child::<Script>("one", told, spec());
    let inner = root.start_supervisor(inner).await.unwrap();
    ones.recv().await.unwrap().kill();
    let one = soon(ones.recv()).await.unwrap();
    eventually(|| state(&inner, "one") == Some(State::Live)).await;
    assert_eq!(known(&inner), ["one"]);
    one.kill();
    soon(ones.recv()).await.unwrap();
    eventually(|| state(&inner, "one") == Some(State::Live)).await;
    assert_eq!(known(&inner), ["temporary", "one"], "with its supervisor it is there again");
}

/// P4, P12: who adds a child while its siblings are restarted waits for that; a child among them
/// cannot.
#[tokio::test(start_paused = true)]
async fn a_child_is_added_once_its_siblings_have_been_restarted() {
    let log = Log::new();
    let gate = Gate::default();
    let (root, hold) = (Arc::new(std::sync::OnceLock::<Supervisor>::new()), gate.clone());
    let (top, starts) = (root.clone(), AtomicU32::new(0));
    let (asked, mut answers) = tokio::sync::mpsc::channel(10);
    let from_within = plan(&log);
    let told = plan(&log).init(move |_| {
        let again = starts.fetch_add(1, Ordering::SeqCst) > 0;
        let (hold, top, asked, within) =
            (hold.clone(), top.clone(), asked.clone(), from_within.clone());
        Box::pin(async move {
            if again {
                let top = top.get().unwrap();
                let refused = top.start_child::<Script>("within", within, spec()).await;
                asked.send(refused.map(drop)).await.unwrap();
                hold.hold().await;
            }
            Ok(())
        })
    });
    let (other, mut others) = addressed(&log);
    let all = Supervisor::new().strategy(Strategy::OneForAll);
    let supervisor = all
        .child::<Script>("slow", told, spec())
        .child::<Script>("other", other, spec())
        .start()
        .await
        .unwrap();
    root.set(supervisor.clone()).unwrap();
    others.recv().await.unwrap().kill();
    let refused = soon(answers.recv()).await.unwrap().unwrap_err();
    assert!(matches!(refused, StartChildError::Failed(GetError::Cycle(_))), "{refused:?}");
    gate.reached().await;
    let mut adding = Box::pin(supervisor.start_child::<Script>("late", plan(&log), spec()));
    assert!(poll_once(&mut adding).await.is_pending());
    settle().await;
    assert_eq!(known(&supervisor), ["slow", "other"]);
    // Looking waits for nobody.
    assert_eq!(state(&supervisor, "slow"), Some(State::Restarting));
    gate.open();
    soon(adding).await.unwrap();
    assert_eq!(known(&supervisor), ["slow", "other", "late"]);
}

/// P6: a wait for siblings that do not come back has its end.
#[tokio::test(start_paused = true)]
async fn who_waits_to_add_a_child_is_told_when_that_takes_too_long() {
    let log = Log::new();
    let patient = ChildSpec::new().start_timeout(secs(10_000));
    let starts = AtomicU32::new(0);
    let told = plan(&log).init(move |_| {
        let again = starts.fetch_add(1, Ordering::SeqCst) > 0;
        Box::pin(async move {
            if again {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    });
    let (other, mut others) = addressed(&log);
    let all =
        Supervisor::new().strategy(Strategy::OneForAll).child::<Script>("slow", told, patient);
    let root = all.child::<Script>("other", other, spec()).start().await.unwrap();
    others.recv().await.unwrap().kill();
    settle().await;
    let late = root.start_child::<Script>("late", plan(&log), spec()).await;
    let waited = innkeeper::limits::ASK_TIMEOUT;
    assert_eq!(late.unwrap_err(), StartChildError::Failed(GetError::Timeout { waited }));
    // P13: and it can be ended in the midst of it.
    assert!(soon(root.shutdown(secs(60))).await.is_clean());
}

/// P8: too many crashes while a supervisor starts are a failed start.
#[tokio::test(start_paused = true)]
async fn a_supervisor_whose_children_crash_too_often_while_it_starts_does_not_start() {
    let log = Log::new();
    let crashing = plan(&log).init(|ctx| {
        ctx.stop(ExitReason::failed("at once"));
        Box::pin(async { Ok(()) })
    });
    let stuck = plan(&log).init(|_| Box::pin(std::future::pending()));
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let builder = Supervisor::new()
            .strategy(strategy)
            .child::<Script>("crashing", crashing.clone(), spec())
            .child::<Script>("stuck", stuck.clone(), spec());
        let error = soon(builder.start()).await.unwrap_err();
        assert!(error.to_string().contains("too many restarts"), "{strategy:?}: {error}");
    }
}

/// SUP-03: a supervisor may end with its significant children, as it says.
#[tokio::test(start_paused = true)]
async fn a_supervisor_ends_when_its_significant_children_have() {
    let log = Log::new();
    let significant = ChildSpec::new().restart(Restart::Transient).significant(true);
    for (when, needed) in [(AutoShutdown::AnySignificant, 1), (AutoShutdown::AllSignificant, 2)] {
        let builder = Supervisor::new().auto_shutdown(when);
        let specs = [significant.clone(), significant.clone(), spec()];
        let (root, [mut ones, mut twos, mut threes]) = group(&log, builder, specs).await;
        let mut ended = Box::pin(root.ended());
        let mut both = [ones.recv().await.unwrap(), twos.recv().await.unwrap()];
        // A crash is restarted after, and another child is not significant.
        both[0].kill();
        both[0] = soon(ones.recv()).await.unwrap();
        let mut three = threes.recv().await.unwrap();
        three.cast(stops(ExitReason::Normal)).await.unwrap();
        three = soon(threes.recv()).await.unwrap();
        for one in &both[..needed] {
            settle().await;
            assert!(poll_once(&mut ended).await.is_pending());
            one.cast(stops(ExitReason::Normal)).await.unwrap();
        }
        assert_eq!(soon(ended).await, ExitReason::Shutdown);
        assert!(!three.is_alive(), "and all others with it");
    }
}

/// SUP-03: only its own end is that of a significant child; and a supervisor that ended so is not
/// started again, if it is transient.
#[tokio::test(start_paused = true)]
async fn a_significant_child_that_was_ended_ends_nobody() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let significant = ChildSpec::new().restart(Restart::Temporary).significant(true);
    let (told, mut doors) = addressed(&log);
    let inner = Supervisor::new()
        .name("inner")
        .restart(Restart::Transient)
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child::<Script>("one", plan(&log), significant.clone())
        .child::<Script>("two", told, significant);
    let inner = root.start_supervisor(inner).await.unwrap();
    inner.terminate_child("one").await.unwrap();
    settle().await;
    assert_eq!(state(&root, "inner"), Some(State::Live));
    doors.recv().await.unwrap().kill();
    eventually(|| state(&root, "inner").is_none()).await;
    assert_eq!(known(&root), ["inner"]);
    root.restart_child("inner").await.unwrap();
    assert_eq!(known(&inner), ["one", "two"]);
}

/// DS-12, SUP-03: what cannot be meant is refused with what is wrong with it, before anything runs.
#[tokio::test(start_paused = true)]
async fn a_setup_that_cannot_be_meant_is_refused_by_name() {
    let mut log = Log::new();
    let (permanent, alone) =
        (BadSpec::SignificantPermanent, BadSpec::SignificantWithoutAutoShutdown);
    let never = BadSpec::StartTimeout { timeout: secs(0) };
    let transient = ChildSpec::new().restart(Restart::Transient);
    let bad = [
        (ChildSpec::new().significant(true), permanent),
        (transient.significant(true), alone),
        (ChildSpec::new().start_timeout(secs(0)), never),
    ];
    let root = Supervisor::new().start().await.unwrap();
    let jobs = DynamicSupervisor::new().start(&root).await.unwrap();
    root.shutdown(secs(1)).await;
    for (spec, why) in bad {
        let refused = StartChildError::BadSpec(why);
        let declared = Supervisor::new().child::<Script>("one", plan(&log), spec.clone());
        assert_eq!(declared.start().await.unwrap_err(), refused);
        // Also where there is nobody to ask.
        let added = root.start_child::<Script>("one", plan(&log), spec.clone()).await;
        assert_eq!(added.unwrap_err(), refused);
        let job = jobs.start_child::<Script>(plan(&log), spec.clone()).await;
        assert_eq!(job.unwrap_err(), refused);
        let house = House::new();
        let live = Supervisor::new().start().await.unwrap();
        let scope = house.builder(spec).start(&live).await;
        assert_eq!(scope.unwrap_err(), refused);
    }
    let window = BadSpec::RestartWindow { window: Duration::ZERO };
    let wrong = [
        (RestartBudget::new(3, Duration::ZERO), window),
        (
            RestartBudget::default().backoff(secs(2), secs(1)),
            BadSpec::Backoff { min: secs(2), max: secs(1) },
        ),
    ];
    let root = Supervisor::new().start().await.unwrap();
    for (budget, why) in wrong {
        let refused = StartChildError::BadSpec(why);
        let error = Supervisor::new().restart_budget(budget).start().await.unwrap_err();
        assert_eq!(error, refused);
        let jobs = DynamicSupervisor::new().restart_budget(budget).start(&root).await;
        assert_eq!(jobs.unwrap_err(), refused);
        let house = House::new();
        let scope = house.builder(spec()).restart_budget(budget).start(&root).await;
        assert_eq!(scope.unwrap_err(), refused);
    }
    assert!(window.to_string().contains("got 0ns"), "{window}");
    assert!(log.so_far().is_empty(), "something ran");
}

/// P11: a supervisor looks through its children, so they have a bound.
#[tokio::test(start_paused = true)]
async fn a_supervisor_may_have_so_many_children_and_no_more() {
    let log = Log::new();
    let max = innkeeper::limits::SIBLINGS_MAX;
    let mut builder = Supervisor::new();
    for number in 0..=max {
        builder = builder.child::<Script>(number.to_string(), plan(&log), spec());
    }
    assert_eq!(builder.start().await.unwrap_err(), StartChildError::MaxChildren { max });
}

/// PS-06, GS-13, DS-07: a stop is over when all have ended; what has a supervisor comes back.
#[tokio::test(start_paused = true)]
async fn a_supervisor_is_stopped_with_all_below_it() {
    let log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let (told, mut doors) = addressed(&log);
    let inner = Supervisor::new().name("inner").child::<Script>("one", told, spec());
    let inner = root.start_supervisor(inner).await.unwrap();
    let one = doors.recv().await.unwrap();
    inner.stop(ExitReason::Normal, secs(5)).await.unwrap();
    assert!(!one.is_alive());
    let again = soon(doors.recv()).await.unwrap();
    eventually(|| state(&root, "inner") == Some(State::Live)).await;
    root.stop(ExitReason::Normal, secs(5)).await.unwrap();
    assert!(!again.is_alive());
    assert_eq!(root.stop(ExitReason::Normal, secs(5)).await, Err(StopError::NotFound));
}

/// SUP-09: a child killed at once, one in its time, and one as long as it takes: as it says.
#[tokio::test(start_paused = true)]
async fn a_group_ends_each_child_within_its_own_limit() {
    let mut log = Log::new();
    let specs = [
        spec(),
        ChildSpec::new().shutdown(Shutdown::Timeout(secs(3))),
        ChildSpec::new().shutdown(Shutdown::BrutalKill),
    ];
    let all = Supervisor::new().strategy(Strategy::OneForAll);
    let (_root, [mut ones, mut twos, mut threes]) = group(&log, all, specs).await;
    let (one, two) = (ones.recv().await.unwrap(), twos.recv().await.unwrap());
    let three = threes.recv().await.unwrap();
    two.cast(act(|_, _| Box::pin(std::future::pending()))).await.unwrap();
    settle().await;
    let before = tokio::time::Instant::now();
    log.so_far();
    one.kill();
    assert_eq!(soon(three.ended()).await, ExitReason::Killed);
    assert_eq!(before.elapsed(), secs(0));
    assert_eq!(soon(two.ended()).await, ExitReason::Killed);
    assert_eq!(before.elapsed(), secs(3));
    assert!(!log.so_far().iter().any(|heard| matches!(heard, Heard::Terminate(_))));
    for doors in [&mut ones, &mut twos, &mut threes] {
        soon(doors.recv()).await.unwrap();
    }
}
