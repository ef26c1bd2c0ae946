//! Found or started by key: one start, one outcome, one process (P1 to P4).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use innkeeper::testing::Census;
use innkeeper::{
    CallError, Context, ExitReason, GetError, Keyed, Message, NotDelivered, Outcome, Process,
    ReplyTo, RestartBudget, StartError, StartKeyError, Supervisor, Unknown, What,
};
use tokio::task::JoinSet;

use crate::support::{
    EndPlan, Gate, House, InitPlan, Log, Say, act, add, eventually, key, plan, poll_once, secs,
    settle, soon, spec, tell,
};

type Found = Result<Outcome<innkeeper::ProcessRef<Say>>, GetError>;

/// P2 (NEW-01)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_share_one_start_and_exactly_one_is_told_started() {
    let house = House::new();
    let rooms = house.rooms().await;
    let gate = Gate::default();
    house.plan_init("lobby", InitPlan::Hold(gate.clone()));

    let mut callers = JoinSet::new();
    let asked = Arc::new(AtomicU64::new(0));
    for _ in 0..10_000 {
        let (rooms, asked) = (rooms.clone(), asked.clone());
        callers.spawn(async move {
            let key = key("lobby");
            let mut asking = Box::pin(rooms.get_or_start(&key));
            assert!(poll_once(&mut asking).await.is_pending(), "init is held");
            asked.fetch_add(1, Ordering::SeqCst);
            asking.await
        });
    }
    eventually(|| asked.load(Ordering::SeqCst) == 10_000).await;
    gate.open();

    let (mut started, mut seen) = (0, None);
    while let Some(found) = callers.join_next().await {
        let outcome: Outcome<_> = found.unwrap().unwrap();
        started += u32::from(outcome.is_started());
        let process = outcome.process().unwrap();
        assert_eq!(*seen.get_or_insert(process.clone()), process);
    }
    assert_eq!((started, house.census.ever(), house.census.most_of_one_key()), (1, 1, 1));
}

/// P2: at most one is told, exactly one if the first asker is still there.
#[tokio::test(start_paused = true)]
async fn nobody_is_told_started_for_a_caller_who_has_left() {
    let house = House::new();
    let rooms = house.rooms().await;
    let gate = Gate::default();
    house.plan_init("lobby", InitPlan::Hold(gate.clone()));
    let key = key("lobby");

    let mut first = Box::pin(rooms.get_or_start(&key));
    assert!(poll_once(&mut first).await.is_pending());
    gate.reached().await;
    let mut others: Vec<_> = (0..10).map(|_| Box::pin(rooms.get_or_start(&key))).collect();
    for other in &mut others {
        assert!(poll_once(other).await.is_pending());
    }
    drop(first);
    gate.open();
    for other in others {
        assert!(matches!(soon(other).await, Ok(Outcome::Existing(_))));
    }
    assert_eq!(house.census.ever(), 1, "the start belongs to the key, not to who asked first");
}

/// P2
#[tokio::test(start_paused = true)]
async fn a_second_call_finds_what_the_first_one_started() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let Outcome::Started(first) = rooms.get_or_start(&key).await.unwrap() else {
        panic!("there was none");
    };
    let Outcome::Existing(second) = rooms.get_or_start(&key).await.unwrap() else {
        panic!("there was one");
    };
    assert_eq!(first, second);
    assert_eq!(rooms.whereis(&key), Some(first));
    assert_eq!((rooms.count(), house.census.ever()), (1, 1));
}

/// P2
#[tokio::test(start_paused = true)]
async fn nothing_is_handed_out_before_init_is_done() {
    let house = House::new();
    let rooms = house.rooms().await;
    let gate = Gate::default();
    house.plan_init("lobby", InitPlan::Hold(gate.clone()));
    let key = key("lobby");
    let mut asking = Box::pin(rooms.get_or_start(&key));
    let mut getting = Box::pin(rooms.get(&key));
    assert!(poll_once(&mut asking).await.is_pending());
    gate.reached().await;
    for _ in 0..10 {
        settle().await;
        assert!(poll_once(&mut asking).await.is_pending());
        assert!(poll_once(&mut getting).await.is_pending());
        assert!(rooms.whereis(&key).is_none());
    }
    gate.open();
    let started = soon(asking).await.unwrap().process().unwrap();
    assert_eq!(soon(getting).await.unwrap(), Outcome::Existing(started));
}

/// P2: the same, for who only looks.
#[tokio::test(start_paused = true)]
async fn looking_for_a_key_never_starts_it() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    assert!(rooms.whereis(&key).is_none());
    assert!(rooms.info(&key).is_none());
    assert_eq!(rooms.get(&key).await, Err(GetError::NotFound));
    assert_eq!(rooms.page(None, 10, |_| true).await.len(), 0);
    settle().await;
    assert_eq!((house.census.ever(), rooms.count()), (0, 0));
}

/// P2: a reference names one incarnation, and says so after its end, in whatever way that came.
#[tokio::test(start_paused = true)]
async fn a_reference_to_an_ended_incarnation_answers_ended_for_ever() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let first = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    first.cast(Say::Panic).await.unwrap();
    first.ended().await;
    let second = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    rooms.stop(&key).await.unwrap();
    let third = rooms.get_or_start(&key).await.unwrap().process().unwrap();
    assert!(first.incarnation() < second.incarnation());
    assert!(second.incarnation() < third.incarnation());
    for old in [&first, &second] {
        assert!(!old.is_alive());
        let call = old.call(Say::Add(7)).await;
        let Err(CallError::NotDelivered { message: Say::Add(7), why: NotDelivered::Ended }) = call
        else {
            panic!("expected the message back, got {call:?}");
        };
        let cast = old.cast(Say::Note(7)).await.unwrap_err();
        assert!(matches!(cast.message, Say::Note(7)));
        assert_eq!(cast.why, NotDelivered::Ended);
    }
    assert_eq!(add(&third, 1).await, 1, "and nothing of it reached the third");
}

/// P2, P8
#[tokio::test(start_paused = true)]
async fn a_call_by_key_names_the_key_and_starts_it_if_need_be() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let lobby = rooms.via(&key);
    assert_eq!(lobby.key(), &key);
    lobby.cast(Say::Note(1)).await.unwrap();
    lobby.call(Say::Add(1)).await.unwrap();
    rooms.stop(&key).await.unwrap();
    assert_eq!(lobby.call(Say::Add(5)).await.unwrap(), crate::support::Said::Number(5));
    assert_eq!(house.census.ever(), 2);
}

/// P2: OTP's `start_child`, by key.
#[tokio::test(start_paused = true)]
async fn start_child_refuses_a_key_that_runs_and_hands_over_who_it_is() {
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let first = rooms.start_child(&key).await.unwrap();
    assert_eq!(rooms.start_child(&key).await, Err(StartKeyError::AlreadyStarted(first)));
    house.plan_init("closed", InitPlan::Decline);
    let declined = rooms.start_child(&crate::support::key("closed")).await;
    assert_eq!(declined, Err(StartKeyError::Failed(GetError::Declined)));
    assert_eq!(rooms.count(), 1);
}

async fn all_waiters_of(house: &House, rooms: &Keyed<String, crate::support::Room>) -> Vec<Found> {
    let key = key("lobby");
    let Some(InitPlan::HoldThen(gate, _)) = house.planned_init("lobby") else {
        panic!("the start is to be held");
    };
    let mut waiters: Vec<_> = (0..1000).map(|_| Box::pin(rooms.get_or_start(&key))).collect();
    for waiter in &mut waiters {
        assert!(poll_once(waiter).await.is_pending());
    }
    gate.reached().await;
    gate.open();
    let mut found = Vec::new();
    for waiter in waiters {
        found.push(soon(waiter).await);
    }
    found
}

/// P3 (NEW-02)
#[tokio::test(start_paused = true)]
async fn every_waiter_of_a_failed_start_gets_the_same_error_and_the_key_is_free() {
    let panicked = |message: &str| ExitReason::Panicked(message.into());
    for (ending, reason) in [
        (InitPlan::Fail("disk full"), ExitReason::failed("disk full")),
        (InitPlan::Panic, panicked("init panics")),
    ] {
        let house = House::new();
        let rooms = house.rooms().await;
        let mut events = rooms.events();
        house.plan_init("lobby", InitPlan::HoldThen(Gate::default(), Box::new(ending)));
        for found in all_waiters_of(&house, &rooms).await {
            assert_eq!(found, Err(GetError::InitFailed(reason.clone())));
        }
        assert_eq!((house.census.ever(), house.census.alive()), (1, 0), "one init, and it ended");
        assert_eq!(rooms.count(), 0);
        assert!(rooms.info(&key("lobby")).is_none());
        let failed = What::StartFailed(reason);
        let mut told = std::iter::from_fn(|| events.try_recv().ok());
        assert_eq!(told.by_ref().filter(|event| event.what == failed).count(), 1);

        // The next call starts anew.
        house.plan_init("lobby", InitPlan::Ok);
        assert!(rooms.get_or_start(&key("lobby")).await.unwrap().is_started());
        assert_eq!(house.census.ever(), 2);
    }
}

/// P3: an error of init is kept as it reads, and as often as it happens.
#[tokio::test(start_paused = true)]
async fn every_try_of_a_key_that_fails_to_start_is_a_new_start() {
    let house = House::new();
    let rooms = house.rooms().await;
    house.plan_init("lobby", InitPlan::Fail("disk full"));
    for tries in 1..=20 {
        let error = rooms.get_or_start(&key("lobby")).await.unwrap_err();
        assert_eq!(error.to_string(), "the start failed: failed: disk full");
        assert_eq!((house.census.ever(), rooms.count()), (tries, 0));
    }
    assert_eq!(rooms.counters().failed, 20);
}

/// P3
#[tokio::test(start_paused = true)]
async fn a_declined_start_is_a_value_for_every_waiter_and_the_key_is_free() {
    let house = House::new();
    let rooms = house.rooms().await;
    let decline = InitPlan::HoldThen(Gate::default(), Box::new(InitPlan::Decline));
    house.plan_init("lobby", decline);
    for found in all_waiters_of(&house, &rooms).await {
        assert_eq!(found, Ok(Outcome::Ignored));
    }
    assert_eq!((house.census.ever(), rooms.count()), (1, 0));
    let counters = rooms.counters();
    assert_eq!((counters.declined, counters.failed, counters.started), (1, 0, 0));
    let again = rooms.get_or_start(&key("lobby")).await.unwrap();
    assert_eq!(again.process(), Err(GetError::Declined));
}

/// P3, P9: what waited for a start that failed comes back, and why.
#[tokio::test(start_paused = true)]
async fn messages_that_waited_for_a_failed_start_are_handed_back() {
    for (ending, error) in [
        (InitPlan::Fail("no"), GetError::InitFailed(ExitReason::failed("no"))),
        (InitPlan::Decline, GetError::Declined),
    ] {
        let house = House::new();
        let rooms = house.rooms().await;
        let mut events = rooms.events();
        let gate = Gate::default();
        house.plan_init("lobby", InitPlan::HoldThen(gate.clone(), Box::new(ending)));
        let lobby = rooms.via(&key("lobby"));
        let mut call = Box::pin(lobby.call(Say::Add(3)));
        assert!(poll_once(&mut call).await.is_pending());
        lobby.cast(Say::Note(1)).await.unwrap();
        lobby.cast(Say::Note(2)).await.unwrap();
        gate.reached().await;
        gate.open();
        let Err(CallError::NotDelivered { message: Say::Add(3), why }) = soon(call).await else {
            panic!("it ran");
        };
        assert_eq!(why, NotDelivered::NoProcess(error));
        let lost = What::CastsLost { waiting: 2, begun: false };
        assert!(std::iter::from_fn(|| events.try_recv().ok()).any(|event| event.what == lost));
        assert_eq!(rooms.counters().casts_lost, 2);
    }
}

/// P4 (NEW-05): with one key held everywhere, everything works for another, in no time.
#[tokio::test(start_paused = true)]
async fn no_operation_on_one_key_waits_for_another_key() {
    let house = House::new();
    let rooms = house.rooms().await;
    let (starting, stopping) = (Gate::default(), Gate::default());
    house.plan_init("starting", InitPlan::Hold(starting.clone()));
    house.plan_end("stopping", EndPlan::Hold(stopping.clone()));
    house.plan_init("failing", InitPlan::Ok);
    let [held, ending, looping, other] = ["starting", "stopping", "looping", "other"].map(key);

    let mut asking = Box::pin(rooms.get_or_start(&held));
    assert!(poll_once(&mut asking).await.is_pending());
    starting.reached().await;
    let room = rooms.get_or_start(&ending).await.unwrap().process().unwrap();
    let mut order = Box::pin(rooms.stop(&ending));
    assert!(poll_once(&mut order).await.is_pending());
    stopping.reached().await;
    drop(room);
    // In the wait before its second restart.
    for _ in 0..2 {
        let room = rooms.get_or_start(&looping).await.unwrap().process().unwrap();
        room.cast(Say::Panic).await.unwrap();
        room.ended().await;
    }

    let before = tokio::time::Instant::now();
    let lobby = rooms.get_or_start(&other).await.unwrap().process().unwrap();
    assert_eq!(add(&lobby, 1).await, 1);
    rooms.via(&other).call(Say::Add(1)).await.unwrap();
    assert_eq!(rooms.whereis(&other), Some(lobby));
    assert_eq!(rooms.count(), 4);
    assert!(rooms.info(&held).is_some() && rooms.info(&ending).is_some());
    assert_eq!(rooms.page(None, 10, |_| true).await.len(), 4);
    rooms.stop(&other).await.unwrap();
    assert_eq!(rooms.count(), 3);
    assert_eq!(before.elapsed(), secs(0), "nothing waited for anything");
    assert!(poll_once(&mut asking).await.is_pending());
    assert!(poll_once(&mut order).await.is_pending());
}

/// P4: also where the code of that key never yields.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_blocks_its_thread_holds_up_no_other_key() {
    let house = House::new();
    let rooms = house.rooms().await;
    let gate = Gate::default();
    house.plan_init("blocked", InitPlan::Block(gate.clone()));
    let (blocked, other) = (key("blocked"), key("other"));
    let mut asking = Box::pin(rooms.get_or_start(&blocked));
    assert!(poll_once(&mut asking).await.is_pending());
    gate.reached().await;
    for round in 1..=100 {
        let room = rooms.get_or_start(&other).await.unwrap().process().unwrap();
        add(&room, 1).await;
        rooms.stop(&other).await.unwrap();
        assert_eq!((rooms.count(), house.census.ever()), (1, round + 1));
    }
    gate.open();
    assert!(asking.await.unwrap().is_started());
}

/// P4: what is done from within user code finds no lock held.
#[tokio::test(start_paused = true)]
async fn every_callback_may_use_the_scope_it_belongs_to() {
    /// Looks at everything from everywhere.
    struct Curious {
        rooms: Rooms,
        seen: Arc<AtomicU64>,
    }
    type Rooms = Arc<std::sync::OnceLock<Keyed<String, Curious>>>;
    struct Look;
    impl Message for Look {
        type Reply = ();
    }
    fn look(rooms: &Rooms, seen: &AtomicU64) {
        let rooms = rooms.get().unwrap();
        let own = key("curious");
        let _ = (rooms.whereis(&own), rooms.count(), rooms.counters(), format!("{rooms:?}"));
        assert!(rooms.info(&own).is_some());
        seen.fetch_add(1, Ordering::SeqCst);
    }
    impl Process for Curious {
        type Args = (Rooms, Arc<AtomicU64>);
        type Message = Look;
        async fn init(args: &Self::Args, _: &mut Context<Self>) -> Result<Self, StartError> {
            look(&args.0, &args.1);
            Ok(Curious { rooms: args.0.clone(), seen: args.1.clone() })
        }
        async fn handle(&mut self, _: Look, reply: ReplyTo<Look>, ctx: &mut Context<Self>) {
            look(&self.rooms, &self.seen);
            let (rooms, seen) = (self.rooms.clone(), self.seen.clone());
            ctx.spawn(async move { look(&rooms, &seen) });
            reply.send(());
        }
        async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
            look(&self.rooms, &self.seen);
        }
    }
    impl Drop for Curious {
        fn drop(&mut self) {
            look(&self.rooms, &self.seen);
        }
    }
    let (rooms, seen) = (Rooms::default(), Arc::new(AtomicU64::new(0)));
    let supervisor = Supervisor::new().start().await.unwrap();
    let args = (rooms.clone(), seen.clone());
    let scope = Keyed::with_args(spec(), move |_: &String| args.clone());
    let scope = scope.start(&supervisor).await.unwrap();
    let _ = rooms.set(scope.clone());
    soon(scope.via(&key("curious")).call(Look)).await.unwrap();
    eventually(|| seen.load(Ordering::SeqCst) == 3).await;
    soon(scope.stop(&key("curious"))).await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 5);
}

/// P4: what a message carries is dropped without a lock, also where it is handed back or withdrawn.
#[tokio::test(start_paused = true)]
async fn what_a_message_carries_may_use_its_process_while_it_is_dropped() {
    struct Nosy(innkeeper::ProcessRef<crate::support::Order>, Arc<AtomicU64>);
    impl Drop for Nosy {
        fn drop(&mut self) {
            let _ = (self.0.info(), self.0.is_alive());
            let _ = self.0.cast(crate::support::Order::Beat(1)).send();
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let log = Log::new();
    let dropped = Arc::new(AtomicU64::new(0));
    let script = crate::support::script(&log).await;
    let gate = Gate::default();
    let hold = gate.clone();
    let carry = || {
        let nosy = Nosy(script.clone(), dropped.clone());
        act(move |_, _| {
            Box::pin(async move {
                let _nosy = &nosy;
            })
        })
    };
    script.cast(act(move |_, _| Box::pin(async move { hold.hold().await }))).await.unwrap();
    gate.reached().await;
    // One withdrawn, one handled, one handed back to a caller, one lost as a cast.
    drop(script.call(carry()).timeout(secs(1)).await);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    script.cast(carry()).await.unwrap();
    script.cast(act(|_, ctx| Box::pin(async { ctx.stop(ExitReason::Normal) }))).await.unwrap();
    script.cast(carry()).await.unwrap();
    let mut call = Box::pin(script.call(carry()));
    assert!(poll_once(&mut call).await.is_pending());
    gate.open();
    drop(soon(call).await.unwrap_err());
    soon(script.ended()).await;
    assert_eq!(dropped.load(Ordering::SeqCst), 4);
}

/// P1: whatever part of a process panics, there is never a second one beside it.
#[tokio::test(start_paused = true)]
async fn panics_in_every_callback_never_make_two_of_one_key() {
    for end in [EndPlan::Ok, EndPlan::Panic, EndPlan::PanicInDrop] {
        let house = House::new();
        let budget = RestartBudget::new(1000, secs(5));
        let rooms = house.open(house.builder(spec()).restart_budget(budget)).await;
        house.plan_end("lobby", end);
        for round in 1..=20 {
            let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
            assert_eq!(house.census.ever(), round);
            let call = room.call(Say::Panic).await;
            assert!(matches!(call, Err(CallError::Unknown(Unknown::Crashed))), "{call:?}");
            room.ended().await;
        }
        rooms.stop(&key("lobby")).await.unwrap();
        assert_eq!((house.census.alive(), house.census.most_of_one_key()), (0, 1));
    }
}

/// P1: an incarnation is more than its state.
#[tokio::test(start_paused = true)]
async fn the_next_incarnation_begins_after_every_task_of_the_last_one_has_ended() {
    /// Notes how many incarnations there had been when it was dropped.
    struct Last(Census<String>, Arc<AtomicU64>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.1.store(self.0.ever(), Ordering::SeqCst);
        }
    }
    let house = House::new();
    let rooms = house.rooms().await;
    let key = key("lobby");
    let at_drop = Arc::new(AtomicU64::new(0));
    for round in 1..=3 {
        let room = rooms.get_or_start(&key).await.unwrap().process().unwrap();
        let last = Last(house.census.clone(), at_drop.clone());
        let task = async move {
            let _last = last;
            std::future::pending::<()>().await;
        };
        room.call(Say::Task(Box::pin(task))).await.unwrap();
        settle().await;
        if round == 2 {
            rooms.stop(&key).await.unwrap();
        } else {
            room.cast(Say::Panic).await.unwrap();
            room.ended().await;
        }
        eventually(|| at_drop.load(Ordering::SeqCst) > 0).await;
        assert_eq!(at_drop.swap(0, Ordering::SeqCst), round, "the next one had begun");
    }
}

/// P1: the end of a runtime is the end of what it runs, and the key is free.
#[test]
fn a_runtime_that_goes_away_ends_its_processes_and_frees_their_keys() {
    let house = House::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.unwrap();
    let (starting, stopping) = (Gate::default(), Gate::default());
    house.plan_init("starting", InitPlan::Hold(starting.clone()));
    house.plan_end("stopping", EndPlan::Hold(stopping.clone()));
    let rooms = runtime.block_on(async {
        let rooms = house.rooms().await;
        for name in ["idle", "stopping"] {
            let _ = rooms.get_or_start(&key(name)).await.unwrap();
        }
        assert!(poll_once(&mut Box::pin(rooms.get_or_start(&key("starting")))).await.is_pending());
        starting.reached().await;
        assert!(poll_once(&mut Box::pin(rooms.stop(&key("stopping")))).await.is_pending());
        stopping.reached().await;
        rooms
    });
    assert_eq!((rooms.count(), house.census.alive()), (3, 3));
    drop(runtime);
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
}

/// P1: a start that its runtime never came to run leaves no key behind that is starting for ever.
#[test]
fn a_start_on_a_runtime_that_has_gone_away_is_over_at_once() {
    let build = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let (house, gone, other) = (House::new(), build(), build());
    let rooms = gone.block_on(house.rooms());
    // The runner of this start is spawned and never polled.
    let key = key("lobby");
    let mut asking: Pin<Box<_>> = Box::pin(rooms.get_or_start(&key).timeout(secs(1)));
    assert!(other.block_on(poll_once(&mut asking)).is_pending());
    drop(gone);
    assert_eq!((rooms.count(), house.census.ever()), (0, 0));
    let outcome = other.block_on(asking);
    assert_eq!(outcome, Err(GetError::InitFailed(ExitReason::Killed)));
    assert_eq!(rooms.count(), 0);
}

/// P1: a profile in which a panic ends the program is refused when it is compiled.
#[test]
fn a_profile_that_aborts_on_panic_does_not_compile() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs");
    let scratch = std::env::temp_dir().join(format!("innkeeper-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = |strategy: &str| {
        let out = std::process::Command::new(&rustc)
            .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata"])
            .args(["-C", &format!("panic={strategy}"), "--out-dir"])
            .arg(&scratch)
            .arg(source)
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    // It fails either way without its dependencies; what counts is what it says.
    let refusal = "innkeeper contains the panics of each process";
    assert!(said("abort").contains(refusal));
    assert!(!said("unwind").contains(refusal));
    std::fs::remove_dir_all(&scratch).unwrap();
}

/// P1: while the supervisor of a scope is restarted, its keys end before they can start anew.
#[tokio::test(start_paused = true)]
async fn a_restart_of_its_supervisor_ends_every_key_before_the_scope_opens_again() {
    let house = House::new();
    let mut log = Log::new();
    let root = Supervisor::new().start().await.unwrap();
    let inner = Supervisor::new().name("inner").restart_budget(RestartBudget::new(0, secs(5)));
    let inner = root.start_supervisor(inner).await.unwrap();
    let rooms = house.open_under(&inner, house.builder(spec())).await;
    let gate = Gate::default();
    house.plan_end("lobby", EndPlan::Hold(gate.clone()));
    let lobby = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    let sibling = inner.start_child::<crate::support::Script>("sibling", plan(&log), spec());
    let sibling = sibling.await.unwrap();

    // One crash is one too many: the inner supervisor ends and is restarted.
    sibling.cast(act(|_, _| Box::pin(async { panic!("told to") }))).await.unwrap();
    gate.reached().await;
    assert_eq!(rooms.get_or_start(&key("other")).await, Err(GetError::ShuttingDown));
    let name = key("lobby");
    let mut asking = Box::pin(rooms.get_or_start(&name));
    assert!(poll_once(&mut asking).await.is_pending(), "it waits for the end");
    // Given up: it may find the scope closed or open again, whichever comes first.
    drop(asking);
    gate.open();
    lobby.ended().await;

    let mut born = 0;
    log.find(|heard| {
        born += u32::from(matches!(heard, crate::support::Heard::Init(_)));
        (born == 2).then_some(())
    })
    .await;
    eventually(|| root.which_children().iter().all(|(_, info)| info.is_some())).await;
    settle().await;
    let again = rooms.get_or_start(&key("lobby")).await.unwrap();
    assert!(again.is_started());
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (2, 1));
    tell(&scripted_again(&inner).await, |_, _| Box::pin(async {})).await;
}

/// Proves that the restarted supervisor takes children again.
async fn scripted_again(inner: &Supervisor) -> innkeeper::ProcessRef<crate::support::Order> {
    let log = Log::new();
    let told = plan(&log);
    std::mem::forget(log);
    inner.start_child::<crate::support::Script>("late", told, spec()).await.unwrap()
}
