//! Where a call waits for its one outcome: a reply, `not delivered`, or `unknown`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tracing::Span;

use crate::clock::{self, Alarm, Moment};
use crate::error::{CallError, CastError, NotDelivered, Unknown};
use crate::guard::is_cut_short;
use crate::limits;
use crate::process::Message;
use crate::process_ref::{ProcessRef, Refused};
use crate::seam::Mutex;
use crate::trace;
use crate::wait_for::{self, Wait};

/// The place where the outcome of one call arrives.
pub(crate) struct Answer<M: Message> {
    state: Mutex<State<M>>,
    /// The span of the caller, where traces are collected.
    caller: Option<Box<Span>>,
}

struct State<M: Message> {
    outcome: Option<Outcome<M>>,
    caller: Caller<M>,
}

/// Who is to have the outcome.
enum Caller<M: Message> {
    /// A task, which takes it when it is woken.
    Waits(Waker),
    /// Whoever settles it goes on with this.
    IsTold(Told<M>),
    /// Nobody yet, or it was woken.
    Nobody,
    /// It has its outcome, or does not want it any more.
    IsGone,
}

/// What goes on with the outcome of a call.
pub(crate) type Told<M> = Box<dyn FnOnce(Outcome<M>) + Send>;

/// The error is boxed, for it is rare and large.
pub(crate) type Outcome<M> = Result<<M as Message>::Reply, Box<CallError<M>>>;

impl<M: Message> Answer<M> {
    pub(crate) fn open(waker: &Waker) -> Arc<Self> {
        Answer::new(Caller::Waits(waker.clone()), trace::caller())
    }

    /// One that is told.
    pub(crate) fn told(told: Told<M>) -> Arc<Self> {
        Answer::new(Caller::IsTold(told), None)
    }

    /// One that is [told](Self::tell) to somebody who needs it beforehand.
    pub(crate) fn to_be_told() -> Arc<Self> {
        Answer::new(Caller::Nobody, trace::caller())
    }

    fn new(caller: Caller<M>, span: Option<Box<Span>>) -> Arc<Self> {
        let state = State { outcome: None, caller };
        Arc::new(Answer { state: Mutex::new(state), caller: span })
    }

    /// Has the outcome told, at once if there is one.
    pub(crate) fn tell(&self, told: Told<M>) {
        let mut state = self.state.lock();
        match state.outcome.take() {
            None => state.caller = Caller::IsTold(told),
            Some(outcome) => {
                state.caller = Caller::IsGone;
                drop(state);
                told(outcome);
            }
        }
    }

    /// The span that the call was made in.
    pub(crate) fn caller(&self) -> Option<&Span> {
        self.caller.as_deref()
    }

    /// Ends the call without a reply.
    pub(crate) fn fail(self: Arc<Self>, error: CallError<M>) {
        self.settle(Err(Box::new(error)));
    }

    /// Gives the call its outcome. The first one counts.
    pub(crate) fn settle(self: Arc<Self>, outcome: Outcome<M>) {
        let mut state = self.state.lock();
        if state.outcome.is_some() || matches!(state.caller, Caller::IsGone) {
            drop(state);
            // Outside the lock: it is user data.
            drop(outcome);
            return;
        }
        let waker = match std::mem::replace(&mut state.caller, Caller::Nobody) {
            Caller::Waits(waker) => Some(waker),
            Caller::IsTold(told) => {
                state.caller = Caller::IsGone;
                drop(state);
                return told(outcome);
            }
            Caller::Nobody | Caller::IsGone => None,
        };
        state.outcome = Some(outcome);
        drop(state);
        // Let go before the caller is woken, who then has it alone. Unless nobody else has it: who
        // is woken may still look for it.
        let _kept = (Arc::strong_count(&self) == 1).then_some(self);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The outcome, or the answer again while there is none. Who has it alone takes it without the
    /// lock, and it is gone in the same step.
    fn poll(self: Arc<Self>, cx: &Context<'_>) -> Result<Outcome<M>, Arc<Self>> {
        let shared = match Arc::try_unwrap(self) {
            Ok(answer) => {
                let outcome = answer.state.into_inner().outcome;
                return Ok(outcome.unwrap_or_else(Self::without_reply));
            }
            Err(shared) => shared,
        };
        let mut state = shared.state.lock();
        if let Some(outcome) = state.outcome.take() {
            state.caller = Caller::IsGone;
            drop(state);
            return Ok(outcome);
        }
        match &mut state.caller {
            Caller::Waits(waker) => waker.clone_from(cx.waker()),
            caller => *caller = Caller::Waits(cx.waker().clone()),
        }
        drop(state);
        Err(shared)
    }

    #[cold]
    fn without_reply() -> Outcome<M> {
        Err(Box::new(CallError::Unknown(Unknown::NoReply)))
    }

    /// The outcome, if it is there; afterwards none can arrive.
    pub(crate) fn close(&self) -> Option<Outcome<M>> {
        let mut state = self.state.lock();
        let caller = std::mem::replace(&mut state.caller, Caller::IsGone);
        let outcome = state.outcome.take();
        drop(state);
        // Not under the lock: a waker may be anybody's.
        drop(caller);
        outcome
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
    #[inline]
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
    #[inline]
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            unanswered(answer);
        }
    }
}

#[cold]
fn unanswered<M: Message>(answer: Arc<Answer<M>>) {
    let why = if is_cut_short() { Unknown::Crashed } else { Unknown::NoReply };
    answer.fail(CallError::Unknown(why));
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
/// later, it runs and its reply is thrown away. To a process on another node it may be on its way;
/// then it may run all the same.
#[must_use = "nothing is sent until the call is awaited"]
pub struct Call<'a, M: Message, T = <M as Message>::Reply> {
    to: &'a ProcessRef<M>,
    timeout: Option<Duration>,
    read: fn(M::Reply) -> T,
    /// Until it is sent.
    message: Option<M>,
    /// From then on until there is an outcome.
    answer: Option<Arc<Answer<M>>>,
    /// Known once it is sent; the alarm is set at the next poll.
    deadline: Option<Moment>,
    alarm: Option<Alarm>,
    wait: Option<Box<Wait>>,
}

impl<'a, M: Message, T> Call<'a, M, T> {
    pub(crate) fn new(to: &'a ProcessRef<M>, message: M, read: fn(M::Reply) -> T) -> Self {
        let (timeout, message) = (Some(limits::CALL_TIMEOUT), Some(message));
        let (answer, deadline, alarm, wait) = (None, None, None, None);
        Call { to, timeout, read, message, answer, deadline, alarm, wait }
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
    fn send(&mut self, cx: &Context<'_>) -> Result<(), NotDelivered> {
        if let Some(wait) = wait_for::wait_for(&*self.to.port).map_err(NotDelivered::Cycle)? {
            self.wait = Some(wait);
        }
        let answer = Answer::open(cx.waker());
        self.to.port.deliver(self.to.incarnation, &mut self.message, Some(&answer))?;
        self.answer = Some(answer);
        Ok(())
    }

    /// Waits for the deadline, if there is one.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| clock::alarm(deadline));
        alarm.as_mut().poll(cx)
    }

    /// Gives up what was kept only while it waited: in most calls nothing.
    fn unarm(&mut self) {
        if self.alarm.is_some() || self.wait.is_some() {
            (self.alarm, self.wait) = (None, None);
        }
    }

    /// The deadline has passed: what is the outcome?
    fn late(&self, answer: &Arc<Answer<M>>) -> Outcome<M> {
        if let Some(message) = self.to.port.withdraw(answer) {
            let why = NotDelivered::Timeout;
            return Err(Box::new(CallError::NotDelivered { message, why }));
        }
        answer.close().unwrap_or_else(|| Err(Box::new(CallError::Unknown(Unknown::Timeout))))
    }
}

// Nothing in it is ever pinned: what needs to be is boxed.
impl<M: Message, T> Unpin for Call<'_, M, T> {}

impl<M: Message, T> Future for Call<'_, M, T> {
    type Output = Result<T, CallError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.message.is_some() {
            if let Err(why) = this.send(cx) {
                let refused = this.message.take().map(|message| {
                    this.wait = None;
                    CallError::NotDelivered { message, why }
                });
                return Poll::Ready(Err(refused.unwrap_or(CallError::Unknown(Unknown::NoReply))));
            }
            // The outcome wakes this task, however soon it comes. Most come before this task has
            // its next turn: for them no timer is set.
            this.deadline = this.timeout.map(|timeout| clock::now().after(timeout));
            if this.timeout != Some(Duration::ZERO) {
                if this.timeout.is_some() {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
        let Some(answer) = this.answer.take() else {
            return Poll::Ready(Err(CallError::Unknown(Unknown::NoReply)));
        };
        let outcome = match answer.poll(cx) {
            Ok(outcome) => outcome,
            Err(answer) if this.poll_deadline(cx).is_pending() => {
                this.answer = Some(answer);
                return Poll::Pending;
            }
            Err(answer) => this.late(&answer),
        };
        this.unarm();
        match outcome {
            Ok(reply) => Poll::Ready(Ok((this.read)(reply))),
            Err(error) => failed(error),
        }
    }
}

/// Apart, so that a reply is not moved with the room that an error takes.
#[cold]
#[allow(clippy::boxed_local)] // It is unboxed here, and not where a reply passes.
fn failed<M: Message, T>(error: Box<CallError<M>>) -> Poll<Result<T, CallError<M>>> {
    Poll::Ready(Err(*error))
}

impl<M: Message, T> Drop for Call<'_, M, T> {
    fn drop(&mut self) {
        if let Some(answer) = &self.answer {
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
        deliver(self.to, &mut self.message)
    }
}

#[inline]
fn deliver<M: Message>(to: &ProcessRef<M>, message: &mut Option<M>) -> Result<(), CastError<M>> {
    match to.port.deliver(to.incarnation, message, None) {
        Ok(()) => Ok(()),
        Err(why) => refused(message, why),
    }
}

#[cold]
fn refused<M: Message>(message: &mut Option<M>, why: Refused) -> Result<(), CastError<M>> {
    let error = message.take().map(|message| CastError { message, why: why.into() });
    error.map_or(Ok(()), Err)
}

impl<M: Message> Unpin for Cast<'_, M> {}

impl<M: Message> Future for Cast<'_, M> {
    type Output = Result<(), CastError<M>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Polled again it does nothing: there is no message any more.
        Poll::Ready(deliver(this.to, &mut this.message))
    }
}

impl<M: Message> fmt::Debug for Cast<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cast").field("to", self.to).finish_non_exhaustive()
    }
}
