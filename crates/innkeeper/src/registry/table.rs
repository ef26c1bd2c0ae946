//! A concurrent table of whatever has a key: found by hash, put in once, taken out by identity.
//!
//! Spread over shards so that keys rarely meet. A key's own `Eq` runs under a shard's lock and is
//! short; its `Hash` runs before, and its `Drop` after. Nothing else of the user's runs under a
//! lock.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tokio::sync::Notify;

use crate::limits;
use crate::seam::RwLock;
use crate::seam::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Something kept in a table.
pub(crate) trait Row {
    /// The hash of its key, made once, so that a table which grows asks nothing of the key.
    fn hash(&self) -> u64;
}

/// A table of rows, each shared with whoever found it.
pub(crate) struct Table<R: ?Sized> {
    shards: Box<[Shard<R>]>,
    len: AtomicUsize,
    closed: AtomicBool,
    /// Woken when the last row leaves.
    emptied: Notify,
}

/// Kept apart from its neighbours, so that cores which work on different shards do not disturb each
/// other.
#[repr(align(64))]
struct Shard<R: ?Sized>(RwLock<HashTable<Arc<R>>>);

/// What was found when a row was to be put in.
pub(crate) enum Entered<R: ?Sized> {
    /// It was put in, where there may have been a vacant one: for the caller to drop, once it is
    /// done with what is new. That may be the end of a key, and so run user code.
    New(Arc<R>, Option<Arc<R>>),
    /// There was one already.
    Existing(Arc<R>),
}

/// Why no row may be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    Full,
}

impl<R: Row + ?Sized> Table<R> {
    pub(crate) fn new() -> Self {
        let shards = (0..limits::SHARDS).map(|_| Shard(RwLock::new(HashTable::new())));
        Table {
            shards: shards.collect(),
            len: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            emptied: Notify::new(),
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn find(&self, hash: u64, mut is: impl FnMut(&R) -> bool) -> Option<Arc<R>> {
        self.shard(hash).0.read().find(hash, |row| is(row)).cloned()
    }

    /// Puts a row in where there is none, or only a `vacant` one, and fewer than `max` in all.
    ///
    /// `make` runs under the shard's lock, once it is sure that a row is needed; what it refuses
    /// has no effect.
    pub(crate) fn enter<E: From<Refused>>(
        &self,
        hash: u64,
        max: usize,
        mut is: impl FnMut(&R) -> bool,
        vacant: impl FnOnce(&R) -> bool,
        make: impl FnOnce() -> Result<Arc<R>, E>,
    ) -> Result<Entered<R>, E> {
        let mut shard = self.shard(hash).0.write();
        Ok(match shard.entry(hash, |row| is(row), |row| row.hash()) {
            Entry::Occupied(row) if !vacant(row.get()) => Entered::Existing(row.get().clone()),
            Entry::Occupied(mut row) => {
                self.admit()?;
                let new = make()?;
                let vacant = std::mem::replace(row.get_mut(), new.clone());
                Entered::New(new, Some(vacant))
            }
            Entry::Vacant(place) => {
                self.admit()?;
                let room = self.reserve(max)?;
                let new = make()?;
                place.insert(new.clone());
                room.keep();
                Entered::New(new, None)
            }
        })
    }

    /// Checked under a shard's lock: whoever closes the table and then looks into each shard finds
    /// every row that was let in.
    fn admit(&self) -> Result<(), Refused> {
        if self.closed.load(Ordering::SeqCst) { Err(Refused::Closed) } else { Ok(()) }
    }

    fn reserve(&self, max: usize) -> Result<Reserved<'_, R>, Refused> {
        let one_more = |len| (len < max).then_some(len + 1);
        match self.len.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => Ok(Reserved { table: self, kept: false }),
            Err(_) => Err(Refused::Full),
        }
    }

    /// Takes this very row out, if it is still in.
    pub(crate) fn remove(&self, row: &Arc<R>) -> bool {
        let hash = row.hash();
        let mut shard = self.shard(hash).0.write();
        let Ok(found) = shard.find_entry(hash, |other| Arc::ptr_eq(other, row)) else {
            return false;
        };
        let (removed, _) = found.remove();
        // A table that was large once gives its memory back, at a cost that its removals have paid.
        // By its buckets: what was removed may leave marks, which its capacity does not count.
        if shard.num_buckets() > 64 && shard.len() < shard.num_buckets() / 8 {
            let room = shard.len() * 2;
            shard.shrink_to(room, |row| row.hash());
        }
        drop(shard);
        drop(removed);
        self.leave();
        true
    }

    fn leave(&self) {
        if self.len.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
    }

    /// From now on nothing is put in.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Things may be put in again.
    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Waits until nothing is in.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// How many shards there are to look through.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The rows of one shard, to be worked on without its lock.
    pub(crate) fn rows(&self, shard: usize) -> Vec<Arc<R>> {
        self.shards[shard].0.read().iter().cloned().collect()
    }

    fn shard(&self, hash: u64) -> &Shard<R> {
        // The low bits choose a place within a shard, the highest seven tag it.
        let at = (hash >> 40) as usize & (self.shards.len() - 1);
        &self.shards[at]
    }
}

/// Room for one more row, given back unless it is kept.
struct Reserved<'a, R: Row + ?Sized> {
    table: &'a Table<R>,
    kept: bool,
}

impl<R: Row + ?Sized> Reserved<'_, R> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl<R: Row + ?Sized> Drop for Reserved<'_, R> {
    fn drop(&mut self) {
        if !self.kept {
            self.table.leave();
        }
    }
}

impl<R: ?Sized> fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.len.load(Ordering::Relaxed);
        f.debug_struct("Table").field("len", &len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
