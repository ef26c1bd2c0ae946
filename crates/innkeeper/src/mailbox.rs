//! Where messages wait: in order, and within a bound.
//!
//! Senders append under the cell's lock. The runner takes one message at a time under it; or, where
//! nothing but casts waits, all of them at once, to handle them without the lock. Those it has
//! taken and not begun still wait: they count against the bound, and go back to the front if it
//! comes to that. Calls are not taken so, for whoever waits for one may take it back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::call::Answer;
use crate::limits;
use crate::process::Message;

/// A message on its way, with the place where its answer is to go if it is a call.
#[derive(Debug)]
pub(crate) struct Envelope<M: Message> {
    pub(crate) message: M,
    pub(crate) answer: Option<Arc<Answer<M>>>,
}

/// What waits in the mailbox. Lives under the cell's lock.
#[derive(Debug)]
pub(crate) struct Inbox<M: Message> {
    first: Option<Envelope<M>>,
    rest: VecDeque<Envelope<M>>,
    /// How many of the rest are calls.
    calls: u32,
    /// How many may surely be appended before the bound has to be looked at again.
    spare: u32,
}

impl<M: Message> Inbox<M> {
    pub(crate) const fn new() -> Self {
        Inbox { first: None, rest: VecDeque::new(), calls: 0, spare: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Whether one more may wait. `bound` says how many may in all, and how many the runner has
    /// taken.
    pub(crate) fn has_room(&mut self, bound: impl FnOnce() -> (u32, u32)) -> bool {
        if self.spare == 0 {
            let (capacity, taken) = bound();
            let waiting = self.len() + taken as usize;
            let free = (capacity as usize).saturating_sub(waiting);
            self.spare = u32::try_from(free).unwrap_or(u32::MAX);
        }
        self.spare > 0
    }

    /// Appends; only where there is room.
    #[inline]
    pub(crate) fn push(&mut self, envelope: Envelope<M>) {
        self.spare -= 1;
        if self.first.is_none() && self.rest.is_empty() {
            self.first = Some(envelope);
        } else {
            self.calls += u32::from(envelope.answer.is_some());
            self.rest.push_back(envelope);
        }
    }

    /// The oldest message. What is behind it goes to `taken`, which is empty, if it is all casts.
    #[inline]
    pub(crate) fn pop(&mut self, taken: &mut VecDeque<Envelope<M>>) -> Option<Envelope<M>> {
        let oldest = self.first.take().or_else(|| {
            let oldest = self.rest.pop_front()?;
            self.calls -= u32::from(oldest.answer.is_some());
            Some(oldest)
        });
        if self.calls == 0 && !self.rest.is_empty() {
            std::mem::swap(&mut self.rest, taken);
        }
        oldest
    }

    /// Puts what was taken and not begun back to the front.
    pub(crate) fn put_back(&mut self, taken: VecDeque<Envelope<M>>) {
        if let Some(first) = self.first.take() {
            self.calls += u32::from(first.answer.is_some());
            self.rest.push_front(first);
        }
        for envelope in taken.into_iter().rev() {
            self.rest.push_front(envelope);
        }
    }

    /// Takes the call back that waits for `answer`, unless it has been begun.
    pub(crate) fn withdraw(&mut self, answer: &Arc<Answer<M>>) -> Option<M> {
        let waits = |envelope: &Envelope<M>| {
            envelope.answer.as_ref().is_some_and(|other| Arc::ptr_eq(other, answer))
        };
        if self.first.as_ref().is_some_and(waits) {
            return self.first.take().map(|envelope| envelope.message);
        }
        let at = self.rest.iter().position(waits)?;
        self.calls -= 1;
        self.rest.remove(at).map(|envelope| envelope.message)
    }

    /// Takes out everything that waits, oldest first.
    pub(crate) fn drain(&mut self) -> VecDeque<Envelope<M>> {
        let mut all = std::mem::take(&mut self.rest);
        self.calls = 0;
        if let Some(first) = self.first.take() {
            all.push_front(first);
        }
        all
    }

    /// Gives memory back while nothing waits: all of it, or what a rush has left.
    pub(crate) fn shrink(&mut self, all: bool) {
        if self.rest.is_empty() && (all || self.rest.capacity() > limits::MAILBOX_KEPT) {
            self.rest = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests;
