//! Timers and tasks of a process: part of its incarnation, and gone with it (P1, P11, P13).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use innkeeper::{ChildSpec, Context, ExitReason, ProcessRef, Supervisor, TooManyTimers, limits};
use tokio::time::Instant;

use crate::support::{
    Gate, Heard, Log, Order, Script, act, eventually, millis, plan, script, secs, settle, soon,
    tell,
};

fn beats(log: &mut Log) -> Vec<u64> {
    let beat = |heard| if let Heard::Beat(number) = heard { Some(number) } else { None };
    log.so_far().into_iter().filter_map(beat).collect()
}

async fn with_ctx(
    script: &ProcessRef<Order>,
    what: impl FnOnce(&mut Context<Script>) + Send + 'static,
) {
    tell(script, move |_, ctx| {
        what(ctx);
        Box::pin(async {})
    })
    .await;
}

/// OTP's `Process.send_after`.
#[tokio::test(start_paused = true)]
async fn timers_go_off_in_the_order_of_their_times_and_not_before() {
    let mut log = Log::new();
    let script = script(&log).await;
    with_ctx(&script, |ctx| {
        for seconds in [3, 1, 2] {
            ctx.send_after(secs(seconds), Order::Beat(seconds)).unwrap();
        }
        ctx.send_after(Duration::ZERO, Order::Beat(0)).unwrap();
    })
    .await;
    settle().await;
    tokio::time::sleep(millis(999)).await;
    assert_eq!(beats(&mut log), [0]);
    tokio::time::sleep(millis(2)).await;
    assert_eq!(beats(&mut log), [1]);
    tokio::time::sleep(secs(10)).await;
    assert_eq!(beats(&mut log), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_is_missed_because_the_process_is_busy_is_left_out() {
    let mut log = Log::new();
    let script = script(&log).await;
    with_ctx(&script, |ctx| {
        ctx.send_interval(secs(1), || Order::Beat(1)).unwrap();
    })
    .await;
    tokio::time::sleep(millis(3500)).await;
    assert_eq!(beats(&mut log).len(), 3);
    let gate = Gate::default();
    let hold = gate.clone();
    script.cast(act(move |_, _| Box::pin(async move { hold.hold().await }))).await.unwrap();
    gate.reached().await;
    tokio::time::sleep(secs(100)).await;
    gate.open();
    settle().await;
    assert_eq!(beats(&mut log).len(), 1, "one for all that were missed");
    tokio::time::sleep(millis(3500)).await;
    assert_eq!(beats(&mut log).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_timer_is_silent_and_a_cancel_says_whether_it_came_in_time() {
    let mut log = Log::new();
    let script = script(&log).await;
    let (sender, told) = tokio::sync::oneshot::channel();
    with_ctx(&script, |ctx| {
        let once = ctx.send_after(secs(1), Order::Beat(1)).unwrap();
        let again = ctx.send_interval(secs(1), || Order::Beat(2)).unwrap();
        let kept = ctx.send_after(secs(1), Order::Beat(3)).unwrap();
        assert!(ctx.cancel(&once));
        assert!(!ctx.cancel(&once), "twice");
        sender.send((once, again, kept)).unwrap();
    })
    .await;
    let (once, again, kept) = told.await.unwrap();
    tokio::time::sleep(millis(2500)).await;
    assert_eq!(beats(&mut log), [2, 3, 2]);
    with_ctx(&script, move |ctx| {
        assert!(!ctx.cancel(&kept), "it has gone off");
        assert!(ctx.cancel(&again), "it would go on for ever");
        assert!(!ctx.cancel(&once) && !ctx.cancel(&again));
    })
    .await;
    tokio::time::sleep(secs(10)).await;
    assert!(beats(&mut log).is_empty());
}

/// OTP's `Process.read_timer`.
#[tokio::test(start_paused = true)]
async fn the_time_that_is_left_of_a_timer_can_be_read() {
    let script = script(&Log::new()).await;
    let (sender, told) = tokio::sync::oneshot::channel();
    with_ctx(&script, |ctx| {
        let once = ctx.send_after(secs(3), Order::Beat(1)).unwrap();
        let again = ctx.send_interval(secs(2), || Order::Beat(2)).unwrap();
        assert_eq!((ctx.remaining(&once), ctx.remaining(&again)), (Some(secs(3)), Some(secs(2))));
        sender.send((once, again)).unwrap();
    })
    .await;
    let (once, again) = told.await.unwrap();
    tokio::time::sleep(secs(1)).await;
    with_ctx(&script, move |ctx| {
        assert_eq!((ctx.remaining(&once), ctx.remaining(&again)), (Some(secs(2)), Some(secs(1))));
    })
    .await;
    tokio::time::sleep(millis(2500)).await;
    with_ctx(&script, move |ctx| {
        assert_eq!(ctx.remaining(&once), None, "it has gone off");
        assert!(ctx.remaining(&again).is_some_and(|left| left <= secs(2)));
        ctx.cancel(&again);
        assert_eq!(ctx.remaining(&again), None);
    })
    .await;
}

/// P11
#[tokio::test(start_paused = true)]
async fn a_process_may_have_so_many_timers_and_no_more() {
    let log = Log::new();
    let script = script(&log).await;
    with_ctx(&script, |ctx| {
        for _ in 0..limits::TIMERS_MAX {
            ctx.send_after(secs(1), Order::Keep).unwrap();
        }
        let full = TooManyTimers { max: limits::TIMERS_MAX };
        assert_eq!(ctx.send_after(secs(1), Order::Keep).unwrap_err(), full);
        assert_eq!(ctx.send_interval(secs(1), || Order::Keep).unwrap_err(), full);
    })
    .await;
    script.kill();
    script.ended().await;
}

#[tokio::test(start_paused = true)]
async fn the_longest_and_the_shortest_times_are_taken_as_the_bounds() {
    let mut log = Log::new();
    let script = script(&log).await;
    with_ctx(&script, |ctx| {
        ctx.send_after(Duration::MAX, Order::Beat(1)).unwrap();
        let count = Arc::new(AtomicU64::new(0));
        ctx.send_interval(Duration::ZERO, move || {
            Order::Beat(count.fetch_add(1, Ordering::SeqCst))
        })
        .unwrap();
    })
    .await;
    tokio::time::sleep(millis(20)).await;
    let count = beats(&mut log).len();
    assert!((10..=21).contains(&count), "one a millisecond: {count}");
}

/// P1: what an incarnation set in motion does not reach the next one.
#[tokio::test(start_paused = true)]
async fn timers_end_with_their_incarnation() {
    let mut log = Log::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let script = supervisor.start_child::<Script>("one", plan(&log), ChildSpec::new());
    let script = script.await.unwrap();
    with_ctx(&script, |ctx| {
        ctx.send_after(secs(1), Order::Beat(1)).unwrap();
        ctx.send_interval(secs(1), || Order::Beat(2)).unwrap();
    })
    .await;
    script.kill();
    script.ended().await;
    tokio::time::sleep(secs(10)).await;
    assert!(beats(&mut log).is_empty());
    assert!(supervisor.which_children()[0].1.is_some(), "the next one runs");
}

/// P1, P13: no task outlives its incarnation, however that ends.
#[tokio::test(start_paused = true)]
async fn tasks_end_with_their_incarnation_before_its_end_is_known() {
    struct Gone(Arc<AtomicU64>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    for how in ["stop", "kill", "panic"] {
        let log = Log::new();
        let script = script(&log).await;
        let gone = Arc::new(AtomicU64::new(0));
        for _ in 0..10 {
            let gone = Gone(gone.clone());
            with_ctx(&script, move |ctx| {
                ctx.spawn(async move {
                    let _gone = gone;
                    std::future::pending::<()>().await;
                });
            })
            .await;
        }
        match how {
            "stop" => script.stop(ExitReason::Normal, secs(1)).await.unwrap(),
            "kill" => script.kill(),
            _ => {
                script.cast(act(|_, _| Box::pin(async { panic!("told to") }))).await.unwrap();
            }
        }
        soon(script.ended()).await;
        assert_eq!(gone.load(Ordering::SeqCst), 10, "{how}");
    }
}

/// As OTP's linked tasks.
#[tokio::test(start_paused = true)]
async fn a_task_that_panics_crashes_its_process_and_one_that_ends_does_not() {
    let log = Log::new();
    let script = script(&log).await;
    with_ctx(&script, |ctx| {
        for _ in 0..10 {
            ctx.spawn(async {});
        }
    })
    .await;
    settle().await;
    assert!(script.is_alive());
    let mut ended = Box::pin(script.ended());
    assert!(crate::support::poll_once(&mut ended).await.is_pending());
    with_ctx(&script, |ctx| ctx.spawn(async { panic!("the task panics") })).await;
    assert_eq!(soon(ended).await, ExitReason::Panicked("the task panics".into()));
}

/// P12: a task may use the process like everybody else.
#[tokio::test(start_paused = true)]
async fn a_task_may_call_its_own_process() {
    let mut log = Log::new();
    let script = script(&log).await;
    with_ctx(&script, |ctx| {
        let own = ctx.process();
        ctx.spawn(async move {
            own.call(Order::Beat(5)).await.unwrap();
        });
    })
    .await;
    settle().await;
    assert_eq!(beats(&mut log), [5]);
}

/// A callback that wishes for the end is followed by nothing but `terminate`, in `init` too.
#[tokio::test(start_paused = true)]
async fn a_process_may_end_itself_from_init_and_from_a_handler() {
    let mut log = Log::new();
    let told = plan(&log).init(|ctx| {
        ctx.stop(ExitReason::shutdown_with("done already"));
        Box::pin(async { Ok(()) })
    });
    let script = crate::support::scripted(told).await;
    soon(script.ended()).await;
    let heard = log.so_far();
    assert_eq!(heard[1], Heard::Terminate(ExitReason::shutdown_with("done already")));

    let script = crate::support::script(&log).await;
    log.so_far();
    let gate = Gate::default();
    let hold = gate.clone();
    script
        .cast(act(move |_, ctx| {
            Box::pin(async move {
                hold.hold().await;
                ctx.stop(ExitReason::Normal);
            })
        }))
        .await
        .unwrap();
    gate.reached().await;
    script.cast(Order::Beat(1)).await.unwrap();
    gate.open();
    soon(script.ended()).await;
    settle().await;
    assert_eq!(log.so_far(), [Heard::Terminate(ExitReason::Normal), Heard::Dropped]);
}

/// A process in `init` may go at once if nobody needs it.
#[tokio::test(start_paused = true)]
async fn a_process_may_be_idle_from_the_start() {
    let log = Log::new();
    let told = plan(&log).init(|ctx| {
        ctx.stop_if_idle();
        Box::pin(async { Ok(()) })
    });
    let script = crate::support::scripted(told).await;
    let reason = soon(script.ended()).await;
    assert!(matches!(reason, ExitReason::Idle | ExitReason::NoProcess), "{reason}");
}

/// P4: a callback of a timer is user code like any other.
#[tokio::test(start_paused = true)]
async fn an_interval_whose_message_cannot_be_made_crashes_its_process_only() {
    let log = Log::new();
    let (script, other) = (script(&log).await, script(&log).await);
    let mut ended = Box::pin(script.ended());
    assert!(crate::support::poll_once(&mut ended).await.is_pending());
    with_ctx(&script, |ctx| {
        ctx.send_interval(secs(1), || panic!("no message")).unwrap();
    })
    .await;
    let before = Instant::now();
    assert_eq!(soon(ended).await, ExitReason::Panicked("no message".into()));
    assert_eq!(before.elapsed().as_secs(), 1);
    assert!(other.is_alive());
}

/// On one node there is no ownership to be fenced.
#[tokio::test(start_paused = true)]
async fn the_epoch_of_a_process_on_one_node_is_zero() {
    let script = script(&Log::new()).await;
    let seen = Arc::new(AtomicU64::new(7));
    let epoch = seen.clone();
    with_ctx(&script, move |ctx| epoch.store(ctx.epoch(), Ordering::SeqCst)).await;
    eventually(|| seen.load(Ordering::SeqCst) == 0).await;
}

/// PR-04: how long a timer still has, as long as it is to go off.
#[tokio::test(start_paused = true)]
async fn the_time_a_timer_still_has_can_be_read() {
    let log = Log::new();
    let script = script(&log).await;
    tell(&script, |_, ctx| {
        Box::pin(async move {
            let once = ctx.send_after(secs(10), Order::Beat(1)).unwrap();
            let other = ctx.send_after(secs(10), Order::Beat(2)).unwrap();
            let each = ctx.send_interval(secs(4), || Order::Beat(3)).unwrap();
            tokio::time::sleep(secs(3)).await;
            let left =
                |ctx: &Context<Script>, timer| ctx.remaining(timer).map(|left| left.as_secs());
            assert_eq!((left(ctx, &once), left(ctx, &each)), (Some(7), Some(1)));
            assert!(ctx.cancel(&other));
            assert_eq!(left(ctx, &other), None);
        })
    })
    .await;
    tokio::time::sleep(secs(100)).await;
    assert!(script.is_alive());
}
