//! The holes of a name made of supervisor and id that is slipped into the start arguments.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use innkeeper::testing::Census;
use innkeeper::{
    ArgsPolicy, CallError, ChildSpec, Context, ExitReason, GetError, Keyed, Message, NotDelivered,
    Outcome, Process, Registry, ReplyTo, Restart, Shutdown, StartError, StartKeyError, State,
    StopError, Supervisor, What, process,
};
use tokio::task::JoinSet;

use crate::scripted::{Echo, Fuse, Script, aside, ask, at_once, get, hears, still_waits};
use crate::support::{EndPlan, Gate, House, InitPlan, Key, Say, add, key, secs, spec};

struct Lobby {
    lines: Vec<String>,
}

#[process]
impl Lobby {
    async fn init(name: &String) -> Result<Self, StartError> {
        Ok(Lobby { lines: vec![format!("welcome to {name}")] })
    }

    #[call]
    fn lines(&self) -> Vec<String> {
        self.lines.clone()
    }

    #[cast]
    fn say(&mut self, line: String) {
        self.lines.push(line);
    }
}

/// V1-01
#[tokio::test]
async fn v1_01_the_documented_way_to_a_room_works_as_written() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = Keyed::<String, Lobby>::new(ChildSpec::new()).start(&supervisor).await.unwrap();
    let room = get(&rooms, "lobby").await;
    rooms.via(&key("lobby")).say("hello".to_owned()).await.unwrap();
    assert_eq!(room.lines().await.unwrap(), ["welcome to lobby", "hello"]);
}

struct Uncooperative;

enum Nothing {}

impl Message for Nothing {
    type Reply = ();
}

impl Process for Uncooperative {
    type Args = Census<&'static str>;
    type Message = Nothing;

    async fn init(
        census: &Census<&'static str>,
        ctx: &mut Context<Self>,
    ) -> Result<Self, StartError> {
        let alive = census.enter("one");
        ctx.spawn(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        Ok(Uncooperative)
    }

    async fn handle(&mut self, _: Nothing, _: ReplyTo<Nothing>, _: &mut Context<Self>) {}
}

/// V1-02
#[tokio::test]
async fn v1_02_a_child_that_knows_nothing_of_its_key_is_still_one_for_it() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let census = Census::new();
    let seen = census.clone();
    let rooms = Keyed::<Key, Uncooperative>::with_args(spec(), move |_| seen.clone());
    let rooms = rooms.start(&supervisor).await.unwrap();
    let first = get(&rooms, "one").await;
    assert_eq!(get(&rooms, "one").await, first);
    assert_eq!((census.alive(), census.ever()), (1, 1));
}

#[allow(clippy::ptr_arg)] // The arguments are a `String`.
fn fingerprint(args: &String) -> u64 {
    args.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte))
}

/// V1-03
#[tokio::test]
async fn v1_03_the_key_is_explicit_and_other_arguments_for_it_are_noticed() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let open = async |policy, name: &str| {
        let rooms = Keyed::<Key, Echo<String>>::new(spec()).args_policy(policy).name(name);
        rooms.start(&supervisor).await.unwrap()
    };
    let (a, b) = (key("a"), key("b"));

    let rooms = open(ArgsPolicy::Refuse(fingerprint), "refuse").await;
    let room = rooms.get_or_start_with(&a, "room a".to_owned()).await.unwrap().process().unwrap();
    let other = rooms.get_or_start_with(&b, "room b".to_owned()).await.unwrap().process().unwrap();
    assert_eq!(other.call(ask()).await.unwrap(), "room b");
    assert_ne!(room, other);
    let refused = rooms.get_or_start_with(&a, "room b".to_owned()).await;
    assert_eq!(refused, Err(GetError::ArgsDiffer));
    let same = rooms.get_or_start_with(&a, "room a".to_owned()).await;
    assert_eq!(same, Ok(Outcome::Existing(room)));

    let rooms = open(ArgsPolicy::Report(fingerprint), "report").await;
    let mut events = rooms.events();
    let _ = rooms.get_or_start_with(&a, "room a".to_owned()).await.unwrap();
    let _ = rooms.get_or_start_with(&a, "room b".to_owned()).await.unwrap();
    assert_eq!(hears(&mut events, |what| *what == What::ArgsDiffer).await.key, "a");
}

async fn starts_once_with<A: Clone + Send + Sync + 'static>(supervisor: &Supervisor, args: A) -> A {
    let name = std::any::type_name::<A>();
    let rooms = Keyed::<Key, Echo<A>>::with_args(spec(), move |_| args.clone()).name(name);
    let rooms = rooms.start(supervisor).await.unwrap();
    let room = get(&rooms, "room").await;
    assert_eq!(get(&rooms, "room").await, room);
    room.call(ask()).await.unwrap()
}

/// V1-04
#[tokio::test]
async fn v1_04_children_with_arguments_of_any_shape_can_be_started() {
    let supervisor = Supervisor::new().start().await.unwrap();
    assert_eq!(starts_once_with(&supervisor, "room-1".to_owned()).await, "room-1");
    assert_eq!(starts_once_with(&supervisor, 7_u8).await, 7);
    assert_eq!(starts_once_with(&supervisor, vec![(1, 'x')]).await, [(1, 'x')]);
    starts_once_with(&supervisor, ()).await;
    let twice: Arc<dyn Fn(u64) -> u64 + Send + Sync> = Arc::new(|n| n * 2);
    assert_eq!(starts_once_with(&supervisor, twice).await(4), 8);
    let inner = supervisor.start_supervisor(Supervisor::new().name("inner")).await.unwrap();
    let inner = starts_once_with(&supervisor, inner).await;
    assert_eq!(starts_once_with(&inner, Some("of an inner one")).await, Some("of an inner one"));
}

#[derive(Clone, Debug, PartialEq)]
struct Named {
    name: &'static str,
}

/// V1-05
#[tokio::test]
async fn v1_05_a_name_among_the_arguments_does_not_decide_who_is_found() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = Keyed::<Key, Echo<Named>>::with_args(spec(), |_| Named { name: "mine" });
    let rooms = rooms.start(&supervisor).await.unwrap();
    let (a, b) = (get(&rooms, "a").await, get(&rooms, "b").await);
    assert_ne!(a, b);
    assert_eq!(a.call(ask()).await.unwrap(), Named { name: "mine" });
    assert_eq!((rooms.whereis(&key("a")), rooms.whereis(&key("b"))), (Some(a), Some(b)));
}

/// V1-06, NEW-07
#[tokio::test]
async fn v1_06_a_full_scope_still_answers_for_the_keys_it_has() {
    let house = House::new();
    let rooms = house.open(house.builder(spec()).max_children(1)).await;
    let room = get(&rooms, "a").await;
    assert_eq!(rooms.get_or_start(&key("a")).await, Ok(Outcome::Existing(room)));
    let refused = rooms.get_or_start(&key("b")).await;
    assert_eq!(refused, Err(GetError::MaxChildren { max: 1 }));
    assert_eq!((rooms.count(), house.census.ever()), (1, 1));
    rooms.stop(&key("a")).await.unwrap();
    get(&rooms, "b").await;
}

/// V1-07
#[tokio::test]
async fn v1_07_a_slow_init_of_one_key_holds_up_no_other_key() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.rooms().await;
    let room = get(&rooms, "a").await;
    house.plan_init("b", InitPlan::Hold(gate.clone()));
    let slow = {
        let rooms = rooms.clone();
        aside(async move { get(&rooms, "b").await })
    };
    gate.reached().await;
    let found = at_once(rooms.get_or_start(&key("a"))).await;
    assert_eq!(found, Some(Ok(Outcome::Existing(room.clone()))));
    assert_eq!(add(&room, 1).await, 1);
    get(&rooms, "c").await;
    assert_eq!(rooms.info(&key("b")).unwrap().state, Some(State::Starting));
    gate.open();
    assert!(slow.await.unwrap().is_alive());
}

/// V1-08
#[tokio::test]
async fn v1_08_an_unrelated_already_started_in_init_is_a_failed_start() {
    let all = Arc::new(OnceLock::<Keyed<Key, _>>::new());
    let rooms_of_init = all.clone();
    let script = Script::new().init(move |key: Key, _| {
        let rooms = rooms_of_init.get().cloned();
        async move {
            if let (Some(rooms), "a") = (rooms, key.as_str()) {
                rooms.start_child(&"other".into()).await?;
            }
            Ok(())
        }
    });
    let rooms = script.open(spec()).await;
    all.set(rooms.clone()).unwrap();
    let other = get(&rooms, "other").await;
    let Err(GetError::InitFailed(why)) = rooms.get_or_start(&key("a")).await else {
        panic!("an unrelated process was taken for the one that was asked for");
    };
    assert!(why.to_string().contains("already started"), "{why}");
    assert_eq!((rooms.whereis(&key("a")), rooms.count()), (None, 1));
    assert_eq!(rooms.whereis(&key("other")), Some(other));
}

/// V1-09, NEW-03
#[tokio::test(start_paused = true)]
async fn v1_09_a_get_joins_the_restart_that_is_due_and_nobody_else_is_affected() {
    let house = House::new();
    let rooms = house.rooms().await;
    let (room, bystander) = (get(&rooms, "a").await, get(&rooms, "b").await);
    let mut events = rooms.events();
    house.plan_init("a", InitPlan::Fail("the store is down"));
    room.cast(Say::Panic).await.unwrap();
    for _ in 0..2 {
        hears(&mut events, |what| matches!(what, What::Restarting { .. })).await;
    }
    // The first restart has failed; the second one waits a little.
    house.plan_init("a", InitPlan::Ok);
    let Ok(Outcome::Existing(next)) = rooms.get_or_start(&key("a")).await else {
        panic!("a second start was made beside the restart");
    };
    assert_ne!(next, room);
    assert_eq!(rooms.info(&key("a")).unwrap().restarts, 2);
    assert_eq!((add(&next, 1).await, add(&bystander, 1).await), (1, 1));
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (4, 1));
}

/// V1-10
#[tokio::test(start_paused = true)]
async fn v1_10_a_new_supervisor_starts_no_second_room_beside_one_that_still_terminates() {
    let (house, gate) = (House::new(), Gate::default());
    let root = Supervisor::new().start().await.unwrap();
    let inner = Fuse::supervisor(&root).await;
    let spec = spec().shutdown(Shutdown::Infinity);
    let rooms = house.open_under(&inner, house.builder(spec)).await;
    house.plan_end("a", EndPlan::Hold(gate.clone()));
    let old = get(&rooms, "a").await;
    let fuse = Fuse::put_in(&inner).await;

    fuse.blow();
    gate.reached().await;
    // The supervisor is ending, and the room has not ended: whoever asks for it waits for that.
    still_waits(&mut rooms.get_or_start(&key("a"))).await;
    assert_eq!(rooms.get_or_start(&key("b")).await, Err(GetError::ShuttingDown));
    assert_eq!((house.census.alive(), house.census.ever()), (1, 1));
    house.plan_end("a", EndPlan::Ok);
    gate.open();
    fuse.up().await;
    let new = get(&rooms, "a").await;
    assert_ne!(new, old);
    assert_eq!((house.census.alive(), house.census.most_of_one_key()), (1, 1));
}

/// V1-12
#[tokio::test]
async fn v1_12_the_first_and_the_second_caller_get_the_same_thing() {
    let house = House::new();
    let rooms = house.rooms().await;
    let first = rooms.get_or_start(&key("a")).await.unwrap();
    let second = rooms.get_or_start(&key("a")).await.unwrap();
    assert!(first.is_started() && !second.is_started());
    let room = first.process().unwrap();
    assert_eq!(second.process().unwrap(), room);
    let third = rooms.start_child(&key("a")).await;
    assert_eq!(third, Err(StartKeyError::AlreadyStarted(room)));
}

/// V1-13
#[tokio::test(start_paused = true)]
async fn v1_13_a_scope_that_is_gone_is_one_typed_error_however_it_is_met() {
    let (house, gate) = (House::new(), Gate::default());
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = house.open_under(&supervisor, house.builder(spec())).await;
    let old = get(&rooms, "a").await;
    // A caller who has asked when the supervisor goes, and one who asks later.
    house.plan_init("slow", InitPlan::Hold(gate.clone()));
    let waiting = {
        let rooms = rooms.clone();
        aside(async move { rooms.get_or_start(&key("slow")).await })
    };
    gate.reached().await;
    assert!(supervisor.shutdown(secs(10)).await.is_clean());
    assert_eq!(waiting.await.unwrap(), Err(GetError::ShuttingDown));
    assert_eq!(rooms.get_or_start(&key("a")).await, Err(GetError::ShuttingDown));
    let failed = StartKeyError::Failed(GetError::ShuttingDown);
    assert_eq!(rooms.start_child(&key("a")).await, Err(failed));
    let no_process = NotDelivered::NoProcess(GetError::ShuttingDown);
    let via = rooms.via(&key("a"));
    assert_eq!(via.cast(Say::Note(1)).await.unwrap_err().why, no_process);
    match via.call(Say::Add(1)).await {
        Err(CallError::NotDelivered { why, message: Say::Add(1) }) => assert_eq!(why, no_process),
        other => panic!("{other:?}"),
    }
    assert_eq!((rooms.whereis(&key("a")), rooms.count()), (None, 0));
    assert_eq!(rooms.stop(&key("a")).await, Err(StopError::NotFound));
    assert_eq!(old.cast(Say::Note(1)).await.unwrap_err().why, NotDelivered::Ended);
}

/// V1-15
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn v1_15_a_key_whose_process_keeps_ending_still_hands_out_processes() {
    let house = House::new();
    let rooms = house.rooms().await;
    let mut tasks = JoinSet::new();
    for asker in 0..8 {
        let rooms = rooms.clone();
        tasks.spawn(async move {
            for _ in 0..100 {
                let room = get(&rooms, "a").await;
                if asker == 0 {
                    let _ = rooms.stop(&key("a")).await;
                }
                match room.call(Say::Add(1)).await {
                    Ok(_) => {}
                    Err(CallError::NotDelivered { why, .. }) => {
                        assert!(matches!(why, NotDelivered::Ended | NotDelivered::Stopping));
                    }
                    Err(CallError::Unknown(why)) => panic!("{why}"),
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(house.census.most_of_one_key(), 1);
    assert!(house.census.ever() >= 100);
}

struct Mayfly;

impl Process for Mayfly {
    type Args = Key;
    type Message = Nothing;

    async fn init(_: &Key, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        ctx.stop(ExitReason::Normal);
        Ok(Mayfly)
    }

    async fn handle(&mut self, _: Nothing, _: ReplyTo<Nothing>, _: &mut Context<Self>) {}
}

/// V1-15, where the winner is gone as soon as it is there.
#[tokio::test]
async fn v1_15_a_process_that_wants_to_end_in_init_ends_once_it_was_handed_out() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let mayflies = Keyed::<Key, Mayfly>::new(spec()).start(&supervisor).await.unwrap();
    let mut events = mayflies.events();
    let first = get(&mayflies, "a").await;
    hears(&mut events, |what| *what == What::Stopped(ExitReason::Normal)).await;
    let second = get(&mayflies, "a").await;
    assert_ne!(first, second);
    hears(&mut events, |what| *what == What::Stopped(ExitReason::Normal)).await;
    assert_eq!(mayflies.count(), 0);
}

/// V1-16
#[tokio::test(start_paused = true)]
async fn v1_16_a_room_in_its_terminate_is_waited_for_and_not_handed_out() {
    let (house, gate) = (House::new(), Gate::default());
    let rooms = house.open(house.builder(spec().shutdown(Shutdown::Infinity))).await;
    house.plan_end("a", EndPlan::Hold(gate.clone()));
    let old = get(&rooms, "a").await;
    let stop = {
        let rooms = rooms.clone();
        aside(async move { rooms.stop(&key("a")).await })
    };
    gate.reached().await;
    let a = key("a");
    let mut next = rooms.get_or_start(&a);
    still_waits(&mut next).await;
    assert_eq!(rooms.whereis(&a), None);
    gate.open();
    stop.await.unwrap().unwrap();
    let next = next.await.unwrap();
    assert!(next.is_started());
    assert_ne!(next.process().unwrap(), old);
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (2, 1));
}

/// V1-17
#[tokio::test]
async fn v1_17_a_hundred_callers_share_one_failing_init() {
    const CALLERS: usize = 100;
    let gate = Gate::default();
    let held = gate.clone();
    let script = Script::new().init(move |_: Key, _| {
        let held = held.clone();
        async move {
            held.hold().await;
            Err(StartError::failed("the store is down"))
        }
    });
    let rooms = script.open(spec()).await;
    let arrived = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (rooms, arrived) = (rooms.clone(), arrived.clone());
        callers.spawn(async move {
            // In one poll with the question, so that who is counted has asked.
            arrived.fetch_add(1, Ordering::SeqCst);
            rooms.get_or_start(&key("a")).await
        });
    }
    gate.reached().await;
    while arrived.load(Ordering::SeqCst) < CALLERS {
        tokio::task::yield_now().await;
    }
    gate.open();
    for answer in callers.join_all().await {
        let Err(GetError::InitFailed(why)) = answer else { panic!("{answer:?}") };
        assert_eq!(why.to_string(), "failed: the store is down");
    }
    assert_eq!((script.census.ever(), rooms.count()), (1, 0));
}

/// V1-18
#[tokio::test]
async fn v1_18_a_keyed_room_may_have_other_names_besides() {
    let house = House::new();
    let rooms = house.rooms().await;
    let (names, room) = (Registry::<&str, Say>::new(), get(&rooms, "a").await);
    names.register("the blue one", &room, ()).unwrap();
    names.register("the large one", &room, ()).unwrap();
    assert_eq!(names.lookup(&"the blue one"), Some((room.clone(), ())));
    assert_eq!(names.lookup(&"the large one"), Some((room.clone(), ())));
    assert_eq!(rooms.whereis(&key("a")), Some(room));
    rooms.stop(&key("a")).await.unwrap();
    assert_eq!((names.lookup(&"the blue one"), names.count()), (None, 0));
}

/// V1-19, as far as it concerns one node: no wait is without a deadline and a typed error.
#[tokio::test(start_paused = true)]
async fn v1_19_a_start_that_hangs_ends_in_a_typed_error_at_a_deadline() {
    let house = House::new();
    let rooms = house.open(house.builder(spec().start_timeout(secs(3)))).await;
    house.plan_init("a", InitPlan::Hold(Gate::default()));
    let early = rooms.get_or_start(&key("a")).timeout(secs(1)).await;
    assert_eq!(early, Err(GetError::Timeout { waited: secs(1) }));
    let late = rooms.get_or_start(&key("a")).await;
    assert_eq!(late, Err(GetError::StartTimeout));
    assert_eq!(house.census.ever(), 1);
    house.plan_init("a", InitPlan::Ok);
    get(&rooms, "a").await;
}

/// V1-20
#[tokio::test]
async fn v1_20_a_room_is_found_told_listed_and_ended_by_its_key() {
    let house = House::new();
    let rooms = house.rooms().await;
    let room = get(&rooms, "b").await;
    get(&rooms, "a").await;
    assert_eq!(rooms.whereis(&key("b")), Some(room.clone()));
    rooms.via(&key("b")).cast(Say::Note(5)).await.unwrap();
    rooms.via(&key("b")).call(Say::Add(1)).await.unwrap();
    assert_eq!(rooms.info(&key("b")).unwrap().incarnation, room.incarnation());
    let page = rooms.page(None, 10, |_| true).await;
    assert_eq!(page.into_iter().map(|row| row.key).collect::<Vec<_>>(), ["a", "b"]);
    rooms.stop(&key("b")).await.unwrap();
    assert_eq!((rooms.whereis(&key("b")), rooms.count()), (None, 1));
}

/// V1-21
#[tokio::test]
async fn v1_21_arguments_reach_init_as_they_were_given_at_every_start() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms =
        Keyed::<Key, Echo<Vec<char>>>::with_args(spec().restart(Restart::Permanent), |_| {
            vec!['d', 'e', 'f']
        });
    let rooms = rooms.start(&supervisor).await.unwrap();
    let given = rooms.get_or_start_with(&key("a"), vec!['x']).await.unwrap().process().unwrap();
    let made = get(&rooms, "b").await;
    for (name, room, args) in [("a", given, vec!['x']), ("b", made, vec!['d', 'e', 'f'])] {
        assert_eq!(room.call(ask()).await.unwrap(), args);
        room.kill();
        room.ended().await;
        let again = get(&rooms, name).await;
        assert_ne!(again, room);
        assert_eq!(again.call(ask()).await.unwrap(), args);
    }
}
