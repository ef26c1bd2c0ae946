//! The line as data: what happened to children in, what is due out.

use proptest::prelude::{any, prop_assert, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;

use super::*;

type Child = u64;

/// A line of children that all run; the places named are temporary.
fn line(strategy: Strategy, children: u64, temporary: &[u64]) -> Line<Child> {
    let mut line = Line::new(strategy, AutoShutdown::Never);
    for at in 1..=children {
        line.put(at, at, temporary.contains(&at), false);
    }
    line.open();
    (1..=children).for_each(|at| line.started(at));
    line
}

/// Everything that is due, each end and each start being over at once.
fn round(line: &mut Line<Child>) -> Vec<Due<Child>> {
    let mut all = Vec::new();
    while let Some(due) = line.due() {
        match due {
            Due::Hold(at) => line.held(at),
            Due::End(at) => line.gone(at),
            Due::Resume(at, _) => line.ready(at),
            Due::ShutDown => {}
        }
        all.push(due);
    }
    assert!(line.waits_for().is_none());
    all
}

fn resume(at: Child) -> Due<Child> {
    Due::Resume(at, Duration::ZERO)
}

#[test]
fn one_for_all_ends_the_others_in_reverse_and_starts_all_in_order() {
    let mut line = line(Strategy::OneForAll, 3, &[]);
    line.held(2);
    assert_eq!(line.due(), Some(Due::Hold(3)));
    assert_eq!(line.due(), None, "one by one");
    line.held(3);
    assert_eq!(round(&mut line), [Due::Hold(1), resume(1), resume(2), resume(3)]);
}

#[test]
fn rest_for_one_leaves_those_alone_that_were_started_before() {
    let mut line = line(Strategy::RestForOne, 4, &[]);
    line.held(3);
    assert_eq!(round(&mut line), [Due::Hold(4), resume(3), resume(4)]);
}

#[test]
fn temporary_siblings_end_for_good() {
    let mut line = line(Strategy::OneForAll, 3, &[3]);
    line.held(1);
    let dues = round(&mut line);
    assert_eq!(dues, [Due::End(3), Due::Hold(2), resume(1), resume(2)]);
}

#[test]
fn a_start_waits_for_the_one_before_it_and_the_first_one_for_the_backoff() {
    let mut line = line(Strategy::OneForAll, 2, &[]);
    let wait = Duration::from_secs(2);
    line.delay(wait);
    line.held(1);
    assert_eq!(line.due(), Some(Due::Hold(2)));
    line.held(2);
    assert_eq!(line.due(), Some(Due::Resume(1, wait)));
    assert_eq!((line.due(), line.waits_for()), (None, Some(&1)));
    line.ready(1);
    assert_eq!(line.due(), Some(resume(2)));
}

/// As OTP, which tries the failed one again and leaves those before it alone.
#[test]
fn a_start_that_fails_in_a_round_concerns_those_whom_its_crash_would() {
    for (strategy, dues) in [
        (Strategy::RestForOne, vec![resume(2), resume(3)]),
        (Strategy::OneForAll, vec![Due::Hold(1), resume(1), resume(2), resume(3)]),
    ] {
        let mut line = line(strategy, 3, &[]);
        line.held(1);
        assert_eq!(line.due(), Some(Due::Hold(3)));
        line.held(3);
        assert_eq!(line.due(), Some(Due::Hold(2)));
        line.held(2);
        assert_eq!(line.due(), Some(resume(1)));
        line.ready(1);
        assert_eq!(line.due(), Some(resume(2)));
        line.held(2);
        assert_eq!(round(&mut line), dues, "{strategy:?}");
    }
}

#[test]
fn a_line_that_is_closed_has_nothing_due() {
    let mut line = line(Strategy::OneForAll, 3, &[]);
    line.held(2);
    line.close();
    assert_eq!((line.due(), line.waits_for()), (None, None));
    line.open();
    assert_eq!(line.due(), None, "and nothing is left of it");
}

#[test]
fn a_supervisor_is_shut_down_by_its_significant_children_as_it_says() {
    for (when, dues) in [
        (AutoShutdown::Never, [None, None]),
        (AutoShutdown::AnySignificant, [Some(Due::ShutDown), Some(Due::ShutDown)]),
        (AutoShutdown::AllSignificant, [None, Some(Due::ShutDown)]),
    ] {
        let mut line = Line::new(Strategy::OneForOne, when);
        (1..=4).for_each(|at| line.put(at, at, false, at > 1));
        line.open();
        (1..=4).for_each(|at| line.started(at));
        // Not significant; and one that was told to end.
        line.leaving(1);
        line.gone(1);
        line.gone(4);
        assert_eq!(line.due(), None);
        for (at, due) in [2, 3].into_iter().zip(dues) {
            line.leaving(at);
            line.gone(at);
            assert_eq!(line.due(), due, "{when:?}");
        }
    }
}

/// What a child really does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Run,
    End,
    Wait,
    Begin,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    /// It ends by itself and is to be restarted.
    Crash(usize),
    /// It ends by itself and is not, or somebody ends it.
    Leave(usize),
    /// It gets on with what it was told.
    GetOn(usize),
}

struct World {
    line: Line<Child>,
    strategy: Strategy,
    temporary: Vec<bool>,
    does: Vec<Does>,
    /// Those that have crashed, and those that end because of them.
    concerned: Vec<bool>,
}

impl World {
    fn does(&mut self, at: Child) -> &mut Does {
        &mut self.does[at as usize - 1]
    }

    fn act(&mut self, next: Move) {
        let (Move::Crash(index) | Move::Leave(index) | Move::GetOn(index)) = next;
        let index = index % self.does.len();
        let (at, temporary) = (index as u64 + 1, self.temporary[index]);
        let gone = |world: &mut World| {
            world.does[index] = Does::Nothing;
            world.line.gone(at);
        };
        match (next, self.does[index]) {
            (Move::Crash(_), Does::Run | Does::Begin) if temporary => gone(self),
            (Move::Crash(_), Does::Run | Does::Begin) => {
                let end = match self.strategy {
                    Strategy::OneForAll => 0,
                    Strategy::RestForOne => index,
                    Strategy::OneForOne => unreachable!("it has no rounds"),
                };
                self.concerned[end..].fill(true);
                self.does[index] = Does::Wait;
                self.line.held(at);
            }
            (Move::Leave(_), _) => gone(self),
            (Move::GetOn(_), Does::End) if temporary => gone(self),
            (Move::GetOn(_), Does::End) => {
                self.does[index] = Does::Wait;
                self.line.held(at);
            }
            (Move::GetOn(_), Does::Begin) => {
                self.does[index] = Does::Run;
                self.line.ready(at);
            }
            (Move::Crash(_) | Move::GetOn(_), _) => {}
        }
        while let Some(due) = self.line.due() {
            self.carry_out(due);
        }
    }

    fn carry_out(&mut self, due: Due<Child>) {
        let busy = self.does.iter().any(|does| matches!(does, Does::End | Does::Begin));
        match due {
            Due::Hold(at) | Due::End(at) => {
                let index = at as usize - 1;
                assert_eq!(matches!(due, Due::End(_)), self.temporary[index]);
                assert!(self.concerned[index], "{at} has nothing to do with it");
                assert!(matches!(self.does[index], Does::Run | Does::Begin));
                assert!(!self.does.contains(&Does::End), "one at a time");
                let later = self.does[index + 1..].iter().zip(&self.concerned[index + 1..]);
                let runs = |(does, concerned): (&Does, &bool)| *does == Does::Run && *concerned;
                assert!(!later.into_iter().any(runs), "the last one first");
                *self.does(at) = Does::End;
            }
            Due::Resume(at, _) => {
                assert!(!busy, "one at a time");
                assert_eq!(*self.does(at), Does::Wait);
                let earlier = &self.does[..at as usize - 1];
                assert!(!earlier.contains(&Does::Wait), "the first one first");
                self.concerned[at as usize - 1] = false;
                *self.does(at) = Does::Begin;
            }
            Due::ShutDown => panic!("nobody is significant"),
        }
    }
}

fn moves() -> impl Generator<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => any::<usize>().prop_map(Move::Crash),
        1 => any::<usize>().prop_map(Move::Leave),
        8 => any::<usize>().prop_map(Move::GetOn),
    ];
    proptest::collection::vec(one, 0..80)
}

proptest! {
    /// P8: whatever happens in the midst of it, a restart of several ends them one by one in
    /// reverse, starts them one by one in order, leaves the others alone, and comes to its end.
    #[test]
    fn whatever_happens_in_a_round_it_keeps_to_its_order_and_ends(
        moves in moves(),
        all in any::<bool>(),
        temporary in proptest::collection::vec(any::<bool>(), 1..8),
    ) {
        let strategy = if all { Strategy::OneForAll } else { Strategy::RestForOne };
        let children = temporary.len();
        let all_places = 1..=children as u64;
        let places: Vec<_> = all_places.filter(|at| temporary[*at as usize - 1]).collect();
        let mut world = World {
            line: line(strategy, children as u64, &places),
            strategy,
            does: vec![Does::Run; children],
            concerned: vec![false; children],
            temporary,
        };
        for next in moves {
            world.act(next);
        }
        for turn in 0..children * children * 3 + 3 {
            world.act(Move::GetOn(turn));
        }
        prop_assert!(world.line.waits_for().is_none());
        let rests = |does: &Does| matches!(does, Does::Run | Does::Nothing);
        prop_assert!(world.does.iter().all(rests), "{:?}", world.does);
    }
}
