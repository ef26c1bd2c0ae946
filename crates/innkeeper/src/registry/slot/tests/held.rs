//! A slot whose supervisor restarts it with its siblings.

use super::*;

fn resume() -> Event<'static> {
    Event::Resume { after: Duration::from_secs(3) }
}

/// A slot that has ended and waits, with incarnation 1.
fn held() -> Slot {
    let mut slot = slot(At::Live);
    slot.apply(hold(false), at(20));
    assert_eq!(slot.apply(Event::Ended, at(21)).next, Some(Next::Hold));
    slot
}

/// P1: nothing begins while it is held, and one incarnation once it is resumed.
#[test]
fn what_is_held_begins_only_once_it_is_resumed() {
    let mut slot = held();
    assert_eq!(slot.apply(Event::BackoffOver(number(2)), at(22)).next, Some(Next::Hold));
    assert_eq!((slot.incarnation(), slot.state()), (number(1), Some(State::Restarting)));
    assert_eq!(slot.backoff(), None);
    assert_eq!(slot.apply(resume(), at(23)).signal, Some(Signal::Look));
    assert_eq!(slot.backoff(), Some(Duration::from_secs(3)));
    assert_eq!(slot.apply(Event::BackoffOver(number(2)), at(26)), Step::default());
    assert_eq!(slot.incarnation(), number(2));
    assert!(slot.is_starting());
    assert_eq!(slot.apply(resume(), at(27)), Step::default(), "it comes too late to matter");
}

/// P9: what waits for it is for the next incarnation, also when a sibling is why it ends.
#[test]
fn what_is_held_keeps_its_mail_unless_it_opted_out() {
    for place in [At::Starting, At::StartingAgain, At::Live, At::LiveAgain, At::Backoff] {
        let mut slot = slot(place);
        assert_eq!(slot.apply(hold(false), at(20)).hand_back, None, "{place:?}");
        assert!(slot.takes_mail_by_key() && slot.ask(at(20)) == Ask::Wait, "{place:?}");
    }
    let mut slot = slot(At::Live);
    slot.keeps_mail = false;
    assert_eq!(slot.apply(hold(false), at(20)).hand_back, Some(NotDelivered::Ended));
}

/// P8: it is told to end as by a stop: in order, or at once where its spec or its `init` says so.
#[test]
fn what_is_held_is_told_to_end_as_by_a_stop() {
    for place in EVERYWHERE {
        for brutal in [false, true] {
            let told = slot(place).apply(hold(brutal), at(20)).signal;
            let expected = match place {
                At::Starting | At::StartingAgain | At::Live | At::LiveAgain => {
                    slot(place).apply(stop(brutal), at(20)).signal
                }
                At::Backoff => Some(Signal::Look),
                At::EndingFree | At::EndingRestart | At::EndingPark | At::Parked | At::Free => None,
            };
            assert_eq!(told, expected, "{place:?}");
        }
    }
}

/// A stop for good goes before, whenever it comes.
#[test]
fn a_stop_ends_for_good_what_is_held_or_about_to_be() {
    let mut ending = slot(At::Live);
    ending.apply(hold(false), at(20));
    assert!(ending.apply(stop(false), at(20)).signal.is_some());
    assert_eq!(ending.apply(Event::Ended, at(21)).next, Some(Next::Free));
    let mut slot = held();
    assert!(slot.apply(stop(false), at(22)).signal.is_some());
    assert_eq!(slot.apply(resume(), at(23)), Step::default());
    let step = slot.apply(Event::BackoffOver(number(2)), at(23));
    assert_eq!((step.next, step.settle), (Some(Next::Free), settled(Outcome::Ended)));
}

/// P8: one that crashes is held by the ruling of its supervisor, and each restart counts once.
#[test]
fn a_ruling_may_have_a_crashed_process_wait() {
    let mut slot = slot(At::Live);
    slot.apply(Event::Exited(crash(), Ruling::Hold), at(20));
    assert_eq!(slot.apply(hold(false), at(20)), Step::default(), "it is about to be held");
    assert_eq!(slot.apply(Event::Ended, at(21)).next, Some(Next::Hold));
    assert_eq!((slot.restarts(), slot.reason_of(number(1))), (1, crash()));
    slot.apply(resume(), at(22));
    assert_eq!(held().restarts(), 1);
    assert_eq!(held().reason_of(number(1)), ExitReason::Shutdown);
}

/// P8: who is held again before it began says so again, also if it never noticed that it was
/// resumed in between.
#[test]
fn what_is_held_in_the_wait_before_it_begins_reports_that_once_more() {
    let mut slot = held();
    slot.apply(resume(), at(22));
    assert_eq!(slot.apply(hold(false), at(22)).signal, Some(Signal::Look));
    assert!(!slot.is_held(), "or its runner would go on waiting");
    assert_eq!(slot.apply(resume(), at(23)), Step::default());
    assert_eq!(slot.apply(Event::BackoffOver(number(2)), at(23)).next, Some(Next::Hold));
    assert!(slot.is_held());
    assert_eq!((slot.incarnation(), slot.restarts()), (number(1), 1));
}
