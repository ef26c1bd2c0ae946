//! The mailbox as data: what goes in comes out once, in order, within its bound.

use std::task::Waker;

use proptest::prelude::*;

use super::*;

#[derive(Debug, PartialEq, Eq)]
struct Number(u32);

impl Message for Number {
    type Reply = ();
}

type Answers = Arc<Answer<Number>>;

const ROOM: u32 = 1000;

fn mailbox() -> (Inbox<Number>, Batch<Number>) {
    (Inbox::new(), Batch::new())
}

fn cast(number: u32) -> Envelope<Number> {
    Envelope { message: Number(number), answer: None }
}

fn call(number: u32) -> (Envelope<Number>, Answers) {
    let answer = Answer::open(Waker::noop());
    (Envelope { message: Number(number), answer: Some(answer.clone()) }, answer)
}

fn push_all(inbox: &mut Inbox<Number>, batch: &Batch<Number>, numbers: std::ops::Range<u32>) {
    for number in numbers {
        inbox.push(cast(number), batch, ROOM).unwrap();
    }
}

/// What the runner does: from its batch first, then from the inbox.
fn pop(inbox: &mut Inbox<Number>, batch: &Batch<Number>) -> Option<u32> {
    let envelope = batch.pop().or_else(|| inbox.pop(batch));
    envelope.map(|envelope| envelope.message.0)
}

fn pop_all(inbox: &mut Inbox<Number>, batch: &Batch<Number>) -> Vec<u32> {
    std::iter::from_fn(|| pop(inbox, batch)).collect()
}

fn heap(inbox: &Inbox<Number>, batch: &Batch<Number>) -> usize {
    inbox.rest.capacity() + batch.taken.lock().capacity()
}

/// P9: order is kept across the inbox and the batch taken from it.
#[test]
fn messages_come_out_in_the_order_they_went_in_also_across_batches() {
    let (mut inbox, batch) = mailbox();
    push_all(&mut inbox, &batch, 0..5);
    let mut out = vec![pop(&mut inbox, &batch).unwrap(), pop(&mut inbox, &batch).unwrap()];
    assert_eq!((batch.len(), inbox.len()), (3, 0), "the runner has taken a batch");
    push_all(&mut inbox, &batch, 5..10);
    out.extend(pop_all(&mut inbox, &batch));
    assert_eq!(out, (0..10).collect::<Vec<_>>());
}

/// P9, P11: what the runner has taken and not begun still waits, so it counts.
#[test]
fn the_bound_counts_what_waits_in_the_inbox_and_in_the_batch() {
    let (mut inbox, batch) = mailbox();
    for number in 0..4 {
        inbox.push(cast(number), &batch, 4).unwrap();
    }
    assert_eq!(inbox.push(cast(9), &batch, 4).unwrap_err().message, Number(9));
    assert_eq!(pop(&mut inbox, &batch), Some(0));
    assert_eq!((batch.len(), inbox.len()), (3, 0));
    inbox.push(cast(4), &batch, 4).unwrap();
    assert_eq!(inbox.push(cast(9), &batch, 4).unwrap_err().message, Number(9));
    assert_eq!(pop_all(&mut inbox, &batch), [1, 2, 3, 4]);
}

/// P6: a call that has not been begun can be taken back from wherever it waits.
#[test]
fn a_call_is_withdrawn_from_the_first_place_the_rest_and_the_batch() {
    let (mut inbox, batch) = mailbox();
    let calls: Vec<_> = (0..6).map(call).collect();
    let mut answers = Vec::new();
    for (at, (envelope, answer)) in calls.into_iter().enumerate() {
        inbox.push(envelope, &batch, ROOM).unwrap();
        answers.push(answer);
        if at == 3 {
            assert_eq!(pop(&mut inbox, &batch), Some(0));
        }
    }
    // 1, 2, 3 are in the batch, 4 is first, 5 is the rest.
    assert_eq!((batch.len(), inbox.len(), inbox.rest.len()), (3, 2, 1));
    for from in [2, 4, 5] {
        assert_eq!(inbox.withdraw(&batch, &answers[from]), Some(Number(from as u32)));
        assert_eq!(inbox.withdraw(&batch, &answers[from]), None, "twice");
    }
    assert_eq!(inbox.withdraw(&batch, &answers[0]), None, "it has been begun");
    assert_eq!((batch.len(), inbox.len()), (2, 0));
    assert_eq!(pop_all(&mut inbox, &batch), [1, 3]);
}

/// P9: also when the oldest one is taken back.
#[test]
fn order_is_kept_around_a_first_message_that_was_withdrawn() {
    let (mut inbox, batch) = mailbox();
    let (envelope, answer) = call(0);
    inbox.push(envelope, &batch, ROOM).unwrap();
    push_all(&mut inbox, &batch, 1..3);
    assert_eq!(inbox.withdraw(&batch, &answer), Some(Number(0)));
    push_all(&mut inbox, &batch, 3..5);
    assert_eq!(pop_all(&mut inbox, &batch), [1, 2, 3, 4]);
}

#[test]
fn only_the_call_that_is_meant_is_withdrawn_never_a_cast_or_another_call() {
    let (mut inbox, batch) = mailbox();
    push_all(&mut inbox, &batch, 0..3);
    let (envelope, _other) = call(3);
    inbox.push(envelope, &batch, ROOM).unwrap();
    let (_, stranger) = call(4);
    assert_eq!(inbox.withdraw(&batch, &stranger), None);
    assert_eq!(pop_all(&mut inbox, &batch), [0, 1, 2, 3]);
}

/// P9: handed back in order, the batch too.
#[test]
fn a_drain_takes_everything_that_waits_oldest_first() {
    let (mut inbox, batch) = mailbox();
    push_all(&mut inbox, &batch, 0..4);
    assert_eq!(pop(&mut inbox, &batch), Some(0));
    push_all(&mut inbox, &batch, 4..7);
    let drained = inbox.drain(&batch);
    let numbers: Vec<_> = drained.iter().map(|envelope| envelope.message.0).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!((inbox.len(), batch.len()), (0, 0));
    assert_eq!(pop(&mut inbox, &batch), None);
}

/// P16: a process that gets one message at a time never has a heap for its mailbox.
#[test]
fn one_message_at_a_time_needs_no_heap() {
    let (mut inbox, batch) = mailbox();
    for number in 0..100 {
        inbox.push(cast(number), &batch, ROOM).unwrap();
        assert_eq!(heap(&inbox, &batch), 0);
        assert_eq!(pop_all(&mut inbox, &batch), [number]);
    }
    assert_eq!(heap(&inbox, &batch), 0);
}

/// P16: a burst leaves nothing behind once it has been handled, however long ago it came.
#[test]
fn after_a_burst_an_idle_mailbox_owns_no_heap() {
    for bursts in [[0..2, 2..2, 2..2], [0..100, 100..400, 400..400], [0..9, 9..10, 10..30]] {
        let (mut inbox, batch) = mailbox();
        for burst in bursts.clone() {
            push_all(&mut inbox, &batch, burst);
            pop(&mut inbox, &batch);
        }
        pop_all(&mut inbox, &batch);
        assert_eq!(heap(&inbox, &batch), 0, "after {bursts:?}");
    }
}

/// P16: nor does what was handed back.
#[test]
fn after_a_drain_a_mailbox_owns_no_heap() {
    let (mut inbox, batch) = mailbox();
    push_all(&mut inbox, &batch, 0..100);
    pop(&mut inbox, &batch);
    push_all(&mut inbox, &batch, 100..200);
    drop(inbox.drain(&batch));
    assert_eq!(heap(&inbox, &batch), 0);
}

/// P16: nor what was taken back by its callers.
#[test]
fn after_every_call_was_withdrawn_a_mailbox_owns_no_heap() {
    let (mut inbox, batch) = mailbox();
    let calls: Vec<_> = (0..50).map(call).collect();
    let answers: Vec<_> = calls.iter().map(|(_, answer)| answer.clone()).collect();
    for (envelope, _) in calls {
        inbox.push(envelope, &batch, ROOM).unwrap();
    }
    for answer in &answers {
        assert!(inbox.withdraw(&batch, answer).is_some());
    }
    assert_eq!(pop(&mut inbox, &batch), None);
    assert_eq!(heap(&inbox, &batch), 0);
}

#[derive(Clone, Debug)]
enum Move {
    Cast,
    Call,
    Pop,
    /// Takes back one of the calls made so far, begun or not.
    Withdraw(prop::sample::Index),
    Drain,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => Just(Move::Cast),
        6 => Just(Move::Call),
        9 => Just(Move::Pop),
        4 => any::<prop::sample::Index>().prop_map(Move::Withdraw),
        1 => Just(Move::Drain),
    ];
    prop::collection::vec(one, 0..200)
}

proptest! {
    /// P9, P11, against the simplest thing that could be right: one queue.
    #[test]
    fn the_two_halves_are_one_bounded_queue_whatever_is_done_to_them(
        moves in moves(),
        capacity in 1_u32..12,
    ) {
        let (mut inbox, batch) = mailbox();
        let mut model: VecDeque<u32> = VecDeque::new();
        let mut answers: Vec<(u32, Answers)> = Vec::new();
        for (number, next) in moves.into_iter().enumerate() {
            let number = number as u32;
            match next {
                Move::Cast | Move::Call => {
                    let envelope = if let Move::Cast = next {
                        cast(number)
                    } else {
                        let (envelope, answer) = call(number);
                        answers.push((number, answer));
                        envelope
                    };
                    let room = model.len() < capacity as usize;
                    prop_assert_eq!(inbox.push(envelope, &batch, capacity).is_ok(), room);
                    if room {
                        model.push_back(number);
                    }
                }
                Move::Pop => prop_assert_eq!(pop(&mut inbox, &batch), model.pop_front()),
                Move::Withdraw(which) => {
                    if answers.is_empty() {
                        continue;
                    }
                    let (number, answer) = which.get(&answers);
                    let at = model.iter().position(|other| other == number);
                    let expected = at.and_then(|at| model.remove(at)).map(Number);
                    prop_assert_eq!(inbox.withdraw(&batch, answer), expected);
                }
                Move::Drain => {
                    let drained = inbox.drain(&batch);
                    let numbers: Vec<_> = drained.iter().map(|one| one.message.0).collect();
                    prop_assert_eq!(numbers, model.drain(..).collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(inbox.len() + batch.len(), model.len());
        }
        prop_assert_eq!(pop_all(&mut inbox, &batch), Vec::from(model));
        prop_assert_eq!(heap(&inbox, &batch), 0, "an idle mailbox owns heap");
    }
}
