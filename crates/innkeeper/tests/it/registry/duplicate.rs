//! Names that any number of processes may have: OTP's `Registry` with duplicate keys.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use innkeeper::{Duplicate, ExitReason, ProcessRef, Registry};
use tokio::task::JoinSet;

use super::end;
use crate::support::{Gate, Log, Order, eventually, poll_once, script, secs, soon};

type Floors = Registry<&'static str, Order, u32, Duplicate>;

/// REG-03, REG-40
#[tokio::test(start_paused = true)]
async fn a_process_may_have_a_name_twice() {
    let floors = Floors::duplicate();
    assert_eq!(floors.count(), 0);
    let one = script(&Log::new()).await;
    floors.register("first", &one, 1).unwrap();
    floors.register("first", &one, 2).unwrap();
    assert_eq!(floors.count(), 2);
    assert_eq!(floors.keys(&one), ["first", "first"]);
    assert_eq!(floors.values(&"first", &one), [1, 2]);
    assert_eq!(floors.lookup(&"first"), [(one.clone(), 1), (one.clone(), 2)]);
    assert_eq!(one.info().watchers, 1);
}

/// REG-63
#[tokio::test(start_paused = true)]
async fn a_name_is_taken_away_as_often_as_it_was_given_and_from_nobody_else() {
    let floors = Floors::duplicate();
    let log = Log::new();
    let (one, two) = (script(&log).await, script(&log).await);
    for (process, value) in [(&one, 1), (&one, 2), (&two, 3)] {
        floors.register("first", process, value).unwrap();
    }
    floors.register("second", &one, 4).unwrap();
    assert_eq!(floors.unregister(&"first", &one), 2);
    assert_eq!(floors.unregister(&"first", &one), 0);
    assert_eq!(floors.lookup(&"first"), [(two.clone(), 3)]);
    assert_eq!((floors.count(), floors.keys(&one)), (2, vec!["second"]));
}

/// REG-01, REG-24: no residue, of the process or of its names.
#[tokio::test(start_paused = true)]
async fn entries_go_with_their_process_before_its_end_is_told() {
    let floors = Floors::duplicate();
    let log = Log::new();
    let (one, two) = (script(&log).await, script(&log).await);
    for n in 0..100 {
        floors.register(["first", "second"][n as usize % 2], &one, n).unwrap();
        floors.register("first", &two, n).unwrap();
    }
    one.kill();
    assert_eq!(one.ended().await, ExitReason::Killed);
    // At once: nobody who knows of the end finds anything of it.
    assert_eq!((floors.count(), floors.lookup(&"second").len()), (100, 0));
    assert!(floors.lookup(&"first").iter().all(|(process, _)| *process == two));
    end(&two).await;
    assert_eq!((floors.count(), floors.lookup(&"first").len()), (0, 0));
}

/// The records go first: while one is still going, nobody has heard of the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_is_told_only_when_nothing_is_left_of_its_names() {
    #[derive(Clone)]
    struct Slow(Gate);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.block();
        }
    }
    let floors: Registry<u32, Order, Slow, Duplicate> = Registry::duplicate();
    let (one, gate) = (script(&Log::new()).await, Gate::default());
    floors.register(1, &one, Slow(gate.clone())).unwrap();
    let mut ended = Box::pin(one.ended());
    assert!(poll_once(&mut ended).await.is_pending());
    one.kill();
    gate.reached().await;
    assert_eq!(floors.count(), 0);
    assert!(poll_once(&mut ended).await.is_pending(), "its names are still going");
    gate.open();
    assert_eq!(soon(ended).await, ExitReason::Killed);
}

/// REG-12, REG-49
#[tokio::test(start_paused = true)]
async fn only_the_very_key_is_meant() {
    let floors: Registry<Vec<&str>, Order, u32, Duplicate> = Registry::duplicate();
    let one = script(&Log::new()).await;
    for key in [vec!["_"], vec!["_", "a"], vec![]] {
        floors.register(key.clone(), &one, 1).unwrap();
        floors.register(key, &one, 2).unwrap();
    }
    assert_eq!(floors.matching(&vec!["_"], |_| true).len(), 2);
    assert_eq!(floors.select(|key, _, value| (key == &["_"]).then_some(*value)).len(), 2);
    assert_eq!(floors.unregister(&vec!["_"], &one), 2);
    assert_eq!(floors.count(), 4);
}

/// REG-15, REG-45
#[tokio::test(start_paused = true)]
async fn of_several_entries_those_are_taken_away_that_match() {
    let floors = Floors::duplicate();
    let one = script(&Log::new()).await;
    for n in 1..=5 {
        floors.register("first", &one, n).unwrap();
    }
    assert_eq!(floors.unregister_match(&"first", &one, |n| n % 2 == 0), 2);
    assert_eq!(floors.values(&"first", &one), [1, 3, 5]);
    assert_eq!(floors.matching(&"first", |n| *n > 1), [(one.clone(), 3), (one.clone(), 5)]);
}

type Reached = Arc<Mutex<Vec<(ProcessRef<Order>, u32)>>>;

async fn three_floors() -> (Floors, Vec<ProcessRef<Order>>) {
    let floors = Floors::duplicate();
    let mut processes = Vec::new();
    for n in 0..3 {
        let one = script(&Log::new()).await;
        floors.register("first", &one, n).unwrap();
        floors.register("second", &one, 10 + n).unwrap();
        processes.push(one);
    }
    (floors, processes)
}

/// REG-09, REG-42
#[tokio::test(start_paused = true)]
async fn a_dispatch_reaches_everybody_of_that_name_in_the_caller() {
    let (floors, processes) = three_floors().await;
    assert_eq!(floors.dispatch(&"cellar", |_, _| panic!("nobody is there")), 0);
    let caller = tokio::task::try_id();
    let mut reached = Vec::new();
    let count = floors.dispatch(&"first", |process, n| {
        assert_eq!(tokio::task::try_id(), caller);
        reached.push((process.clone(), *n));
    });
    assert_eq!((count, reached), (3, floors.lookup(&"first")));
    end(&processes[1]).await;
    assert_eq!(floors.dispatch(&"first", |process, _| assert_ne!(*process, processes[1])), 2);
}

/// REG-43
#[tokio::test(start_paused = true)]
async fn a_parallel_dispatch_reaches_the_same_ones_in_other_tasks() {
    let (floors, _processes) = three_floors().await;
    for tasks in [1, 2, 3, 100] {
        let reached = Reached::default();
        let (seen, caller) = (reached.clone(), tokio::task::try_id());
        let each = move |process: &ProcessRef<Order>, n: &u32| {
            assert_ne!(tokio::task::try_id(), caller);
            seen.lock().unwrap().push((process.clone(), *n));
        };
        let tasks = NonZeroUsize::new(tasks).unwrap();
        assert_eq!(floors.dispatch_parallel(&"first", tasks, each).await, 3);
        let mut reached = reached.lock().unwrap().clone();
        reached.sort_by_key(|(_, n)| *n);
        assert_eq!(reached, floors.lookup(&"first"));
    }
    let none = floors.dispatch_parallel(&"cellar", NonZeroUsize::MIN, |_, _| panic!("nobody"));
    assert_eq!(none.await, 0);
}

/// REG-43: what fails in it fails its caller.
#[tokio::test(start_paused = true)]
#[should_panic = "told to"]
async fn a_panic_in_a_parallel_dispatch_is_the_caller_s() {
    let (floors, _processes) = three_floors().await;
    floors.dispatch_parallel(&"first", NonZeroUsize::MIN, |_, _| panic!("told to")).await;
}

/// REG-01, REG-30: from many threads at once, and nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_come_and_go_at_once_leave_nothing() {
    let floors: Registry<u32, Order, u32, Duplicate> = Registry::duplicate();
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let floors = floors.clone();
        tasks.spawn(async move {
            for n in 0..50 {
                let one = script(&Log::new()).await;
                for value in 0..4 {
                    floors.register(n % 3, &one, value).unwrap();
                }
                let other = { floors.lookup(&(n % 3)).pop() };
                if let Some((other, _)) = other {
                    // Somebody else's, perhaps, in the midst of its end.
                    floors.unregister(&(n % 3), &other);
                }
                if task % 2 == 0 {
                    one.kill();
                } else {
                    one.stop(ExitReason::Normal, secs(60)).await.unwrap();
                }
                one.ended().await;
                assert!(floors.lookup(&(n % 3)).iter().all(|(process, _)| *process != one));
                assert!(floors.keys(&one).is_empty());
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    eventually(|| floors.count() == 0).await;
    assert_eq!(floors.select(|_, _, _| Some(())).len(), 0);
}

/// REG-46, REG-48: what one kind only can do, the other kind has not got.
#[test]
fn what_makes_no_sense_for_a_kind_of_registry_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui_registry/*.rs");
}
