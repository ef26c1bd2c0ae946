//! How many processes of a node begin at once, and who is next.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::seam::Mutex;

/// A bound on how many `init`s run at once, for those who are to share it: all placed scopes of a
/// node. Clones are the same.
///
/// # Guarantees
/// Whoever has to wait is let in in the order of asking, and whoever was called before whoever is
/// only remembered. What is asked for from within a process never waits here, for somebody who was
/// let in may be waiting for that process; it does not count either. Nor does a restart: that has
/// bounds of its own, and calls of others may be in its mailbox already. What an `init` asks for in
/// a task beside it, or on another node through a process that nobody places, is not seen to be
/// its own: that waits its turn, up to the start timeout.
///
/// OTP has none: a supervisor begins its children one after the other.
#[derive(Clone)]
pub struct Admission {
    shared: Arc<Shared>,
}

struct Shared {
    at_once: usize,
    line: Mutex<Line>,
}

/// Nobody waits unless all seats are taken.
#[derive(Default)]
struct Line {
    taken: usize,
    /// The number of the last who had to wait.
    last: u64,
    waiting: BTreeMap<Ticket, oneshot::Sender<Seat>>,
}

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Called,
    Remembered,
}

/// A place in the line.
pub(super) type Ticket = (Rank, u64);

impl Admission {
    /// So many at once.
    pub fn new(at_once: NonZeroUsize) -> Self {
        let line = Mutex::new(Line::default());
        Admission { shared: Arc::new(Shared { at_once: at_once.get(), line }) }
    }

    /// A seat, or a place in the line for one.
    pub(super) fn enter(&self, rank: Rank) -> Result<Seat, Waiting> {
        let mut line = self.shared.line.lock();
        if line.taken < self.shared.at_once {
            line.taken += 1;
            return Ok(self.seat());
        }
        line.last += 1;
        let ticket = (rank, line.last);
        let (give, seat) = oneshot::channel();
        line.waiting.insert(ticket, give);
        Err(Waiting { admission: self.clone(), ticket, seat })
    }

    /// A seat for somebody who is remembered, once nobody who was called waits for one.
    pub(crate) async fn spare(&self) -> Seat {
        match self.enter(Rank::Remembered) {
            Ok(seat) => seat,
            Err(waiting) => waiting.await,
        }
    }

    /// Lets somebody go on who waits, without a seat.
    fn wave_on(&self, ticket: Ticket) {
        let waiting = self.shared.line.lock().waiting.remove(&ticket);
        if let Some(give) = waiting {
            drop(give.send(Seat::none()));
        }
    }

    fn seat(&self) -> Seat {
        Seat { of: Some(self.shared.clone()) }
    }
}

/// What an `init` runs with. The next in line has it when it is dropped.
pub(crate) struct Seat {
    of: Option<Arc<Shared>>,
}

impl Seat {
    /// Of somebody who does not count.
    pub(super) fn none() -> Seat {
        Seat { of: None }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(shared) = self.of.take() else { return };
        let next = {
            let mut line = shared.line.lock();
            let next = line.waiting.pop_first();
            line.taken -= usize::from(next.is_none());
            next
        };
        if let Some((_, give)) = next {
            // Who is gone in the meantime drops it, and so it goes to the next.
            drop(give.send(Seat { of: Some(shared) }));
        }
    }
}

/// Somebody in line. Leaves it when it is dropped.
pub(super) struct Waiting {
    admission: Admission,
    pub(super) ticket: Ticket,
    seat: oneshot::Receiver<Seat>,
}

impl Future for Waiting {
    type Output = Seat;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Seat> {
        // Whoever takes the other end out of the line sends something.
        Pin::new(&mut self.seat).poll(cx).map(|seat| seat.unwrap_or_else(|_| Seat::none()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let left = self.admission.shared.line.lock().waiting.remove(&self.ticket);
        drop(left);
    }
}

/// How a process that is to begin comes in.
#[derive(Debug, Default)]
pub(crate) enum Turn {
    /// When it is its turn.
    #[default]
    InLine,
    /// At once: somebody who was let in may be waiting for it.
    AtOnce,
    /// With a seat that was had for it.
    Seated(Seat),
}

impl Turn {
    /// That of a process which is asked for now, by whoever this is.
    pub(crate) fn of_asker() -> Turn {
        match crate::wait_for::current() {
            None => Turn::InLine,
            Some(_) => Turn::AtOnce,
        }
    }

    /// For a process that is made now; another may have to be made later.
    pub(crate) fn take(&mut self) -> Turn {
        match self {
            Turn::AtOnce => Turn::AtOnce,
            turn => std::mem::take(turn),
        }
    }
}

/// What is known of the first start of one process: whether it has begun, or what it waits for.
pub(super) struct Entry {
    state: Mutex<State>,
}

enum State {
    Outside(Turn),
    InLine(Ticket),
    /// `init` has begun.
    Begun,
    /// Its time was over before that: it never begins.
    Late,
}

impl Entry {
    pub(super) fn new(turn: Turn) -> Self {
        Entry { state: Mutex::new(State::Outside(turn)) }
    }

    /// Waits for a seat. A restart has none: it was let in.
    pub(super) async fn seat(&self, admission: &Admission) -> Seat {
        let waiting = {
            let mut state = self.state.lock();
            let State::Outside(turn) = &mut *state else { return Seat::none() };
            match std::mem::take(turn) {
                Turn::AtOnce => return Seat::none(),
                Turn::Seated(seat) => return seat,
                Turn::InLine => {}
            }
            match admission.enter(Rank::Called) {
                Ok(seat) => return seat,
                Err(waiting) => {
                    *state = State::InLine(waiting.ticket);
                    waiting
                }
            }
        };
        waiting.await
    }

    /// Has it begin without a seat, if it has not begun.
    pub(super) fn hurry(&self, admission: &Admission) {
        let mut state = self.state.lock();
        match &mut *state {
            State::Outside(turn @ Turn::InLine) => *turn = Turn::AtOnce,
            State::InLine(ticket) => {
                let ticket = *ticket;
                drop(state);
                admission.wave_on(ticket);
            }
            State::Outside(Turn::AtOnce | Turn::Seated(_)) | State::Begun | State::Late => {}
        }
    }

    /// It begins; `false` if it is too late for that.
    pub(super) fn begin(&self) -> bool {
        let mut state = self.state.lock();
        if !matches!(&*state, State::Late) {
            *state = State::Begun;
        }
        matches!(&*state, State::Begun)
    }

    /// Its time is over. Whether it had not begun; then it never does.
    pub(super) fn give_up(&self) -> bool {
        let before = {
            let mut state = self.state.lock();
            if matches!(&*state, State::Begun) {
                return false;
            }
            std::mem::replace(&mut *state, State::Late)
        };
        // A seat that it has goes to somebody else.
        drop(before);
        true
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.shared.line.lock();
        f.debug_struct("Admission")
            .field("at_once", &self.shared.at_once)
            .field("taken", &line.taken)
            .field("waiting", &line.waiting.len())
            .finish()
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("counts", &self.of.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn admission(at_once: usize) -> Admission {
        Admission::new(NonZeroUsize::new(at_once).unwrap())
    }

    fn poll(waiting: &mut Waiting) -> Option<Seat> {
        match Pin::new(waiting).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(seat) => Some(seat),
            Poll::Pending => None,
        }
    }

    fn waits(admission: &Admission, rank: Rank) -> Waiting {
        admission.enter(rank).err().unwrap_or_else(|| panic!("there was a seat"))
    }

    #[test]
    fn who_is_called_goes_before_who_is_remembered_and_either_in_order() {
        let admission = admission(1);
        let mut seat = admission.enter(Rank::Remembered).ok();
        use Rank::{Called, Remembered};
        let ranks = [Remembered, Called, Remembered, Called];
        let mut waiting = ranks.map(|rank| waits(&admission, rank));
        for next in [1, 3, 0, 2] {
            assert!(waiting.iter_mut().all(|waiting| poll(waiting).is_none()));
            drop(seat);
            seat = poll(&mut waiting[next]);
            assert!(seat.is_some(), "{next} is next");
            // It is not asked again.
            waiting[next] = waits(&admission, Remembered);
        }
    }

    /// P16
    #[test]
    fn who_leaves_the_line_leaves_nothing_behind_whether_it_was_let_in_or_not() {
        let admission = admission(1);
        let seat = admission.enter(Rank::Called).ok();
        let [first, second, third] = [0; 3].map(|_| waits(&admission, Rank::Called));
        drop(first);
        drop(seat);
        // It was let in, and never looked.
        drop(second);
        let mut third = third;
        drop(poll(&mut third).unwrap());
        let line = admission.shared.line.lock();
        assert_eq!((line.taken, line.waiting.len()), (0, 0));
    }

    #[test]
    fn a_start_whose_time_is_over_before_its_turn_never_begins_and_gives_its_seat_back() {
        let admission = admission(1);
        let entry = Entry::new(Turn::Seated(admission.enter(Rank::Called).ok().unwrap()));
        assert!(entry.give_up() && !entry.begin());
        let begun = Entry::new(Turn::Seated(admission.enter(Rank::Called).ok().unwrap()));
        assert!(begun.begin() && !begun.give_up());
    }
}
