//! The casts that a runner has taken out of its mailbox and not begun.

use std::collections::VecDeque;

use super::{Cell, MessageOf};
use crate::limits;
use crate::mailbox::{Envelope, Inbox};
use crate::owner::Owner;
use crate::seam::atomic::Ordering;

/// The runner's own: no lock for what is in here. Dropped, it goes back to where it came from.
pub(crate) struct Taken<'a, O: Owner> {
    cell: &'a Cell<O>,
    casts: Casts<MessageOf<O>>,
}

type Casts<M> = VecDeque<Envelope<M>>;

impl<'a, O: Owner> Taken<'a, O> {
    pub(crate) fn new(cell: &'a Cell<O>) -> Self {
        Taken { cell, casts: Casts::new() }
    }

    /// The oldest of them, unless something else comes first.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Envelope<MessageOf<O>>> {
        if self.cell.signal.load(Ordering::Acquire) != 0 || !self.cell.may_begin() {
            return None;
        }
        self.oldest()
    }

    #[inline]
    pub(super) fn oldest(&mut self) -> Option<Envelope<MessageOf<O>>> {
        let oldest = self.casts.pop_front()?;
        self.note_len();
        Some(oldest)
    }

    /// The oldest message of the inbox, with what is behind it in here if it is all casts.
    #[inline]
    pub(super) fn refill(
        &mut self,
        inbox: &mut Inbox<MessageOf<O>>,
    ) -> Option<Envelope<MessageOf<O>>> {
        let oldest = inbox.pop(&mut self.casts);
        if !self.casts.is_empty() {
            self.note_len();
        }
        oldest
    }

    /// Gives back what a rush has left, while nothing is in here.
    pub(super) fn shrink(&mut self) {
        if self.casts.capacity() > limits::MAILBOX_KEPT {
            self.casts = Casts::new();
        }
    }

    fn note_len(&self) {
        // A mailbox capacity is a u32, so what was taken of it is one too.
        let len = u32::try_from(self.casts.len()).unwrap_or(u32::MAX);
        self.cell.taken.store(len, Ordering::Relaxed);
    }
}

impl<O: Owner> Drop for Taken<'_, O> {
    fn drop(&mut self) {
        if self.casts.is_empty() {
            return;
        }
        self.cell.put_back(std::mem::take(&mut self.casts));
    }
}
