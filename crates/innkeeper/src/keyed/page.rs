//! Looking through all keys in order, a page at a time, without a second index.

use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::keyed::owner::KeyedCell;
use crate::keyed::scope::Scope;
use crate::keyed::{Key, Keyed};
use crate::limits;
use crate::observe::ProcessInfo;
use crate::process::Process;
use crate::seam::yield_now;

/// One key of a page.
#[derive(Clone, Debug)]
pub struct Row<K> {
    /// The key.
    pub key: K,
    /// Its process.
    pub info: ProcessInfo,
}

/// Some keys in their order, and where those after them begin.
#[derive(Clone, Debug)]
pub struct Page<K> {
    /// The keys with their processes.
    pub rows: Vec<Row<K>>,
    /// There are more keys in the range, after this one: the next page begins behind it. `None`:
    /// there are none.
    pub next: Option<K>,
}

impl<K> Page<K> {
    /// A page without keys, and none after it.
    pub const fn empty() -> Self {
        Page { rows: Vec::new(), next: None }
    }
}

/// A cell ordered by its key.
struct ByKey<K: Key, P: Process>(Arc<KeyedCell<K, P>>);

impl<K: Key + Ord, P: Process> PartialEq for ByKey<K, P> {
    fn eq(&self, other: &Self) -> bool {
        self.0.owner.key == other.0.owner.key
    }
}

impl<K: Key + Ord, P: Process> Eq for ByKey<K, P> {}

impl<K: Key + Ord, P: Process> PartialOrd for ByKey<K, P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Key + Ord, P: Process> Ord for ByKey<K, P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.owner.key.cmp(&other.0.owner.key)
    }
}

impl<K: Key, P: Process> Keyed<K, P> {
    /// Shows every key to `look`, once, in no order, with a snapshot of its process for whoever
    /// asks for it: what a page in another order than that of the keys, or a sum over all, is made
    /// of.
    ///
    /// The snapshot has no [name](ProcessInfo::name), since the key is at hand. As in [`page`],
    /// others run between the chunks of the scan.
    ///
    /// # Guarantees
    /// A key that is taken throughout the scan is shown. One that comes or goes meanwhile may be
    /// or not.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// [`page`]: Keyed::page
    pub async fn visit(&self, mut look: impl FnMut(&K, &dyn Fn() -> ProcessInfo)) {
        self.scope.visit(|cell| look(&cell.owner.key, &|| cell.snapshot())).await;
    }
}

impl<K: Key, P: Process> Scope<K, P> {
    /// Shows every cell to `look`, once, in no order.
    pub(crate) async fn visit(&self, mut look: impl FnMut(Arc<KeyedCell<K, P>>)) {
        for shard in 0..self.table.shards() {
            for (n, cell) in self.table.rows(shard).into_iter().enumerate() {
                // Of a million keys one shard has thousands: whoever calls does not wait for all.
                if n > 0 && n % limits::VISIT_CHUNK == 0 {
                    yield_now().await;
                }
                look(cell);
            }
            yield_now().await;
        }
    }
}

impl<K: Key + Ord, P: Process> Keyed<K, P> {
    /// The first keys after `after`, in order, of those that `wanted` picks: at most `limit`, and
    /// at most [`limits::PAGE_MAX`].
    ///
    /// One scan of all keys, in chunks between which others run. It keeps only the page, so asking
    /// for a million keys page by page scans them once for each page.
    ///
    /// # Guarantees
    /// A key that is taken throughout the scan is in its page, once. One that comes or goes
    /// meanwhile may be or not.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn page(
        &self,
        after: Option<&K>,
        limit: usize,
        mut wanted: impl FnMut(&K) -> bool,
    ) -> Vec<Row<K>> {
        let in_page = |cell: &KeyedCell<K, P>| {
            let key = &cell.owner.key;
            after.is_none_or(|after| after < key) && wanted(key)
        };
        self.scope.page(limit.min(limits::PAGE_MAX), in_page).await.rows
    }
}

impl<K: Key + Ord, P: Process> Scope<K, P> {
    /// The first `limit` keys of those that `wanted` picks, in order.
    pub(crate) async fn page(
        &self,
        limit: usize,
        mut wanted: impl FnMut(&KeyedCell<K, P>) -> bool,
    ) -> Page<K> {
        // One more than asked for tells whether there is a next page.
        let mut page = BinaryHeap::new();
        self.visit(|cell| {
            if wanted(&cell) {
                keep_first(&mut page, ByKey(cell), limit + 1);
            }
        })
        .await;
        let mut cells = page.into_sorted_vec();
        let more = cells.len() > limit;
        cells.truncate(limit);
        let next = cells.last().filter(|_| more).map(|ByKey(cell)| cell.owner.key.clone());
        let rows = cells
            .into_iter()
            .map(|ByKey(cell)| Row { key: cell.owner.key.clone(), info: self.describe(&cell) });
        Page { rows: rows.filter(|row| row.info.state.is_some()).collect(), next }
    }
}

/// Keeps the first `limit` of what is put into a page. Nearly all that a scan brings comes after
/// those, and is compared with the last of them and no other.
fn keep_first<T: Ord>(page: &mut BinaryHeap<T>, new: T, limit: usize) {
    if page.len() < limit {
        page.push(new);
    } else if let Some(mut last) = page.peek_mut()
        && new < *last
    {
        *last = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_the_first_in_whatever_order_they_come() {
        for limit in [0, 1, 3, 10] {
            let mut page = BinaryHeap::new();
            for new in [5, 2, 9, 1, 7, 3, 8] {
                keep_first(&mut page, new, limit);
            }
            let first = [1, 2, 3, 5, 7, 8, 9];
            assert_eq!(page.into_sorted_vec(), first[..limit.min(first.len())]);
        }
    }
}
