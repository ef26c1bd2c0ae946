//! The rules that follow from what goes wrong elsewhere, by number.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{self, Waker};

use innkeeper::testing::Census;
use innkeeper::{
    ChildSpec, Context, ExitReason, GetError, Keyed, Outcome, Process, ReplyTo, RestartBudget,
    StartError, State, StopError, Supervisor,
};

use crate::scripted::{Echo, Fuse, Script, Tell, aside, ask, at_once, get};
use crate::support::{Gate, House, InitPlan, Key, Say, key, millis, noted, secs, spec};

/// One insertion point: losers wait for the winner's init, and get the same process or error.
#[tokio::test]
async fn rule_1_there_is_one_start_and_its_one_outcome_is_everybody_s() {
    let gates = [Gate::default(), Gate::default()];
    let held = gates.clone();
    let script = Script::new().init(move |_: Key, run| {
        let held = held[run as usize].clone();
        async move {
            held.hold().await;
            if run == 0 { Err(StartError::failed("once")) } else { Ok(()) }
        }
    });
    let rooms = script.open(spec()).await;
    let a = key("a");
    for (run, gate) in gates.iter().enumerate() {
        let mut askers: Vec<_> = (0..5).map(|_| rooms.get_or_start(&a)).collect();
        for asker in &mut askers {
            assert!(at_once(asker).await.is_none());
        }
        gate.open();
        let mut answers = Vec::new();
        for asker in askers {
            answers.push(asker.await);
        }
        if run == 0 {
            let failed = Err(GetError::InitFailed(ExitReason::failed("once")));
            assert!(answers.iter().all(|answer| *answer == failed));
        } else {
            let room = rooms.whereis(&a).unwrap();
            assert_eq!(answers[0], Ok(Outcome::Started(room.clone())));
            let existing = Ok(Outcome::Existing(room));
            assert!(answers[1..].iter().all(|answer| *answer == existing));
        }
    }
    assert_eq!(script.census.ever(), 2);
}

/// A key is held until `terminate` has returned and every task has ended; newcomers wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_2_a_key_is_held_until_the_tasks_of_its_process_have_ended() {
    let (tasks, gate) = (Census::new(), Gate::default());
    let (seen, held) = (tasks.clone(), gate.clone());
    let script = Script::new().tasks(move |key: Key| {
        let (alive, held) = (seen.enter(key), held.clone());
        async move {
            // Code that does not yield cannot be ended, only waited for.
            held.block();
            drop(alive);
        }
    });
    let rooms = script.open(spec()).await;
    get(&rooms, "a").await;
    gate.reached().await;
    let stopped = rooms.stop(&key("a")).timeout(millis(20)).await;
    assert!(matches!(stopped, Err(StopError::StillStopping { .. })), "{stopped:?}");
    let waited = millis(20);
    let refused = rooms.get_or_start(&key("a")).timeout(waited).await;
    assert_eq!(refused, Err(GetError::Timeout { waited }));
    assert_eq!((script.census.ever(), tasks.alive()), (1, 1));
    gate.open();
    assert!(rooms.get_or_start(&key("a")).await.unwrap().is_started());
    assert_eq!(tasks.most_of_one_key(), 1);
}

/// Removal is by identity, never by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rule_3_a_late_end_never_removes_the_next_process_of_its_key() {
    let house = House::new();
    let rooms = house.rooms().await;
    for _ in 0..300 {
        let old = get(&rooms, "a").await;
        let ending = {
            let old = old.clone();
            aside(async move { old.stop(ExitReason::Normal, secs(30)).await })
        };
        // Asked again and again, while the end is under way and after it.
        let new = loop {
            let found = get(&rooms, "a").await;
            if found != old {
                break found;
            }
        };
        ending.await.unwrap().unwrap();
        assert_eq!(rooms.whereis(&key("a")), Some(new));
        assert_eq!(rooms.count(), 1);
    }
    assert_eq!(house.census.most_of_one_key(), 1);
}

/// What a process exposes: it asks for the key anew as it is dropped, once.
struct AsksAgain(Arc<OnceLock<Keyed<Key, Leaver>>>, Arc<AtomicBool>);

impl Drop for AsksAgain {
    fn drop(&mut self) {
        if self.1.swap(true, Ordering::SeqCst) {
            return;
        }
        let (rooms, a) = (self.0.get().unwrap(), key("a"));
        let asked = pin!(rooms.get_or_start(&a));
        assert!(asked.poll(&mut task::Context::from_waker(Waker::noop())).is_pending());
    }
}

struct Leaver;

impl Process for Leaver {
    type Args = (Arc<OnceLock<Keyed<Key, Leaver>>>, Arc<AtomicBool>);
    type Message = Tell;

    async fn init(args: &Self::Args, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        ctx.expose(Arc::new(AsksAgain(args.0.clone(), args.1.clone())));
        Ok(Leaver)
    }

    async fn handle(&mut self, _: Tell, reply: ReplyTo<Tell>, _: &mut Context<Self>) {
        reply.send(7);
    }
}

/// The same in the one instant that matters: the last one has ended, and is not yet taken out.
#[tokio::test]
async fn rule_3_a_start_in_the_very_instant_of_an_end_is_not_taken_out_with_it() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let args = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(false)));
    let (all, asked) = args.clone();
    let rooms = Keyed::<Key, Leaver>::with_args(spec(), move |_| args.clone());
    let rooms = rooms.start(&supervisor).await.unwrap();
    assert!(all.set(rooms.clone()).is_ok());
    let old = get(&rooms, "a").await;
    rooms.stop(&key("a")).await.unwrap();
    assert!(asked.load(Ordering::SeqCst));
    let Ok(Outcome::Existing(heir)) = rooms.get_or_start(&key("a")).await else {
        panic!("the start that was made in between is lost");
    };
    assert!(heir != old && rooms.count() == 1);
    assert_eq!(heir.call(Tell::Run).await.unwrap(), 7);
}

/// Idle is decided under the lock of the queue and only when that is empty; what is refused comes
/// back.
#[tokio::test(start_paused = true)]
async fn rule_4_a_process_for_which_something_waits_does_not_go_as_idle() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    let room = get(&rooms, "a").await;
    room.cast(Say::Hold(gate.clone())).await.unwrap();
    gate.reached().await;
    room.cast(Say::StopIfIdle).await.unwrap();
    room.cast(Say::Note(1)).await.unwrap();
    gate.open();
    assert_eq!(noted(&room).await, [1]);
    assert!(room.is_alive());
    room.cast(Say::StopIfIdle).await.unwrap();
    assert_eq!(room.ended().await, ExitReason::Idle);
    let refused = room.cast(Say::Note(2)).await.unwrap_err();
    assert!(matches!(refused.message, Say::Note(2)));
    rooms.via(&key("a")).cast(refused.message).await.unwrap();
    assert_eq!(noted(&get(&rooms, "a").await).await, [2]);
}

/// `init` runs in the task of its process: under no lock, and in no supervisor's loop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_5_an_init_that_blocks_its_thread_holds_up_no_other_start() {
    let (house, gate) = (House::new(), Gate::default());
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = house.open_under(&supervisor, house.builder(spec())).await;
    house.plan_init("a", InitPlan::Block(gate.clone()));
    let blocked = {
        let rooms = rooms.clone();
        aside(async move { get(&rooms, "a").await })
    };
    gate.reached().await;
    for n in 0..256 {
        get(&rooms, format!("room {n}")).await;
    }
    let child = supervisor.start_child::<Echo<u8>>("child", 1, ChildSpec::new()).await.unwrap();
    assert_eq!(child.call(ask()).await.unwrap(), 1);
    assert_eq!(rooms.info(&key("a")).unwrap().state, Some(State::Starting));
    gate.open();
    blocked.await.unwrap();
}

/// A guard in the task cleans up after a panic, an abort and the end of the runtime.
#[test]
fn rule_6_a_runtime_that_goes_away_frees_every_key_and_drops_every_state() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (house, gate) = (House::new(), Gate::default());
    let theirs = runtime();
    let rooms = theirs.block_on(async {
        let rooms = house.rooms().await;
        get(&rooms, "live").await;
        house.plan_init("starting", InitPlan::Hold(gate.clone()));
        assert!(at_once(rooms.get_or_start(&key("starting"))).await.is_none());
        gate.reached().await;
        // Its task has not even had a turn.
        assert!(at_once(rooms.get_or_start(&key("new"))).await.is_none());
        rooms
    });
    assert_eq!((rooms.count(), house.census.alive()), (3, 2));
    drop(theirs);
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
    runtime().block_on(async {
        let refused = rooms.get_or_start(&key("late")).await;
        assert_eq!(refused, Err(GetError::InitFailed(ExitReason::Killed)));
    });
    assert_eq!((rooms.count(), house.census.most_of_one_key()), (0, 1));
}

/// A restart keeps key and mailbox; who asks meanwhile sees a restart and not an absence.
#[tokio::test(start_paused = true)]
async fn rule_7_a_restart_keeps_the_key_and_what_waits_for_it() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    let via = rooms.via(&key("a"));
    let old = get(&rooms, "a").await;
    house.plan_init("a", InitPlan::Hold(gate.clone()));
    old.cast(Say::Panic).await.unwrap();
    old.cast(Say::Note(1)).await.unwrap();
    via.cast(Say::Note(2)).await.unwrap();
    gate.reached().await;
    via.cast(Say::Note(3)).await.unwrap();
    let info = rooms.info(&key("a")).unwrap();
    assert_eq!((info.state, info.mailbox_len), (Some(State::Restarting), 3));
    gate.open();
    let new = get(&rooms, "a").await;
    assert_eq!(noted(&new).await, [1, 2, 3]);
    assert_eq!(house.census.most_of_one_key(), 1);
}

/// Ended children leave nothing behind.
#[tokio::test(start_paused = true)]
async fn rule_8_a_scope_keeps_nothing_of_keys_that_ended_failed_were_refused_or_cancelled() {
    let house = House::new();
    let builder = house.builder(spec().start_timeout(secs(1))).max_children(3);
    let rooms = house.open(builder).await;
    for n in 0..100 {
        let [ended, failed, declined, cancelled] =
            ["ended", "failed", "declined", "cancelled"].map(|name| format!("{name} {n}"));
        house.plan_init(&failed, InitPlan::Fail("no"));
        house.plan_init(&declined, InitPlan::Decline);
        house.plan_init(&cancelled, InitPlan::Hold(Gate::default()));
        get(&rooms, ended.clone()).await;
        let _ = rooms.get_or_start(&failed).await;
        let _ = rooms.get_or_start(&declined).await;
        assert!(at_once(rooms.get_or_start(&cancelled)).await.is_none());
        rooms.stop(&ended).await.unwrap();
        rooms.stop(&cancelled).await.unwrap();
    }
    assert_eq!((rooms.count(), house.census.alive()), (0, 0));
    // Nothing of them counts against the bound either.
    for name in ["a", "b", "c"] {
        get(&rooms, name).await;
    }
    let refused = rooms.get_or_start(&key("d")).await;
    assert_eq!(refused, Err(GetError::MaxChildren { max: 3 }));
    assert_eq!(rooms.count(), 3);
}

/// The budget of a supervisor is a sliding window; past it the supervisor ends, and its own
/// supervisor restarts it. A duplicate start is no failure.
#[tokio::test(start_paused = true)]
async fn rule_9_too_many_crashes_within_the_window_end_the_supervisor_and_only_they_do() {
    let root = Supervisor::new().start().await.unwrap();
    let budget = RestartBudget::new(2, secs(5)).backoff(millis(0), millis(0));
    let inner = Supervisor::new().name("inner").restart_budget(budget);
    let inner = root.start_supervisor(inner).await.unwrap();
    let script = Script::<&str>::new();
    let rooms = script.builder(spec()).start(&inner).await.unwrap();
    let room = get(&rooms, "a").await;
    let fuse = Fuse::put_in(&inner).await;
    // Three in six seconds, but never three within five.
    for _ in 0..6 {
        fuse.blow();
        fuse.up().await;
        let again = inner.start_child::<Echo<u8>>("fuse", 1, ChildSpec::new()).await;
        assert!(again.is_err());
        tokio::time::advance(secs(3)).await;
    }
    assert!(room.is_alive());
    for _ in 0..3 {
        fuse.blow();
        fuse.up().await;
    }
    assert!(!room.is_alive());
    assert_eq!(get(&rooms, "a").await.call(Tell::Run).await.unwrap(), 1);
    assert_eq!(script.census.most_of_one_key(), 1);
    assert!(inner.which_children().iter().all(|(_, info)| info.is_some()));
}
