//! Keys whose processes run without being asked for.

use std::collections::BTreeSet;
use std::future::{Ready, pending, ready};
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use innkeeper::placement::{Admission, Standing};
use innkeeper::{
    ChildSpec, Context, Keyed, KeyedBuilder, Message, Process, ReplyTo, StartError, Supervisor,
    What,
};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::placed::{Cluster, Right};
use crate::support::{Gate, House, InitPlan, Key, Room, key, millis, secs, settle, spec};

type Keys = Arc<Mutex<BTreeSet<Key>>>;

fn keys(names: impl IntoIterator<Item = impl Into<Key>>) -> Keys {
    Arc::new(Mutex::new(names.into_iter().map(Into::into).collect()))
}

fn numbered(count: usize) -> Keys {
    keys((0..count).map(|number| format!("room-{number:05}")))
}

fn listed(keys: &Keys, after: Option<&Key>, limit: usize) -> Vec<Key> {
    let keys = keys.lock().unwrap();
    let all = keys.iter().filter(|key| after.is_none_or(|after| *key > after));
    all.take(limit).cloned().collect()
}

/// A table of them.
fn list(
    keys: &Keys,
) -> impl Fn(Option<Key>, usize) -> Ready<Result<Vec<Key>, String>> + use<> + Send + Sync {
    let keys = keys.clone();
    move |after, limit| ready(Ok(listed(&keys, after.as_ref(), limit)))
}

fn remembering(house: &House, keys: &Keys) -> KeyedBuilder<Key, Room> {
    house.builder(spec()).remembering(list(keys))
}

fn rate(per_second: u32) -> NonZeroU32 {
    NonZeroU32::new(per_second).unwrap()
}

/// P11: of several pages, at 200 a second.
#[tokio::test(start_paused = true)]
async fn remembered_keys_begin_with_their_scope_at_a_constant_rate() {
    let house = House::new();
    let rooms = house.open(remembering(&house, &numbered(2_500))).await;
    for second in 1..=12 {
        sleep(secs(1)).await;
        let begun = house.census.ever();
        assert!((200 * second - 5..=200 * second + 5).contains(&begun), "{begun} after {second} s");
    }
    sleep(secs(1)).await;
    assert_eq!((rooms.count(), house.census.ever()), (2_500, 2_500));
}

/// P1: whoever is called is not in the way, nor the other way round.
#[tokio::test(start_paused = true)]
async fn a_remembered_key_that_is_asked_for_meanwhile_has_one_process() {
    let house = House::new();
    let builder = remembering(&house, &numbered(400)).remembered_rate(rate(100));
    let rooms = house.open(builder).await;
    sleep(secs(1)).await;
    for number in 0..400 {
        let key = format!("room-{number:05}");
        let before = tokio::time::Instant::now();
        let _ = rooms.get_or_start(&key).await.unwrap();
        assert!(before.elapsed() < millis(1));
    }
    sleep(secs(10)).await;
    assert_eq!((house.census.ever(), house.census.most_of_one_key()), (400, 1));
}

#[tokio::test(start_paused = true)]
async fn a_remembered_key_that_was_stopped_or_declines_stays_so_and_one_that_fails_is_tried_again()
{
    let house = House::new();
    for (name, plan) in [("declines", InitPlan::Decline), ("fails", InitPlan::Fail("once"))] {
        house.plan_init(name, plan);
    }
    let keys = keys(["declines", "fails", "stopped", "waits"]);
    let rooms = house.open(remembering(&house, &keys).remembered_rate(rate(1))).await;
    let mut events = rooms.events();
    // It was asked for before it was its turn, and stopped on purpose.
    let _ = rooms.get_or_start(&key("stopped")).await.unwrap();
    rooms.stop(&key("stopped")).await.unwrap();
    sleep(millis(2_500)).await;
    house.plan_init("fails", InitPlan::Ok);
    sleep(secs(600)).await;
    assert_eq!(rooms.whereis(&key("stopped")), None);
    assert!(rooms.whereis(&key("fails")).is_some() && rooms.whereis(&key("waits")).is_some());
    let all = std::iter::from_fn(|| events.try_recv().ok());
    let begun: Vec<_> =
        all.filter(|it| matches!(it.what, What::Starting { .. })).map(|it| it.key).collect();
    let of = |name: &str| begun.iter().filter(|key| *key == name).count();
    assert_eq!((of("stopped"), of("waits")), (1, 1), "{begun:?}");
    assert_eq!(rooms.counters().declined, 1);
    assert!((2..=5).contains(&of("fails")), "{begun:?}");
    // Stopped later, it stays so too; the scope has done its part.
    rooms.stop(&key("waits")).await.unwrap();
    sleep(secs(600)).await;
    assert_eq!(rooms.whereis(&key("waits")), None);
}

/// C8: a list that fails, panics or hangs.
#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_had_is_asked_for_again_and_counted() {
    let (house, keys, asked) = (House::new(), numbered(10), AtomicUsize::new(0));
    type Listed = Pin<Box<dyn Future<Output = Result<Vec<Key>, &'static str>> + Send>>;
    let list = move |after: Option<Key>, limit| -> Listed {
        match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Box::pin(ready(Err("no such table"))),
            1 => panic!("the list panics"),
            2 => Box::pin(async { panic!("the list panics later") }),
            3 => Box::pin(pending()),
            _ => Box::pin(ready(Ok(listed(&keys, after.as_ref(), limit)))),
        }
    };
    let rooms = house.open(house.builder(spec()).remembering(list)).await;
    sleep(secs(10)).await;
    assert_eq!((rooms.counters().unlisted, rooms.count()), (3, 0));
    sleep(secs(10)).await;
    assert_eq!((rooms.counters().unlisted, rooms.count()), (4, 10));
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_ends_has_nothing_begin_any_more_and_one_that_begins_anew_all() {
    let house = House::new();
    let supervisor = innkeeper::Supervisor::new().start().await.unwrap();
    let builder = remembering(&house, &numbered(1_000));
    let rooms = house.open_under(&supervisor, builder).await;
    sleep(secs(1)).await;
    supervisor.terminate_child("Room").await.unwrap();
    let begun = house.census.ever();
    sleep(secs(10)).await;
    assert_eq!((rooms.count(), house.census.ever()), (0, begun));
    supervisor.restart_child("Room").await.unwrap();
    sleep(secs(6)).await;
    assert_eq!((rooms.count(), house.census.most_of_one_key()), (1_000, 1));
}

/// C7
#[tokio::test(start_paused = true)]
async fn whoever_is_called_goes_before_all_who_are_remembered() {
    let (house, admission) = (House::new(), Admission::new(NonZeroUsize::MIN));
    let cluster = Cluster::new(&Right::admitting(&admission));
    let gate = Gate::default();
    house.plan_init("room-00000", InitPlan::Hold(gate.clone()));
    let builder = remembering(&house, &numbered(100)).placed_by(&cluster);
    let rooms = house.open(builder).await;
    gate.reached().await;
    // All others are remembered by now, and wait.
    sleep(secs(2)).await;
    let mut events = rooms.events();
    let called: Vec<_> = ["called-1", "room-00050", "called-2"].map(key).into();
    let mut gets: Vec<_> = called.iter().map(|key| Box::pin(rooms.get_or_start(key))).collect();
    for get in &mut gets {
        assert!(crate::support::poll_once(get).await.is_pending());
        settle().await;
    }
    gate.open();
    for get in gets {
        assert!(get.await.unwrap().is_started());
    }
    sleep(secs(2)).await;
    let all = std::iter::from_fn(|| events.try_recv().ok());
    let ready = all.filter(|it| matches!(it.what, What::Ready { .. })).map(|it| it.key);
    let ready: Vec<_> = ready.skip(1).take(3).collect();
    assert_eq!((ready, house.census.ever(), house.census.most_of_one_key()), (called, 102, 1));
}

/// C7
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_served_anew_has_its_remembered_keys_begin_anew() {
    let (house, first) = (House::new(), Right::new(1));
    let cluster = Cluster::new(&first);
    let rooms: Keyed<Key, Room> =
        house.open(remembering(&house, &numbered(10)).placed_by(&cluster)).await;
    sleep(secs(2)).await;
    rooms.stop(&key("room-00003")).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(house.census.alive(), 9);
    cluster.give(None);
    first.set(Standing::Never);
    cluster.end_lost().await;
    settle().await;
    assert_eq!(house.census.alive(), 0);
    sleep(secs(60)).await;
    assert_eq!(house.census.alive(), 0, "it is served elsewhere");
    cluster.give(Some(&Right::new(3)));
    sleep(secs(2)).await;
    assert_eq!((house.census.alive(), house.census.most_of_one_key()), (10, 1));
}

/// Whether copies of the key `slow` are held up, and whether one is.
static HELD: AtomicBool = AtomicBool::new(false);
static IS_COPIED: AtomicBool = AtomicBool::new(false);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Copied(&'static str);

impl Clone for Copied {
    fn clone(&self) -> Self {
        while self.0 == "slow" && HELD.load(Ordering::Acquire) {
            IS_COPIED.store(true, Ordering::Release);
            std::thread::yield_now();
        }
        Copied(self.0)
    }
}

struct Silent;

impl Message for Silent {
    type Reply = ();
}

impl Process for Silent {
    type Args = Copied;
    type Message = Silent;

    async fn init(_: &Copied, _: &mut Context<Self>) -> Result<Self, StartError> {
        Ok(Silent)
    }

    async fn handle(&mut self, _: Silent, reply: ReplyTo<Silent>, _: &mut Context<Self>) {
        reply.send(());
    }
}

/// P4: the ends that are noted while the list is read are those of other keys, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_key_whose_own_code_is_slow_delays_the_end_of_no_other() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let reads = Arc::new(Semaphore::new(0));
    let list = {
        let reads = reads.clone();
        move |_, _| {
            reads.add_permits(1);
            pending::<Result<Vec<Copied>, String>>()
        }
    };
    let builder = Keyed::<Copied, Silent>::new(ChildSpec::new());
    let scope = builder.remembering(list).start(&supervisor).await.unwrap();
    for key in [Copied("slow"), Copied("quick")] {
        let _ = scope.get_or_start(&key).await.unwrap();
    }
    drop(reads.acquire().await.unwrap());
    HELD.store(true, Ordering::Release);
    let slow = scope.clone();
    let stopping = tokio::spawn(async move { slow.stop(&Copied("slow")).await });
    while !IS_COPIED.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    let stopped = tokio::time::timeout(secs(5), scope.stop(&Copied("quick"))).await;
    HELD.store(false, Ordering::Release);
    stopped.expect("it does not wait for another key").unwrap();
    stopping.await.unwrap().unwrap();
}
