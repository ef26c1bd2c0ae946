//! Names apart from supervision: OTP's `Registry` with unique keys.

mod duplicate;
mod listeners;
mod lock;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use innkeeper::{ChildSpec, ExitReason, ProcessRef, RegisterError, Registry, Supervisor};
use tokio::task::JoinSet;

use crate::support::{
    Heard, Log, Order, Script, plan, poll_once, script, secs, settle, soon, tell,
};

type Names<V = u32> = Registry<&'static str, Order, V>;

async fn end(script: &ProcessRef<Order>) {
    script.kill();
    soon(script.ended()).await;
}

/// GS-03, GS-12, REG-03, REG-21, REG-60
#[tokio::test(start_paused = true)]
async fn a_registered_process_is_found_by_its_name_with_its_value() {
    let names: Names = Names::new();
    assert_eq!(names.count(), 0);
    assert_eq!(names.lookup(&"lobby"), None);
    let log = Log::new();
    let (one, two) = (script(&log).await, script(&log).await);
    names.register("lobby", &one, 12).unwrap();
    names.register("hall", &two, 13).unwrap();
    assert_eq!(names.lookup(&"lobby"), Some((one.clone(), 12)));
    assert_eq!(names.lookup(&"hall"), Some((two, 13)));
    assert_eq!((names.count(), names.clone().count()), (2, 2));
    // From within another process as from anywhere.
    let (elsewhere, expected) = (names.clone(), one.clone());
    tell(&one, move |_, _| {
        Box::pin(async move {
            assert_eq!(elsewhere.lookup(&"lobby"), Some((expected, 12)));
        })
    })
    .await;
}

/// REG-22
#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_refused_with_who_has_it_be_it_the_same() {
    let names: Names = Names::new();
    let log = Log::new();
    let (one, two) = (script(&log).await, script(&log).await);
    names.register("lobby", &one, 1).unwrap();
    for other in [&one, &two] {
        let taken = RegisterError::AlreadyRegistered(one.clone());
        assert_eq!(names.register("lobby", other, 2), Err(taken));
    }
    assert_eq!((names.lookup(&"lobby"), names.count()), (Some((one.clone(), 1)), 1));
    assert_eq!((names.keys(&one), names.values(&"lobby", &one)), (vec!["lobby"], vec![1]));
    // One process may have many names.
    names.register("hall", &one, 3).unwrap();
    assert_eq!(names.count(), 2);
}

/// REG-21, REG-61: by key and by process, and nothing of one who has it not.
#[tokio::test(start_paused = true)]
async fn the_names_of_a_process_and_their_values_are_its_own() {
    let names: Names = Names::new();
    let log = Log::new();
    let (one, two) = (script(&log).await, script(&log).await);
    for (n, name) in [(1, "lobby"), (2, "hall"), (3, "cellar")] {
        names.register(name, &one, n).unwrap();
    }
    let mut keys = names.keys(&one);
    keys.sort_unstable();
    assert_eq!(keys, ["cellar", "hall", "lobby"]);
    assert_eq!(names.values(&"hall", &one), [2]);
    assert_eq!((names.keys(&two), names.values(&"hall", &two)), (vec![], vec![]));
    end(&one).await;
    assert_eq!((names.keys(&one), names.values(&"hall", &one)), (vec![], vec![]));
}

/// REG-10, REG-16, REG-31: literals, wildcards and several forms are what code says.
#[tokio::test(start_paused = true)]
async fn entries_are_selected_by_key_process_and_value_and_shaped() {
    let names: Names = Names::new();
    assert_eq!(names.select(|key, process, value| Some((*key, process.clone(), *value))), []);
    let log = Log::new();
    let (one, two) = (script(&log).await, script(&log).await);
    names.register("lobby", &one, 1).unwrap();
    names.register("hall", &one, 2).unwrap();
    names.register("cellar", &two, 3).unwrap();
    let mut all = names.select(|key, process, value| Some((*value, *key, process.clone())));
    all.sort_unstable_by_key(|(value, ..)| *value);
    let expected =
        [(1, "lobby", one.clone()), (2, "hall", one.clone()), (3, "cellar", two.clone())];
    assert_eq!(all, expected);
    assert_eq!(names.select(|key, _, value| (*key == "hall").then_some(*value)), [2]);
    assert_eq!(names.select(|key, process, _| (*process == two).then_some(*key)), ["cellar"]);
    assert_eq!(names.select(|key, _, value| (*value > 2).then_some(key.len())), [6]);
    let either = |key: &&str, _: &_, value: &u32| (*key == "hall" || *value == 3).then_some(());
    assert_eq!(names.select(either).len(), 2);
    // A process that has ended is in no selection.
    end(&one).await;
    assert_eq!(names.select(|key, _, _| Some(*key)), ["cellar"]);
}

/// REG-15, REG-27
#[tokio::test(start_paused = true)]
async fn a_name_is_matched_and_taken_away_by_its_value() {
    let names: Names = Names::new();
    let log = Log::new();
    let (one, two) = (script(&log).await, script(&log).await);
    names.register("lobby", &one, 12).unwrap();
    assert_eq!(names.matching(&"lobby", |value| *value > 10), [(one.clone(), 12)]);
    assert_eq!(names.matching(&"lobby", |value| *value > 12), []);
    assert_eq!(names.unregister_match(&"lobby", &one, |value| *value > 12), 0);
    assert_eq!(names.unregister_match(&"lobby", &two, |_| true), 0);
    assert_eq!(names.count(), 1);
    assert_eq!(names.unregister_match(&"lobby", &one, |value| *value == 12), 1);
    assert_eq!((names.count(), names.lookup(&"lobby")), (0, None));
}

/// REG-12, REG-13: a key is itself and never a pattern.
#[tokio::test(start_paused = true)]
async fn keys_that_look_like_patterns_are_keys() {
    let names: Registry<Vec<&str>, Order> = Registry::new();
    let script = script(&Log::new()).await;
    let keys = [vec!["_"], vec!["$1"], vec![], vec!["_", "_"], vec!["a", "b"], vec!["a"]];
    for key in &keys {
        names.register(key.clone(), &script, ()).unwrap();
    }
    for (left, key) in (0..keys.len()).rev().zip(&keys) {
        assert_eq!(names.matching(key, |()| true).len(), 1);
        assert_eq!(names.unregister_match(key, &script, |()| true), 1);
        assert_eq!((names.lookup(key), names.count()), (None, left));
    }
    assert_eq!(names.matching(&vec!["*"], |()| true), []);
}

/// REG-01, REG-24
#[tokio::test(start_paused = true)]
async fn names_go_with_their_process_however_it_ends() {
    let names: Names = Names::new();
    for how in ["kill", "stop", "panic"] {
        let script = script(&Log::new()).await;
        names.register("lobby", &script, 1).unwrap();
        names.register("hall", &script, 1).unwrap();
        match how {
            "kill" => script.kill(),
            "stop" => script.stop(ExitReason::Normal, secs(1)).await.unwrap(),
            _ => drop(
                script
                    .call(crate::support::act(|_, _| Box::pin(async { panic!("told to") })))
                    .await,
            ),
        }
        soon(script.ended()).await;
        settle().await;
        assert_eq!((names.count(), names.lookup(&"lobby")), (0, None), "{how}");
    }
}

/// Before its end can be observed by a monitor.
#[tokio::test(start_paused = true)]
async fn who_hears_of_an_end_finds_the_name_free() {
    let names: Names = Names::new();
    let mut log = Log::new();
    let (watcher, named) = (script(&log).await, script(&Log::new()).await);
    names.register("lobby", &named, 1).unwrap();
    let target = named.clone();
    tell(&watcher, move |_, ctx| {
        Box::pin(async move {
            let _ = ctx.monitor(&target);
        })
    })
    .await;
    named.kill();
    log.down().await;
    names.register("lobby", &watcher, 2).unwrap();
    assert_eq!(names.lookup(&"lobby"), Some((watcher, 2)));
}

/// REG-24: a process that has ended never blocks its name, though nobody has noticed yet.
#[tokio::test(start_paused = true)]
async fn a_name_of_a_process_that_is_ending_is_not_found_and_one_that_has_ended_blocks_nobody() {
    let names: Names = Names::new();
    let (old, new) = (script(&Log::new()).await, script(&Log::new()).await);
    names.register("lobby", &old, 1).unwrap();
    let mut stop = Box::pin(old.stop(ExitReason::Normal, secs(1)));
    assert!(poll_once(&mut stop).await.is_pending());
    soon(stop).await.unwrap();
    names.register("lobby", &new, 2).unwrap();
    assert_eq!(names.lookup(&"lobby"), Some((new.clone(), 2)));
    settle().await;
    assert_eq!(names.lookup(&"lobby"), Some((new, 2)), "the late cleanup takes only its own");
    assert_eq!(names.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_has_ended_cannot_be_named() {
    let names: Names = Names::new();
    let script = script(&Log::new()).await;
    end(&script).await;
    settle().await;
    assert_eq!(names.register("lobby", &script, 1), Err(RegisterError::NoProcess));
    assert_eq!((names.count(), names.lookup(&"lobby")), (0, None));
}

/// REG-25
#[tokio::test(start_paused = true)]
async fn a_value_is_changed_by_its_holder_only() {
    let names: Names = Names::new();
    let log = Log::new();
    let (one, two) = (script(&log).await, script(&log).await);
    let never = |_: u32| -> u32 { panic!("called for a name it has not got") };
    assert_eq!(names.update_value(&"lobby", &one, never), None);
    names.register("lobby", &one, 1).unwrap();
    assert_eq!(names.update_value(&"lobby", &two, never), None);
    assert_eq!(names.update_value(&"lobby", &one, |value| value + 41), Some((42, 1)));
    assert_eq!(names.lookup(&"lobby"), Some((one, 42)));
}

/// P4: no lock is held while user code runs.
#[tokio::test(start_paused = true)]
async fn a_change_of_a_value_may_use_the_registry() {
    let names: Names = Names::new();
    let script = script(&Log::new()).await;
    names.register("lobby", &script, 1).unwrap();
    let mut calls = 0;
    let changed = names.update_value(&"lobby", &script, |value| {
        calls += 1;
        assert!(names.lookup(&"lobby").is_some());
        if calls == 1 {
            // Somebody else is faster.
            names.update_value(&"lobby", &script, |value| value + 100).unwrap();
        }
        value + 1
    });
    assert_eq!((changed, calls), (Some((102, 101)), 2), "both changes count");
    assert_eq!(names.lookup(&"lobby"), Some((script, 102)));
}

/// P4: no change is lost, from however many threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_from_many_threads_all_count() {
    let names: Names<u64> = Registry::new();
    let script = script(&Log::new()).await;
    names.register("lobby", &script, 0).unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (names, script) = (names.clone(), script.clone());
        tasks.spawn(async move {
            for _ in 0..500 {
                names.update_value(&"lobby", &script, |value| value + 1).unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(names.lookup(&"lobby").map(|(_, value)| value), Some(4000));
}

/// REG-06
#[tokio::test(start_paused = true)]
async fn a_name_is_taken_from_its_holder_only_and_leaves_nothing_with_it() {
    let names: Names = Names::new();
    let log = Log::new();
    let (one, two) = (script(&log).await, script(&log).await);
    names.register("lobby", &one, 1).unwrap();
    names.register("hall", &one, 2).unwrap();
    assert_eq!(one.info().watchers, 1, "one for all its names");
    names.unregister(&"lobby", &two);
    names.unregister(&"cellar", &one);
    assert_eq!(names.count(), 2);
    names.unregister(&"lobby", &one);
    names.unregister(&"lobby", &one);
    assert_eq!((names.count(), one.info().watchers), (1, 1));
    names.unregister(&"hall", &one);
    assert_eq!((names.count(), one.info().watchers), (0, 0), "and none without a name");
    names.register("hall", &one, 2).unwrap();
    names.register("lobby", &two, 3).unwrap();
    end(&one).await;
    settle().await;
    assert_eq!(names.lookup(&"lobby"), Some((two, 3)));
    assert_eq!(names.count(), 1);
}

/// REG-30, P16
#[tokio::test(start_paused = true)]
async fn registrations_that_fail_leave_nothing_behind() {
    let names: Names = Names::new();
    let log = Log::new();
    let (one, two, gone) = (script(&log).await, script(&log).await, script(&log).await);
    end(&gone).await;
    names.register("lobby", &one, 1).unwrap();
    for _ in 0..1000 {
        names.register("lobby", &two, 2).unwrap_err();
        names.register("lobby", &one, 2).unwrap_err();
        names.register("hall", &gone, 2).unwrap_err();
    }
    assert_eq!((names.count(), one.info().watchers, two.info().watchers), (1, 1, 0));
}

/// The way of a supervised process: it names itself in `init`, each incarnation anew.
#[tokio::test(start_paused = true)]
async fn a_restarted_process_registers_itself_anew() {
    let names: Names = Names::new();
    let log = Log::new();
    let registry = names.clone();
    let told = plan(&log).init(move |ctx| {
        let taken = registry.register("lobby", &ctx.process(), 1);
        // Not ready yet, so not found yet, but taken.
        assert_eq!(registry.lookup(&"lobby"), None);
        Box::pin(async move {
            taken?;
            Ok(())
        })
    });
    let supervisor = Supervisor::new().start().await.unwrap();
    let first = supervisor.start_child::<Script>("one", told, ChildSpec::new()).await.unwrap();
    let mut last = first.incarnation();
    for _ in 0..3 {
        let (now, _) = names.lookup(&"lobby").unwrap();
        assert!(now.incarnation() >= last);
        end(&now).await;
        crate::support::eventually(|| {
            names.lookup(&"lobby").is_some_and(|(next, _)| next.incarnation() > last)
        })
        .await;
        last = names.lookup(&"lobby").unwrap().0.incarnation();
        assert_eq!(names.count(), 1);
    }
}

/// P1: of many who want one name one has it, whoever ends meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_want_one_name_at_most_one_has_it() {
    let names: Names<u64> = Registry::new();
    let holders = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (names, holders) = (names.clone(), holders.clone());
        tasks.spawn(async move {
            for _ in 0..100 {
                let script = script(&Log::new()).await;
                match names.register("lobby", &script, task) {
                    Ok(()) => {
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two of one name");
                        let (found, value) = names.lookup(&"lobby").unwrap();
                        assert_eq!((found, value), (script.clone(), task));
                        holders.fetch_sub(1, Ordering::SeqCst);
                        if task % 2 == 0 {
                            names.unregister(&"lobby", &script);
                        }
                    }
                    Err(RegisterError::AlreadyRegistered(other)) => assert_ne!(other, script),
                    Err(other) => panic!("{other}"),
                }
                end(&script).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    crate::support::eventually(|| names.count() == 0).await;
}

/// P4: a value whose drop panics is nobody else's business.
#[tokio::test(start_paused = true)]
async fn a_value_that_panics_in_its_drop_keeps_no_monitor_from_being_told() {
    #[derive(Clone)]
    struct Fickle(Arc<AtomicU64>);
    impl Drop for Fickle {
        fn drop(&mut self) {
            assert_eq!(self.0.load(Ordering::SeqCst), 0, "the value panics");
        }
    }
    let names: Registry<&'static str, Order, Fickle> = Registry::new();
    let mut log = Log::new();
    let (watcher, named) = (script(&log).await, script(&Log::new()).await);
    let panics = Arc::new(AtomicU64::new(0));
    for name in ["one", "two", "three"] {
        names.register(name, &named, Fickle(panics.clone())).unwrap();
    }
    let target = named.clone();
    tell(&watcher, move |_, ctx| {
        Box::pin(async move {
            let _ = ctx.monitor(&target);
        })
    })
    .await;
    let mut ended = Box::pin(named.ended());
    assert!(poll_once(&mut ended).await.is_pending());
    panics.store(1, Ordering::SeqCst);
    named.kill();
    assert_eq!(log.down().await.reason, ExitReason::Killed);
    assert_eq!(soon(ended).await, ExitReason::Killed);
    panics.store(0, Ordering::SeqCst);
    assert_eq!(names.count(), 0);
    assert!(!log.so_far().contains(&Heard::Dropped));
}

/// What a registry that is gone leaves to its processes is nothing they would notice.
#[tokio::test(start_paused = true)]
async fn losing_the_registry_ends_no_process() {
    let script = script(&Log::new()).await;
    let names: Names = Names::new();
    names.register("lobby", &script, 1).unwrap();
    drop(names);
    assert_eq!(script.call(Order::Beat(1)).await.unwrap(), 1);
    end(&script).await;
}
