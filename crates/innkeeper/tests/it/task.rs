//! Work in a process of its own, and its one result: OTP's `Task` and `Task.Supervisor`.

mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use innkeeper::{
    ChildSpec, ExitReason, Restart, StartChildError, StopError, Supervisor, Task, TaskError,
    TaskSupervisor, TaskSupervisorBuilder, Waited,
};

use crate::support::{
    Gate, Heard, Log, Order, eventually, millis, poll_once, script, secs, settle, soon, tell,
};

async fn start(builder: TaskSupervisorBuilder) -> TaskSupervisor {
    let supervisor = Supervisor::new().start().await.unwrap();
    let tasks = builder.start(&supervisor).await.unwrap();
    // Its processes keep a tree alive, not its handle.
    drop(supervisor);
    tasks
}

async fn tasks() -> TaskSupervisor {
    start(TaskSupervisor::new()).await
}

/// Tells when it is dropped.
struct Dropped(Arc<AtomicU64>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn told_to() -> ExitReason {
    ExitReason::Panicked("told to".into())
}

/// TS-01
#[tokio::test(start_paused = true)]
async fn several_supervisors_of_tasks_in_one_tree_have_names_of_their_own() {
    let supervisor = Supervisor::new().start().await.unwrap();
    TaskSupervisor::new().start(&supervisor).await.unwrap();
    let second = TaskSupervisor::new().start(&supervisor).await.unwrap_err();
    assert_eq!(second, StartChildError::AlreadyStarted);
    for name in ["uploads", "mails"] {
        let tasks = TaskSupervisor::new().name(name).start(&supervisor).await.unwrap();
        assert_eq!(tasks.start(async { 1 }).await.unwrap().join(secs(1)).await, Ok(1));
    }
    assert!(supervisor.shutdown(secs(5)).await.is_clean());
}

/// TS-04
#[tokio::test(start_paused = true)]
async fn a_task_is_a_child_of_its_supervisor_until_it_is_done() {
    let tasks = tasks().await;
    let gate = Gate::default();
    let hold = gate.clone();
    let task = tasks.start(async move { hold.hold().await }).await.unwrap();
    gate.reached().await;
    assert_eq!((tasks.count_children(), task.process().info().watchers), (1, 0));
    let mut seen = Vec::new();
    tasks.each_child(|info| seen.push(info.incarnation)).await;
    assert_eq!(seen, [task.process().incarnation()]);
    gate.open();
    let process = task.process().clone();
    assert_eq!(task.join(secs(1)).await, Ok(()));
    eventually(|| tasks.count_children() == 0).await;
    assert!(!process.is_alive());
}

/// TS-03: linked both ways, and an end in order touches nobody.
#[tokio::test(start_paused = true)]
async fn a_linked_task_and_the_process_that_asked_for_it_share_their_crashes() {
    let tasks = tasks().await;
    for crashes in [false, true] {
        let mut log = Log::new();
        let caller = script(&log).await;
        let supervisor = tasks.clone();
        tell(&caller, move |script, ctx| {
            Box::pin(async move {
                let work = async move { assert!(!crashes, "told to") };
                let task = supervisor.start_linked(ctx, work).await.unwrap();
                // Kept: dropped, it would be told to end in order.
                script.kept.push(Box::new(task));
            })
        })
        .await;
        eventually(|| tasks.count_children() == 0).await;
        settle().await;
        assert_eq!(caller.is_alive(), !crashes);
        if crashes {
            assert!(log.so_far().contains(&Heard::Dropped));
        }
    }
    let caller = script(&Log::new()).await;
    let (supervisor, dropped) = (tasks.clone(), Arc::new(AtomicU64::new(0)));
    let bomb = Dropped(dropped.clone());
    tell(&caller, move |_, ctx| {
        Box::pin(async move {
            let work = async move {
                let _bomb = bomb;
                std::future::pending::<()>().await;
            };
            let task = supervisor.start_linked(ctx, work).await.unwrap();
            task.detach();
        })
    })
    .await;
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    caller.kill();
    eventually(|| dropped.load(Ordering::SeqCst) == 1).await;
}

/// TS-04, TS-13: a crash without a link is a value, and touches nobody.
#[tokio::test(start_paused = true)]
async fn a_task_that_crashes_says_why_to_who_waits() {
    let tasks = tasks().await;
    let caller = script(&Log::new()).await;
    let supervisor = tasks.clone();
    tell(&caller, move |_, _| {
        Box::pin(async move {
            let task = supervisor.start(async { panic!("told to") }).await.unwrap();
            assert_eq!(task.join(secs(1)).await, Err::<(), _>(TaskError::Exited(told_to())));
        })
    })
    .await;
    let task = tasks.start(std::future::pending::<()>()).await.unwrap();
    task.process().kill();
    assert_eq!(task.join(secs(1)).await, Err(TaskError::Exited(ExitReason::Killed)));
    let task = tasks.start(std::future::pending::<()>()).await.unwrap();
    tasks.terminate_child(task.process()).await.unwrap();
    assert_eq!(task.join(secs(1)).await, Err(TaskError::Exited(ExitReason::Shutdown)));
    // What a task returns is its own business: an error is a result.
    let task = tasks.start(async { Err::<(), _>("no") }).await.unwrap();
    assert_eq!(task.join(secs(1)).await, Ok(Err("no")));
    assert!(caller.is_alive());
}

/// TS-06
#[tokio::test(start_paused = true)]
async fn more_tasks_than_may_be_are_refused_and_nothing_of_them_runs() {
    let tasks = start(TaskSupervisor::new().max_children(1)).await;
    let first = tasks.start(std::future::pending::<()>()).await.unwrap();
    let refused = tasks.start(async { panic!("nothing runs") }).await.map(Task::<()>::detach);
    assert_eq!(refused.unwrap_err(), StartChildError::MaxChildren { max: 1 });
    let caller = script(&Log::new()).await;
    let supervisor = tasks.clone();
    tell(&caller, move |_, ctx| {
        Box::pin(async move {
            let refused = supervisor.start_linked(ctx, async {}).await.map(Task::detach);
            assert_eq!(refused.unwrap_err(), StartChildError::MaxChildren { max: 1 });
        })
    })
    .await;
    assert_eq!(caller.info().watchers, 0, "no link is left");
    assert_eq!(first.shutdown(secs(1)).await, Ok(None));
    assert_eq!(tasks.start(async { 2 }).await.unwrap().join(secs(1)).await, Ok(2));
}

/// TS-09
#[tokio::test(start_paused = true)]
async fn a_started_task_belongs_to_its_supervisor_only() {
    let tasks = tasks().await;
    let caller = script(&Log::new()).await;
    let (supervisor, gate) = (tasks.clone(), Gate::default());
    let hold = gate.clone();
    tell(&caller, move |_, _| {
        Box::pin(async move {
            let work = move || {
                let hold = hold.clone();
                async move { hold.hold().await }
            };
            let task = supervisor.start_child(TaskSupervisor::SPEC, work).await.unwrap();
            assert_eq!(task.info().watchers, 0);
        })
    })
    .await;
    gate.reached().await;
    caller.kill();
    caller.ended().await;
    assert_eq!(tasks.count_children(), 1);
    gate.open();
    eventually(|| tasks.count_children() == 0).await;
}

/// TS-10: and a temporary one does not.
#[tokio::test(start_paused = true)]
async fn a_permanent_task_runs_again_whatever_it_ended_with() {
    let tasks = tasks().await;
    for (restart, runs_max) in [(Restart::Permanent, 2), (Restart::Temporary, 1)] {
        let runs = Arc::new(AtomicU64::new(0));
        let count = runs.clone();
        let work = move || {
            let count = count.clone();
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            }
        };
        let spec = ChildSpec::new().restart(restart);
        let task = tasks.start_child(spec, work).await.unwrap();
        eventually(|| runs.load(Ordering::SeqCst) == 1).await;
        task.stop(ExitReason::Shutdown, secs(1)).await.unwrap();
        eventually(|| runs.load(Ordering::SeqCst) == runs_max).await;
        settle().await;
        assert_eq!(runs.load(Ordering::SeqCst), runs_max);
        let _ = tasks.terminate_child(&task).await;
    }
    eventually(|| tasks.count_children() == 0).await;
}

/// TS-12: a result that comes late goes nowhere, and the task is told to end.
#[tokio::test(start_paused = true)]
async fn a_task_that_is_not_done_in_time_is_a_timeout_and_ends() {
    let tasks = tasks().await;
    let dropped = Arc::new(AtomicU64::new(0));
    let bomb = Dropped(dropped.clone());
    let work = async move {
        let _bomb = bomb;
        tokio::time::sleep(secs(60)).await;
    };
    let task = tasks.start(work).await.unwrap();
    let waited = Duration::ZERO;
    assert_eq!(task.join(waited).await, Err(TaskError::Timeout { waited }));
    eventually(|| dropped.load(Ordering::SeqCst) == 1 && tasks.count_children() == 0).await;
}

/// OTP's `Task.yield`.
#[tokio::test(start_paused = true)]
async fn a_task_that_is_waited_for_in_vain_may_be_waited_for_again() {
    let tasks = tasks().await;
    let task = tasks.start(async {
        tokio::time::sleep(secs(3)).await;
        7
    });
    let Waited::StillRuns(task) = task.await.unwrap().wait(secs(1)).await else {
        panic!("it takes three seconds");
    };
    let Waited::Done(7) = task.wait(secs(60)).await else { panic!("it is done by now") };
    let task = tasks.start(async { panic!("told to") }).await.unwrap();
    let Waited::<()>::Exited(reason) = task.wait(secs(1)).await else { panic!("it crashed") };
    assert_eq!(reason, told_to());
}

/// OTP's `Task.shutdown`; TS-21: a wrong option does not compile, for there is none.
#[tokio::test(start_paused = true)]
async fn a_task_that_is_shut_down_has_ended_and_gives_the_result_it_had() {
    let tasks = tasks().await;
    let task = tasks.start(async { 7 }).await.unwrap();
    settle().await;
    assert_eq!(task.shutdown(secs(1)).await, Ok(Some(7)));
    let dropped = Arc::new(AtomicU64::new(0));
    let bomb = Dropped(dropped.clone());
    let work = async move {
        let _bomb = bomb;
        std::future::pending::<u8>().await
    };
    let task = tasks.start(work).await.unwrap();
    settle().await;
    assert_eq!(task.shutdown(secs(1)).await, Ok(None));
    assert_eq!((dropped.load(Ordering::SeqCst), tasks.count_children()), (1, 0));
    let task = tasks.start(async { panic!("told to") }).await.unwrap();
    settle().await;
    assert_eq!(task.shutdown(secs(1)).await, Err::<Option<()>, _>(TaskError::Exited(told_to())));
}

/// P14: code that never yields is told to end, and that it has not is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_stuck_is_not_waited_for() {
    let tasks = tasks().await;
    let gate = Gate::default();
    let block = gate.clone();
    let task = tasks.start(async move { block.block() }).await.unwrap();
    gate.reached().await;
    let stuck = task.shutdown(millis(10)).await;
    assert!(matches!(stuck, Err(TaskError::NotStopped(StopError::StillStopping { .. }))));
    gate.open();
    eventually(|| tasks.count_children() == 0).await;
}

/// P5: dropped it is told to end, detached it goes on.
#[tokio::test(start_paused = true)]
async fn a_task_goes_with_who_has_it_unless_it_is_let_go() {
    let tasks = tasks().await;
    for detached in [false, true] {
        let (gate, dropped) = (Gate::default(), Arc::new(AtomicU64::new(0)));
        let (hold, bomb) = (gate.clone(), Dropped(dropped.clone()));
        let work = async move {
            let _bomb = bomb;
            hold.hold().await;
        };
        let task = tasks.start(work).await.unwrap();
        gate.reached().await;
        if detached {
            task.detach();
            settle().await;
            assert_eq!(tasks.count_children(), 1);
            gate.open();
        } else {
            drop(task);
        }
        eventually(|| tasks.count_children() == 0 && dropped.load(Ordering::SeqCst) == 1).await;
    }
}

/// P5
#[tokio::test(start_paused = true)]
async fn a_task_whose_start_is_given_up_runs_nothing_and_leaves_nothing() {
    let tasks = tasks().await;
    for polls in 0..5 {
        let work = async { panic!("nobody has it") };
        let given_up = crate::support::dropped_after(polls, tasks.start::<()>(work)).await;
        if given_up {
            break;
        }
        eventually(|| tasks.count_children() == 0).await;
    }
    let mut start = Box::pin(Task::start(async { 1 }));
    let _ = poll_once(&mut start).await;
    drop(start);
    assert_eq!(soon(Task::start(async { 2 })).await.unwrap().join(secs(1)).await, Ok(2));
}

/// `Process.send_after` from outside a process.
#[tokio::test(start_paused = true)]
async fn something_is_said_later_from_anywhere_unless_it_is_cancelled() {
    let tasks = tasks().await;
    let mut log = Log::new();
    let script = script(&log).await;
    let soon = tasks.send_after(&script, secs(2), Order::Beat(2)).await.unwrap();
    drop(tasks.send_after(&script, secs(1), Order::Beat(1)).await.unwrap());
    soon.join(secs(10)).await.unwrap().unwrap();
    settle().await;
    let beats: Vec<_> =
        log.so_far().into_iter().filter(|heard| matches!(heard, Heard::Beat(_))).collect();
    assert_eq!(beats, [Heard::Beat(2)]);
    let late = tasks.send_after(&script, secs(1), Order::Beat(3)).await.unwrap();
    script.kill();
    script.ended().await;
    let refused = late.join(secs(10)).await.unwrap().unwrap_err();
    assert_eq!(refused.why, innkeeper::NotDelivered::Ended);
}
