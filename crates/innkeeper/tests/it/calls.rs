//! Messages: order, bounds, the three outcomes of a call, and what a crash does to them (P6, P9).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use innkeeper::{
    CallError, ChildSpec, ExitReason, GetError, NotDelivered, Ran, Restart, RestartBudget,
    Supervisor, Unknown, What,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{
    Gate, House, InitPlan, Log, Order, Said, Say, Script, act, add, key, millis, noted, plan,
    poll_once, scripted, secs, settle, soon, spec, tell,
};

/// P9
#[tokio::test(start_paused = true)]
async fn messages_of_one_sender_are_handled_in_the_order_they_were_sent() {
    let house = House::new();
    let rooms = house.rooms().await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    for number in 0..500 {
        room.cast(Say::Note(number)).await.unwrap();
        if number % 50 == 0 {
            settle().await;
        }
    }
    assert_eq!(noted(&room).await, (0..500).collect::<Vec<_>>());
}

/// P9: of many senders on many threads too, each for itself; casts, calls, by reference or by key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_senders_finds_its_messages_handled_in_its_order() {
    let house = House::new();
    let rooms = house.rooms().await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    let mut senders = JoinSet::new();
    for sender in 0..8_u64 {
        let (room, lobby) = (room.clone(), rooms.via(&key("lobby")));
        senders.spawn(async move {
            for number in 0..500_u64 {
                let note = Say::Note(sender * 1000 + number);
                // The mailbox is bounded, and says so.
                let mut note = Some(note);
                while let Some(again) = note.take() {
                    let sent = if number % 2 == 0 {
                        room.cast(again).await
                    } else {
                        lobby.cast(again).await
                    };
                    if let Err(refused) = sent {
                        assert!(matches!(refused.why, NotDelivered::Full { .. }));
                        note = Some(refused.message);
                        tokio::task::yield_now().await;
                    }
                }
                if number % 100 == 0 {
                    drop(room.call(Say::Add(1)).timeout(secs(600)).await.unwrap());
                }
            }
        });
    }
    while let Some(done) = senders.join_next().await {
        done.unwrap();
    }
    let all = noted(&room).await;
    assert_eq!(all.len(), 8 * 500);
    for sender in 0..8 {
        let own: Vec<_> = all.iter().filter(|number| *number / 1000 == sender).collect();
        assert!(own.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {own:?}");
    }
}

/// P9, P6: the three outcomes of a call, and what the caller may conclude.
#[tokio::test(start_paused = true)]
async fn a_call_ends_in_a_reply_or_not_delivered_or_unknown() {
    let house = House::new();
    let rooms = house.rooms().await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    assert_eq!(room.call(Say::Add(2)).await.unwrap(), Said::Number(2));

    let unknown = |outcome: Result<Said, CallError<Say>>, why: Unknown| {
        let error = outcome.unwrap_err();
        assert_eq!(error.ran(), Ran::Unknown);
        assert!(matches!(error, CallError::Unknown(other) if other == why), "{error:?}");
    };
    unknown(room.call(Say::Forget).await, Unknown::NoReply);
    let before = Instant::now();
    let gate = Gate::default();
    unknown(room.call(Say::Hold(gate.clone())).timeout(secs(2)).await, Unknown::Timeout);
    assert_eq!(before.elapsed(), secs(2));
    // While it holds, what comes next is not begun.
    let late = room.call(Say::Add(40)).timeout(secs(2)).await.unwrap_err();
    assert_eq!((late.ran(), before.elapsed()), (Ran::No, secs(4)));
    let CallError::NotDelivered { message: Say::Add(40), why: NotDelivered::Timeout } = late else {
        panic!("expected the message back, got {late:?}");
    };
    gate.open();
    assert_eq!(add(&room, 1).await, 3, "what was withdrawn did not run");
    unknown(room.call(Say::Panic).await, Unknown::Crashed);
    let ended = room.call(Say::Add(1)).await.unwrap_err();
    assert!(matches!(
        ended,
        CallError::NotDelivered { why: NotDelivered::Ended | NotDelivered::Stopping, .. }
    ));
}

/// P6: OTP's five seconds, from the first poll on.
#[tokio::test(start_paused = true)]
async fn a_call_waits_five_seconds_unless_it_says_otherwise() {
    let house = House::new();
    let rooms = house.rooms().await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    room.cast(Say::Hold(Gate::default())).await.unwrap();
    let mut call = Box::pin(room.call(Say::Add(1)));
    let lobby = rooms.via(&key("lobby"));
    let mut by_key = Box::pin(lobby.call(Say::Add(1)));
    tokio::time::sleep(secs(60)).await;
    let before = Instant::now();
    assert!(poll_once(&mut call).await.is_pending());
    assert!(poll_once(&mut by_key).await.is_pending());
    drop(call.await.unwrap_err());
    drop(by_key.await.unwrap_err());
    assert_eq!(before.elapsed(), secs(5));
}

/// P9: what waited at a crash, the batch that the runner had taken included, is for the next one.
#[tokio::test(start_paused = true)]
async fn waiting_messages_survive_a_crash_in_order() {
    let house = House::new();
    let rooms = house.rooms().await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    let gate = Gate::default();
    room.cast(Say::Hold(gate.clone())).await.unwrap();
    gate.reached().await;
    // The first of these is handled, then the crash; by then all others are in the batch.
    room.cast(Say::Note(1)).await.unwrap();
    room.cast(Say::Panic).await.unwrap();
    room.cast(Say::Note(2)).await.unwrap();
    let mut call = Box::pin(room.call(Say::Add(5)));
    assert!(poll_once(&mut call).await.is_pending());
    room.cast(Say::Note(3)).await.unwrap();
    gate.open();
    assert_eq!(soon(call).await.unwrap(), Said::Number(5), "by the next incarnation");
    let next = rooms.get(&key("lobby")).await.unwrap().process().unwrap();
    assert!(next.incarnation() > room.incarnation());
    assert_eq!(noted(&next).await, [2, 3]);
    assert_eq!(rooms.counters().casts_lost, 1, "the one that crashed it");
}

/// P9: before what came after the crash.
#[tokio::test(start_paused = true)]
async fn messages_that_come_after_a_crash_are_handled_after_those_that_waited() {
    let house = House::new();
    let budget = RestartBudget::new(10, secs(60));
    let rooms = house.open(house.builder(spec()).restart_budget(budget)).await;
    let lobby = rooms.via(&key("lobby"));
    lobby.call(Say::Add(1)).await.unwrap();
    for round in 0..4_u64 {
        let gate = Gate::default();
        lobby.cast(Say::Hold(gate.clone())).await.unwrap();
        gate.reached().await;
        lobby.cast(Say::Panic).await.unwrap();
        for number in 0..5 {
            lobby.cast(Say::Note(round * 10 + number)).await.unwrap();
        }
        let init = Gate::default();
        house.plan_init("lobby", InitPlan::Hold(init.clone()));
        gate.open();
        init.reached().await;
        for number in 5..9 {
            lobby.cast(Say::Note(round * 10 + number)).await.unwrap();
        }
        init.open();
        let expected: Vec<_> = (0..9).map(|number| round * 10 + number).collect();
        assert_eq!(lobby.call(Say::Noted).await.unwrap(), Said::Numbers(expected));
    }
}

/// P9: the begun one is never redelivered, or a message that crashes its process would do so for
/// ever.
#[tokio::test(start_paused = true)]
async fn the_message_in_whose_midst_a_process_crashed_is_not_handled_again() {
    let house = House::new();
    let rooms = house.rooms().await;
    let mut events = rooms.events();
    let lobby = rooms.via(&key("lobby"));
    let call = lobby.call(Say::Panic).await;
    assert!(matches!(call, Err(CallError::Unknown(Unknown::Crashed))), "{call:?}");
    lobby.call(Say::Add(1)).await.unwrap();
    assert_eq!(house.census.ever(), 2);
    lobby.cast(Say::Panic).await.unwrap();
    lobby.call(Say::Add(1)).await.unwrap();
    settle().await;
    assert_eq!((house.census.ever(), rooms.info(&key("lobby")).unwrap().restarts), (3, 2));
    let lost = What::CastsLost { waiting: 0, begun: true };
    let told = std::iter::from_fn(|| events.try_recv().ok());
    assert_eq!(told.filter(|event| event.what == lost).count(), 1, "the cast, and not the call");
}

/// P9: also where it was killed in the midst of it.
#[tokio::test(start_paused = true)]
async fn a_cast_in_whose_midst_a_process_was_killed_is_an_event() {
    let house = House::new();
    let rooms = house.rooms().await;
    let mut events = rooms.events();
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    let gate = Gate::default();
    room.cast(Say::Hold(gate.clone())).await.unwrap();
    gate.reached().await;
    room.kill();
    room.ended().await;
    let lost = What::CastsLost { waiting: 0, begun: true };
    assert!(std::iter::from_fn(|| events.try_recv().ok()).any(|event| event.what == lost));
}

/// P9: a process may opt out.
#[tokio::test(start_paused = true)]
async fn a_process_that_keeps_no_mail_hands_it_back_at_a_crash() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().keeps_mail(false))).await;
    let mut events = rooms.events();
    let lobby = rooms.via(&key("lobby"));
    let gate = Gate::default();
    lobby.cast(Say::Hold(gate.clone())).await.unwrap();
    gate.reached().await;
    lobby.cast(Say::Panic).await.unwrap();
    lobby.cast(Say::Note(1)).await.unwrap();
    lobby.cast(Say::Note(2)).await.unwrap();
    let mut call = Box::pin(lobby.call(Say::Add(5)));
    assert!(poll_once(&mut call).await.is_pending());
    gate.open();
    let Err(CallError::NotDelivered { message: Say::Add(5), why }) = soon(call).await else {
        panic!("it ran");
    };
    assert_eq!(why, NotDelivered::Ended);
    assert_eq!(lobby.call(Say::Noted).await.unwrap(), Said::Numbers(vec![]));
    let lost = What::CastsLost { waiting: 2, begun: false };
    assert!(std::iter::from_fn(|| events.try_recv().ok()).any(|event| event.what == lost));
    assert_eq!(house.census.ever(), 2);
}

/// P9: if no restart follows, waiting calls come back and waiting casts are told of.
#[tokio::test(start_paused = true)]
async fn what_waits_at_an_end_without_a_restart_is_handed_back() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().restart(Restart::Temporary))).await;
    for end in [Say::Panic, Say::Stop(ExitReason::Normal)] {
        let lost_before = rooms.counters().casts_lost;
        let begun = u64::from(matches!(end, Say::Panic));
        let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
        let gate = Gate::default();
        room.cast(Say::Hold(gate.clone())).await.unwrap();
        gate.reached().await;
        room.cast(end).await.unwrap();
        let mut calls: Vec<_> = (0..5).map(|n| Box::pin(room.call(Say::Add(n)))).collect();
        for call in &mut calls {
            assert!(poll_once(call).await.is_pending());
            room.cast(Say::Note(1)).await.unwrap();
        }
        gate.open();
        for (n, call) in calls.into_iter().enumerate() {
            let Err(CallError::NotDelivered { message: Say::Add(back), .. }) = soon(call).await
            else {
                panic!("it ran");
            };
            assert_eq!(back, n as u64);
        }
        settle().await;
        assert_eq!(rooms.counters().casts_lost - lost_before, 5 + begun);
    }
}

/// P9: what a lost message carries may panic as it goes; the others still have their answers.
#[tokio::test(start_paused = true)]
async fn a_message_whose_drop_panics_costs_no_other_message_its_outcome() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "the message panics");
        }
    }
    let log = Log::new();
    let script = crate::support::script(&log).await;
    let gate = Gate::default();
    let hold = gate.clone();
    script.cast(act(move |_, _| Box::pin(async move { hold.hold().await }))).await.unwrap();
    gate.reached().await;
    let bomb = Bomb;
    script
        .cast(act(move |_, _| {
            Box::pin(async move {
                let _bomb = &bomb;
            })
        }))
        .await
        .unwrap();
    let mut call = Box::pin(script.call(Order::Beat(1)).timeout(secs(60)));
    assert!(poll_once(&mut call).await.is_pending());
    let before = Instant::now();
    let mut stop = Box::pin(script.stop(ExitReason::Normal, secs(60)));
    assert!(poll_once(&mut stop).await.is_pending());
    gate.open();
    assert!(matches!(soon(call).await, Err(CallError::NotDelivered { .. })));
    soon(stop).await.unwrap();
    assert_eq!(before.elapsed(), secs(0));
}

/// P9: as in OTP.
#[tokio::test(start_paused = true)]
async fn a_process_that_nobody_supervises_loses_its_mailbox() {
    let log = Log::new();
    let script = crate::support::script(&log).await;
    let gate = Gate::default();
    let hold = gate.clone();
    let crash = act(move |_, _| {
        Box::pin(async move {
            hold.hold().await;
            panic!("told to");
        })
    });
    let mut begun = Box::pin(script.call(crash));
    assert!(poll_once(&mut begun).await.is_pending());
    gate.reached().await;
    let mut waiting = Box::pin(script.call(Order::Beat(1)));
    assert!(poll_once(&mut waiting).await.is_pending());
    gate.open();
    assert!(matches!(soon(begun).await, Err(CallError::Unknown(Unknown::Crashed))));
    assert!(matches!(soon(waiting).await, Err(CallError::NotDelivered { .. })));
    assert!(matches!(script.ended().await, ExitReason::Panicked(_) | ExitReason::NoProcess));
}

/// P9: supervised, the mailbox survives like that of a room.
#[tokio::test(start_paused = true)]
async fn a_supervised_process_keeps_its_mailbox_over_a_restart() {
    let mut log = Log::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let script = supervisor.start_child::<Script>("one", plan(&log), ChildSpec::new());
    let script = script.await.unwrap();
    let gate = Gate::default();
    let hold = gate.clone();
    let crash = act(move |_, _| {
        Box::pin(async move {
            hold.hold().await;
            panic!("told to");
        })
    });
    script.cast(crash).await.unwrap();
    gate.reached().await;
    script.cast(Order::Beat(7)).await.unwrap();
    let mut call = Box::pin(script.call(Order::Beat(8)));
    assert!(poll_once(&mut call).await.is_pending());
    gate.open();
    assert_eq!(soon(call).await.unwrap(), 8);
    let beats = log.so_far();
    assert!(beats.ends_with(&[crate::support::Heard::Beat(7), crate::support::Heard::Beat(8)]));
}

/// P9, P11: what waits counts against the bound, wherever it waits, also over a restart.
#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_and_hands_back_and_a_crash_makes_no_room() {
    let house = House::new();
    let small = spec().mailbox_capacity(NonZeroU32::new(3).unwrap());
    let rooms = house.open(house.builder(small)).await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    let lobby = rooms.via(&key("lobby"));
    let gate = Gate::default();
    room.cast(Say::Hold(gate.clone())).await.unwrap();
    gate.reached().await;
    room.cast(Say::Panic).await.unwrap();
    room.cast(Say::Note(1)).await.unwrap();
    room.cast(Say::Note(2)).await.unwrap();
    let full = NotDelivered::Full { capacity: 3 };
    let refused = room.cast(Say::Note(3)).await.unwrap_err();
    assert!(matches!(refused.message, Say::Note(3)));
    assert_eq!(refused.why, full);
    let refused = lobby.call(Say::Add(3)).await.unwrap_err();
    let CallError::NotDelivered { message: Say::Add(3), why } = refused else { panic!("it ran") };
    assert_eq!(why, full);
    // After the crash two wait, one of them taken by nobody yet.
    let init = Gate::default();
    house.plan_init("lobby", InitPlan::Hold(init.clone()));
    gate.open();
    init.reached().await;
    assert_eq!(rooms.info(&key("lobby")).unwrap().mailbox_len, 2);
    lobby.cast(Say::Note(3)).await.unwrap();
    assert_eq!(lobby.cast(Say::Note(4)).await.unwrap_err().why, full);
    init.open();
    settle().await;
    assert_eq!(lobby.call(Say::Noted).await.unwrap(), Said::Numbers(vec![1, 2, 3]));
    assert_eq!(rooms.counters().mailbox_full, 3);
}

/// P9, P11: casts that the runner has taken all at once and not begun still wait: they count
/// against the bound, come before what is sent later, and none is lost in silence.
#[tokio::test(start_paused = true)]
async fn casts_that_were_taken_and_not_begun_still_wait() {
    for stopped in [false, true] {
        let house = House::new();
        let small = spec().mailbox_capacity(NonZeroU32::new(4).unwrap());
        let rooms = house.open(house.builder(small)).await;
        let lobby = key("lobby");
        let room = rooms.get_or_start(&lobby).await.unwrap().process().unwrap();
        let gate = Gate::default();
        // All before the room has its turn, so that it finds them together.
        room.cast(Say::Hold(gate.clone())).await.unwrap();
        for number in 1..4 {
            room.cast(Say::Note(number)).await.unwrap();
        }
        gate.reached().await;
        assert_eq!(room.info().mailbox_len, 3);
        room.cast(Say::Note(4)).await.unwrap();
        let refused = room.cast(Say::Note(5)).await.unwrap_err();
        assert_eq!(refused.why, NotDelivered::Full { capacity: 4 });
        assert_eq!(room.info().mailbox_len, 4);
        if stopped {
            soon(rooms.stop(&lobby)).await.unwrap();
            assert_eq!(rooms.counters().casts_lost, 5, "with the one that was begun");
        } else {
            gate.open();
            settle().await;
            let noted = rooms.via(&lobby).call(Say::Noted).await.unwrap();
            assert_eq!(noted, Said::Numbers(vec![1, 2, 3, 4]));
        }
    }
}

/// P6: either taken back or begun, and never both, wherever the deadline falls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_gives_up_as_it_is_begun_has_one_outcome() {
    let house = House::new();
    let rooms = house.rooms().await;
    let lobby = rooms.via(&key("lobby"));
    lobby.call(Say::Add(0)).await.unwrap();
    let room = rooms.get(&key("lobby")).await.unwrap().process().unwrap();
    let mut callers = JoinSet::new();
    let (replied, unknown) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for caller in 0..4_u64 {
        let (room, replied, unknown) = (room.clone(), replied.clone(), unknown.clone());
        callers.spawn(async move {
            for n in 0..500_u64 {
                let wait = std::time::Duration::from_micros((n * 7 + caller * 13) % 60);
                match room.call(Say::Add(1)).timeout(wait).await {
                    Ok(_) => replied.fetch_add(1, Ordering::SeqCst),
                    Err(CallError::Unknown(_)) => unknown.fetch_add(1, Ordering::SeqCst),
                    Err(error) => {
                        assert_eq!(error.ran(), Ran::No);
                        assert!(matches!(
                            error,
                            CallError::NotDelivered { message: Say::Add(1), .. }
                        ));
                        0
                    }
                };
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    let ran = add(&room, 0).await;
    let (replied, unknown) = (replied.load(Ordering::SeqCst), unknown.load(Ordering::SeqCst));
    assert!(replied <= ran && ran <= replied + unknown, "{replied} <= {ran} <= +{unknown}");
}

/// P9: OTP's `GenServer.reply/2`, later and from elsewhere.
#[tokio::test(start_paused = true)]
async fn a_reply_may_come_long_after_the_handler_has_returned() {
    let log = Log::new();
    let script = crate::support::script(&log).await;
    let mut calls: Vec<_> = (0..3).map(|_| Box::pin(script.call(Order::Keep))).collect();
    for call in &mut calls {
        assert!(poll_once(call).await.is_pending());
    }
    settle().await;
    assert_eq!(script.call(Order::Beat(1)).await.unwrap(), 1, "others are not held up");
    for call in &mut calls {
        assert!(poll_once(call).await.is_pending());
    }
    script.call(Order::AnswerKept).await.unwrap();
    for call in calls {
        assert_eq!(soon(call).await.unwrap(), 7);
    }
    // To a caller who has left it goes nowhere.
    assert!(script.call(Order::Keep).timeout(secs(1)).await.is_err());
    script.call(Order::AnswerKept).await.unwrap();
}

/// P9: also a reply that never comes is an outcome.
#[tokio::test(start_paused = true)]
async fn a_kept_call_is_unknown_when_its_process_ends() {
    for crashes in [false, true] {
        let log = Log::new();
        let script = crate::support::script(&log).await;
        let mut kept = Box::pin(script.call(Order::Keep).timeout(secs(600)));
        assert!(poll_once(&mut kept).await.is_pending());
        settle().await;
        if crashes {
            script.kill();
        } else {
            script.stop(ExitReason::Normal, secs(1)).await.unwrap();
        }
        let before = Instant::now();
        assert!(matches!(soon(kept).await, Err(CallError::Unknown(_))));
        assert_eq!(before.elapsed(), secs(0));
    }
}

/// P9: a reference that `init` gave away takes mail, which is handled once it is ready.
#[tokio::test(start_paused = true)]
async fn a_process_may_say_things_to_itself_from_init_on() {
    let mut log = Log::new();
    let told = plan(&log).init(|ctx| {
        let own = ctx.process();
        Box::pin(async move {
            for number in 1..=3 {
                own.cast(Order::Beat(number)).await.map_err(innkeeper::StartError::failed)?;
            }
            Ok(())
        })
    });
    let script = scripted(told).await;
    assert_eq!(script.call(Order::Beat(4)).await.unwrap(), 4);
    let beats: Vec<_> = log.so_far().into_iter().skip(1).collect();
    assert_eq!(beats, [1, 2, 3, 4].map(crate::support::Heard::Beat));
}

/// P3: a process of its own fails to start like any other.
#[tokio::test(start_paused = true)]
async fn a_start_outside_of_supervision_reports_its_outcome() {
    let log = Log::new();
    let failing = plan(&log).init(|_| Box::pin(async { Err(innkeeper::StartError::failed("no")) }));
    let started = innkeeper::start::<Script>(failing, ChildSpec::new()).await;
    assert_eq!(started.unwrap_err(), GetError::InitFailed(ExitReason::failed("no")));
    let declining = plan(&log).init(|_| Box::pin(async { Err(innkeeper::StartError::ignore()) }));
    let started = innkeeper::start::<Script>(declining, ChildSpec::new()).await;
    assert_eq!(started.unwrap_err(), GetError::Declined);
    let late = plan(&log).init(|_| Box::pin(std::future::pending()));
    let before = Instant::now();
    let spec = ChildSpec::new().start_timeout(secs(3));
    let started = innkeeper::start::<Script>(late, spec).await;
    assert_eq!((started.unwrap_err(), before.elapsed()), (GetError::StartTimeout, secs(3)));
}

/// P9: a process in the midst of many messages lets others run, its timers and tasks too.
#[tokio::test]
async fn a_process_that_is_never_out_of_messages_still_hears_its_timer() {
    fn again(count: Arc<AtomicU64>) -> Order {
        act(move |_, ctx| {
            let own = ctx.process();
            Box::pin(async move {
                if count.load(Ordering::SeqCst) == 0 {
                    own.cast(again(count)).await.unwrap();
                }
            })
        })
    }
    let log = Log::new();
    let script = crate::support::script(&log).await;
    let heard = Arc::new(AtomicU64::new(0));
    let timer = heard.clone();
    tell(&script, move |_, ctx| {
        Box::pin(async move {
            let stop = act(move |_, _| {
                Box::pin(async move {
                    timer.fetch_add(1, Ordering::SeqCst);
                })
            });
            ctx.send_after(millis(1), stop).unwrap();
        })
    })
    .await;
    script.cast(again(heard.clone())).await.unwrap();
    crate::support::eventually(|| heard.load(Ordering::SeqCst) == 1).await;
}

/// P9: nor does a busy process overlook that one of its tasks panicked.
#[tokio::test(start_paused = true)]
async fn a_process_that_is_never_out_of_messages_still_crashes_with_its_task() {
    fn again() -> Order {
        act(|_, ctx| {
            let own = ctx.process();
            Box::pin(async move { own.cast(again()).await.unwrap() })
        })
    }
    let log = Log::new();
    let script = crate::support::script(&log).await;
    script.cast(again()).await.unwrap();
    script
        .cast(act(|_, ctx| Box::pin(async { ctx.spawn(async { panic!("the task panics") }) })))
        .await
        .unwrap();
    let reason = soon(script.ended()).await;
    assert_eq!(reason, ExitReason::Panicked("the task panics".into()));
}
