//! A task for each of many inputs: OTP's `Task.Supervisor.async_stream`.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use innkeeper::{StartChildError, StreamError, Task, TaskError, TaskStream, TaskSupervisor};

use super::{Dropped, start, tasks, told_to};
use crate::support::{Log, dropped_after, eventually, script, secs, tell};

fn at_once(tasks: usize) -> NonZeroUsize {
    NonZeroUsize::new(tasks).unwrap()
}

async fn all<I, T>(mut stream: TaskStream<I, T>) -> Vec<Result<T, StreamError<I>>>
where
    I: Clone + Send + 'static,
    T: Send + 'static,
{
    let mut all = Vec::new();
    while let Some(result) = stream.next().await {
        all.push(result);
    }
    all
}

#[tokio::test(start_paused = true)]
async fn results_come_in_the_order_of_the_inputs_or_as_they_are_ready() {
    let tasks = tasks().await;
    let slowest_first = |n: u64| async move {
        tokio::time::sleep(secs(4 - n)).await;
        n
    };
    let ordered = tasks.stream([1, 2, 3], slowest_first).max_concurrency(at_once(3));
    assert_eq!(all(ordered).await, [Ok(1), Ok(2), Ok(3)]);
    let ready = tasks.stream([1, 2, 3], slowest_first).max_concurrency(at_once(3)).unordered();
    assert_eq!(all(ready).await, [Ok(3), Ok(2), Ok(1)]);
    assert_eq!(all(tasks.stream([], slowest_first)).await, []);
}

/// P11
#[tokio::test(start_paused = true)]
async fn never_more_tasks_than_wanted_run_at_once() {
    let tasks = tasks().await;
    for ordered in [true, false] {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (now, top) = (running.clone(), most.clone());
        let work = move |n: u64| {
            let (now, top) = (now.clone(), top.clone());
            async move {
                top.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(secs(1 + n % 3)).await;
                now.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let stream = tasks.stream(0..50, work).max_concurrency(at_once(4));
        let stream = if ordered { stream } else { stream.unordered() };
        assert_eq!(all(stream).await.len(), 50);
        assert_eq!(most.load(Ordering::SeqCst), 4);
    }
}

/// TS-15
#[tokio::test(start_paused = true)]
async fn failing_tasks_are_items_in_order_with_what_they_failed_at() {
    let tasks = tasks().await;
    let stream = tasks.stream(1..=4, |n| async move {
        assert!(n % 2 == 1, "told to");
        n
    });
    let failed = |input| Err(StreamError { input, why: TaskError::Exited(told_to()) });
    assert_eq!(all(stream).await, [Ok(1), failed(2), Ok(3), failed(4)]);
    eventually(|| tasks.count_children() == 0).await;
}

/// TS-19
#[tokio::test(start_paused = true)]
async fn a_task_that_is_late_is_ended_and_its_input_given_back() {
    let tasks = tasks().await;
    let dropped = Arc::new(AtomicU64::new(0));
    let bombs = dropped.clone();
    let work = move |name: &'static str| {
        let bomb = Dropped(bombs.clone());
        async move {
            let _bomb = bomb;
            tokio::time::sleep(if name == "slow" { secs(60) } else { secs(1) }).await;
            name.len()
        }
    };
    let stream = tasks.stream(["one", "slow", "three"], work).timeout(secs(5));
    let late = StreamError { input: "slow", why: TaskError::Timeout { waited: secs(5) } };
    assert_eq!(all(stream.max_concurrency(at_once(3))).await, [Ok(3), Err(late), Ok(5)]);
    eventually(|| dropped.load(Ordering::SeqCst) == 3 && tasks.count_children() == 0).await;
}

/// TS-16
#[tokio::test(start_paused = true)]
async fn taking_the_first_result_only_ends_the_other_tasks_and_leaves_nothing() {
    let tasks = tasks().await;
    let caller = script(&Log::new()).await;
    let supervisor = tasks.clone();
    tell(&caller, move |_, _| {
        Box::pin(async move {
            let mut stream = supervisor
                .stream(0..100, |n: u64| async move {
                    if n > 0 {
                        std::future::pending().await
                    }
                })
                .max_concurrency(at_once(10));
            assert_eq!(stream.next().await, Some(Ok(())));
            assert!(supervisor.count_children() >= 9);
        })
    })
    .await;
    eventually(|| tasks.count_children() == 0).await;
    assert_eq!((caller.info().watchers, caller.info().mailbox_len), (0, 0));
}

/// TS-18
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_made_in_one_process_may_be_used_up_in_another() {
    let tasks = tasks().await;
    let caller = script(&Log::new()).await;
    let mut stream = tasks.stream(0..10, |n: u64| async move { n * n });
    assert_eq!(tasks.count_children(), 0, "nothing runs yet");
    assert_eq!(stream.next().await, Some(Ok(0)));
    tell(&caller, move |_, _| {
        Box::pin(async move {
            let rest: Vec<_> = all(stream).await.into_iter().flatten().collect();
            assert_eq!(rest, [1, 4, 9, 16, 25, 36, 49, 64, 81]);
        })
    })
    .await;
}

/// TS-06
#[tokio::test(start_paused = true)]
async fn inputs_for_which_there_is_no_room_are_given_back() {
    let tasks = start(TaskSupervisor::new().max_children(1)).await;
    let other: Task<()> = tasks.start(std::future::pending()).await.unwrap();
    let stream = tasks.stream([1, 2], |n| async move { n });
    let why = TaskError::NotStarted(StartChildError::MaxChildren { max: 1 });
    let refused = |input| Err(StreamError { input, why: why.clone() });
    assert_eq!(all(stream).await, [refused(1), refused(2)]);
    drop(other);
}

/// P5
#[tokio::test(start_paused = true)]
async fn asking_for_the_next_result_may_be_given_up_and_loses_nothing() {
    let tasks = tasks().await;
    for polls in 1..20 {
        let work = |n: u64| async move {
            tokio::task::yield_now().await;
            n
        };
        let mut stream = tasks.stream(0..5, work).max_concurrency(at_once(2));
        let mut results = Vec::new();
        for _ in 0..3 {
            dropped_after(polls, async { results.push(stream.next().await) }).await;
        }
        while let Some(result) = stream.next().await {
            results.push(Some(result));
        }
        let results: Vec<_> = results.into_iter().flatten().map(Result::unwrap).collect();
        assert_eq!(results, [0, 1, 2, 3, 4], "after {polls} polls");
    }
}
