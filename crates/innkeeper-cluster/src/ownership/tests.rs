//! What the machine decides, as data: an event in, the commands and the new state out.

use super::record::{Key, Owned, Value, Versions, Write};
use super::*;

const SECOND: u64 = 1_000_000_000;

fn at(seconds: f64) -> Now {
    Now { raw: (seconds * SECOND as f64) as u64, slept: 0 }
}

fn member(name: &str) -> Member {
    let (name, versions) = (name.to_owned(), Versions::FIRST);
    Member { name, address: String::new(), weight: 1, draining: false, versions, key: None }
}

fn me() -> Session {
    Session { node: NodeId(1), created: 2 }
}

fn other() -> Session {
    Session { node: NodeId(2), created: 3 }
}

fn machine() -> Ownership {
    let timing = Timing::new(timing::SESSION_DEFAULT, timing::FAIL_OVER_DEFAULT).unwrap();
    let config = Config { timing, shards: 4, claims_max: 3, moves_max: 2, floor: 0 };
    Ownership::new(config, me(), member("a"), at(0.0))
}

fn node(session: Session, name: &str) -> Record {
    let Session { node, created } = session;
    let value = Some(Value::Member(member(name)));
    Record { key: Key::Node(node), value, created, modified: created }
}

fn beat(session: Session, count: u64, modified: Revision) -> Record {
    let key = Key::Beat(session.node);
    Record { key, value: Some(Value::Beat(count)), created: session.created, modified }
}

fn owned(shard: Shard, owner: Session, epoch: Epoch, modified: Revision) -> Record {
    let value = Some(Value::Owned(Owned { epoch, owner }));
    Record { key: Key::Shard(shard), value, created: 1, modified }
}

fn sent(commands: &[Command]) -> Vec<(RequestId, &Txn)> {
    let txn = |command| match command {
        &Command::Send { request, ref txn } => Some((request, txn)),
        _ => None,
    };
    commands.iter().filter_map(txn).collect()
}

fn beat_until(machine: &mut Ownership, until: f64) {
    let mut seconds = machine.own.last_sent.raw as f64 / SECOND as f64;
    while seconds < until {
        seconds += 0.5;
        let commands = machine.apply(Event::Tick, at(seconds));
        for (request, txn) in sent(&commands) {
            if matches!(txn.writes[..], [Write::Put(Key::Beat(_), _)]) {
                let answer = Answer::Done(100);
                machine.apply(Event::Answered { request, answer }, at(seconds));
            }
        }
    }
}

/// C3
#[test]
fn a_gate_is_open_until_the_session_less_its_guard_is_over_and_again_after_a_heartbeat() {
    let mut machine = machine();
    machine.apply(Event::Seen(owned(0, me(), 7, 5)), at(0.0));
    assert_eq!(machine.gate(0, at(4.8)), Gate::Open(7));
    assert_eq!(machine.release(0, 7, at(4.8)), Release::Now);
    assert_eq!(machine.gate(0, at(4.9)), Gate::Frozen(7));
    assert_eq!(machine.release(0, 7, at(4.9)), Release::Hold);
    assert_eq!(machine.gate(1, at(0.0)), Gate::Shut);
    let commands = machine.apply(Event::Tick, at(6.0));
    let [(request, _)] = sent(&commands)[..] else { panic!("{commands:?}") };
    machine.apply(Event::Answered { request, answer: Answer::Done(9) }, at(10.0));
    assert_eq!(machine.gate(0, at(10.0)), Gate::Open(7), "counted from the sending");
    assert_eq!(machine.gate(0, at(10.9)), Gate::Frozen(7));
}

/// C2
#[test]
fn a_machine_that_slept_proves_itself_before_it_goes_on() {
    let mut machine = machine();
    machine.apply(Event::Seen(owned(0, me(), 7, 5)), at(0.0));
    let slept = Now { slept: SECOND / 100, ..at(1.0) };
    assert_eq!(machine.gate(0, slept), Gate::Frozen(7));
    let commands = machine.apply(Event::Tick, slept);
    let (request, _) = sent(&commands)[0];
    machine.apply(Event::Answered { request, answer: Answer::Done(9) }, slept);
    assert_eq!(machine.gate(0, slept), Gate::Open(7));
}

/// C3
#[test]
fn a_session_that_is_gone_shuts_everything_for_good() {
    let mut machine = machine();
    machine.apply(Event::Seen(owned(0, me(), 7, 5)), at(0.0));
    let commands = machine.apply(Event::Tick, at(1.0));
    let (request, _) = sent(&commands)[0];
    let commands = machine.apply(Event::Answered { request, answer: Answer::Refused }, at(1.1));
    assert_eq!(commands, [Command::End(Over::Evicted)]);
    assert_eq!((machine.gate(0, at(1.1)), machine.over()), (Gate::Shut, Some(Over::Evicted)));
    assert_eq!(machine.release(0, 7, at(1.1)), Release::Never);
    assert!(machine.apply(Event::Tick, at(2.0)).is_empty());
}

/// C2
#[test]
fn a_silent_peer_is_evicted_by_the_very_heartbeat_that_was_its_last() {
    let mut machine = machine();
    let records = vec![node(me(), "a"), node(other(), "b"), beat(other(), 4, 8)];
    machine.apply(Event::Listed { revision: 10, records }, at(0.0));
    beat_until(&mut machine, 4.5);
    assert!(machine.apply(Event::Tick, at(4.9)).iter().all(|it| !is_eviction(it)));
    beat_until(&mut machine, 5.0);
    let commands = machine.apply(Event::Tick, at(5.2));
    let eviction = commands.iter().find(|it| is_eviction(it)).expect("an eviction");
    let Command::Send { txn, .. } = eviction else { panic!() };
    assert!(txn.compares.contains(&record::Compare::Modified(Key::Beat(other().node), 8)));
    assert!(txn.compares.contains(&record::Compare::Beat(other().node, 4)));
}

fn is_eviction(command: &Command) -> bool {
    let deletes =
        |write: &Write| matches!(write, Write::Delete(Key::Node(node)) if *node != me().node);
    matches!(command, Command::Send { txn, .. } if txn.writes.iter().any(deletes))
}

/// C9
#[test]
fn after_an_outage_of_the_coordinator_everybody_gets_the_full_time_again() {
    let mut machine = machine();
    let records = vec![node(me(), "a"), node(other(), "b"), beat(other(), 4, 8)];
    machine.apply(Event::Listed { revision: 10, records }, at(0.0));
    // Nothing is answered for a minute; then everything is.
    for seconds in 1..=60 {
        for (request, _) in sent(&machine.apply(Event::Tick, at(f64::from(seconds)))) {
            let answer = Answer::Unknown;
            machine.apply(Event::Answered { request, answer }, at(f64::from(seconds)));
        }
    }
    beat_until(&mut machine, 64.0);
    assert!(machine.apply(Event::Tick, at(64.9)).iter().all(|it| !is_eviction(it)));
    beat_until(&mut machine, 66.5);
    assert!(machine.requests.values().any(|it| *it == Purpose::Evict(other().node)));
}

#[test]
fn orphans_of_one_owner_are_claimed_together_as_far_as_a_transaction_takes_them() {
    let mut machine = machine();
    let mut records = vec![node(me(), "a")];
    records.extend((0..4).map(|shard| owned(shard, other(), 3, 6)));
    machine.apply(Event::Listed { revision: 10, records }, at(0.0));
    let commands = machine.apply(Event::Tick, at(0.5));
    let claims = sent(&commands);
    assert_eq!(claims.iter().map(|(_, txn)| txn.writes.len()).collect::<Vec<_>>(), [3, 1]);
    let gone = record::Compare::Created(Key::Node(other().node), 0);
    assert!(claims.iter().all(|(_, txn)| txn.compares.contains(&gone)));
    let (request, answer) = (claims[0].0, Answer::Done(11));
    let commands = machine.apply(Event::Answered { request, answer }, at(0.6));
    assert_eq!(commands.len(), 3);
    assert!(matches!(commands[0], Command::Open { epoch: 4, .. }));
}

#[test]
fn an_orphan_that_is_somebody_else_s_to_take_is_left_to_them_for_a_moment() {
    let mut machine = machine();
    let third = Session { node: NodeId(3), created: 4 };
    let mut records = vec![node(me(), "a"), node(third, "c")];
    records.extend((0..4).map(|shard| owned(shard, other(), 3, 6)));
    machine.apply(Event::Listed { revision: 10, records }, at(0.0));
    let claimed = |machine: &Ownership| {
        machine.shards.iter().filter(|held| held.phase != shards::Phase::Away).count()
    };
    machine.apply(Event::Tick, at(0.1));
    assert!(claimed(&machine) < 4);
    machine.apply(Event::Tick, at(0.35));
    assert_eq!(claimed(&machine), 4);
}

/// C6
#[test]
fn a_shard_moves_step_by_step_and_is_committed_however_its_arrival_is_learned() {
    let mut machine = machine();
    let records = vec![node(me(), "a"), node(other(), "b"), owned(0, me(), 7, 5)];
    machine.apply(Event::Listed { revision: 10, records }, at(0.0));
    let step = |machine: &mut Ownership, event| machine.apply(event, at(0.1));
    let to = other();
    let shut = step(&mut machine, Event::Move { shard: 0, to: to.node });
    assert_eq!(shut, [Command::Shut { shard: 0, epoch: 7 }]);
    assert_eq!(machine.gate(0, at(0.1)), Gate::Shut);
    assert_eq!(machine.release(0, 7, at(0.1)), Release::Now, "what was begun may end");
    let offer = step(&mut machine, Event::Quiesced { shard: 0, epoch: 7 });
    assert_eq!(offer, [Command::Offer { shard: 0, epoch: 8, to }]);
    assert_eq!(machine.release(0, 7, at(0.1)), Release::Never);
    let commands = step(&mut machine, Event::Accepted { shard: 0, epoch: 8 });
    let [(request, _)] = sent(&commands)[..] else { panic!("{commands:?}") };
    step(&mut machine, Event::Answered { request, answer: Answer::Unknown });
    let commit = step(&mut machine, Event::Seen(owned(0, to, 8, 12)));
    assert_eq!(commit, [Command::Commit { shard: 0, epoch: 8, to }]);
}

/// C6: the answer to our own transfer is late, and the shard is here again before it.
#[test]
fn a_shard_that_comes_back_before_its_transfer_is_answered_is_served() {
    let mut machine = machine();
    let records = vec![node(me(), "a"), node(other(), "b"), owned(0, me(), 7, 5)];
    machine.apply(Event::Listed { revision: 10, records }, at(0.0));
    machine.apply(Event::Move { shard: 0, to: other().node }, at(0.1));
    machine.apply(Event::Quiesced { shard: 0, epoch: 7 }, at(0.1));
    let commands = machine.apply(Event::Accepted { shard: 0, epoch: 8 }, at(0.1));
    let [(request, _)] = sent(&commands)[..] else { panic!("{commands:?}") };
    let open = machine.apply(Event::Seen(owned(0, me(), 9, 14)), at(0.2));
    assert_eq!(open, [Command::Open { shard: 0, epoch: 9 }]);
    machine.apply(Event::Answered { request, answer: Answer::Done(12) }, at(0.3));
    assert_eq!(machine.gate(0, at(0.3)), Gate::Open(9));
}

/// C6: few at once, for the sake of their pauses; but none that waits for a handler holds up all.
#[test]
fn shards_go_two_at_once_and_past_those_that_wait() {
    let mut machine = machine();
    machine.config.moves_max = 3;
    let mut leaving = node(me(), "a");
    leaving.value = Some(Value::Member(Member { draining: true, ..member("a") }));
    let mut records = vec![leaving, node(other(), "b")];
    records.extend((0..4).map(|shard| owned(shard, me(), 7, 5)));
    machine.apply(Event::Listed { revision: 10, records }, at(0.0));
    machine.apply(Event::Drain, at(0.1));
    let shut = |commands: &[Command]| -> Vec<Shard> {
        let shut = |command: &Command| match command {
            Command::Shut { shard, .. } => Some(*shard),
            _ => None,
        };
        commands.iter().filter_map(shut).collect()
    };
    assert_eq!(shut(&machine.apply(Event::Tick, at(0.1))), [0, 1]);
    // Both wait for handlers.
    assert_eq!(shut(&machine.apply(Event::Tick, at(0.2))), [2]);
    assert_eq!(shut(&machine.apply(Event::Tick, at(0.3))), [], "as many as may");
    let gone = |machine: &mut Ownership, shard| {
        machine.apply(Event::Quiesced { shard, epoch: 7 }, at(0.4));
        let commands = machine.apply(Event::Accepted { shard, epoch: 8 }, at(0.4));
        let [(request, _)] = sent(&commands)[..] else { panic!("{commands:?}") };
        machine.apply(Event::Answered { request, answer: Answer::Done(20) }, at(0.4))
    };
    assert_eq!(shut(&gone(&mut machine, 2)), [], "two are on the move yet");
    assert_eq!(shut(&gone(&mut machine, 0)), [3], "the next goes at once");
}

/// C6
#[test]
fn a_shard_whose_target_declines_or_goes_stays_where_it_is() {
    for declines in [true, false] {
        let mut machine = machine();
        let records = vec![node(me(), "a"), node(other(), "b"), owned(0, me(), 7, 5)];
        machine.apply(Event::Listed { revision: 10, records }, at(0.0));
        machine.apply(Event::Move { shard: 0, to: other().node }, at(0.1));
        let event = if declines {
            machine.apply(Event::Quiesced { shard: 0, epoch: 7 }, at(0.1));
            Event::Declined { shard: 0, epoch: 8 }
        } else {
            let key = Key::Node(other().node);
            Event::Seen(Record { key, value: None, created: 0, modified: 11 })
        };
        let commands = machine.apply(event, at(0.2));
        assert_eq!(commands, [Command::Reopen { shard: 0, epoch: 7 }]);
        assert_eq!(machine.gate(0, at(0.2)), Gate::Open(7));
    }
}

/// C6
#[test]
fn a_shard_that_stays_is_tried_less_and_less_often_and_holds_no_other_up() {
    let mut machine = machine();
    let mut leaves = node(me(), "a");
    leaves.value = Some(Value::Member(Member { draining: true, ..member("a") }));
    let mut records = vec![leaves, node(other(), "b")];
    records.extend((0..4).map(|shard| owned(shard, me(), 7, 5)));
    machine.apply(Event::Listed { revision: 10, records }, at(0.0));
    machine.apply(Event::Drain, at(0.0));
    let (mut stays, mut tries, mut gone) = (None, Vec::new(), Vec::new());
    for tenths in 1..1_200_u32 {
        let now = at(f64::from(tenths) / 10.0);
        let count = u64::from(tenths);
        machine.apply(Event::Seen(beat(other(), count, 20 + count)), now);
        let mut commands = machine.apply(Event::Tick, now);
        while let Some(command) = commands.pop() {
            let event = match command {
                Command::Shut { shard, epoch } => Event::Quiesced { shard, epoch },
                Command::Offer { shard, epoch, .. } if *stays.get_or_insert(shard) == shard => {
                    tries.push(tenths);
                    Event::Declined { shard, epoch }
                }
                Command::Offer { shard, epoch, to } => {
                    gone.push(tenths);
                    Event::Seen(owned(shard, to, epoch, 11))
                }
                Command::Send { request, .. } => {
                    Event::Answered { request, answer: Answer::Done(12) }
                }
                _ => continue,
            };
            commands.extend(machine.apply(event, now));
        }
    }
    assert!(gone.len() == 3 && gone.iter().all(|tenths| *tenths <= 3), "{gone:?}");
    let waits: Vec<_> = tries.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 320]);
}

/// A4, the receiver's fence.
#[test]
fn a_link_counts_from_the_question_and_forgets_older_ones() {
    let mut link = link::Link::default();
    let (first, second) = (link.ask(at(0.0)), link.ask(at(1.0)));
    assert!(!link.accepts(at(1.0)));
    link.told(second, 2 * SECOND);
    assert!(link.accepts(at(2.9)), "two seconds from the question, less the drift of clocks");
    assert!(!link.accepts(at(2.99)));
    link.told(first, 9 * SECOND);
    assert!(!link.accepts(at(2.99)), "an old answer says nothing new");
}
