//! A call that is brought to a process here for somebody elsewhere: no task waits for its outcome,
//! which is told by whoever settles it.

use std::fmt;
use std::sync::{Arc, Weak};

use super::Tenure;
use crate::call::Answer;
use crate::error::{CallError, NotDelivered, Unknown};
use crate::keyed::unless_over;
use crate::process::Message;
use crate::process_ref::ProcessRef;

/// A call under way that was brought to a process here.
pub struct Brought<M: Message> {
    to: ProcessRef<M>,
    answer: Weak<Answer<M>>,
}

/// Says something to a process here that runs under this tenure, and goes on. Its outcome is told
/// to what `told` makes, once, on whichever thread there is one: that is to be short. Dropped
/// untold, nobody can say what came of it.
///
/// `told` is given the call, to be told when its time is over.
pub fn bring<M, F>(
    to: ProcessRef<M>,
    tenure: Arc<dyn Tenure>,
    message: M,
    told: impl FnOnce(Brought<M>) -> F,
) where
    M: Message,
    F: FnOnce(Result<M::Reply, CallError<M>>) + Send + 'static,
{
    let answer = Answer::to_be_told();
    let told = told(Brought { to: to.clone(), answer: Arc::downgrade(&answer) });
    answer.tell(Box::new(move |outcome| {
        told(outcome.map_err(|error| match *error {
            CallError::NotDelivered { message, why } => {
                CallError::NotDelivered { message, why: unless_over(&*tenure, why) }
            }
            unknown @ CallError::Unknown(_) => unknown,
        }));
    }));
    let mut message = Some(message);
    let delivered = to.port.deliver(to.incarnation, &mut message, Some(&answer));
    if let (Err(why), Some(message)) = (delivered, message) {
        answer.fail(CallError::NotDelivered { message, why: why.into() });
    }
}

impl<M: Message> Brought<M> {
    /// Its time is over: it is taken back if it was not begun, and may have run otherwise. Does
    /// nothing once there is an outcome.
    pub fn late(&self) {
        let Some(answer) = self.answer.upgrade() else { return };
        let error = match self.to.port.withdraw(&answer) {
            Some(message) => CallError::NotDelivered { message, why: NotDelivered::Timeout },
            None => CallError::Unknown(Unknown::Timeout),
        };
        answer.fail(error);
    }
}

impl<M: Message> fmt::Debug for Brought<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brought").field("to", &self.to).finish_non_exhaustive()
    }
}
