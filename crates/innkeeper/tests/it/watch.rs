//! Monitors and links: who is told of an end, once each, and what stays behind (P2, P16).

use innkeeper::{ChildSpec, Down, ExitReason, Incarnation, LinkExit, ProcessRef, Supervisor};

use crate::support::{
    Gate, Heard, House, Log, Order, Say, Script, act, key, plan, poll_once, script, secs, settle,
    soon, tell,
};

async fn monitor(watcher: &ProcessRef<Order>, target: &ProcessRef<Order>) {
    let target = target.clone();
    tell(watcher, move |_, ctx| {
        Box::pin(async move {
            let _ = ctx.monitor(&target);
        })
    })
    .await;
}

async fn link(one: &ProcessRef<Order>, other: &ProcessRef<Order>) {
    let other = other.clone();
    tell(one, move |_, ctx| {
        Box::pin(async move {
            let _ = ctx.link(&other);
        })
    })
    .await;
}

async fn trap(script: &ProcessRef<Order>) {
    tell(script, |_, ctx| Box::pin(async { ctx.trap_exits(true) })).await;
}

/// Has it end for this reason, and waits until it has.
async fn end(script: &ProcessRef<Order>, reason: ExitReason) {
    let mut ended = Box::pin(script.ended());
    assert!(poll_once(&mut ended).await.is_pending());
    script.cast(act(move |_, ctx| Box::pin(async { ctx.stop(reason) }))).await.unwrap();
    soon(ended).await;
    settle().await;
}

fn downs(log: &mut Log) -> Vec<(Incarnation, ExitReason)> {
    let down = |heard| match heard {
        Heard::Down(Down { incarnation, reason, .. }) => Some((incarnation, reason)),
        _ => None,
    };
    log.so_far().into_iter().filter_map(down).collect()
}

fn exits(log: &mut Log) -> Vec<(Incarnation, ExitReason)> {
    let exit = |heard| match heard {
        Heard::LinkExit(LinkExit { incarnation, reason, .. }) => Some((incarnation, reason)),
        _ => None,
    };
    log.so_far().into_iter().filter_map(exit).collect()
}

/// P2: once per monitor and incarnation, with the reason, however it ended.
#[tokio::test(start_paused = true)]
async fn a_monitor_is_told_once_and_why() {
    for reason in [ExitReason::Normal, ExitReason::shutdown_with("x"), ExitReason::failed("y")] {
        let mut log = Log::new();
        let other_log = Log::new();
        let (watcher, target) = (script(&log).await, script(&other_log).await);
        monitor(&watcher, &target).await;
        monitor(&watcher, &target).await;
        settle().await;
        assert_eq!(target.info().watchers, 2);
        assert!(downs(&mut log).is_empty(), "it lives");
        end(&target, reason.clone()).await;
        let told = (target.incarnation(), reason);
        assert_eq!(downs(&mut log), [told.clone(), told]);
        settle().await;
        assert!(downs(&mut log).is_empty(), "not again");
        assert!(watcher.is_alive(), "a monitor is not a link");
    }
}

/// P2: also of a kill and of a panic.
#[tokio::test(start_paused = true)]
async fn a_monitor_hears_of_kills_and_panics() {
    let mut log = Log::new();
    let watcher = script(&log).await;
    let other_log = Log::new();
    let (killed, panics) = (script(&other_log).await, script(&other_log).await);
    monitor(&watcher, &killed).await;
    monitor(&watcher, &panics).await;
    log.so_far();
    killed.kill();
    assert_eq!(log.down().await.reason, ExitReason::Killed);
    panics.cast(act(|_, _| Box::pin(async { panic!("told to") }))).await.unwrap();
    assert_eq!(log.down().await.reason, ExitReason::Panicked("told to".into()));
}

/// P2: a monitor is for one incarnation; the ends of later ones are nothing to it.
#[tokio::test(start_paused = true)]
async fn a_monitor_of_a_supervised_process_fires_once_over_all_its_restarts() {
    let mut log = Log::new();
    let other_log = Log::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let first = supervisor.start_child::<Script>("one", plan(&other_log), ChildSpec::new());
    let first = first.await.unwrap();
    let watcher = script(&log).await;
    monitor(&watcher, &first).await;
    for _ in 0..3 {
        let number = supervisor.which_children()[0].1.as_ref().unwrap().incarnation;
        first.kill();
        let _ = number;
        settle().await;
    }
    assert_eq!(downs(&mut log), [(first.incarnation(), ExitReason::Killed)]);
}

/// P2: of one that has ended, at once.
#[tokio::test(start_paused = true)]
async fn monitoring_what_has_ended_is_answered_at_once() {
    let mut log = Log::new();
    let (watcher, gone) = (script(&log).await, script(&Log::new()).await);
    end(&gone, ExitReason::Normal).await;
    monitor(&watcher, &gone).await;
    let down = log.down().await;
    assert_eq!((down.incarnation, down.reason), (gone.incarnation(), ExitReason::NoProcess));

    // Of a key that remembers, with its reason.
    let house = House::new();
    let rooms = house.rooms().await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    room.cast(Say::Panic).await.unwrap();
    room.ended().await;
    settle().await;
    let target = room.clone();
    tell(&watcher, move |_, ctx| {
        Box::pin(async move {
            let _ = ctx.monitor(&target);
        })
    })
    .await;
    let down = log.down().await;
    let reason = ExitReason::Panicked("told to panic".into());
    assert_eq!((down.incarnation, down.reason), (room.incarnation(), reason));
}

/// P2: the order of things: the key is free before anybody hears of the end.
#[tokio::test(start_paused = true)]
async fn who_hears_of_the_end_of_a_room_finds_its_key_free() {
    let house = House::new();
    let rooms = house.rooms().await;
    let mut log = Log::new();
    let watcher = script(&log).await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    let target = room.clone();
    tell(&watcher, move |_, ctx| {
        Box::pin(async move {
            let _ = ctx.monitor(&target);
        })
    })
    .await;
    room.cast(Say::Stop(ExitReason::Normal)).await.unwrap();
    log.down().await;
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
    assert!(rooms.get_or_start(&key("lobby")).await.unwrap().is_started());
}

/// P16
#[tokio::test(start_paused = true)]
async fn a_monitor_that_was_taken_off_is_silent_and_leaves_nothing() {
    let mut log = Log::new();
    let (watcher, target) = (script(&log).await, script(&Log::new()).await);
    let watched = target.clone();
    tell(&watcher, move |_, ctx| {
        Box::pin(async move {
            let monitor = ctx.monitor(&watched);
            ctx.demonitor(&watched, monitor);
            ctx.demonitor(&watched, monitor);
        })
    })
    .await;
    assert_eq!(target.info().watchers, 0);
    end(&target, ExitReason::failed("x")).await;
    assert!(downs(&mut log).is_empty());
}

/// P16, P11: what outlives many who watch it keeps nothing of them.
#[tokio::test(start_paused = true)]
async fn a_process_keeps_nothing_of_those_who_watched_it_and_have_ended() {
    let log = Log::new();
    let target = script(&log).await;
    for round in 0..50 {
        let (monitors, linked) = (script(&Log::new()).await, script(&Log::new()).await);
        monitor(&monitors, &target).await;
        link(&linked, &target).await;
        assert_eq!(target.info().watchers, 2, "in round {round}");
        end(&monitors, ExitReason::failed("crashed")).await;
        end(&linked, ExitReason::Normal).await;
        assert_eq!(target.info().watchers, 0, "after round {round}");
    }
    assert!(target.is_alive());
}

/// P16: nor of those whom it watched.
#[tokio::test(start_paused = true)]
async fn a_process_keeps_nothing_of_those_whom_it_was_linked_to_and_have_ended() {
    let mut log = Log::new();
    let long = script(&log).await;
    for round in 0..50 {
        let short = script(&Log::new()).await;
        link(&long, &short).await;
        monitor(&long, &short).await;
        assert_eq!(long.info().watchers, 1, "in round {round}");
        end(&short, ExitReason::Normal).await;
        assert_eq!(long.info().watchers, 0, "after round {round}");
    }
    assert_eq!(downs(&mut log).len(), 50);
    assert!(long.is_alive());
}

/// As OTP's links: a crash is felt on both sides, whoever made the link.
#[tokio::test(start_paused = true)]
async fn a_crash_ends_the_linked_process_whichever_of_the_two_it_is() {
    for linker_crashes in [false, true] {
        let (one, other) = (script(&Log::new()).await, script(&Log::new()).await);
        link(&one, &other).await;
        let (crashes, follows) = if linker_crashes { (one, other) } else { (other, one) };
        let mut ended = Box::pin(follows.ended());
        assert!(poll_once(&mut ended).await.is_pending());
        end(&crashes, ExitReason::failed("disk full")).await;
        assert_eq!(soon(ended).await, ExitReason::failed("disk full"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_orderly_end_is_not_felt_by_linked_processes() {
    for reason in [ExitReason::Normal, ExitReason::Shutdown, ExitReason::shutdown_with("deploy")] {
        let (one, other) = (script(&Log::new()).await, script(&Log::new()).await);
        link(&one, &other).await;
        end(&one, reason).await;
        assert!(other.is_alive());
        assert_eq!(other.info().watchers, 0);
    }
}

/// OTP's `trap_exit`.
#[tokio::test(start_paused = true)]
async fn a_process_that_traps_exits_is_told_of_them_and_lives() {
    for reason in [ExitReason::failed("disk full"), ExitReason::Normal] {
        let mut log = Log::new();
        let (traps, other) = (script(&log).await, script(&Log::new()).await);
        trap(&traps).await;
        link(&traps, &other).await;
        end(&other, reason.clone()).await;
        assert_eq!(exits(&mut log), [(other.incarnation(), reason)]);
        assert!(traps.is_alive());
    }
}

#[tokio::test(start_paused = true)]
async fn linking_what_has_ended_counts_as_its_crash() {
    let mut log = Log::new();
    let (traps, lives, gone) =
        (script(&log).await, script(&Log::new()).await, script(&Log::new()).await);
    end(&gone, ExitReason::Normal).await;
    trap(&traps).await;
    link(&traps, &gone).await;
    settle().await;
    assert_eq!(exits(&mut log), [(gone.incarnation(), ExitReason::NoProcess)]);
    let target = gone.clone();
    let linking = act(move |_, ctx| {
        Box::pin(async move {
            let _ = ctx.link(&target);
        })
    });
    let mut ended = Box::pin(lives.ended());
    assert!(poll_once(&mut ended).await.is_pending());
    lives.cast(linking).await.unwrap();
    assert_eq!(soon(ended).await, ExitReason::NoProcess);
}

#[tokio::test(start_paused = true)]
async fn an_unlinked_process_feels_nothing() {
    let (one, other) = (script(&Log::new()).await, script(&Log::new()).await);
    let linked = other.clone();
    tell(&one, move |_, ctx| {
        Box::pin(async move {
            let link = ctx.link(&linked);
            ctx.unlink(&linked, link);
        })
    })
    .await;
    assert_eq!((one.info().watchers, other.info().watchers), (0, 0));
    end(&other, ExitReason::failed("x")).await;
    assert!(one.is_alive());
}

/// A crash runs along a chain of links, and stops where exits are trapped.
#[tokio::test(start_paused = true)]
async fn a_crash_spreads_along_links_until_somebody_traps_it() {
    let mut log = Log::new();
    let mut chain = Vec::new();
    for _ in 0..5 {
        chain.push(script(&Log::new()).await);
    }
    let last = script(&log).await;
    trap(&last).await;
    for pair in chain.windows(2) {
        link(&pair[0], &pair[1]).await;
    }
    link(&last, &chain[4]).await;
    end(&chain[0], ExitReason::failed("x")).await;
    settle().await;
    assert!(chain.iter().all(|one| !one.is_alive()));
    assert!(last.is_alive());
    assert_eq!(exits(&mut log), [(chain[4].incarnation(), ExitReason::failed("x"))]);
}

/// P14: a linked process in the midst of a handler ends at its next await point.
#[tokio::test(start_paused = true)]
async fn a_linked_crash_interrupts_a_handler() {
    let (one, other) = (script(&Log::new()).await, script(&Log::new()).await);
    link(&one, &other).await;
    let gate = Gate::default();
    let hold = gate.clone();
    let mut call = Box::pin(one.call(act(move |_, _| Box::pin(async move { hold.hold().await }))));
    assert!(poll_once(&mut call).await.is_pending());
    gate.reached().await;
    end(&other, ExitReason::failed("x")).await;
    assert!(soon(call).await.is_err());
    assert!(!one.is_alive());
}

/// P2: whoever waits for an end is told why, many at once, and at once if it is over.
#[tokio::test(start_paused = true)]
async fn any_number_may_wait_for_an_end() {
    let script = script(&Log::new()).await;
    let mut waits: Vec<_> = (0..100).map(|_| Box::pin(script.ended())).collect();
    for wait in &mut waits {
        assert!(poll_once(wait).await.is_pending());
    }
    script.stop(ExitReason::shutdown_with("x"), secs(1)).await.unwrap();
    for wait in waits {
        assert_eq!(soon(wait).await, ExitReason::shutdown_with("x"));
    }
    assert_eq!(script.ended().await, ExitReason::NoProcess);
}

/// PR-06: what a process lets others see is there without a message, and ends with it.
#[tokio::test(start_paused = true)]
async fn what_a_process_exposes_is_seen_without_asking_it() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    let script = script(&Log::new()).await;
    let members = Arc::new(AtomicU32::new(3));
    let seen = members.clone();
    tell(&script, move |_, ctx| Box::pin(async move { ctx.expose(seen) })).await;
    let gate = Gate::default();
    let hold = gate.clone();
    script.cast(act(move |_, _| Box::pin(async move { hold.hold().await }))).await.unwrap();
    gate.reached().await;
    let exposed = script.info().exposed::<AtomicU32>().unwrap();
    members.store(4, Ordering::SeqCst);
    assert_eq!(exposed.load(Ordering::SeqCst), 4);
    assert!(script.info().exposed::<String>().is_none());
    script.kill();
    script.ended().await;
    assert!(script.info().exposed::<AtomicU32>().is_none());
}
