//! Where a call waits for its one outcome: a reply, `not delivered`, or `unknown`.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::{self, Alarm};
use crate::error::{CallError, CastError, NotDelivered, Unknown};
use crate::guard::is_cut_short;
use crate::limits;
use crate::mailbox::Envelope;
use crate::process::Message;
use crate::process_ref::ProcessRef;
use crate::seam::Mutex;
use crate::wait_for::{self, Wait};

/// The place where the outcome of one call arrives.
pub(crate) struct Answer<M: Message> {
    state: Mutex<State<M>>,
}

enum State<M: Message> {
    Open(Waker),
    Settled(Result<M::Reply, CallError<M>>),
    /// The caller has its outcome, or has gone.
    Closed,
}

impl<M: Message> Answer<M> {
    pub(crate) fn open(waker: &Waker) -> Arc<Self> {
        Arc::new(Answer { state: Mutex::new(State::Open(waker.clone())) })
    }

    /// Gives the call its outcome. The first one counts.
    pub(crate) fn settle(&self, outcome: Result<M::Reply, CallError<M>>) {
        let mut state = self.state.lock();
        match mem::replace(&mut *state, State::Closed) {
            State::Open(waker) => {
                *state = State::Settled(outcome);
                drop(state);
                waker.wake();
            }
            other @ (State::Settled(_) | State::Closed) => {
                *state = other;
                // What nobody waits for is dropped outside the lock: it is user data.
                drop(state);
            }
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Result<M::Reply, CallError<M>>> {
        let mut state = self.state.lock();
        if let State::Open(waker) = &mut *state {
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        match mem::replace(&mut *state, State::Closed) {
            State::Settled(outcome) => Poll::Ready(outcome),
            State::Open(_) | State::Closed => {
                Poll::Ready(Err(CallError::Unknown(Unknown::NoReply)))
            }
        }
    }

    /// The outcome, if it is there; afterwards none can arrive.
    fn close(&self) -> Option<Result<M::Reply, CallError<M>>> {
        match mem::replace(&mut *self.state.lock(), State::Closed) {
            State::Settled(outcome) => Some(outcome),
            State::Open(_) | State::Closed => None,
        }
    }
}

impl<M: Message> fmt::Debug for Answer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

/// Answers one call (OTP's `from`, used with `GenServer.reply/2`).
///
/// May be kept and used after the handler returned. For a cast it goes nowhere. Dropped unused, the
/// caller learns that the outcome is unknown.
#[must_use = "a call that is not answered ends with an unknown outcome"]
pub struct ReplyTo<M: Message> {
    answer: Option<Arc<Answer<M>>>,
}

impl<M: Message> ReplyTo<M> {
    pub(crate) fn new(answer: Option<Arc<Answer<M>>>) -> Self {
        ReplyTo { answer }
    }

    /// Sends the reply. Does nothing if nobody waits for it.
    pub fn send(mut self, reply: M::Reply) {
        if let Some(answer) = self.answer.take() {
            answer.settle(Ok(reply));
        }
    }

    /// Whether an answer is waited for: `false` for a cast.
    pub fn is_call(&self) -> bool {
        self.answer.is_some()
    }
}

impl<M: Message> Drop for ReplyTo<M> {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            let why = if is_cut_short() { Unknown::Crashed } else { Unknown::NoReply };
            answer.settle(Err(CallError::Unknown(why)));
        }
    }
}

impl<M: Message> fmt::Debug for ReplyTo<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo").field("is_call", &self.is_call()).finish()
    }
}

/// A call under way: say something to a process and wait for its reply.
///
/// Nothing is sent before the first poll.
///
/// # Cancel safety
/// Dropped before the process began the message, the message is withdrawn and does not run; dropped
/// later, it runs and its reply is thrown away.
#[must_use = "nothing is sent until the call is awaited"]
pub struct Call<'a, M: Message, T = <M as Message>::Reply> {
    to: &'a ProcessRef<M>,
    timeout: Option<Duration>,
    read: fn(M::Reply) -> T,
    stage: Stage<M>,
}

enum Stage<M: Message> {
    Unsent(M),
    Sent { answer: Arc<Answer<M>>, alarm: Option<Alarm>, _wait: Option<Wait> },
    Done,
}

impl<'a, M: Message, T> Call<'a, M, T> {
    pub(crate) fn new(to: &'a ProcessRef<M>, message: M, read: fn(M::Reply) -> T) -> Self {
        Call { to, timeout: Some(limits::CALL_TIMEOUT), read, stage: Stage::Unsent(message) }
    }

    /// How long to wait, from the first poll on. Default: five seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits for as long as it takes (OTP's `:infinity`). The end of the process still ends it.
    pub fn without_timeout(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// Sends the message; `Err` if it was refused.
    fn send(&mut self, message: M, cx: &Context<'_>) -> Result<(), CallError<M>> {
        let port = &self.to.port;
        let wait = match wait_for::wait_for(&**port) {
            Ok(wait) => wait,
            Err(cycle) => {
                let why = NotDelivered::Cycle(cycle);
                return Err(CallError::NotDelivered { message, why });
            }
        };
        let answer = Answer::open(cx.waker());
        let envelope = Envelope { message, answer: Some(answer.clone()) };
        match port.deliver(self.to.addressee(), envelope) {
            Ok(()) => {
                self.stage = Stage::Sent { answer, alarm: None, _wait: wait };
                Ok(())
            }
            Err((envelope, why)) => Err(CallError::NotDelivered { message: envelope.message, why }),
        }
    }

    /// The deadline has passed: what is the outcome?
    fn late(&self, answer: &Arc<Answer<M>>) -> Result<M::Reply, CallError<M>> {
        if let Some(message) = self.to.port.withdraw(answer) {
            return Err(CallError::NotDelivered { message, why: NotDelivered::Timeout });
        }
        answer.close().unwrap_or(Err(CallError::Unknown(Unknown::Timeout)))
    }
}

// Nothing in it is ever pinned: what needs to be is boxed.
impl<M: Message, T> Unpin for Call<'_, M, T> {}

impl<M: Message, T> Future for Call<'_, M, T> {
    type Output = Result<T, CallError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if matches!(this.stage, Stage::Unsent(_))
            && let Stage::Unsent(message) = mem::replace(&mut this.stage, Stage::Done)
            && let Err(refused) = this.send(message, cx)
        {
            return Poll::Ready(Err(refused));
        }
        let timeout = this.timeout;
        let Stage::Sent { answer, alarm, .. } = &mut this.stage else {
            return Poll::Ready(Err(CallError::Unknown(Unknown::NoReply)));
        };
        let outcome = match answer.poll(cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                let Some(timeout) = timeout else { return Poll::Pending };
                let alarm = alarm.get_or_insert_with(|| clock::alarm(clock::now().after(timeout)));
                if alarm.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let answer = answer.clone();
                this.late(&answer)
            }
        };
        this.stage = Stage::Done;
        Poll::Ready(outcome.map(this.read))
    }
}

impl<M: Message, T> Drop for Call<'_, M, T> {
    fn drop(&mut self) {
        if let Stage::Sent { answer, .. } = &self.stage {
            drop(self.to.port.withdraw(answer));
            drop(answer.close());
        }
    }
}

impl<M: Message, T> fmt::Debug for Call<'_, M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("to", self.to).field("timeout", &self.timeout).finish()
    }
}

/// A cast about to be made: say something to a process and go on.
///
/// # Cancel safety
/// It is sent at the first poll and never waits.
#[must_use = "nothing is sent until the cast is awaited"]
pub struct Cast<'a, M: Message> {
    to: &'a ProcessRef<M>,
    message: Option<M>,
}

impl<'a, M: Message> Cast<'a, M> {
    pub(crate) fn new(to: &'a ProcessRef<M>, message: M) -> Self {
        Cast { to, message: Some(message) }
    }

    /// Sends it without a runtime.
    ///
    /// # Errors
    /// [`CastError`], with the message handed back.
    pub fn send(mut self) -> Result<(), CastError<M>> {
        self.message.take().map_or(Ok(()), |message| deliver(self.to, message))
    }
}

fn deliver<M: Message>(to: &ProcessRef<M>, message: M) -> Result<(), CastError<M>> {
    let envelope = Envelope { message, answer: None };
    to.port
        .deliver(to.addressee(), envelope)
        .map_err(|(envelope, why)| CastError { message: envelope.message, why })
}

impl<M: Message> Unpin for Cast<'_, M> {}

impl<M: Message> Future for Cast<'_, M> {
    type Output = Result<(), CastError<M>>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let to = self.to;
        Poll::Ready(self.message.take().map_or(Ok(()), |message| deliver(to, message)))
    }
}

impl<M: Message> fmt::Debug for Cast<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cast").field("to", self.to).finish_non_exhaustive()
    }
}
