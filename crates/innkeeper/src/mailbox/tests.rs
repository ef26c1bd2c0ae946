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

/// A mailbox with the runner's half beside it.
struct Mailbox {
    inbox: Inbox<Number>,
    taken: VecDeque<Envelope<Number>>,
    capacity: u32,
}

impl Mailbox {
    fn new(capacity: u32) -> Self {
        Mailbox { inbox: Inbox::new(), taken: VecDeque::new(), capacity }
    }

    fn push(&mut self, envelope: Envelope<Number>) -> bool {
        let (capacity, taken) = (self.capacity, self.taken.len() as u32);
        let room = self.inbox.has_room(|| (capacity, taken));
        if room {
            self.inbox.push(envelope);
        }
        room
    }

    fn cast(&mut self, number: u32) -> bool {
        self.push(Envelope { message: Number(number), answer: None })
    }

    fn cast_all(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            assert!(self.cast(number));
        }
    }

    fn call(&mut self, number: u32) -> (bool, Answers) {
        let answer = Answer::open(Waker::noop());
        let envelope = Envelope { message: Number(number), answer: Some(answer.clone()) };
        (self.push(envelope), answer)
    }

    /// What the runner does: from what it has taken first, then from the inbox.
    fn pop(&mut self) -> Option<u32> {
        let envelope = self.taken.pop_front().or_else(|| self.inbox.pop(&mut self.taken));
        envelope.map(|envelope| envelope.message.0)
    }

    fn pop_all(&mut self) -> Vec<u32> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    /// What the runner does when it stops serving.
    fn put_back(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.inbox.put_back(taken);
    }

    fn len(&self) -> usize {
        self.inbox.len() + self.taken.len()
    }

    fn heap(&self) -> usize {
        self.inbox.rest.capacity()
    }
}

/// P9: order is kept across the inbox and what was taken from it.
#[test]
fn messages_come_out_in_the_order_they_went_in_also_across_what_was_taken() {
    let mut mailbox = Mailbox::new(1000);
    mailbox.cast_all(0..5);
    let mut out = vec![mailbox.pop().unwrap(), mailbox.pop().unwrap()];
    assert_eq!((mailbox.taken.len(), mailbox.inbox.len()), (3, 0), "the runner has taken them");
    mailbox.cast_all(5..10);
    out.extend(mailbox.pop_all());
    assert_eq!(out, (0..10).collect::<Vec<_>>());
}

/// P9: what was taken and not begun is before what has come since.
#[test]
fn what_is_put_back_is_at_the_front() {
    let mut mailbox = Mailbox::new(1000);
    mailbox.cast_all(0..5);
    assert_eq!(mailbox.pop(), Some(0));
    mailbox.cast_all(5..6);
    let _call = mailbox.call(6);
    mailbox.put_back();
    assert_eq!(mailbox.pop_all(), [1, 2, 3, 4, 5, 6]);
}

/// P6: whoever waits may take a call back, so the runner does not take calls.
#[test]
fn casts_behind_which_a_call_waits_are_not_taken() {
    let mut mailbox = Mailbox::new(1000);
    mailbox.cast_all(0..3);
    let (_, answer) = mailbox.call(3);
    assert_eq!(mailbox.pop(), Some(0));
    assert_eq!((mailbox.taken.len(), mailbox.inbox.len()), (0, 3));
    assert_eq!(mailbox.inbox.withdraw(&answer), Some(Number(3)));
    assert_eq!(mailbox.pop(), Some(1));
    assert_eq!((mailbox.taken.len(), mailbox.inbox.len()), (1, 0), "the call is gone");
}

/// P9, P11: what the runner has taken and not begun still waits, so it counts.
#[test]
fn the_bound_counts_what_waits_in_the_inbox_and_what_was_taken() {
    let mut mailbox = Mailbox::new(4);
    mailbox.cast_all(0..4);
    assert!(!mailbox.cast(9));
    assert_eq!(mailbox.pop(), Some(0));
    assert_eq!((mailbox.taken.len(), mailbox.inbox.len()), (3, 0));
    assert!(mailbox.cast(4));
    assert!(!mailbox.cast(9));
    mailbox.put_back();
    assert!(!mailbox.cast(9));
    assert_eq!(mailbox.pop_all(), [1, 2, 3, 4]);
}

/// P6: a call that has not been begun can be taken back from wherever it waits.
#[test]
fn a_call_is_withdrawn_from_the_first_place_and_the_rest() {
    let mut mailbox = Mailbox::new(1000);
    let answers: Vec<_> = (0..6).map(|number| mailbox.call(number).1).collect();
    assert_eq!(mailbox.pop(), Some(0));
    assert_eq!(mailbox.inbox.withdraw(&answers[0]), None, "it has been begun");
    for from in [1, 4] {
        assert_eq!(mailbox.inbox.withdraw(&answers[from]), Some(Number(from as u32)));
        assert_eq!(mailbox.inbox.withdraw(&answers[from]), None, "twice");
    }
    let last = mailbox.call(6).1;
    assert_eq!(mailbox.pop_all(), [2, 3, 5, 6]);
    let first = mailbox.call(7).1;
    assert_eq!(mailbox.inbox.withdraw(&first), Some(Number(7)), "from the first place");
    assert_eq!((mailbox.inbox.withdraw(&last), mailbox.len()), (None, 0));
}

/// P9: also when the oldest one is taken back.
#[test]
fn order_is_kept_around_a_first_message_that_was_withdrawn() {
    let mut mailbox = Mailbox::new(1000);
    let (_, answer) = mailbox.call(0);
    mailbox.cast_all(1..3);
    assert_eq!(mailbox.inbox.withdraw(&answer), Some(Number(0)));
    mailbox.cast_all(3..5);
    assert_eq!(mailbox.pop_all(), [1, 2, 3, 4]);
}

#[test]
fn only_the_call_that_is_meant_is_withdrawn_never_a_cast_or_another_call() {
    let mut mailbox = Mailbox::new(1000);
    mailbox.cast_all(0..3);
    let _other = mailbox.call(3);
    let stranger = Answer::open(Waker::noop());
    assert_eq!(mailbox.inbox.withdraw(&stranger), None);
    assert_eq!(mailbox.pop_all(), [0, 1, 2, 3]);
}

/// P9: handed back in order.
#[test]
fn a_drain_takes_everything_that_waits_oldest_first() {
    let mut mailbox = Mailbox::new(1000);
    mailbox.cast_all(0..4);
    assert_eq!(mailbox.pop(), Some(0));
    mailbox.cast_all(4..7);
    mailbox.put_back();
    let drained = mailbox.inbox.drain();
    let numbers: Vec<_> = drained.iter().map(|envelope| envelope.message.0).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!((mailbox.len(), mailbox.heap()), (0, 0));
    assert_eq!(mailbox.pop(), None);
}

/// P16: a process that gets one message at a time never has a heap for its mailbox.
#[test]
fn one_message_at_a_time_needs_no_heap() {
    let mut mailbox = Mailbox::new(1000);
    for number in 0..100 {
        assert!(mailbox.cast(number));
        assert_eq!(mailbox.pop_all(), [number]);
        assert_eq!((mailbox.heap(), mailbox.taken.capacity()), (0, 0));
    }
}

/// P16: a mailbox that rests has none, and an idle one not that of a rush.
#[test]
fn memory_is_given_back_at_rest_and_after_a_rush() {
    let rush = limits::MAILBOX_KEPT as u32 * 2;
    for (burst, all, kept) in [(100, false, true), (100, true, false), (rush, false, false)] {
        let mut mailbox = Mailbox::new(rush);
        // A call at the end, so that nothing of it is taken.
        mailbox.cast_all(0..burst - 1);
        let _call = mailbox.call(burst);
        mailbox.inbox.shrink(all);
        assert_eq!(mailbox.pop_all().len(), burst as usize, "never while something waits");
        mailbox.inbox.shrink(all);
        assert_eq!(mailbox.heap() > 0, kept, "after {burst}, all: {all}");
    }
}

#[derive(Clone, Debug)]
enum Move {
    Cast,
    Call,
    Pop,
    /// Takes back one of the calls made so far, begun or not.
    Withdraw(prop::sample::Index),
    PutBack,
    Drain,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        9 => Just(Move::Cast),
        3 => Just(Move::Call),
        9 => Just(Move::Pop),
        4 => any::<prop::sample::Index>().prop_map(Move::Withdraw),
        2 => Just(Move::PutBack),
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
        let mut mailbox = Mailbox::new(capacity);
        let mut model: VecDeque<u32> = VecDeque::new();
        let mut answers: Vec<(u32, Answers)> = Vec::new();
        for (number, next) in moves.into_iter().enumerate() {
            let number = number as u32;
            match next {
                Move::Cast | Move::Call => {
                    let room = model.len() < capacity as usize;
                    if let Move::Cast = next {
                        prop_assert_eq!(mailbox.cast(number), room);
                    } else {
                        let (accepted, answer) = mailbox.call(number);
                        prop_assert_eq!(accepted, room);
                        answers.push((number, answer));
                    }
                    if room {
                        model.push_back(number);
                    }
                }
                Move::Pop => prop_assert_eq!(mailbox.pop(), model.pop_front()),
                Move::Withdraw(which) => {
                    if answers.is_empty() {
                        continue;
                    }
                    let (number, answer) = which.get(&answers);
                    let at = model.iter().position(|other| other == number);
                    let expected = at.and_then(|at| model.remove(at)).map(Number);
                    prop_assert_eq!(mailbox.inbox.withdraw(answer), expected);
                }
                Move::PutBack => mailbox.put_back(),
                Move::Drain => {
                    mailbox.put_back();
                    let drained = mailbox.inbox.drain();
                    let numbers: Vec<_> = drained.iter().map(|one| one.message.0).collect();
                    prop_assert_eq!(numbers, model.drain(..).collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(mailbox.len(), model.len());
        }
        prop_assert_eq!(mailbox.pop_all(), Vec::from(model));
    }
}
