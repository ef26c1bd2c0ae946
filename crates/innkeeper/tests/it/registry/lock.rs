//! One at a time for each key: `Registry.lock`.

use std::time::Duration;

use innkeeper::{KeyLock, LockError, Registry, limits};

use super::Names;
use crate::support::{Gate, Log, Order, act, poll_once, script, secs, settle, soon};

/// LOCK-01
#[tokio::test(start_paused = true)]
async fn different_keys_have_different_locks() {
    let names: Names = Names::new();
    let one = names.lock("lobby", secs(1)).await.unwrap();
    let two = names.lock("hall", Duration::ZERO).await.unwrap();
    assert_eq!((*one.key(), *two.key(), names.locks()), ("lobby", "hall", 2));
    drop((one, two));
    assert_eq!(names.locks(), 0, "nothing is left of locks that nobody wants");
}

/// REG-64: what is done under the lock is done by the caller, and its value is its own.
#[tokio::test(start_paused = true)]
async fn a_lock_is_had_in_turn_and_by_one_at_a_time() {
    let names: Names = Names::new();
    let first = names.lock("lobby", secs(1)).await.unwrap();
    let mut second = Box::pin(names.lock("lobby", secs(60)));
    let mut third = Box::pin(names.lock("lobby", secs(60)));
    assert!(poll_once(&mut second).await.is_pending() && poll_once(&mut third).await.is_pending());
    drop(first);
    // Nobody jumps the queue.
    let waited = names.lock("lobby", Duration::ZERO).await.unwrap_err();
    assert!(matches!(waited, LockError::Timeout { .. }));
    assert!(poll_once(&mut third).await.is_pending());
    let second = second.await.unwrap();
    assert!(poll_once(&mut third).await.is_pending());
    drop(second);
    drop(third.await.unwrap());
    assert_eq!(names.locks(), 0);
}

/// LOCK-03, LOCK-04: however its holder ends.
#[tokio::test(start_paused = true)]
async fn the_lock_of_a_holder_that_ends_is_free() {
    for how in ["panic", "kill", "stop"] {
        let names: Registry<u32, Order> = Registry::new();
        let (holder, gate) = (script(&Log::new()).await, Gate::default());
        let (registry, hold) = (names.clone(), gate.clone());
        let panics = how == "panic";
        let order = act(move |script, _| {
            Box::pin(async move {
                let held: KeyLock<u32> = registry.lock(1, secs(1)).await.unwrap();
                if panics {
                    hold.hold().await;
                    panic!("told to");
                }
                script.kept.push(Box::new(held));
                hold.hold().await;
            })
        });
        holder.cast(order).await.unwrap();
        gate.reached().await;
        let mut waiter = Box::pin(names.lock(1, secs(3600)));
        assert!(poll_once(&mut waiter).await.is_pending());
        match how {
            "kill" => holder.kill(),
            "stop" => {
                gate.open();
                holder.stop(innkeeper::ExitReason::Normal, secs(1)).await.unwrap();
            }
            _ => gate.open(),
        }
        drop(soon(waiter).await.unwrap());
        assert_eq!(names.locks(), 0, "{how}");
    }
}

/// LOCK-06: upstream grants it later to one who will never give it back.
#[tokio::test(start_paused = true)]
async fn who_gave_up_waiting_is_never_granted_the_lock() {
    let names: Names = Names::new();
    let holder = names.lock("lobby", secs(1)).await.unwrap();
    let waited = names.lock("lobby", secs(5)).await.unwrap_err();
    assert_eq!(waited, LockError::Timeout { waited: secs(5) });
    let mut given_up = Box::pin(names.lock("lobby", secs(60)));
    assert!(poll_once(&mut given_up).await.is_pending());
    let mut patient = Box::pin(names.lock("lobby", secs(60)));
    assert!(poll_once(&mut patient).await.is_pending());
    drop(holder);
    // It was its turn at this very instant.
    drop(given_up);
    drop(soon(patient).await.unwrap());
    settle().await;
    assert_eq!(names.locks(), 0);
    drop(names.lock("lobby", Duration::ZERO).await.unwrap());
}

/// P11
#[tokio::test(start_paused = true)]
async fn so_many_wait_for_one_lock_and_no_more() {
    let names: Names = Names::new();
    let _holder = names.lock("lobby", secs(1)).await.unwrap();
    // The futures are not polled again: each has taken its place at its first poll.
    let mut waiting = Vec::new();
    for _ in 1..limits::LOCK_USERS_MAX {
        let mut wait = Box::pin(names.lock("lobby", secs(60)));
        assert!(poll_once(&mut wait).await.is_pending());
        waiting.push(wait);
    }
    let full = LockError::Full { max: limits::LOCK_USERS_MAX };
    assert_eq!(names.lock("lobby", secs(60)).await.unwrap_err(), full);
    drop(names.lock("hall", Duration::ZERO).await.unwrap());
    waiting.pop();
    let mut wait = Box::pin(names.lock("lobby", secs(60)));
    assert!(poll_once(&mut wait).await.is_pending());
}
