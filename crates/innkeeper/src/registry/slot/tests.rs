//! The slot as data: state and event in, new state and commands out.

mod held;
mod histories;

use super::*;
use crate::child_spec::{Restart, RestartBudget};
use crate::error::GetError;

/// Every phase a slot can be in, by a way that leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Starting,
    StartingAgain,
    Live,
    LiveAgain,
    EndingFree,
    EndingRestart,
    EndingPark,
    Backoff,
    Parked,
    Free,
}

const EVERYWHERE: [At; 10] = [
    At::Starting,
    At::StartingAgain,
    At::Live,
    At::LiveAgain,
    At::EndingFree,
    At::EndingRestart,
    At::EndingPark,
    At::Backoff,
    At::Parked,
    At::Free,
];

const WINDOW: Duration = Duration::from_secs(5);
const PARK: Duration = Duration::from_secs(60);

fn policy(restart: Restart, max: u32) -> Policy {
    Policy { restart, budget: RestartBudget::new(max, WINDOW), park_time: PARK }
}

fn number(number: u64) -> Incarnation {
    Incarnation::from_bits(number)
}

fn at(secs: u64) -> Moment {
    Moment::ZERO.after(Duration::from_secs(secs))
}

fn crash() -> ExitReason {
    ExitReason::failed("disk full")
}

fn restart() -> Ruling<'static> {
    Ruling::Restart { after: Duration::ZERO }
}

fn stop(brutal: bool) -> Event<'static> {
    let shutdown = if brutal { Shutdown::BrutalKill } else { Shutdown::Timeout(PARK) };
    Event::Stop { reason: ExitReason::Shutdown, shutdown }
}

fn hold(brutal: bool) -> Event<'static> {
    let shutdown = if brutal { Shutdown::BrutalKill } else { Shutdown::Timeout(PARK) };
    Event::Hold { reason: ExitReason::Shutdown, shutdown }
}

/// A slot at that place since second 10; its incarnation is 1, or 2 after a restart.
fn slot(place: At) -> Slot {
    let mut slot = Slot::begin(number(1), true, at(0));
    let forever = policy(Restart::Permanent, 100);
    let never = policy(Restart::Permanent, 0);
    let again = |slot: &mut Slot| {
        slot.apply(Event::Ready, at(1));
        slot.apply(Event::Exited(crash(), Ruling::Own { policy: &forever, group: true }), at(2));
        slot.apply(Event::Ended, at(3));
    };
    let now = at(10);
    match place {
        At::Starting => slot.since = now,
        At::StartingAgain => {
            again(&mut slot);
            slot.apply(Event::BackoffOver(number(2)), now);
        }
        At::Live => {
            slot.apply(Event::Ready, now);
        }
        At::LiveAgain => {
            again(&mut slot);
            slot.apply(Event::BackoffOver(number(2)), at(4));
            slot.apply(Event::Ready, now);
        }
        At::EndingFree => {
            slot.apply(Event::Ready, at(1));
            slot.apply(stop(false), now);
        }
        At::EndingRestart => {
            slot.apply(Event::Ready, at(1));
            slot.apply(Event::Exited(crash(), restart()), now);
        }
        At::EndingPark => {
            slot.apply(Event::Ready, at(1));
            slot.apply(Event::Exited(crash(), Ruling::Own { policy: &never, group: true }), now);
        }
        At::Backoff => {
            again(&mut slot);
            slot.since = now;
        }
        At::Parked => {
            slot.apply(Event::Ready, at(1));
            slot.apply(Event::Exited(crash(), Ruling::Own { policy: &never, group: true }), at(2));
            slot.apply(Event::Ended, now);
        }
        At::Free => {
            slot.apply(Event::Ready, at(1));
            slot.apply(stop(false), at(2));
            slot.apply(Event::Ended, now);
        }
    }
    assert_eq!(slot.since(), now, "{place:?}");
    slot
}

fn settled(outcome: Outcome) -> Option<Outcome> {
    Some(outcome)
}

#[test]
fn each_place_of_the_tests_is_the_phase_it_is_named_after() {
    let phases = EVERYWHERE.map(|place| slot(place).phase);
    assert_eq!(
        phases,
        [
            Phase::Starting { again: false },
            Phase::Starting { again: true },
            Phase::Live,
            Phase::Live,
            Phase::Ending(Then::Free),
            Phase::Ending(Then::Restart),
            Phase::Ending(Then::Park),
            Phase::Backoff,
            Phase::Parked,
            Phase::Free,
        ]
    );
}

/// P2: a handle is handed out only for a ready incarnation. P7: never for one that is ending.
#[test]
fn only_a_live_incarnation_is_found_and_all_else_waits_or_is_told_why_not() {
    let asked = EVERYWHERE.map(|place| slot(place).ask(at(10)));
    assert_eq!(
        asked,
        [
            Ask::Wait,
            Ask::Wait,
            Ask::Found(number(1)),
            Ask::Found(number(2)),
            Ask::WaitForEnd,
            Ask::Wait,
            Ask::WaitForEnd,
            Ask::Wait,
            Ask::Parked(crash()),
            Ask::Vacant,
        ]
    );
}

#[test]
fn what_others_are_shown_is_the_phase_without_its_inner_workings() {
    let shown = EVERYWHERE.map(|place| slot(place).state());
    assert_eq!(
        shown,
        [
            Some(State::Starting),
            Some(State::Restarting),
            Some(State::Live),
            Some(State::Live),
            Some(State::Stopping),
            Some(State::Restarting),
            Some(State::Stopping),
            Some(State::Restarting),
            Some(State::Parked),
            None,
        ]
    );
}

/// P8, P9: mail for the key waits out a restart; where none follows it is refused.
#[test]
fn mail_for_the_key_is_taken_exactly_where_an_incarnation_will_handle_it() {
    let taken = EVERYWHERE.map(|place| slot(place).takes_mail_by_key());
    assert_eq!(taken, [true, true, true, true, false, true, false, true, false, false]);
}

/// P2: a reference names one incarnation.
#[test]
fn mail_for_an_incarnation_is_taken_only_while_that_one_runs() {
    let taken = EVERYWHERE.map(|place| {
        let slot = slot(place);
        let own = slot.takes_mail_for(slot.incarnation());
        let other = number(slot.incarnation().to_bits() + 1);
        assert!(!slot.takes_mail_for(other), "{place:?}");
        assert!(!slot.takes_mail_for(number(0)), "{place:?}");
        own
    });
    assert_eq!(taken, [true, true, true, true, false, false, false, false, false, false]);
}

/// P8: a ruling counts against a budget, so it is asked for only where a restart may follow.
#[test]
fn an_exit_is_ruled_on_after_a_first_start_and_before_an_end() {
    let ruled = EVERYWHERE.map(|place| slot(place).awaits_ruling());
    assert_eq!(ruled, [false, true, true, true, false, false, false, false, false, false]);
}

/// P1: what nothing is left of is told from what may still exist.
#[test]
fn an_incarnation_has_ended_exactly_where_nothing_of_it_is_left() {
    let ended = EVERYWHERE.map(|place| slot(place).has_ended());
    assert_eq!(ended, [false, false, false, false, false, false, false, true, true, true]);
}

/// An event that comes too late, or too early, to matter.
#[test]
fn an_event_that_does_not_belong_to_the_phase_changes_nothing() {
    let own = policy(Restart::Permanent, 3);
    let own = Ruling::Own { policy: &own, group: true };
    let events: [(&str, &[At]); 8] = [
        ("ready", &[At::Starting, At::StartingAgain]),
        ("declined", &[At::Starting, At::StartingAgain]),
        ("init_failed", &[At::Starting, At::StartingAgain]),
        ("start_deadline", &[At::Starting, At::StartingAgain]),
        ("exited", &[At::Live, At::LiveAgain]),
        ("idle", &[At::Live, At::LiveAgain]),
        ("ended", &[At::EndingFree, At::EndingRestart, At::EndingPark]),
        ("backoff_over", &[At::Backoff, At::EndingFree, At::EndingRestart, At::EndingPark]),
    ];
    for (event, matters) in events {
        for place in EVERYWHERE {
            let mut slot = slot(place);
            let before = format!("{slot:?}");
            let step = match event {
                "ready" => slot.apply(Event::Ready, at(20)),
                "declined" => slot.apply(Event::Declined, at(20)),
                "init_failed" => slot.apply(Event::InitFailed(crash(), own), at(20)),
                "start_deadline" => {
                    slot.apply(Event::StartDeadline(ExitReason::StartTimeout, own), at(20))
                }
                "exited" => slot.apply(Event::Exited(crash(), own), at(20)),
                "idle" => slot.apply(Event::Idle, at(20)),
                "ended" => slot.apply(Event::Ended, at(20)),
                _ => slot.apply(Event::BackoffOver(number(3)), at(20)),
            };
            let nothing = format!("{slot:?}") == before && step == Step::default();
            assert_eq!(nothing, !matters.contains(&place), "{event} at {place:?}: {step:?}");
        }
    }
}

/// P2: one start, one outcome.
#[test]
fn ready_settles_the_start_with_this_incarnation() {
    for place in [At::Starting, At::StartingAgain] {
        let mut slot = slot(place);
        let incarnation = slot.incarnation();
        let step = slot.apply(Event::Ready, at(20));
        let settle = settled(Outcome::Ready(incarnation));
        assert_eq!(step, Step { settle, ..Step::default() });
        assert_eq!((slot.live(), slot.since()), (Some(incarnation), at(20)));
    }
}

/// P3: declined is a value; the waiters learn it once the key is free, and not before.
#[test]
fn a_declined_start_frees_the_key_and_says_so_at_the_end() {
    for place in [At::Starting, At::StartingAgain] {
        let mut slot = slot(place);
        let step = slot.apply(Event::Declined, at(20));
        let hand_back = Some(NotDelivered::NoProcess(GetError::Declined));
        assert_eq!(step, Step { hand_back, ..Step::default() });
        let step = slot.apply(Event::Ended, at(21));
        let settle = settled(Outcome::Declined);
        assert_eq!(step, Step { settle, next: Some(Next::Free), ..Step::default() });
        assert_eq!(slot.ask(at(21)), Ask::Vacant);
    }
}

/// P3: every waiter gets the same error, once the key is free again.
#[test]
fn a_failed_first_start_frees_the_key_whatever_the_restart_rule_says() {
    let own = policy(Restart::Permanent, 3);
    for ruling in [restart(), Ruling::Free, Ruling::Own { policy: &own, group: true }] {
        let mut slot = slot(At::Starting);
        let step = slot.apply(Event::InitFailed(crash(), ruling), at(20));
        let hand_back = Some(NotDelivered::NoProcess(GetError::InitFailed(crash())));
        assert_eq!(step, Step { hand_back, ..Step::default() });
        assert_eq!(slot.state(), Some(State::Stopping));
        let step = slot.apply(Event::Ended, at(21));
        let settle = settled(Outcome::Failed(crash()));
        assert_eq!(step, Step { settle, next: Some(Next::Free), ..Step::default() });
        assert_eq!(slot.restarts(), 0);
    }
}

/// P8: a start that fails after a crash is one more crash.
#[test]
fn a_failed_restart_is_ruled_on_like_a_crash() {
    let mut slot = slot(At::StartingAgain);
    let step = slot.apply(Event::InitFailed(crash(), restart()), at(20));
    assert_eq!(step, Step::default());
    assert_eq!((slot.state(), slot.restarts()), (Some(State::Restarting), 2));
}

/// P6: at the deadline every waiter is told, the late `init` is killed, and the key stays taken.
#[test]
fn at_the_start_deadline_all_are_told_and_the_key_stays_taken_until_the_end() {
    let mut slot = slot(At::Starting);
    let step = slot.apply(Event::StartDeadline(ExitReason::StartTimeout, Ruling::Free), at(20));
    let failed = Outcome::Failed(ExitReason::StartTimeout);
    let signal = Some(Signal::Kill(ExitReason::StartTimeout));
    let hand_back = Some(NotDelivered::NoProcess(GetError::StartTimeout));
    let told = Step { settle: Some(failed), signal, hand_back, next: None };
    assert_eq!(step, told);
    assert_eq!((slot.state(), slot.ask(at(20))), (Some(State::Stopping), Ask::WaitForEnd));
    // The late init reports when it is gone, and changes nothing by that.
    let late = Event::InitFailed(ExitReason::StartTimeout, Ruling::Free);
    assert_eq!(slot.apply(late, at(30)), Step::default());
    assert_eq!(slot.apply(Event::Ended, at(31)).next, Some(Next::Free));
}

/// P6: a ready that comes after the deadline is not ready.
#[test]
fn an_init_that_is_done_after_its_deadline_is_not_handed_out() {
    let mut slot = slot(At::Starting);
    slot.apply(Event::StartDeadline(ExitReason::StartTimeout, Ruling::Free), at(20));
    assert_eq!(slot.apply(Event::Ready, at(21)), Step::default());
    assert_eq!((slot.live(), slot.ask(at(21))), (None, Ask::WaitForEnd));
}

/// P6, P8: a restart that takes too long counts as one more crash.
#[test]
fn the_start_deadline_of_a_restart_kills_it_and_lets_the_ruling_decide() {
    let mut slot = slot(At::StartingAgain);
    let step = slot.apply(Event::StartDeadline(ExitReason::StartTimeout, restart()), at(20));
    assert_eq!(step.settle, settled(Outcome::Failed(ExitReason::StartTimeout)));
    assert_eq!(step.signal, Some(Signal::Kill(ExitReason::StartTimeout)));
    assert_eq!(step.hand_back, None);
    assert_eq!(slot.state(), Some(State::Restarting));
}

/// P8: a crash keeps the key, the mailbox, and whoever waits.
#[test]
fn a_crash_that_is_restarted_settles_nothing_and_hands_nothing_back() {
    let own = policy(Restart::Transient, 3);
    let own = Ruling::Own { policy: &own, group: true };
    for ruling in [restart(), own] {
        let mut slot = slot(At::Live);
        assert_eq!(slot.apply(Event::Exited(crash(), ruling), at(20)), Step::default());
        let step = slot.apply(Event::Ended, at(21));
        let next = Some(Next::Restart { after: Duration::ZERO });
        assert_eq!(step, Step { next, ..Step::default() });
        assert_eq!(slot.apply(Event::BackoffOver(number(7)), at(22)), Step::default());
        assert_eq!((slot.incarnation(), slot.is_starting()), (number(7), true));
        assert_eq!(slot.exits(), [Exit { incarnation: number(1), reason: crash() }]);
        assert_eq!(slot.reason_of(number(1)), crash());
    }
}

/// P9: a process may opt out of what waited at its crash, and of nothing else.
#[test]
fn a_slot_that_keeps_no_mail_hands_it_back_at_a_crash_and_takes_more_after_it() {
    let mut slot = Slot::begin(number(1), false, at(0));
    slot.apply(Event::Ready, at(1));
    let step = slot.apply(Event::Exited(crash(), restart()), at(2));
    assert_eq!(step, Step { hand_back: Some(NotDelivered::Ended), ..Step::default() });
    assert!(slot.takes_mail_by_key());
    assert!(matches!(slot.apply(Event::Ended, at(3)).next, Some(Next::Restart { .. })));
}

/// P8: the restart rules of OTP.
#[test]
fn the_restart_rule_decides_by_the_reason() {
    let successes = [
        ExitReason::Normal,
        ExitReason::Idle,
        ExitReason::Shutdown,
        ExitReason::shutdown_with("deploy"),
    ];
    let crashes = [crash(), ExitReason::Killed, ExitReason::StartTimeout, ExitReason::NoProcess];
    for (restart, after_success, after_crash) in [
        (Restart::Permanent, State::Restarting, State::Restarting),
        (Restart::Transient, State::Stopping, State::Restarting),
        (Restart::Temporary, State::Stopping, State::Stopping),
    ] {
        let own = policy(restart, 3);
        let cases = successes.iter().map(|reason| (reason, after_success));
        for (reason, expected) in cases.chain(crashes.iter().map(|reason| (reason, after_crash))) {
            let mut slot = slot(At::Live);
            let ruling = Ruling::Own { policy: &own, group: true };
            slot.apply(Event::Exited(reason.clone(), ruling), at(20));
            assert_eq!(slot.state(), Some(expected), "{restart:?} after {reason}");
        }
    }
}

/// P8: the first restart in a window is immediate, the next ones wait, the one too many parks.
#[test]
fn a_key_over_its_budget_is_parked_with_its_last_reason() {
    let own = policy(Restart::Permanent, 2);
    let mut slot = slot(At::Live);
    let mut waits = Vec::new();
    for n in 2..4 {
        let ruling = Ruling::Own { policy: &own, group: true };
        slot.apply(Event::Exited(crash(), ruling), at(10));
        let Some(Next::Restart { after }) = slot.apply(Event::Ended, at(10)).next else {
            panic!("not restarted");
        };
        waits.push(after);
        slot.apply(Event::BackoffOver(number(n)), at(10));
        slot.apply(Event::Ready, at(10));
    }
    assert_eq!(waits, [Duration::ZERO, limits::BACKOFF_MIN]);
    let last = ExitReason::failed("the last straw");
    let ruling = Ruling::Own { policy: &own, group: true };
    let step = slot.apply(Event::Exited(last.clone(), ruling), at(10));
    let parked = NotDelivered::NoProcess(GetError::Parked(last.clone()));
    assert_eq!(step.hand_back, Some(parked));
    let step = slot.apply(Event::Ended, at(11));
    assert_eq!(step.settle, settled(Outcome::Parked(last.clone())));
    assert_eq!(step.next, Some(Next::Park));
    assert_eq!(slot.ask(at(12)), Ask::Parked(last));
    assert_eq!(slot.restarts(), 2);
}

/// P8: parked is visible, and expires by itself.
#[test]
fn a_parked_key_is_vacant_once_its_park_time_is_over() {
    let slot = slot(At::Parked);
    let over = at(10).after(PARK);
    assert_eq!(slot.ask(over.before(Duration::from_nanos(1))), Ask::Parked(crash()));
    assert_eq!(slot.ask(over), Ask::Vacant);
}

/// P8: parked is clearable.
#[test]
fn a_stop_frees_a_parked_key_at_once() {
    let mut slot = slot(At::Parked);
    let step = slot.apply(stop(false), at(20));
    assert_eq!(step, Step { next: Some(Next::Free), ..Step::default() });
    assert_eq!(slot.ask(at(20)), Ask::Vacant);
}

/// P8: the group budget refuses restarts, it does not stop anything.
#[test]
fn without_the_leave_of_the_group_a_crashed_key_is_parked_at_its_first_crash() {
    let own = policy(Restart::Permanent, 3);
    let mut slot = slot(At::Live);
    slot.apply(Event::Exited(crash(), Ruling::Own { policy: &own, group: false }), at(20));
    assert_eq!(slot.apply(Event::Ended, at(21)).next, Some(Next::Park));
}

/// P10: what goes idle is not restarted, whatever its restart rule.
#[test]
fn an_idle_process_ends_for_good_and_its_exit_is_not_ruled_on_again() {
    let own = policy(Restart::Permanent, 3);
    let mut slot = slot(At::Live);
    assert_eq!(slot.apply(Event::Idle, at(20)).hand_back, Some(NotDelivered::Stopping));
    assert!(!slot.takes_mail_by_key());
    let ruling = Ruling::Own { policy: &own, group: true };
    assert_eq!(slot.apply(Event::Exited(ExitReason::Idle, ruling), at(21)), Step::default());
    assert_eq!(slot.apply(Event::Ended, at(22)).next, Some(Next::Free));
}

/// P7: a stop ends in a free key from wherever it finds it, and nothing begins on the way.
#[test]
fn a_stop_leads_to_free_from_every_phase() {
    for place in EVERYWHERE {
        for brutal in [false, true] {
            let mut slot = slot(place);
            let incarnation = slot.incarnation();
            slot.apply(stop(brutal), at(20));
            // What the runner may still report about the incarnation that was told to stop.
            slot.apply(Event::Ready, at(21));
            slot.apply(Event::InitFailed(crash(), restart()), at(21));
            slot.apply(Event::Exited(crash(), restart()), at(21));
            let over = match place {
                At::Backoff => Event::BackoffOver(number(9)),
                _ => Event::Ended,
            };
            slot.apply(over, at(22));
            assert_eq!(slot.state(), None, "{place:?}");
            assert_eq!(slot.incarnation(), incarnation, "{place:?}");
        }
    }
}

/// P7, P14: what a stop tells the runner.
#[test]
fn a_stop_tears_an_init_down_asks_a_live_process_and_kills_where_it_is_brutal() {
    let told = |place, brutal| slot(place).apply(stop(brutal), at(20)).signal;
    let stop = Some(Signal::Stop(ExitReason::Shutdown));
    let kill = Some(Signal::Kill(ExitReason::Killed));
    let tear_down = Some(Signal::Kill(ExitReason::Shutdown));
    for place in EVERYWHERE {
        let (orderly, brutal) = match place {
            At::Starting | At::StartingAgain => (tear_down.clone(), tear_down.clone()),
            At::Live | At::LiveAgain | At::EndingRestart | At::EndingPark | At::Backoff => {
                (stop.clone(), kill.clone())
            }
            // It has been told; only a kill is news.
            At::EndingFree => (None, kill.clone()),
            At::Parked | At::Free => (None, None),
        };
        assert_eq!(told(place, false), orderly, "{place:?}");
        assert_eq!(told(place, true), brutal, "{place:?}");
    }
}

/// P13: a supervisor that is starting has children to end; so has whatever is never to be killed.
#[test]
fn an_init_that_is_never_to_be_killed_is_asked_to_end_like_everything_else() {
    for place in EVERYWHERE {
        let patient = Event::Stop { reason: ExitReason::Shutdown, shutdown: Shutdown::Infinity };
        let signal = slot(place).apply(patient, at(20)).signal;
        assert!(!matches!(signal, Some(Signal::Kill(_))), "{place:?}");
        let told = !matches!(place, At::EndingFree | At::Parked | At::Free);
        assert_eq!(signal.is_some(), told, "{place:?}");
    }
}

/// P7: waiting messages are handed back when they are sure not to be handled.
#[test]
fn a_stop_hands_waiting_messages_back_at_once() {
    for place in [At::Starting, At::StartingAgain, At::Live, At::EndingRestart, At::Backoff] {
        let step = slot(place).apply(stop(false), at(20));
        assert_eq!(step.hand_back, Some(NotDelivered::Stopping), "{place:?}");
    }
}

/// P8: an order to stop in the wait before a restart is the end of the key.
#[test]
fn a_backoff_that_was_stopped_ends_free_without_a_new_incarnation() {
    let mut slot = slot(At::Backoff);
    slot.apply(stop(false), at(20));
    let step = slot.apply(Event::BackoffOver(number(2)), at(21));
    assert_eq!(step.next, Some(Next::Free));
    assert_eq!(step.settle, settled(Outcome::Ended));
    assert_eq!(slot.incarnation(), number(1));
}

#[test]
fn only_the_last_exits_are_remembered() {
    let mut slot = slot(At::Live);
    for n in 1..=10 {
        slot.apply(Event::Exited(crash(), restart()), at(20));
        slot.apply(Event::Ended, at(20));
        slot.apply(Event::BackoffOver(number(n + 1)), at(20));
        slot.apply(Event::Ready, at(20));
    }
    let kept: Vec<_> = slot.exits().iter().map(|exit| exit.incarnation.to_bits()).collect();
    assert_eq!(kept, [8, 9, 10]);
    assert_eq!(slot.restarts(), 10);
    assert_eq!(slot.reason_of(number(9)), crash());
    assert_eq!(slot.reason_of(number(2)), ExitReason::NoProcess);
}

#[test]
fn a_slot_without_a_failure_owns_no_heap() {
    for place in [At::Starting, At::Live, At::EndingFree, At::Free] {
        assert!(slot(place).history.is_none(), "{place:?}");
    }
}
