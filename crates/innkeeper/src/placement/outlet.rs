//! Where what a placed process brings about gets out, or is kept, or is lost.
//!
//! Each output is checked as it leaves. While the right to act cannot be proven, outputs are kept
//! in order; they leave when it can be again, and are lost with it.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::admission::{Entry, Seat, Turn};
use super::{Standing, Tenure};
use crate::call::{Answer, Outcome};
use crate::error::{CallError, Unknown};
use crate::guard::contained;
use crate::limits;
use crate::process::Message;
use crate::seam::Mutex;
use crate::subscriber::{PushError, Sink, Subscriber, Unsubscribed};

/// What a process has that may run only while its node acts for its key.
pub(crate) struct Placed {
    outlet: Arc<Outlet>,
    entry: Entry,
}

impl Placed {
    pub(crate) fn new(tenure: Arc<dyn Tenure>, turn: Turn) -> Self {
        let outlet = Arc::new(Outlet { tenure, held: Mutex::default() });
        Placed { outlet, entry: Entry::new(turn) }
    }

    pub(crate) fn tenure(&self) -> &Arc<dyn Tenure> {
        &self.outlet.tenure
    }

    pub(crate) fn may_begin(&self) -> bool {
        self.outlet.tenure.begin() == Standing::Yes
    }

    /// Waits until something may be begun; `false` if nothing ever may.
    pub(crate) fn poll_begin(&self, cx: &Context<'_>) -> Poll<bool> {
        let tenure = &self.outlet.tenure;
        if let Some(known) = known(tenure.begin()) {
            return Poll::Ready(known);
        }
        tenure.wake_on_change(cx.waker());
        // It may have changed before that.
        known(tenure.begin()).map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits until a start may begin: what it is to run with until `init` is over. `None` if
    /// nothing ever may begin, or its time was over before.
    pub(crate) async fn begins(&self) -> Option<Seat> {
        let seat = match self.tenure().admission() {
            Some(admission) => self.entry.seat(admission).await,
            None => Seat::none(),
        };
        let may_begin = poll_fn(|cx| self.poll_begin(cx)).await && self.entry.begin();
        may_begin.then_some(seat)
    }

    /// Somebody who was let in may be waiting for it: it begins at once.
    pub(crate) fn hurry(&self) {
        if let Some(admission) = self.tenure().admission() {
            self.entry.hurry(admission);
        }
    }

    /// The time of its start is over. Whether that had not begun; then it never does.
    pub(crate) fn gives_up(&self) -> bool {
        self.tenure().admission().is_some() && self.entry.give_up()
    }

    /// A place for the answer of a call from which it goes on only as an output may.
    pub(crate) fn relay<M: Message>(&self, to: Arc<Answer<M>>) -> Arc<Answer<M>> {
        let outlet = self.outlet.clone();
        Answer::told(Box::new(move |outcome| {
            // Mostly it need not be kept.
            if outlet.is_open() {
                drop(contained(|| to.settle(outcome)));
            } else {
                outlet.put(Box::new(Reply { to, outcome }));
            }
        }))
    }

    /// Does this as soon as an output may leave, after all that were put out before.
    pub(crate) fn put(&self, output: impl FnOnce() + Send + 'static) {
        self.outlet.put(Box::new(Act(output)));
    }

    /// Tells a subscriber something as soon as an output may leave.
    pub(crate) fn push<E: Send + 'static>(
        &self,
        to: &Subscriber<E>,
        event: E,
    ) -> Result<(), PushError> {
        if self.outlet.is_open() {
            return to.sink().push(event);
        }
        self.outlet.put(Box::new(Told { to: to.sink().clone(), event }));
        Ok(())
    }
}

fn known(standing: Standing) -> Option<bool> {
    match standing {
        Standing::Yes => Some(true),
        Standing::NotNow => None,
        Standing::Never => Some(false),
    }
}

/// Something that gets out, or does not.
trait Output: Send {
    fn leave(self: Box<Self>);
    fn lost(self: Box<Self>);
}

struct Outlet {
    tenure: Arc<dyn Tenure>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    waiting: VecDeque<Box<dyn Output>>,
    /// Somebody is letting them out.
    leaving: bool,
}

impl Outlet {
    /// Whether an output may leave now, with none before it.
    fn is_open(&self) -> bool {
        let held = self.held.lock();
        held.waiting.is_empty() && !held.leaving && self.tenure.release() == Standing::Yes
    }

    fn put(self: &Arc<Self>, output: Box<dyn Output>) {
        let mut held = self.held.lock();
        if held.waiting.is_empty() && !held.leaving {
            let standing = self.tenure.release();
            if standing != Standing::NotNow {
                drop(held);
                return settle(output, standing);
            }
        }
        if held.waiting.len() >= limits::OUTPUTS_HELD {
            drop(held);
            return output.lost();
        }
        held.waiting.push_back(output);
        drop(held);
        self.let_out();
    }

    /// Lets out what may leave, in order; sees to it that this is done again when more may.
    fn let_out(self: &Arc<Self>) {
        loop {
            let mut held = self.held.lock();
            if held.leaving {
                return;
            }
            let standing = loop {
                let standing = self.tenure.release();
                if standing == Standing::NotNow {
                    break standing;
                }
                let Some(output) = held.waiting.pop_front() else { break standing };
                held.leaving = true;
                drop(held);
                settle(output, standing);
                held = self.held.lock();
            };
            held.leaving = false;
            if standing != Standing::NotNow || held.waiting.is_empty() {
                return;
            }
            drop(held);
            self.tenure.wake_on_change(&Waker::from(self.clone()));
            // It may have changed before that.
            if self.tenure.release() == Standing::NotNow {
                return;
            }
        }
    }
}

/// Whoever is on the other side of an output: a panic there is not to cost the other outputs.
fn settle(output: Box<dyn Output>, standing: Standing) {
    drop(contained(|| match standing {
        Standing::Yes => output.leave(),
        Standing::NotNow | Standing::Never => output.lost(),
    }));
}

impl Wake for Outlet {
    fn wake(self: Arc<Self>) {
        self.let_out();
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        for output in std::mem::take(&mut self.held.lock().waiting) {
            settle(output, Standing::Never);
        }
    }
}

/// The reply of a call, or why there is none.
struct Reply<M: Message> {
    to: Arc<Answer<M>>,
    outcome: Outcome<M>,
}

impl<M: Message> Output for Reply<M> {
    fn leave(self: Box<Self>) {
        self.to.settle(self.outcome);
    }

    fn lost(self: Box<Self>) {
        self.to.fail(CallError::Unknown(Unknown::Lost));
    }
}

/// What the process itself wants done.
struct Act<F>(F);

impl<F: FnOnce() + Send> Output for Act<F> {
    fn leave(self: Box<Self>) {
        (self.0)();
    }

    fn lost(self: Box<Self>) {}
}

/// What a subscriber is told.
struct Told<E> {
    to: Arc<dyn Sink<E>>,
    event: E,
}

impl<E: Send + 'static> Output for Told<E> {
    fn leave(self: Box<Self>) {
        // Who does not listen any more is found out by the next push.
        let _ = self.to.push(self.event);
    }

    fn lost(self: Box<Self>) {
        self.to.end(Unsubscribed::Lost);
    }
}

impl fmt::Debug for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Placed").field("epoch", &self.tenure().epoch()).finish_non_exhaustive()
    }
}
