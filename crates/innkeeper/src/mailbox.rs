//! Keeps the order of what waits for a process, and hands each message out exactly once.
//!
//! Two halves. The *inbox* is where senders push, under the cell's lock. The *batch* is what the
//! runner took from it in one go and works through under a lock of its own, which senders do not
//! touch, so that a busy sender and a busy process meet once a batch and not once a message. What
//! is in the batch still waits: it can be withdrawn, counts against the bound, and survives a
//! crash.
//!
//! The first message of an inbox lies in the inbox itself, so that a process which gets one message
//! at a time, or none, owns no heap for its mailbox.
//!
//! Order: everything in the batch is older than `first`, and `first` is older than `rest`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::call::Answer;
use crate::process::Message;
use crate::seam::Mutex;
use crate::seam::atomic::{AtomicBool, AtomicU32, Ordering};

/// A message on its way, with the place where its answer is to go if it is a call.
#[derive(Debug)]
pub(crate) struct Envelope<M: Message> {
    pub(crate) message: M,
    pub(crate) answer: Option<Arc<Answer<M>>>,
}

/// The senders' half. Lives under the cell's lock.
#[derive(Debug)]
pub(crate) struct Inbox<M: Message> {
    first: Option<Envelope<M>>,
    rest: VecDeque<Envelope<M>>,
}

/// The runner's half.
#[derive(Debug)]
pub(crate) struct Batch<M: Message> {
    taken: Mutex<VecDeque<Envelope<M>>>,
    /// The length of `taken`, for senders, who must not wait for its lock.
    len: AtomicU32,
    /// Whether `taken` may own heap, for a runner that finds nothing to do.
    owns_heap: AtomicBool,
}

impl<M: Message> Inbox<M> {
    pub(crate) const fn new() -> Self {
        Inbox { first: None, rest: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Appends, or gives the message back if `capacity` messages wait already.
    pub(crate) fn push(
        &mut self,
        envelope: Envelope<M>,
        batch: &Batch<M>,
        capacity: u32,
    ) -> Result<(), Envelope<M>> {
        if self.len() + batch.len() >= capacity as usize {
            return Err(envelope);
        }
        if self.first.is_none() && self.rest.is_empty() {
            self.first = Some(envelope);
        } else {
            self.rest.push_back(envelope);
        }
        Ok(())
    }

    /// The oldest message of the inbox, for a runner whose batch is empty; what is behind it
    /// becomes the next batch. An empty inbox gives its memory back.
    pub(crate) fn pop(&mut self, batch: &Batch<M>) -> Option<Envelope<M>> {
        let oldest = self.first.take().or_else(|| self.rest.pop_front());
        if oldest.is_some() {
            if !self.rest.is_empty() {
                batch.refill(&mut self.rest);
            }
        } else if self.rest.capacity() > 0 || batch.owns_heap.load(Ordering::Relaxed) {
            self.rest = VecDeque::new();
            batch.release();
        }
        oldest
    }

    /// Takes the call back that waits for `answer`, unless it has been begun.
    pub(crate) fn withdraw(&mut self, batch: &Batch<M>, answer: &Arc<Answer<M>>) -> Option<M> {
        let waits = |envelope: &Envelope<M>| {
            envelope.answer.as_ref().is_some_and(|other| Arc::ptr_eq(other, answer))
        };
        if self.first.as_ref().is_some_and(waits) {
            return self.first.take().map(|envelope| envelope.message);
        }
        let found = batch.remove(waits).or_else(|| {
            let at = self.rest.iter().position(waits)?;
            self.rest.remove(at)
        });
        found.map(|envelope| envelope.message)
    }

    /// Takes out everything that waits, oldest first.
    pub(crate) fn drain(&mut self, batch: &Batch<M>) -> VecDeque<Envelope<M>> {
        let mut all = batch.drain();
        all.extend(self.first.take());
        all.extend(std::mem::take(&mut self.rest));
        all
    }
}

impl<M: Message> Batch<M> {
    pub(crate) fn new() -> Self {
        Batch {
            taken: Mutex::new(VecDeque::new()),
            len: AtomicU32::new(0),
            owns_heap: AtomicBool::new(false),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
    }

    /// The oldest message of the batch.
    pub(crate) fn pop(&self) -> Option<Envelope<M>> {
        // Only the runner fills a batch, so an empty one stays empty until it does.
        if self.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut taken = self.taken.lock();
        let oldest = taken.pop_front();
        self.note_len(&taken);
        oldest
    }

    fn refill(&self, rest: &mut VecDeque<Envelope<M>>) {
        let mut taken = self.taken.lock();
        debug_assert!(taken.is_empty(), "a batch is refilled only when it is used up");
        std::mem::swap(&mut *taken, rest);
        self.owns_heap.store(true, Ordering::Relaxed);
        self.note_len(&taken);
    }

    fn remove(&self, wanted: impl FnMut(&Envelope<M>) -> bool) -> Option<Envelope<M>> {
        if self.len() == 0 {
            return None;
        }
        let mut taken = self.taken.lock();
        let at = taken.iter().position(wanted)?;
        let found = taken.remove(at);
        self.note_len(&taken);
        found
    }

    fn drain(&self) -> VecDeque<Envelope<M>> {
        let mut taken = self.taken.lock();
        let all = std::mem::take(&mut *taken);
        self.owns_heap.store(false, Ordering::Relaxed);
        self.note_len(&taken);
        all
    }

    fn release(&self) {
        let mut taken = self.taken.lock();
        if taken.is_empty() {
            *taken = VecDeque::new();
            self.owns_heap.store(false, Ordering::Relaxed);
        }
    }

    fn note_len(&self, taken: &VecDeque<Envelope<M>>) {
        // A mailbox capacity is a u32, so its part in a batch is one too.
        self.len.store(u32::try_from(taken.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
