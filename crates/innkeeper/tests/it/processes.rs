//! Processes as OTP's suites try them, where no other file does: links by starting, late replies.

use innkeeper::{CallError, ChildSpec, ExitReason, ReplyTo, Unknown};

use crate::support::{Log, Order, Script, act, plan, script, secs, soon, tell};

/// GS-09: whoever starts a process outside of supervision is not linked to it. GS-04: who wants to
/// be links it.
#[tokio::test(start_paused = true)]
async fn a_process_that_another_one_started_is_not_linked_to_it() {
    let log = Log::new();
    let starter = script(&log).await;
    let (sender, mut started) = tokio::sync::mpsc::channel(2);
    for linked in [false, true] {
        let (told, sender) = (plan(&log), sender.clone());
        tell(&starter, move |_, ctx| {
            Box::pin(async move {
                let other = innkeeper::start::<Script>(told, ChildSpec::new()).await.unwrap();
                if linked {
                    ctx.link(&other);
                }
                sender.send(other).await.unwrap();
            })
        })
        .await;
    }
    let (free, linked) = (started.recv().await.unwrap(), started.recv().await.unwrap());
    free.kill();
    free.ended().await;
    tell(&starter, |_, _| Box::pin(async {})).await;
    linked.kill();
    assert_eq!(soon(starter.ended()).await, ExitReason::Killed);
}

/// PR-03, GS-07: the place of an answer takes one, and none once the caller has gone; a late one
/// shows up nowhere.
#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_too_late_is_heard_by_nobody() {
    let log = Log::new();
    let script = script(&log).await;
    let late = script.call(Order::Keep).timeout(secs(1)).await;
    assert!(matches!(late, Err(CallError::Unknown(Unknown::Timeout))), "{late:?}");
    // It answers the one who has left; who asks now gets the answer to what it asked.
    assert_eq!(script.call(Order::AnswerKept).await.unwrap(), 0);
    assert_eq!(script.call(Order::Beat(3)).await.unwrap(), 3);
    // An answer takes its place along: there is no second one.
    let once: fn(ReplyTo<Order>, u64) = ReplyTo::send;
    let kept = script.call(Order::Keep);
    let answered = async {
        tell(&script, move |script, _| {
            let reply = script.kept.pop().unwrap().downcast::<ReplyTo<Order>>().ok().unwrap();
            once(*reply, 5);
            Box::pin(async {})
        })
        .await;
    };
    let (kept, ()) = tokio::join!(kept, answered);
    assert_eq!(kept.unwrap(), 5);
}

/// PR-01: an orderly exit of one process is nothing to another; its own ends it.
#[tokio::test(start_paused = true)]
async fn an_orderly_exit_ends_the_process_itself_and_no_other() {
    let log = Log::new();
    let (one, other) = (script(&log).await, script(&log).await);
    let linked = other.clone();
    tell(&one, move |_, ctx| {
        Box::pin(async move {
            ctx.link(&linked);
        })
    })
    .await;
    let orderly = act(|_, ctx| Box::pin(async { ctx.stop(ExitReason::Normal) }));
    one.cast(orderly).await.unwrap();
    assert_eq!(soon(one.ended()).await, ExitReason::Normal);
    assert!(other.is_alive());
    other.kill();
    assert_eq!(soon(other.ended()).await, ExitReason::Killed);
}
