//! Random histories of a slot: whatever comes in whatever order, its promises hold.

use proptest::prelude::*;

use super::*;

/// What happens next in a run; a runner obeys the protocol, everybody else does as they like.
#[derive(Clone, Debug)]
enum Move {
    /// The runner does the next thing it may do; the number picks which.
    Runner(u8),
    Stop {
        brutal: bool,
    },
    /// Whoever notices first that the start is late.
    Late,
    /// A supervisor ends it with its siblings.
    Hold {
        brutal: bool,
    },
    /// A supervisor lets it begin again.
    Resume,
    Ask,
    Send,
    Wait(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        12 => any::<u8>().prop_map(Move::Runner),
        1 => any::<bool>().prop_map(|brutal| Move::Stop { brutal }),
        1 => Just(Move::Late),
        2 => any::<bool>().prop_map(|brutal| Move::Hold { brutal }),
        4 => Just(Move::Resume),
        3 => Just(Move::Ask),
        3 => Just(Move::Send),
        2 => any::<u8>().prop_map(Move::Wait),
    ];
    proptest::collection::vec(one, 0..120)
}

fn policies() -> impl Strategy<Value = Policy> {
    let restart =
        prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)];
    (restart, 0_u32..4).prop_map(|(restart, max)| policy(restart, max))
}

/// What the runner of the model is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Init,
    Serve,
    /// User code is over, state and tasks are being dropped.
    Wind,
    Backoff,
    Nothing,
}

/// A slot with everything around it that can be told wrong things.
struct World {
    slot: Slot,
    policy: Policy,
    now: Moment,
    doing: Doing,
    /// Runs of user code that have begun and not ended, counted at the runner.
    alive: u32,
    last: u64,
    next_number: u64,
    /// Whether somebody waits, and how many outcomes all flights together got.
    flight: bool,
    mail: u32,
    stopped: bool,
    /// When it was ruled that a restart follows.
    restarts: Vec<Moment>,
}

fn late(ruling: Ruling<'_>) -> Event<'_> {
    Event::StartDeadline(ExitReason::StartTimeout, ruling)
}

impl World {
    fn new(policy: Policy) -> World {
        World {
            slot: Slot::begin(number(1), true, at(100)),
            policy,
            now: at(100),
            doing: Doing::Init,
            alive: 1,
            last: 1,
            next_number: 2,
            flight: false,
            mail: 0,
            stopped: false,
            restarts: Vec::new(),
        }
    }

    fn apply(&mut self, event: impl FnOnce(Ruling<'_>) -> Event<'_>) -> Option<Next> {
        let policy = self.policy;
        let was_free = self.slot.state().is_none();
        let event = event(Ruling::Own { policy: &policy, group: true });
        let ended = matches!(event, Event::Ended);
        let over = matches!(event, Event::BackoffOver(_));
        // That costs no budget of anybody.
        let held = matches!(event, Event::Hold { .. });
        let restarts = self.slot.restarts();
        let step = self.slot.apply(event, self.now);
        if self.slot.restarts() > restarts && !held {
            self.restarts.push(self.now);
        }
        if was_free {
            assert_eq!(step, Step::default(), "a free slot does nothing any more");
        }
        if ended {
            assert_eq!(self.alive, 1, "an end without a beginning");
            self.alive = 0;
        }
        if over && self.slot.is_starting() {
            self.begin();
        }
        if step.settle.is_some() {
            self.flight = false;
        }
        if step.hand_back.is_some() {
            self.mail = 0;
        }
        self.check();
        step.next
    }

    fn runner(&mut self, pick: u8) {
        match self.doing {
            Doing::Init => {
                self.doing = match pick % 4 {
                    0 | 1 => {
                        self.apply(|_| Event::Ready);
                        Doing::Serve
                    }
                    2 => {
                        self.apply(|ruling| Event::InitFailed(crash(), ruling));
                        Doing::Wind
                    }
                    _ => {
                        self.apply(|_| Event::Declined);
                        Doing::Wind
                    }
                };
            }
            Doing::Serve => match pick % 4 {
                0 => self.mail = self.mail.saturating_sub(1),
                1 if self.mail == 0 => {
                    self.apply(|_| Event::Idle);
                    self.apply(|ruling| Event::Exited(ExitReason::Idle, ruling));
                    self.doing = Doing::Wind;
                }
                1 | 2 => {
                    self.apply(|ruling| Event::Exited(crash(), ruling));
                    self.doing = Doing::Wind;
                }
                _ => {
                    self.apply(|ruling| Event::Exited(ExitReason::Normal, ruling));
                    self.doing = Doing::Wind;
                }
            },
            Doing::Wind => {
                let next = self.apply(|_| Event::Ended);
                assert!(next.is_some(), "an end says what follows");
                self.doing = match next {
                    Some(Next::Restart { .. } | Next::Hold) => Doing::Backoff,
                    _ => Doing::Nothing,
                };
            }
            Doing::Backoff => {
                let next = number(self.next_number);
                self.next_number += 1;
                let due = self.slot.backoff().is_some();
                let next = self.apply(|_| Event::BackoffOver(next));
                assert_eq!(next.is_none(), due, "it begins when it is let");
                self.doing = match next {
                    None => Doing::Init,
                    Some(Next::Hold) => Doing::Backoff,
                    Some(_) => Doing::Nothing,
                };
            }
            Doing::Nothing => {}
        }
    }

    fn begin(&mut self) {
        assert_eq!(self.alive, 0, "two incarnations at once");
        assert!(!self.stopped, "an incarnation began after a stop");
        self.alive = 1;
        assert!(self.slot.incarnation().to_bits() > self.last, "incarnations strictly grow");
        self.last = self.slot.incarnation().to_bits();
    }

    fn step(&mut self, next: Move) {
        match next {
            Move::Runner(pick) => self.runner(pick),
            Move::Stop { brutal } => {
                let parked = self.slot.state() == Some(State::Parked);
                let next = self.apply(|_| stop(brutal));
                assert_eq!(next.is_some(), parked, "only a parked slot is free at once");
                self.stopped = true;
                if self.slot.state().is_some() {
                    self.flight = true;
                }
            }
            Move::Late => {
                if self.slot.is_starting() {
                    self.apply(late);
                }
            }
            Move::Hold { brutal } => {
                let was = self.slot.state();
                self.apply(|_| hold(brutal));
                if matches!(was, Some(State::Starting | State::Live)) {
                    assert_eq!(self.slot.state(), Some(State::Restarting));
                }
            }
            Move::Resume => {
                self.apply(|_| Event::Resume { after: Duration::ZERO });
                assert!(!self.slot.is_held());
            }
            Move::Ask => match self.slot.ask(self.now) {
                Ask::Wait | Ask::WaitForEnd => self.flight = true,
                Ask::Found(incarnation) => {
                    assert_eq!((self.doing, self.alive), (Doing::Serve, 1));
                    assert_eq!(incarnation, self.slot.incarnation());
                }
                Ask::Parked(_) | Ask::Vacant => assert_eq!(self.alive, 0),
            },
            Move::Send => self.mail += u32::from(self.slot.takes_mail_by_key()),
            Move::Wait(millis) => {
                self.now = self.now.after(Duration::from_millis(u64::from(millis) * 40));
            }
        }
        self.check();
    }

    /// What holds at every instant.
    fn check(&self) {
        let slot = &self.slot;
        let asked = slot.ask(self.now);
        assert_eq!(slot.live().is_some(), matches!(asked, Ask::Found(_)));
        assert_eq!(
            slot.takes_mail_by_key(),
            matches!(asked, Ask::Found(_) | Ask::Wait),
            "mail is taken where an incarnation is, or is on its way"
        );
        if slot.has_ended() {
            assert_eq!(self.alive, 0, "said to have ended, and has not");
        }
        if slot.takes_mail_for(slot.incarnation()) {
            assert_eq!(self.alive, 1);
        }
        if !slot.takes_mail_by_key() {
            assert_eq!(self.mail, 0, "mail is left where nobody will handle it");
        }
        if matches!(slot.state(), Some(State::Live | State::Parked) | None) {
            assert!(!self.flight, "somebody waits for what will not come");
        }
        let since = self.now.before(WINDOW);
        let recent = self.restarts.iter().filter(|at| **at >= since).count();
        assert!(recent <= self.policy.budget.max() as usize, "over the budget");
    }
}

proptest! {
    /// P1, P2, P7, P8, P9, as far as the slot decides them.
    #[test]
    fn whatever_happens_in_whatever_order_the_slot_keeps_its_promises(
        moves in moves(),
        policy in policies(),
    ) {
        let mut world = World::new(policy);
        for next in moves {
            world.step(next);
        }
        // From wherever that led, a stop leads to the end, with everybody told.
        world.step(Move::Stop { brutal: false });
        for _ in 0..4 {
            world.runner(0);
        }
        // Serving goes on until the orders are looked at.
        if world.doing == Doing::Serve {
            world.runner(3);
            world.runner(0);
        }
        prop_assert_eq!(world.slot.state(), None);
        prop_assert!(!world.flight);
        prop_assert_eq!(world.alive, 0);
    }
}
