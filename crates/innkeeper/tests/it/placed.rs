//! Processes that run only while their node acts for their key: under a placement of the test.

mod here;

use std::sync::{Arc, Mutex};

use innkeeper::placement::{Distant, Pending, Standing, Tenure, distant};
use innkeeper::{
    Away, CallError, ExitReason, Gathered, GetError, Incarnation, Keyed, Missing, NoAnswer,
    NotDelivered, ProcessRef, StopError, Subscription, Supervisor, Unknown, Unsubscribed,
};

use crate::support::{
    Gate, Heard, House, InitPlan, Key, Log, Order, Room, Said, Say, Script, act, add, eventually,
    key, plan, poll_once, script, secs, settle, spec,
};
use here::NOBODY;
pub(crate) use here::{Cluster, Right};

/// Scripts by key, under a right.
async fn scripts(log: &Log, right: &Arc<Right>) -> (Keyed<Key, Script>, Cluster<Script>) {
    let (told, cluster) = (plan(log), Cluster::new(right));
    let builder = Keyed::<Key, Script>::with_args(spec(), move |_| told.clone());
    let supervisor = Supervisor::new().start().await.unwrap();
    (builder.placed_by(&cluster).start(&supervisor).await.unwrap(), cluster)
}

async fn rooms(house: &House, right: &Arc<Right>) -> (Keyed<Key, Room>, Cluster<Room>) {
    let cluster = Cluster::new(right);
    (house.open(house.builder(spec()).placed_by(&cluster)).await, cluster)
}

async fn room(rooms: &Keyed<Key, Room>, name: &str) -> ProcessRef<Say> {
    rooms.get_or_start(&key(name)).await.unwrap().process().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_a_placed_process_says_where_it_ran_and_under_which_epoch() {
    let (collected, _guard) = crate::traces::collect();
    let (house, right) = (House::new(), Right::new(7));
    let (rooms, _cluster) = rooms(&house, &right).await;
    let room = room(&rooms, "a").await;
    let crashed = room.call(Say::Panic).await;
    assert!(matches!(crashed, Err(CallError::Unknown(Unknown::Crashed))), "{crashed:?}");
    let handled = collected.handled().remove(0);
    let events = collected.events.lock().unwrap();
    let told = |what| events.iter().find(|event| event.fields["message"] == what);
    for told in [&handled, told("process crashed, restarting").unwrap()] {
        let says = |name| told.fields.get(name).map(String::as_str);
        assert_eq!(says("key"), Some("\"a\""), "{told:?}");
        assert_eq!(
            (says("node"), says("shard"), says("epoch")),
            (Some("here"), Some("0"), Some("7"))
        );
    }
}

/// C3
#[tokio::test(start_paused = true)]
async fn a_message_is_begun_only_while_its_node_is_sure_to_act_for_the_key() {
    let (house, right) = (House::new(), Right::new(1));
    let (rooms, _cluster) = rooms(&house, &right).await;
    let room = room(&rooms, "a").await;
    assert_eq!(add(&room, 1).await, 1);
    right.set(Standing::NotNow);
    let mut call = Box::pin(room.call(Say::Add(1)).timeout(secs(600)));
    assert!(poll_once(&mut call).await.is_pending());
    // Casts are taken out of the mailbox many at a time.
    for number in 0..100 {
        room.cast(Say::Note(number)).await.unwrap();
    }
    settle().await;
    assert_eq!(room.info().mailbox_len, 101);
    right.set(Standing::Yes);
    assert_eq!(call.await.unwrap(), Said::Number(2));
    assert_eq!(crate::support::noted(&room).await, (0..100).collect::<Vec<_>>());
}

/// C3: in the midst of what was taken out of the mailbox at once.
#[tokio::test(start_paused = true)]
async fn casts_that_were_taken_wait_too_when_the_right_is_in_doubt() {
    let (mut log, right) = (Log::new(), Right::new(1));
    let (scripts, _cluster) = scripts(&log, &right).await;
    let via = scripts.via(&key("a"));
    let (gate, doubted) = (Gate::default(), right.clone());
    let held = gate.clone();
    via.cast(act(move |_, _| {
        Box::pin(async move {
            held.hold().await;
            doubted.set(Standing::NotNow);
        })
    }))
    .await
    .unwrap();
    gate.reached().await;
    for number in 0..3 {
        via.cast(Order::Beat(number)).await.unwrap();
    }
    gate.open();
    settle().await;
    assert!(matches!(log.so_far()[..], [Heard::Init(_)]));
    right.set(Standing::Yes);
    for number in 0..3 {
        assert_eq!(log.next().await, Heard::Beat(number));
    }
}

/// C3, C9
#[tokio::test(start_paused = true)]
async fn what_a_handler_brought_about_is_kept_in_order_until_it_may_leave() {
    let (log, right) = (Log::new(), Right::new(1));
    let (scripts, _cluster) = scripts(&log, &right).await;
    let via = scripts.via(&key("a"));
    let (gate, out) = (Gate::default(), Arc::new(Mutex::new(Vec::new())));
    let (held, seen) = (gate.clone(), out.clone());
    let mut call = Box::pin(via.call(act(move |_, ctx| {
        Box::pin(async move {
            held.hold().await;
            for number in 0..3 {
                let seen = seen.clone();
                ctx.output(move || seen.lock().unwrap().push(number));
            }
        })
    })));
    assert!(poll_once(&mut call).await.is_pending());
    gate.reached().await;
    right.set(Standing::NotNow);
    gate.open();
    settle().await;
    assert!(poll_once(&mut call).await.is_pending(), "its reply left unproven");
    assert!(out.lock().unwrap().is_empty());
    right.set(Standing::Yes);
    assert_eq!(call.await.unwrap(), 0);
    assert_eq!(*out.lock().unwrap(), [0, 1, 2]);
}

/// What a caller is told whose reply was made before the right was lost.
async fn outcome_of_a_reply_from_before(right: Arc<Right>) -> Result<Said, CallError<Say>> {
    let house = House::new();
    let (rooms, cluster) = rooms(&house, &right).await;
    let via = rooms.via(&key("a"));
    let gate = Gate::default();
    let mut call = Box::pin(via.call(Say::Hold(gate.clone())));
    assert!(poll_once(&mut call).await.is_pending());
    gate.reached().await;
    right.set(Standing::NotNow);
    gate.open();
    settle().await;
    cluster.0.give(None);
    right.set(Standing::Never);
    settle().await;
    assert_eq!(house.census.alive(), 0, "it goes with the right");
    call.await
}

/// C3
#[tokio::test(start_paused = true)]
async fn what_is_kept_is_dropped_with_the_right_and_its_call_is_unknown() {
    let outcome = outcome_of_a_reply_from_before(Right::new(1)).await;
    assert!(matches!(outcome, Err(CallError::Unknown(Unknown::Lost))), "{outcome:?}");
}

/// C3: the control.
#[tokio::test(start_paused = true)]
async fn without_the_second_check_a_stale_reply_gets_out() {
    let unchecked = Arc::new(Right::unchecked());
    let outcome = outcome_of_a_reply_from_before(unchecked).await;
    assert_eq!(outcome.unwrap(), Said::Number(0));
}

/// C3
#[tokio::test(start_paused = true)]
async fn no_more_is_kept_than_its_bound() {
    let (log, right) = (Log::new(), Right::new(1));
    let (scripts, _cluster) = scripts(&log, &right).await;
    let out = Arc::new(Mutex::new(Vec::new()));
    let (seen, doubted) = (out.clone(), right.clone());
    let via = scripts.via(&key("a"));
    via.cast(act(move |_, ctx| {
        Box::pin(async move {
            doubted.set(Standing::NotNow);
            for number in 0..innkeeper::limits::OUTPUTS_HELD + 10 {
                let seen = seen.clone();
                ctx.output(move || seen.lock().unwrap().push(number));
            }
        })
    }))
    .await
    .unwrap();
    settle().await;
    right.set(Standing::Yes);
    settle().await;
    let first: Vec<_> = (0..innkeeper::limits::OUTPUTS_HELD).collect();
    assert_eq!(*out.lock().unwrap(), first);
}

/// A subscriber that a process tells numbers while its node is in doubt, and those it heard.
async fn told_in_doubt(numbers: std::ops::Range<u32>, right: &Arc<Right>) -> Subscription<u32> {
    let log = Log::new();
    let (scripts, cluster) = scripts(&log, right).await;
    let (who, heard) = Subscription::with_capacity(4096);
    let doubted = right.clone();
    let via = scripts.via(&key("a"));
    via.cast(act(move |_, ctx| {
        Box::pin(async move {
            ctx.push(&who, 1000).unwrap();
            doubted.set(Standing::NotNow);
            numbers.for_each(|number| ctx.push(&who, number).unwrap());
        })
    }))
    .await
    .unwrap();
    settle().await;
    drop((scripts, cluster));
    heard
}

/// C3
#[tokio::test(start_paused = true)]
async fn who_listens_hears_nothing_in_doubt_and_all_of_it_in_order_after_that() {
    let right = Right::new(1);
    let mut heard = told_in_doubt(0..3, &right).await;
    assert_eq!(heard.next().await, Ok(1000));
    assert!(poll_once(&mut Box::pin(heard.next())).await.is_pending(), "unproven");
    right.set(Standing::Yes);
    for number in 0..3 {
        assert_eq!(heard.next().await, Ok(number));
    }
}

/// C3
#[tokio::test(start_paused = true)]
async fn who_listens_to_what_is_lost_or_too_much_hears_that_it_is_over() {
    let right = Right::new(1);
    let mut heard = told_in_doubt(0..3, &right).await;
    right.set(Standing::Never);
    assert_eq!(heard.next().await, Ok(1000));
    assert_eq!(heard.next().await, Err(Unsubscribed::Lost));
    let right = Right::new(1);
    let held = innkeeper::limits::OUTPUTS_HELD as u32;
    let mut heard = told_in_doubt(0..held + 1, &right).await;
    right.set(Standing::Yes);
    assert_eq!(heard.next().await, Ok(1000));
    assert_eq!(heard.next().await, Err(Unsubscribed::Lost));
}

#[tokio::test(start_paused = true)]
async fn a_process_knows_the_epoch_that_it_runs_under() {
    let (log, right) = (Log::new(), Right::new(17));
    let (scripts, _cluster) = scripts(&log, &right).await;
    let seen = Arc::new(Mutex::new(0));
    let epoch = seen.clone();
    let process = scripts.get_or_start(&key("a")).await.unwrap().process().unwrap();
    let look = act(move |_, ctx| {
        *epoch.lock().unwrap() = ctx.epoch();
        Box::pin(async {})
    });
    process.call(look).await.unwrap();
    assert_eq!((*seen.lock().unwrap(), process.epoch()), (17, 17));
}

/// C2, P1
#[tokio::test(start_paused = true)]
async fn all_processes_of_a_lost_right_end_and_those_of_the_next_wait_for_that() {
    let (house, first) = (House::new(), Right::new(1));
    let (rooms, cluster) = rooms(&house, &first).await;
    for name in ["a", "b", "c"] {
        let _ = room(&rooms, name).await;
    }
    let gate = Gate::default();
    let via = rooms.via(&key("a"));
    // One of them is in the midst of something, and hears of it last.
    let mut call = Box::pin(via.call(Say::Hold(gate.clone())));
    assert!(poll_once(&mut call).await.is_pending());
    gate.reached().await;
    let second = Right::new(2);
    first.set(Standing::Never);
    cluster.0.give(Some(&second));
    cluster.0.hosted().end_lost().await;
    let next = room(&rooms, "a").await;
    assert_eq!(next.epoch(), 2);
    eventually(|| house.census.alive() == 1).await;
    assert_eq!(house.census.most_of_one_key(), 1);
    assert!(matches!(call.await, Err(CallError::Unknown(Unknown::Lost))));
}

/// C2: nobody has been told to end it yet.
#[tokio::test(start_paused = true)]
async fn a_process_of_an_earlier_right_is_not_found_under_the_next() {
    let (house, first) = (House::new(), Right::new(1));
    let (rooms, cluster) = rooms(&house, &first).await;
    let old = room(&rooms, "a").await;
    first.set(Standing::Never);
    cluster.0.give(Some(&Right::new(2)));
    assert_eq!(rooms.whereis(&key("a")), None);
    let new = room(&rooms, "a").await;
    assert_ne!(old, new);
    assert_eq!(rooms.whereis(&key("a")), Some(new));
    assert_eq!(house.census.most_of_one_key(), 1);
}

/// C4
#[tokio::test(start_paused = true)]
async fn nothing_is_found_or_started_while_the_right_is_in_doubt() {
    let (house, right) = (House::new(), Right::new(1));
    let (rooms, _cluster) = rooms(&house, &right).await;
    let found = room(&rooms, "a").await;
    right.set(Standing::NotNow);
    for name in ["a", "new"] {
        let asked = rooms.get_or_start(&key(name)).timeout(secs(1)).await;
        assert_eq!(asked.unwrap_err(), GetError::Away(Away::Frozen));
    }
    assert_eq!(rooms.whereis(&key("a")), None);
    let stopped = rooms.stop(&key("a")).timeout(secs(1)).await;
    assert_eq!(stopped, Err(StopError::Away(Away::Frozen)));
    assert_eq!(house.census.ever(), 1, "an init ran");
    let name = key("newer");
    let mut asked = Box::pin(async { rooms.get_or_start(&name).await });
    assert!(poll_once(&mut asked).await.is_pending());
    right.set(Standing::Yes);
    assert!(asked.await.unwrap().is_started());
    assert_eq!(room(&rooms, "a").await, found);
}

/// C4: whether there is one is not known either.
#[tokio::test(start_paused = true)]
async fn nothing_is_said_of_a_process_while_the_right_is_in_doubt_or_of_one_of_an_earlier_right() {
    let (house, first) = (House::new(), Right::new(1));
    let (rooms, cluster) = rooms(&house, &first).await;
    let found = room(&rooms, "a").await;
    let name = key("a");
    let info = rooms.everywhere().info(&name).await.unwrap().unwrap();
    assert_eq!((info.incarnation, info.epoch), (found.incarnation(), 1));
    first.set(Standing::NotNow);
    for key in [&name, &key("b")] {
        let asked = rooms.everywhere().timeout(secs(1)).info(key).await;
        assert_eq!(asked.unwrap_err(), NoAnswer::Away(Away::Frozen));
    }
    let mut asked = Box::pin(rooms.everywhere().info(&name));
    assert!(poll_once(&mut asked).await.is_pending());
    first.set(Standing::Yes);
    assert_eq!(asked.await.unwrap().unwrap().incarnation, found.incarnation());
    // It is still there, and nobody's any more.
    first.set(Standing::Never);
    cluster.0.give(Some(&Right::new(2)));
    assert!(rooms.info(&name).is_some());
    assert!(rooms.everywhere().info(&name).await.unwrap().is_none());
    cluster.0.give(None);
    let asked = rooms.everywhere().timeout(secs(1)).info(&name).await;
    assert_eq!(asked.unwrap_err(), NoAnswer::Away(NOBODY));
}

/// C1: what a placement is shown and told of all processes is of those that it picks.
#[tokio::test(start_paused = true)]
async fn a_placement_counts_lists_and_ends_the_processes_of_the_rights_that_it_names() {
    let (house, first) = (House::new(), Right::new(1));
    let (rooms, cluster) = rooms(&house, &first).await;
    for name in ["a", "b", "c"] {
        let _ = room(&rooms, name).await;
    }
    assert_eq!(rooms.everywhere().count().await, Gathered::whole(3));
    cluster.0.give(Some(&Right::new(2)));
    for name in ["d", "e"] {
        let _ = room(&rooms, name).await;
    }
    assert_eq!((rooms.count(), rooms.everywhere().count().await), (5, Gathered::whole(2)));
    let page = rooms.everywhere().page(key("a").., 9).await.value;
    assert_eq!(page.rows.iter().map(|row| &row.key[..]).collect::<Vec<_>>(), ["d", "e"]);
    assert_eq!(page.rows[0].info.epoch, 2);
    assert_eq!(rooms.everywhere().stop_all().await, Gathered::whole(2));
    assert_eq!((rooms.count(), house.reasons("d")), (3, vec![ExitReason::Shutdown]));
    cluster.0.give(None);
    let missing = vec![Missing::Nobody { parts: 1, of: 1 }];
    assert_eq!(rooms.everywhere().count().await, Gathered { value: 0, missing });
}

/// C2: a question, too, may outlast the right that it was asked under.
#[tokio::test(start_paused = true)]
async fn who_asks_under_a_right_that_is_over_leaves_the_process_of_the_next_alone() {
    let (house, first) = (House::new(), Right::new(1));
    let (rooms, cluster) = rooms(&house, &first).await;
    let second = Right::new(2);
    first.set(Standing::Never);
    cluster.0.give(Some(&second));
    let name = key("a");
    let found = room(&rooms, "a").await;
    let late: Arc<dyn Tenure> = first.clone();
    for starts in [true, false] {
        let asked = cluster.0.hosted().get(&late, &name, starts, secs(1)).await;
        assert_eq!(asked.unwrap_err(), GetError::Away(Away::NotOwner));
    }
    let said = cluster.0.hosted().call(&late, &name, None, Say::Add(1), secs(1)).await;
    let why = NotDelivered::Away(Away::NotOwner);
    assert!(matches!(said, Err(CallError::NotDelivered { why: w, .. }) if w == why));
    settle().await;
    assert_eq!(room(&rooms, "a").await, found);
    assert!(found.is_alive());
}

/// C2: the wait for a restart, or for one's turn, may outlast the right.
#[tokio::test(start_paused = true)]
async fn no_init_begins_after_the_right_is_lost() {
    let (house, right) = (House::new(), Right::new(1));
    let (rooms, cluster) = rooms(&house, &right).await;
    let room = room(&rooms, "a").await;
    right.set(Standing::NotNow);
    room.kill();
    settle().await;
    cluster.0.give(None);
    right.set(Standing::Never);
    eventually(|| rooms.count() == 0).await;
    assert_eq!(house.census.ever(), 1);
}

/// C4
#[tokio::test(start_paused = true)]
async fn who_asks_while_nobody_acts_for_the_key_is_served_by_whoever_does_next() {
    let (house, right) = (House::new(), Right::new(3));
    let (rooms, cluster) = rooms(&house, &right).await;
    cluster.0.give(None);
    let asked = rooms.get_or_start(&key("a")).timeout(secs(1)).await;
    assert_eq!(asked.unwrap_err(), GetError::Away(Away::NotOwner));
    let via = rooms.via(&key("a"));
    let late = via.call(Say::Add(1)).timeout(secs(1)).await;
    let why = NotDelivered::Away(Away::NotOwner);
    assert!(matches!(late, Err(CallError::NotDelivered { why: w, .. }) if w == why));
    let mut call = Box::pin(via.call(Say::Add(1)));
    assert!(poll_once(&mut call).await.is_pending());
    cluster.0.give(Some(&right));
    assert_eq!(call.await.unwrap(), Said::Number(1));
    assert_eq!(house.census.ever(), 1);
}

/// P2
#[tokio::test(start_paused = true)]
async fn a_placed_key_too_is_started_once_for_all_who_ask() {
    let (house, right) = (House::new(), Right::new(1));
    let (rooms, _cluster) = rooms(&house, &right).await;
    let gate = Gate::default();
    house.plan_init("a", InitPlan::Hold(gate.clone()));
    let name = key("a");
    let mut asks: Vec<_> =
        (0..10).map(|_| Box::pin(async { rooms.get_or_start(&name).await.unwrap() })).collect();
    for ask in &mut asks {
        assert!(poll_once(ask).await.is_pending());
    }
    gate.reached().await;
    gate.open();
    let mut started = 0;
    for ask in asks {
        started += usize::from(ask.await.is_started());
    }
    assert_eq!((started, house.census.ever()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn arguments_of_their_own_are_refused_to_placed_processes() {
    let (house, right) = (House::new(), Right::new(1));
    let (rooms, _cluster) = rooms(&house, &right).await;
    let asked = rooms.get_or_start_with(&key("a"), (key("a"), house.clone())).await;
    assert_eq!(asked.unwrap_err(), GetError::ArgsStayHere);
    assert_eq!(house.census.ever(), 0);
}

type Tell = Box<dyn FnOnce(ExitReason) + Send>;

/// A way to another node that keeps what is sent.
#[derive(Default)]
struct Wire {
    cut: bool,
    sent: Mutex<Vec<(u64, Option<Pending<Order>>)>>,
    watchers: Mutex<Vec<Tell>>,
}

impl Distant<Order> for Wire {
    fn name(&self) -> String {
        "far".to_owned()
    }

    fn epoch(&self) -> u64 {
        5
    }

    fn say(&self, order: &Order, answer: Option<Pending<Order>>) -> Result<(), Away> {
        let Order::Beat(number) = order else { unreachable!("only beats are said") };
        if self.cut {
            return Err(Away::Unreachable);
        }
        self.sent.lock().unwrap().push((*number, answer));
        Ok(())
    }

    fn exit(&self, reason: Option<ExitReason>) {
        for tell in self.watchers.lock().unwrap().drain(..) {
            tell(reason.clone().unwrap_or(ExitReason::Killed));
        }
    }

    fn watch(&self, tell: Tell) {
        self.watchers.lock().unwrap().push(tell);
    }
}

fn far(cut: bool) -> (Arc<Wire>, ProcessRef<Order>) {
    let wire = Arc::new(Wire { cut, ..Wire::default() });
    let process = distant::<Order>(Incarnation::from_bits(77), wire.clone());
    (wire, process)
}

/// C1: the outcomes of a call.
#[tokio::test(start_paused = true)]
async fn a_process_elsewhere_is_called_like_one_that_is_here() {
    let (wire, process) = far(false);
    process.cast(Order::Beat(1)).await.unwrap();
    let mut calls: Vec<_> =
        (2..5).map(|number| Box::pin(process.call(Order::Beat(number)))).collect();
    for call in &mut calls {
        assert!(poll_once(call).await.is_pending());
    }
    let sent = std::mem::take(&mut *wire.sent.lock().unwrap());
    let mut answers = sent.into_iter().map(|(_, answer)| answer);
    assert!(answers.next().unwrap().is_none(), "a cast wants no answer");
    let (reply, back, lost) =
        (answers.next().unwrap(), answers.next().unwrap(), answers.next().unwrap());
    reply.unwrap().reply(2);
    back.unwrap().not_delivered(Order::Beat(3), NotDelivered::Ended);
    drop(lost);
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await);
    }
    assert!(matches!(
        outcomes[..],
        [
            Ok(2),
            Err(CallError::NotDelivered { message: Order::Beat(3), why: NotDelivered::Ended }),
            Err(CallError::Unknown(Unknown::Unreachable)),
        ]
    ));
    assert_eq!((process.epoch(), process.incarnation().to_bits()), (5, 77));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_leave_for_a_process_elsewhere_is_handed_back() {
    let (_wire, process) = far(true);
    let called = process.call(Order::Beat(1)).await;
    let why = NotDelivered::Away(Away::Unreachable);
    assert!(matches!(
        called,
        Err(CallError::NotDelivered { message: Order::Beat(1), why: w }) if w == why
    ));
    assert_eq!(process.cast(Order::Beat(2)).await.unwrap_err().why, why);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_process_elsewhere_is_told_to_all_who_watch_it() {
    let mut log = Log::new();
    let watching = script(&log).await;
    let (_wire, process) = far(false);
    let watched = process.clone();
    crate::support::tell(&watching, move |_, ctx| {
        ctx.monitor(&watched);
        Box::pin(async {})
    })
    .await;
    let mut ended = Box::pin(process.ended());
    assert!(poll_once(&mut ended).await.is_pending());
    assert!(process.is_alive());
    process.stop(ExitReason::Shutdown, secs(1)).await.unwrap();
    assert_eq!(ended.await, ExitReason::Shutdown);
    assert_eq!(log.down().await.reason, ExitReason::Shutdown);
    assert!(!process.is_alive());
    assert_eq!(process.ended().await, ExitReason::Shutdown);
}
