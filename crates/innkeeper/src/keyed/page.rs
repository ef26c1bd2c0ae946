//! Looking through all keys in order, a page at a time, without a second index.

use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::keyed::owner::KeyedCell;
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
        for shard in 0..self.scope.table.shards() {
            for cell in self.scope.table.rows(shard) {
                look(&cell.owner.key, &|| cell.snapshot());
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
        let limit = limit.min(limits::PAGE_MAX);
        let mut page = BinaryHeap::new();
        for shard in 0..self.scope.table.shards() {
            for cell in self.scope.table.rows(shard) {
                let key = &cell.owner.key;
                if after.is_none_or(|after| after < key) && wanted(key) {
                    keep_first(&mut page, ByKey(cell), limit);
                }
            }
            yield_now().await;
        }
        let cells = page.into_sorted_vec().into_iter().map(|ByKey(cell)| cell);
        let rows =
            cells.map(|cell| Row { key: cell.owner.key.clone(), info: self.scope.describe(&cell) });
        rows.filter(|row| row.info.state.is_some()).collect()
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
