//! Any key, explicit arguments, and keys that misbehave (P15).

use std::hash::{Hash, Hasher};
use std::net::Ipv6Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use innkeeper::{
    ArgsPolicy, ChildSpec, Context, GetError, Keyed, Message, Process, ReplyTo, Restart,
    RestartBudget, StartError, Supervisor, What,
};

use crate::support::{eventually, millis, poll_once, secs, settle, soon, spec};

/// Answers the arguments that its present incarnation was started with.
struct Guest(u64);

enum Ask {
    Args,
    Crash,
    Stop,
}

impl Message for Ask {
    type Reply = u64;
}

impl Process for Guest {
    type Args = u64;
    type Message = Ask;

    async fn init(args: &u64, _: &mut Context<Self>) -> Result<Self, StartError> {
        assert_ne!(*args, 666, "these arguments panic");
        Ok(Guest(*args))
    }

    async fn handle(&mut self, ask: Ask, reply: ReplyTo<Ask>, ctx: &mut Context<Self>) {
        match ask {
            Ask::Args => reply.send(self.0),
            Ask::Crash => panic!("told to"),
            Ask::Stop => ctx.stop_if_idle(),
        }
    }
}

async fn guests<K: innkeeper::Key>(policy: ArgsPolicy<u64>) -> Keyed<K, Guest> {
    let supervisor = Supervisor::new().start().await.unwrap();
    Keyed::with_args(spec(), |_: &K| 0)
        .args_policy(policy)
        .restart_budget(RestartBudget::new(2, secs(5)))
        .start(&supervisor)
        .await
        .unwrap()
}

async fn args_of<K: innkeeper::Key>(guests: &Keyed<K, Guest>, key: &K) -> u64 {
    guests.via(key).call(Ask::Args).await.unwrap()
}

/// P15
#[tokio::test(start_paused = true)]
async fn every_type_that_can_be_hashed_and_compared_is_a_key() {
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    enum Place {
        Table(u8, &'static str),
        Nowhere,
    }
    async fn two<K: innkeeper::Key>(one: K, other: K) {
        let guests = guests::<K>(ArgsPolicy::Ignore).await;
        let [first, second] = [
            guests.get_or_start(&one).await.unwrap().process().unwrap(),
            guests.get_or_start(&other).await.unwrap().process().unwrap(),
        ];
        assert_ne!(first, second);
        assert_eq!(guests.whereis(&one.clone()), Some(first));
        assert_eq!(guests.count(), 2);
        guests.stop(&one).await.unwrap();
        assert!(guests.whereis(&one).is_none() && guests.whereis(&other).is_some());
    }
    two(String::new(), " ".to_owned()).await;
    two(0_u64, u64::MAX).await;
    two((1_u8, 'a'), (1, 'b')).await;
    two(Place::Table(1, "window"), Place::Nowhere).await;
    two(vec![Some(1_u8)], vec![None]).await;
    two(Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED).await;
    two(Arc::<str>::from("x"), Arc::from("y")).await;
}

/// P15: a scope of one needs no key type of its own.
#[tokio::test(start_paused = true)]
async fn the_unit_is_a_key_too() {
    let guests = guests::<()>(ArgsPolicy::Ignore).await;
    assert!(guests.get_or_start(&()).await.unwrap().is_started());
    assert!(!guests.get_or_start(&()).await.unwrap().is_started());
}

/// P4, P15: however badly keys hash, they are told apart and do not wait for each other.
#[tokio::test(start_paused = true)]
async fn keys_that_all_have_one_hash_are_told_apart() {
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Same(u64);
    impl Hash for Same {
        fn hash<H: Hasher>(&self, state: &mut H) {
            state.write_u8(7);
        }
    }
    let supervisor = Supervisor::new().start().await.unwrap();
    let guests = Keyed::<Same, Guest>::with_args(spec(), |key| key.0).start(&supervisor);
    let guests = guests.await.unwrap();
    for n in 0..200 {
        assert!(guests.get_or_start(&Same(n)).await.unwrap().is_started());
    }
    for n in (0..200).step_by(2) {
        guests.stop(&Same(n)).await.unwrap();
    }
    assert_eq!(guests.count(), 100);
    for n in (1..200).step_by(2) {
        assert_eq!(args_of(&guests, &Same(n)).await, n);
        assert!(guests.whereis(&Same(n - 1)).is_none());
    }
}

/// P8, P15: every restart is given what the first start was given.
#[tokio::test(start_paused = true)]
async fn arguments_are_kept_for_every_restart_and_for_one_life_of_the_key() {
    let guests = guests::<u8>(ArgsPolicy::Ignore).await;
    let guest = guests.get_or_start_with(&1, 42).await.unwrap().process().unwrap();
    for _ in 0..2 {
        let guest = guests.get(&1).await.unwrap().process().unwrap();
        guest.cast(Ask::Crash).await.unwrap();
        guest.ended().await;
        assert_eq!(args_of(&guests, &1).await, 42);
    }
    assert!(!guest.is_alive());
    // What others bring along later does not change them.
    let _ = guests.get_or_start_with(&1, 43).await.unwrap();
    assert_eq!(args_of(&guests, &1).await, 42);
    // After a stop it is another life.
    guests.stop(&1).await.unwrap();
    assert_eq!(args_of(&guests, &1).await, 0, "those of the scope");
    guests.stop(&1).await.unwrap();
    let _ = guests.get_or_start_with(&1, 44).await.unwrap();
    assert_eq!(args_of(&guests, &1).await, 44);
}

/// P15: the arguments of who asked for the start count, also where many ask at once.
#[tokio::test(start_paused = true)]
async fn of_many_who_bring_arguments_those_of_the_one_that_is_told_started_are_used() {
    let guests = guests::<u8>(ArgsPolicy::Ignore).await;
    let mut asking: Vec<_> =
        (1..=10).map(|args| Box::pin(guests.get_or_start_with(&1, args))).collect();
    for one in &mut asking {
        assert!(poll_once(one).await.is_pending());
    }
    let mut used = 0;
    for (args, one) in (1..=10).zip(asking) {
        if one.await.unwrap().is_started() {
            used = args;
        }
    }
    assert_eq!(args_of(&guests, &1).await, used);
}

/// P15 (NEW-14)
#[tokio::test(start_paused = true)]
async fn other_arguments_are_ignored_reported_or_refused_as_the_scope_says() {
    let parity: fn(&u64) -> u64 = |args| args % 2;
    for (policy, differ) in [
        (ArgsPolicy::Ignore, None),
        (ArgsPolicy::Report(parity), Some(false)),
        (ArgsPolicy::Refuse(parity), Some(true)),
    ] {
        let guests = guests::<u8>(policy).await;
        let mut events = guests.events();
        let first = guests.get_or_start_with(&1, 2).await.unwrap().process().unwrap();
        // The same by the fingerprint, and none at all, are fine everywhere.
        assert_eq!(guests.get_or_start_with(&1, 4).await.unwrap().process().unwrap(), first);
        assert_eq!(guests.get_or_start(&1).await.unwrap().process().unwrap(), first);
        assert_eq!(args_of(&guests, &1).await, 2);
        let told = |event: innkeeper::Event<u8>| event.what == What::ArgsDiffer;
        assert!(!std::iter::from_fn(|| events.try_recv().ok()).any(told));

        let found = guests.get_or_start_with(&1, 3).await;
        let reported = std::iter::from_fn(|| events.try_recv().ok()).any(told);
        match differ {
            None => assert!(found.is_ok() && !reported),
            Some(false) => assert!(found.is_ok() && reported),
            Some(true) => assert_eq!((found, reported), (Err(GetError::ArgsDiffer), false)),
        }
        assert!(first.is_alive());
        assert_eq!(args_of(&guests, &1).await, 2);
    }
}

/// P15: also for those who joined a start under way.
#[tokio::test(start_paused = true)]
async fn who_joins_a_start_with_other_arguments_is_refused_and_the_starter_is_not() {
    let guests = guests::<u8>(ArgsPolicy::Refuse(|args| *args)).await;
    let mut first = Box::pin(guests.get_or_start_with(&1, 2));
    let mut second = Box::pin(guests.get_or_start_with(&1, 3));
    assert!(poll_once(&mut first).await.is_pending());
    assert!(poll_once(&mut second).await.is_pending());
    assert!(soon(first).await.unwrap().is_started());
    assert_eq!(soon(second).await, Err(GetError::ArgsDiffer));
    assert_eq!(guests.count(), 1);
}

/// P3, P15: what makes the arguments of a key is user code as well.
#[tokio::test(start_paused = true)]
async fn arguments_whose_making_panics_fail_the_start_for_every_waiter() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let made = |key: &u64| if *key == 0 { panic!("no arguments for this one") } else { *key };
    let guests = Keyed::<u64, Guest>::with_args(spec(), made).start(&supervisor).await.unwrap();
    let mut asking: Vec<_> = (0..10).map(|_| Box::pin(guests.get_or_start(&0))).collect();
    for one in &mut asking {
        assert!(poll_once(one).await.is_pending());
    }
    for one in asking {
        let error = soon(one).await.unwrap_err();
        assert_eq!(error.to_string(), "the start failed: panicked: no arguments for this one");
    }
    assert_eq!(guests.count(), 0);
    assert_eq!(args_of(&guests, &5).await, 5);
}

/// What a [`Fickle`] key panics in, as bits.
const HASH: u32 = 1;
const EQ: u32 = 2;
const CLONE: u32 = 4;
const DROP: u32 = 8;
const DEBUG: u32 = 16;

/// A key whose own code panics where its test says so.
struct Fickle {
    name: u64,
    panics: Arc<AtomicU32>,
}

impl Fickle {
    fn tempt(&self, what: u32) {
        if self.panics.load(Ordering::SeqCst) & what != 0 && !std::thread::panicking() {
            panic!("the key panics");
        }
    }
}

impl Hash for Fickle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tempt(HASH);
        // Few hashes, so that `Eq` has work to do.
        state.write_u64(self.name % 2);
    }
}

impl PartialEq for Fickle {
    fn eq(&self, other: &Self) -> bool {
        self.tempt(EQ);
        self.name == other.name
    }
}

impl Eq for Fickle {}

impl Clone for Fickle {
    fn clone(&self) -> Self {
        self.tempt(CLONE);
        Fickle { name: self.name, panics: self.panics.clone() }
    }
}

impl Drop for Fickle {
    fn drop(&mut self) {
        self.tempt(DROP);
    }
}

impl std::fmt::Debug for Fickle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.tempt(DEBUG);
        write!(f, "{}", self.name)
    }
}

/// P4, P15: nothing that a key does to itself breaks the map, the key or its neighbours.
#[tokio::test(start_paused = true)]
async fn a_key_that_panics_in_its_own_code_leaves_the_map_usable() {
    for what in [HASH, EQ, CLONE, DROP, DEBUG] {
        let panics = Arc::new(AtomicU32::new(0));
        let named = |name| Fickle { name, panics: panics.clone() };
        let supervisor = Supervisor::new().start().await.unwrap();
        let guests = Keyed::<Fickle, Guest>::with_args(spec(), |key| key.name);
        let budget = RestartBudget::new(1, secs(5));
        let guests = guests.restart_budget(budget).park_time(secs(60)).start(&supervisor);
        let guests = guests.await.unwrap();
        // Somebody listens, so that events carry clones.
        let mut events = guests.events();
        // Its neighbours: live, and parked.
        let (live, parked) = (named(2), named(4));
        let neighbour = guests.get_or_start(&live).await.unwrap().process().unwrap();
        for _ in 0..2 {
            let guest = guests.get_or_start(&parked).await.unwrap().process().unwrap();
            guest.cast(Ask::Crash).await.unwrap();
            guest.ended().await;
        }
        let key = named(8);

        for round in 0..4 {
            panics.store(what, Ordering::SeqCst);
            // Everything at once that asks the key's code for something; a panic of it may come out
            // where it was asked, and does no more.
            for _ in 0..3 {
                tempted(|| poll_and_drop(guests.get_or_start(&key)));
                tempted(|| drop(guests.whereis(&key)));
                tempted(|| drop(guests.info(&key)));
                settle().await;
                tempted(|| poll_and_drop(guests.stop(&key)));
                settle().await;
                tempted(|| poll_and_drop(guests.stop(&parked)));
                settle().await;
            }
            panics.store(0, Ordering::SeqCst);
            drop(events);
            events = guests.events();

            assert!(neighbour.is_alive(), "{what} in round {round}");
            assert_eq!(args_of(&guests, &live).await, 2, "{what}");
            let found = soon(guests.get_or_start(&key)).await.unwrap().process().unwrap();
            assert_eq!(found.call(Ask::Args).await.unwrap(), 8, "{what} in round {round}");
            soon(guests.stop(&key)).await.unwrap();
            drop(soon(guests.stop(&parked)).await);
            assert!(soon(guests.get_or_start(&parked)).await.is_ok(), "{what} in round {round}");
        }
        drop(soon(guests.stop(&parked)).await);
        soon(guests.stop(&live)).await.unwrap();
        settle().await;
        assert_eq!(guests.count(), 0, "{what}");
    }
}

/// Does what may end in a panic of the key.
fn tempted(what: impl FnOnce()) {
    drop(catch_unwind(AssertUnwindSafe(what)));
}

/// Polls once without a task.
fn poll_and_drop(future: impl Future) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = std::pin::pin!(future).poll(&mut cx).is_ready();
}

/// P15: what replaces a parked process is run, though the drop of what it replaces panics.
#[tokio::test(start_paused = true)]
async fn a_key_whose_drop_panics_does_not_stop_its_next_process_from_running() {
    let panics = Arc::new(AtomicU32::new(0));
    let named = |name| Fickle { name, panics: panics.clone() };
    let supervisor = Supervisor::new().start().await.unwrap();
    let guests = Keyed::<Fickle, Guest>::with_args(spec(), |key| key.name);
    let guests = guests.restart_budget(RestartBudget::new(0, secs(5))).park_time(secs(60));
    let guests = guests.start(&supervisor).await.unwrap();
    let key = named(1);
    let guest = guests.get_or_start(&key).await.unwrap().process().unwrap();
    guest.cast(Ask::Crash).await.unwrap();
    guest.ended().await;
    drop(guest);
    assert!(matches!(guests.get_or_start(&key).await, Err(GetError::Parked(_))));
    // Over, and not swept yet.
    tokio::time::advance(secs(60)).await;
    panics.store(DROP, Ordering::SeqCst);
    tempted(|| poll_and_drop(guests.get_or_start(&key)));
    panics.store(0, Ordering::SeqCst);
    let found = soon(guests.get_or_start(&key).timeout(secs(5))).await;
    assert!(found.is_ok(), "{found:?}");
}

/// P15: a sweep that meets such a key goes on to the others, again and again.
#[tokio::test(start_paused = true)]
async fn a_key_that_panics_in_a_sweep_costs_neither_its_scope_nor_its_neighbours() {
    let panics = Arc::new(AtomicU32::new(0));
    let named = |name| Fickle { name, panics: panics.clone() };
    let supervisor = Supervisor::new().start().await.unwrap();
    let forgiving = ChildSpec::new().restart(Restart::Permanent);
    let guests = Keyed::<Fickle, Guest>::with_args(forgiving, |key| key.name);
    let guests = guests.restart_budget(RestartBudget::new(0, secs(5))).park_time(millis(40));
    let guests = guests.start(&supervisor).await.unwrap();
    let _events = guests.events();
    let live = named(2);
    let neighbour = guests.get_or_start(&live).await.unwrap().process().unwrap();
    for round in 0..10 {
        let key = named(4);
        let guest = guests.get_or_start(&key).await.unwrap().process().unwrap();
        guest.cast(Ask::Crash).await.unwrap();
        guest.ended().await;
        drop(guest);
        panics.store(CLONE | DROP | DEBUG, Ordering::SeqCst);
        tokio::time::sleep(millis(200)).await;
        panics.store(0, Ordering::SeqCst);
        std::mem::forget(key);
        assert_eq!(guests.count(), 1, "swept in round {round}");
        assert!(neighbour.is_alive());
    }
    let up = supervisor.which_children();
    assert!(up.iter().all(|(_, info)| info.is_some()), "{up:?}");
}

/// P15: the same for what is stopped, idle or swept at the end.
#[tokio::test(start_paused = true)]
async fn a_counter_of_lives_shows_that_no_misbehaving_key_had_two() {
    // The census of rooms is by `String`; this one counts by construction as well.
    static ALIVE: AtomicU64 = AtomicU64::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::SeqCst);
        }
    }
    impl Process for Counted {
        type Args = ();
        type Message = Ask;
        async fn init((): &(), _: &mut Context<Self>) -> Result<Self, StartError> {
            assert_eq!(ALIVE.fetch_add(1, Ordering::SeqCst), 0, "two of one key");
            Ok(Counted)
        }
        async fn handle(&mut self, ask: Ask, reply: ReplyTo<Ask>, ctx: &mut Context<Self>) {
            match ask {
                Ask::Args => reply.send(1),
                Ask::Crash => panic!("told to"),
                Ask::Stop => ctx.stop_if_idle(),
            }
        }
    }
    let panics = Arc::new(AtomicU32::new(0));
    let key = Fickle { name: 1, panics: panics.clone() };
    let supervisor = Supervisor::new().start().await.unwrap();
    let budget = RestartBudget::new(10_000, secs(5)).backoff(millis(0), millis(0));
    let guests = Keyed::<Fickle, Counted>::with_args(spec(), |_| ()).restart_budget(budget);
    let guests = guests.start(&supervisor).await.unwrap();
    let _events = guests.events();
    for round in 0..400_u32 {
        // Each of its ways to panic, alone and together.
        panics.store(round % 32, Ordering::SeqCst);
        tempted(|| poll_and_drop(guests.get_or_start(&key)));
        settle().await;
        panics.store(0, Ordering::SeqCst);
        let guest = soon(guests.get_or_start(&key)).await.unwrap().process().unwrap();
        panics.store(round % 32, Ordering::SeqCst);
        match round % 3 {
            0 => drop(guest.cast(Ask::Crash).await),
            1 => drop(guest.cast(Ask::Stop).await),
            _ => guest.kill(),
        }
        settle().await;
        panics.store(0, Ordering::SeqCst);
        drop(guest);
    }
    drop(soon(guests.stop(&key)).await);
    eventually(|| guests.count() == 0 && ALIVE.load(Ordering::SeqCst) == 0).await;
}
