//! Processes that ask each other, and one that would wait for itself (P12).

use innkeeper::{
    CallError, ChildSpec, Cycle, DynamicSupervisor, ExitReason, GetError, NotDelivered, StopError,
    Supervisor,
};
use tokio::time::Instant;

use crate::support::{
    Gate, House, InitPlan, Key, Log, Order, Room, Said, Say, Script, act, add, eventually, key,
    plan, poll_once, script, secs, settle, soon, spec, tell,
};

type Rooms = innkeeper::Keyed<Key, Room>;

const REFUSED: Said = Said::Number(0);
const WORKED: Said = Said::Number(1);

/// Says something to a key, and proves that no time went by.
async fn at_once(rooms: &Rooms, name: &str, say: Say) -> Said {
    let before = Instant::now();
    let said = soon(rooms.via(&key(name)).call(say).timeout(secs(600))).await.unwrap();
    assert_eq!(before.elapsed(), secs(0), "it waited");
    said
}

fn chain(names: &[&str]) -> Say {
    Say::Chain(names.iter().map(|name| key(name)).collect())
}

/// P12 (NEW-10)
#[tokio::test(start_paused = true)]
async fn other_keys_can_be_started_and_called_from_init_and_from_a_handler() {
    let house = House::new();
    let rooms = house.rooms().await;
    house.plan_init("a", InitPlan::Ask(key("b")));
    house.plan_init("b", InitPlan::Ask(key("c")));
    assert!(rooms.get_or_start(&key("a")).await.unwrap().is_started());
    assert_eq!(rooms.count(), 3);
    assert_eq!(at_once(&rooms, "a", Say::CallKey(key("d"))).await, WORKED);
    assert_eq!(at_once(&rooms, "a", Say::StopKey(key("d"))).await, WORKED);
    assert_eq!(at_once(&rooms, "a", chain(&["b", "c", "d", "e"])).await, WORKED);
    assert_eq!(rooms.count(), 5);
}

/// P12
#[tokio::test(start_paused = true)]
async fn an_init_that_asks_for_its_own_key_fails_at_once_and_says_why() {
    let house = House::new();
    let rooms = house.rooms().await;
    house.plan_init("a", InitPlan::Ask(key("a")));
    let before = Instant::now();
    let error = rooms.get_or_start(&key("a")).await.unwrap_err();
    assert_eq!(before.elapsed(), secs(0));
    assert!(error.to_string().contains(r#"itself: Room "a" -> Room "a""#), "{error}");
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
}

/// P12: directly, by every kind of wait.
#[tokio::test(start_paused = true)]
async fn a_handler_cannot_wait_for_its_own_process() {
    let house = House::new();
    let rooms = house.rooms().await;
    assert_eq!(at_once(&rooms, "a", Say::CallKey(key("a"))).await, REFUSED);
    assert_eq!(at_once(&rooms, "a", Say::StopKey(key("a"))).await, REFUSED);
    let room = rooms.get(&key("a")).await.unwrap().process().unwrap();
    assert!(room.is_alive(), "a stop that is refused is not ordered either");
    assert_eq!(house.census.ever(), 1);
}

/// P12: by its own reference too (GS-06, GS-13).
#[tokio::test(start_paused = true)]
async fn a_process_can_neither_call_nor_stop_itself_through_its_reference() {
    let log = Log::new();
    let script = script(&log).await;
    tell(&script, |script, ctx| {
        Box::pin(async move {
            let own = ctx.process();
            let Err(CallError::NotDelivered { message, why: NotDelivered::Cycle(cycle) }) =
                own.call(Order::Beat(1)).await
            else {
                panic!("it would wait for ever");
            };
            assert!(matches!(message, Order::Beat(1)), "the message comes back");
            assert_eq!(cycle.chain, ["Script", "Script"]);
            let stopped = own.stop(ExitReason::Normal, secs(1)).await;
            assert!(matches!(stopped, Err(StopError::Cycle(_))), "{stopped:?}");
            // What does not wait is fine.
            own.cast(Order::Beat(2)).await.unwrap();
            let _ = script;
        })
    })
    .await;
    assert!(script.is_alive());
}

/// P12: in a chain of any length, and the error names it.
#[tokio::test(start_paused = true)]
async fn a_chain_of_calls_that_comes_back_is_refused_where_it_would_close() {
    let house = House::new();
    let rooms = house.rooms().await;
    for names in [&["b", "a"][..], &["b", "c", "a"], &["b", "c", "b"], &["b", "c", "d", "e", "c"]] {
        assert_eq!(at_once(&rooms, "a", chain(names)).await, REFUSED, "{names:?}");
        // Nothing of it is left: the same way without its end works.
        assert_eq!(at_once(&rooms, "a", chain(&names[..names.len() - 1])).await, WORKED);
    }
}

/// P12
#[tokio::test(start_paused = true)]
async fn a_cycle_names_everybody_on_it_the_asker_first_and_last() {
    let log = Log::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let mut scripts = Vec::new();
    for id in ["a", "b", "c"] {
        scripts.push(supervisor.start_child::<Script>(id, plan(&log), spec()).await.unwrap());
    }
    let [a, b, c] = <[_; 3]>::try_from(scripts).unwrap();
    let (sender, told) = tokio::sync::oneshot::channel();
    let (back, there) = (a.clone(), c.clone());
    let third = act(move |_, _| {
        Box::pin(async move {
            let refused = back.call(Order::Beat(1)).await.unwrap_err();
            let CallError::NotDelivered { why: NotDelivered::Cycle(cycle), .. } = refused else {
                panic!("expected a cycle, got {refused:?}");
            };
            sender.send(cycle).unwrap();
        })
    });
    let second = act(move |_, _| {
        Box::pin(async move {
            there.call(third).await.unwrap();
        })
    });
    a.call(act(move |_, _| {
        Box::pin(async move {
            b.call(second).await.unwrap();
        })
    }))
    .await
    .unwrap();
    let names = ["c", "a", "b", "c"].map(str::to_owned).to_vec();
    assert_eq!(soon(told).await.unwrap(), Cycle { chain: names });
}

/// P12: a stop waits as well.
#[tokio::test(start_paused = true)]
async fn stopping_somebody_who_waits_for_the_stopper_is_refused_at_once() {
    let log = Log::new();
    let (a, b) = (script(&log).await, script(&log).await);
    let (back, gate) = (a.clone(), Gate::default());
    let open = gate.clone();
    let (sender, told) = tokio::sync::oneshot::channel();
    // While `a` waits for `b`, `b` wants to wait for the end of `a`.
    let stop = act(move |_, _| {
        Box::pin(async move {
            open.hold().await;
            sender.send(back.stop(ExitReason::Normal, secs(600)).await).unwrap();
        })
    });
    let mut call = Box::pin(a.call(act(move |_, _| {
        Box::pin(async move {
            b.call(stop).await.unwrap();
        })
    })));
    assert!(poll_once(&mut call).await.is_pending());
    gate.reached().await;
    let before = Instant::now();
    gate.open();
    assert!(matches!(soon(told).await.unwrap(), Err(StopError::Cycle(_))));
    soon(call).await.unwrap();
    assert_eq!(before.elapsed(), secs(0));
    assert!(a.is_alive());
}

/// P12: of two who are about to wait for each other at least one is told.
#[tokio::test(start_paused = true)]
async fn two_inits_that_ask_for_each_other_do_not_wait_for_ever() {
    let house = House::new();
    let rooms = house.rooms().await;
    house.plan_init("a", InitPlan::Ask(key("b")));
    house.plan_init("b", InitPlan::Ask(key("a")));
    let before = Instant::now();
    let (a, b) = (key("a"), key("b"));
    let (first, second) =
        soon(async { tokio::join!(rooms.get_or_start(&a), rooms.get_or_start(&b)) }).await;
    assert_eq!(before.elapsed(), secs(0));
    let errors = [first, second].map(|outcome| outcome.err().map(|error| error.to_string()));
    assert!(errors.iter().flatten().any(|error| error.contains("wait for itself")), "{errors:?}");
    settle().await;
    assert_eq!(house.census.alive(), rooms.count());
}

/// P12: the same on two threads, where both may be about to draw their edge at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_inits_that_ask_for_each_other_on_two_threads_do_not_wait_for_ever() {
    let house = House::new();
    let spec = spec().start_timeout(secs(600));
    let rooms = house.open(house.builder(spec)).await;
    house.plan_init("a", InitPlan::Ask(key("b")));
    house.plan_init("b", InitPlan::Ask(key("a")));
    for _ in 0..300 {
        let mut asks = tokio::task::JoinSet::new();
        for name in ["a", "b"] {
            let rooms = rooms.clone();
            asks.spawn(async move { rooms.get_or_start(&key(name)).timeout(secs(600)).await });
        }
        let outcomes = asks.join_all().await;
        assert!(outcomes.iter().any(Result::is_err), "{outcomes:?}");
        rooms.stop_all().await;
    }
    assert_eq!((rooms.count(), house.census.most_of_one_key()), (0, 1));
}

/// P12: a start and a call make a cycle together.
#[tokio::test(start_paused = true)]
async fn an_init_cannot_wait_for_somebody_who_waits_for_this_start() {
    let house = House::new();
    let rooms = house.rooms().await;
    // `a` is live, and in its handler calls `b`, whose init asks for `a`: that is there, so it
    // works.
    let _ = rooms.get_or_start(&key("a")).await.unwrap();
    house.plan_init("b", InitPlan::Ask(key("a")));
    assert_eq!(at_once(&rooms, "a", Say::CallKey(key("b"))).await, WORKED);
    // `c` starts and asks for `d`, whose init asks for `c`, which is not there yet.
    house.plan_init("c", InitPlan::Ask(key("d")));
    house.plan_init("d", InitPlan::Ask(key("c")));
    let before = Instant::now();
    let error = rooms.get_or_start(&key("c")).await.unwrap_err();
    assert_eq!(before.elapsed(), secs(0));
    let chain = r#"Room "d" -> Room "c" -> Room "d""#;
    assert!(error.to_string().contains(chain), "{error}");
}

/// P12: waiting for several at once.
#[tokio::test(start_paused = true)]
async fn a_process_that_waits_for_several_is_found_through_each_of_them() {
    let log = Log::new();
    let (a, b, c) = (script(&log).await, script(&log).await, script(&log).await);
    let back = a.clone();
    let (sender, told) = tokio::sync::oneshot::channel();
    let gate = Gate::default();
    let hold = gate.clone();
    let asks_back = act(move |_, _| {
        Box::pin(async move {
            sender.send(back.call(Order::Beat(1)).await.is_err()).unwrap();
        })
    });
    let holds = act(move |_, _| Box::pin(async move { hold.hold().await }));
    let mut both = Box::pin(a.call(act(move |_, _| {
        Box::pin(async move {
            let (first, second) = tokio::join!(b.call(holds), c.call(asks_back));
            first.unwrap();
            second.unwrap();
        })
    })));
    assert!(poll_once(&mut both).await.is_pending());
    gate.reached().await;
    assert!(soon(told).await.unwrap(), "refused");
    gate.open();
    soon(both).await.unwrap();
}

/// P12: a wait that is over, in whatever way, is no wait.
#[tokio::test(start_paused = true)]
async fn a_wait_that_was_given_up_closes_no_cycle() {
    let log = Log::new();
    let (a, b) = (script(&log).await, script(&log).await);
    let gate = Gate::default();
    let hold = gate.clone();
    b.cast(act(move |_, _| Box::pin(async move { hold.hold().await }))).await.unwrap();
    gate.reached().await;
    let there = b.clone();
    tell(&a, move |_, _| {
        Box::pin(async move {
            assert!(there.call(Order::Beat(1)).timeout(secs(1)).await.is_err());
            drop(tokio::time::timeout(secs(1), there.call(Order::Beat(2))).await);
            drop(there.stop(ExitReason::Normal, secs(0)).await);
        })
    })
    .await;
    // `b` ends soon; before that it may call `a`.
    gate.open();
    settle().await;
    let (c, back) = (script(&log).await, a.clone());
    tell(&c, move |_, _| {
        Box::pin(async move {
            back.call(Order::Beat(3)).await.unwrap();
        })
    })
    .await;
}

/// P12: outside of a callback nobody knows who waits; the deadline ends it.
#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_its_process_has_its_deadline() {
    let log = Log::new();
    let script = script(&log).await;
    let before = Instant::now();
    tell(&script, |_, ctx| {
        Box::pin(async move {
            let own = ctx.process();
            let (sender, told) = tokio::sync::oneshot::channel();
            ctx.spawn(async move {
                let refused = own.call(Order::Beat(1)).timeout(secs(3)).await.is_err();
                sender.send(refused).unwrap();
            });
            assert!(told.await.unwrap());
        })
    })
    .await;
    assert_eq!(before.elapsed(), secs(3));
}

/// P12: a child cannot wait until its supervisor has ended it.
#[tokio::test(start_paused = true)]
async fn a_child_that_would_have_itself_ended_is_refused_at_once() {
    let log = Log::new();
    let supervisor = Supervisor::new().start().await.unwrap();
    let forever = ChildSpec::new().shutdown(innkeeper::Shutdown::Infinity);
    let child = supervisor.start_child::<Script>("child", plan(&log), forever.clone());
    let child = child.await.unwrap();
    let parent = supervisor.clone();
    let before = Instant::now();
    let mut order = Box::pin(child.call(act(move |_, _| {
        Box::pin(async move {
            let stopped = parent.terminate_child("child").await;
            assert!(matches!(stopped, Err(StopError::Cycle(_))), "{stopped:?}");
        })
    })));
    soon(&mut order).await.unwrap();

    let jobs = DynamicSupervisor::new().start(&supervisor).await.unwrap();
    let job = jobs.start_child::<Script>(plan(&log), forever).await.unwrap();
    tell(&job, move |_, ctx| {
        Box::pin(async move {
            let stopped = jobs.terminate_child(&ctx.process()).await;
            assert!(matches!(stopped, Err(StopError::Cycle(_))), "{stopped:?}");
        })
    })
    .await;
    assert_eq!(before.elapsed(), secs(0));
    assert!(child.is_alive() && job.is_alive());
}

/// P12: who stops all is told to end like all, and does not wait for itself.
#[tokio::test(start_paused = true)]
async fn a_room_that_stops_all_rooms_does_not_wait_for_its_own_end() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().shutdown(innkeeper::Shutdown::Infinity))).await;
    for n in 0..10 {
        let _ = rooms.get_or_start(&n.to_string()).await.unwrap();
    }
    assert_eq!(at_once(&rooms, "1", Say::StopAll).await, Said::Number(10));
    eventually(|| rooms.count() == 0).await;
    let room = rooms.get_or_start(&key("1")).await.unwrap().process().unwrap();
    assert_eq!(add(&room, 1).await, 1);
}

/// P12: a refusal is not a wait that failed; nothing ran and nothing was started.
#[tokio::test(start_paused = true)]
async fn what_is_refused_as_a_cycle_has_no_effect() {
    let house = House::new();
    let rooms = house.rooms().await;
    house.plan_init("a", InitPlan::Ask(key("a")));
    for _ in 0..20 {
        assert!(matches!(
            rooms.get_or_start(&key("a")).await,
            Err(GetError::InitFailed(ExitReason::Failed(_)))
        ));
    }
    assert_eq!((rooms.count(), house.census.ever(), house.census.alive()), (0, 20, 0));
}
