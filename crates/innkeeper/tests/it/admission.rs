//! How many processes begin at once where a placement has a bound on that.

use std::num::NonZeroUsize;

use innkeeper::placement::Admission;
use innkeeper::{CallError, ChildSpec, ExitReason, GetError, Keyed, NotDelivered, StopError};
use tokio::time::Instant;

use crate::placed::{Cluster, Right};
use crate::support::{
    Gate, House, InitPlan, Key, Room, Say, add, eventually, key, poll_once, secs, settle, spec,
};

/// Rooms on a node that lets one begin at a time.
struct Narrow {
    admission: Admission,
    house: House,
    rooms: Keyed<Key, Room>,
    _cluster: Cluster<Room>,
}

async fn scope(
    house: &House,
    spec: ChildSpec,
    admission: &Admission,
) -> (Keyed<Key, Room>, Cluster<Room>) {
    let cluster = Cluster::new(&Right::admitting(admission));
    (house.open(house.builder(spec).placed_by(&cluster)).await, cluster)
}

impl Narrow {
    async fn new() -> Narrow {
        let (house, admission) = (House::new(), Admission::new(NonZeroUsize::MIN));
        let (rooms, cluster) = scope(&house, spec(), &admission).await;
        Narrow { admission, house, rooms, _cluster: cluster }
    }

    /// Somebody begins, and holds at this gate.
    async fn is_taken(&self) -> Gate {
        let gate = Gate::default();
        self.house.plan_init("first", InitPlan::Hold(gate.clone()));
        self.rooms.via(&key("first")).cast(Say::Note(1)).await.unwrap();
        gate.reached().await;
        gate
    }

    /// Nobody has a seat, and nobody waits for one.
    fn is_empty(&self) -> bool {
        let shown = format!("{:?}", self.admission);
        shown.contains("taken: 0") && shown.contains("waiting: 0")
    }
}

/// P11
#[tokio::test(start_paused = true)]
async fn whoever_would_be_one_too_many_begins_when_another_has_begun_in_the_order_of_asking() {
    let narrow = Narrow::new().await;
    let gate = narrow.is_taken().await;
    let names: Vec<_> = (0..20).map(|number| key(&format!("room-{number}"))).collect();
    let mut gets: Vec<_> =
        names.iter().map(|name| Box::pin(narrow.rooms.get_or_start(name))).collect();
    for get in &mut gets {
        assert!(poll_once(get).await.is_pending());
        settle().await;
    }
    assert_eq!(narrow.house.census.ever(), 1, "one at a time");
    // Each holds in its turn.
    let gates: Vec<_> = names
        .iter()
        .map(|name| {
            let gate = Gate::default();
            narrow.house.plan_init(name, InitPlan::Hold(gate.clone()));
            gate
        })
        .collect();
    gate.open();
    for (nth, gate) in (2..).zip(&gates) {
        gate.reached().await;
        settle().await;
        assert_eq!(narrow.house.census.ever(), nth);
        gate.open();
    }
    for get in gets {
        assert!(get.await.unwrap().is_started());
    }
    assert!(narrow.is_empty());
}

/// P12: else it would wait for its own asker.
#[tokio::test(start_paused = true)]
async fn what_an_init_asks_for_does_not_wait_behind_it_be_it_new_or_in_line_already() {
    for is_in_line in [false, true] {
        let narrow = Narrow::new().await;
        let gate = Gate::default();
        let ask = Box::new(InitPlan::Ask(key("b")));
        narrow.house.plan_init("a", InitPlan::HoldThen(gate.clone(), ask));
        narrow.house.plan_init("b", InitPlan::Ask(key("c")));
        let (a, b) = (key("a"), key("b"));
        let mut outer = Box::pin(narrow.rooms.get_or_start(&a));
        assert!(poll_once(&mut outer).await.is_pending());
        gate.reached().await;
        let mut inner = Box::pin(narrow.rooms.get_or_start(&b));
        if is_in_line {
            assert!(poll_once(&mut inner).await.is_pending());
            settle().await;
            assert!(poll_once(&mut inner).await.is_pending());
        }
        let before = Instant::now();
        gate.open();
        assert!(outer.await.unwrap().is_started());
        assert_eq!(inner.await.unwrap().is_started(), is_in_line);
        assert_eq!((before.elapsed(), narrow.house.census.alive()), (secs(0), 3));
        assert!(narrow.is_empty());
    }
}

/// P12: a call waits in the mailbox, and not for a start.
#[tokio::test(start_paused = true)]
async fn what_is_called_from_within_begins_at_once() {
    let narrow = Narrow::new().await;
    let asker = narrow.rooms.get_or_start(&key("asker")).await.unwrap().process().unwrap();
    let gate = narrow.is_taken().await;
    let before = Instant::now();
    let called = asker.call(Say::CallKey(key("other"))).await.unwrap();
    assert_eq!((called, before.elapsed()), (crate::support::Said::Number(1), secs(0)));
    gate.open();
}

/// P8: an `init` that was let in may wait for the process that crashed.
#[tokio::test(start_paused = true)]
async fn a_restart_does_not_wait_its_turn() {
    let narrow = Narrow::new().await;
    let b = key("b");
    let room = narrow.rooms.get_or_start(&b).await.unwrap().process().unwrap();
    let gate = narrow.is_taken().await;
    let before = Instant::now();
    assert!(matches!(room.call(Say::Panic).await, Err(CallError::Unknown(_))));
    let next = narrow.rooms.get(&b).await.unwrap().process().unwrap();
    assert_eq!((add(&next, 1).await, before.elapsed()), (1, secs(0)));
    gate.open();
}

/// P3, P6: and nothing of it has run.
#[tokio::test(start_paused = true)]
async fn a_start_whose_turn_does_not_come_in_time_says_that_it_never_began() {
    let narrow = Narrow::new().await;
    let gate = narrow.is_taken().await;
    let house = House::new();
    let (hasty, _cluster) = scope(&house, spec().start_timeout(secs(7)), &narrow.admission).await;
    let (key, before) = (key("b"), Instant::now());
    let lobby = hasty.via(&key);
    let mut call = Box::pin(lobby.call(Say::Add(1)).timeout(secs(60)));
    assert!(poll_once(&mut call).await.is_pending());
    assert_eq!(hasty.get_or_start(&key).await, Err(GetError::NotAdmitted));
    assert_eq!(before.elapsed(), secs(7));
    let Err(CallError::NotDelivered { why, .. }) = call.await else { panic!("it ran") };
    assert_eq!(why, NotDelivered::NoProcess(GetError::NotAdmitted));
    settle().await;
    assert_eq!((house.census.ever(), hasty.count()), (0, 0));
    gate.open();
    eventually(|| narrow.is_empty()).await;
    assert!(hasty.get_or_start(&key).await.unwrap().is_started());
    // One that has begun and takes too long is something else.
    let never = Gate::default();
    house.plan_init("c", InitPlan::Hold(never));
    assert_eq!(hasty.get_or_start(&"c".to_owned()).await, Err(GetError::StartTimeout));
}

/// P5, P16
#[tokio::test(start_paused = true)]
async fn whoever_is_stopped_while_it_waits_leaves_its_place_and_so_does_an_init_that_fails() {
    let narrow = Narrow::new().await;
    let gate = narrow.is_taken().await;
    let [b, c, d] = ["b", "c", "d"].map(key);
    let mut gets = [&b, &c, &d].map(|key| Box::pin(narrow.rooms.get_or_start(key)));
    for get in &mut gets {
        assert!(poll_once(get).await.is_pending());
        settle().await;
    }
    narrow.house.plan_init("c", InitPlan::Panic);
    narrow.rooms.stop(&b).await.unwrap();
    assert_eq!(narrow.rooms.stop(&b).await, Err(StopError::NotFound));
    gate.open();
    let [_, c, d] = gets;
    assert!(matches!(c.await, Err(GetError::InitFailed(ExitReason::Panicked(_)))));
    assert!(d.await.unwrap().is_started());
    eventually(|| narrow.is_empty()).await;
    // The one that is killed has let somebody else begin.
    let never = Gate::default();
    narrow.house.plan_init("e", InitPlan::Hold(never.clone()));
    narrow.rooms.via(&key("e")).cast(Say::Note(1)).await.unwrap();
    never.reached().await;
    let f = key("f");
    let mut get = Box::pin(narrow.rooms.get_or_start(&f));
    assert!(poll_once(&mut get).await.is_pending());
    narrow.rooms.stop(&key("e")).await.unwrap();
    assert!(get.await.unwrap().is_started());
    assert!(narrow.is_empty());
}
