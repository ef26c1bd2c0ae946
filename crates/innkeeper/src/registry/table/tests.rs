//! The table by itself: what is put in once, taken out by identity, and given back.

use proptest::prelude::*;

use super::*;

#[derive(Debug, PartialEq)]
struct Named {
    name: u64,
    hash: u64,
    vacant: bool,
}

impl Row for Named {
    fn hash(&self) -> u64 {
        self.hash
    }
}

fn named(name: u64) -> Arc<Named> {
    let hash = name.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Arc::new(Named { name, hash, vacant: false })
}

fn enter(table: &Table<Named>, row: &Arc<Named>, max: usize) -> Result<Entered<Named>, Refused> {
    let is = |other: &Named| other.name == row.name;
    table.enter(row.hash, max, is, |other| other.vacant, || Ok(row.clone()))
}

fn is_new(entered: Result<Entered<Named>, Refused>) -> bool {
    matches!(entered, Ok(Entered::New(_, None)))
}

fn find(table: &Table<Named>, row: &Named) -> Option<Arc<Named>> {
    table.find(row.hash, |other| other.name == row.name)
}

#[test]
fn a_row_is_put_in_once_and_found_until_it_is_taken_out() {
    let table = Table::new();
    let (first, second) = (named(1), named(1));
    assert!(is_new(enter(&table, &first, 9)));
    let Ok(Entered::Existing(found)) = enter(&table, &second, 9) else {
        panic!("there was one");
    };
    assert!(Arc::ptr_eq(&found, &first));
    assert!(table.remove(&first));
    assert!(!table.remove(&first));
    assert_eq!((table.len(), find(&table, &first)), (0, None));
}

/// P1: a late end never takes out what has come after it.
#[test]
fn a_row_is_taken_out_by_identity_and_never_by_name() {
    let table = Table::new();
    let (old, new) = (named(1), named(1));
    assert!(is_new(enter(&table, &old, 9)));
    assert!(table.remove(&old));
    assert!(is_new(enter(&table, &new, 9)));
    assert!(!table.remove(&old));
    assert!(Arc::ptr_eq(&find(&table, &new).unwrap(), &new));
    assert_eq!(table.len(), 1);
}

#[test]
fn a_vacant_row_is_replaced_and_handed_to_who_replaced_it() {
    let table = Table::new();
    let old = Arc::new(Named { vacant: true, ..Arc::into_inner(named(1)).unwrap() });
    let new = named(1);
    assert!(is_new(enter(&table, &old, 1)));
    let Ok(Entered::New(entered, Some(replaced))) = enter(&table, &new, 1) else {
        panic!("a full table has room for what replaces a row");
    };
    assert!(Arc::ptr_eq(&entered, &new) && Arc::ptr_eq(&replaced, &old));
    assert_eq!(table.len(), 1);
    assert!(!table.remove(&old));
    assert_eq!(table.len(), 1);
}

/// P11: what is refused has no effect, not even on the count.
#[test]
fn a_full_or_closed_table_refuses_what_is_new_and_still_answers() {
    let table = Table::new();
    let rows: Vec<_> = (0..3).map(named).collect();
    for row in &rows {
        assert!(is_new(enter(&table, row, 3)));
    }
    let late = named(9);
    assert_eq!(enter(&table, &late, 3).err(), Some(Refused::Full));
    table.close();
    assert_eq!(enter(&table, &late, 9).err(), Some(Refused::Closed));
    assert!(matches!(enter(&table, &rows[0], 9), Ok(Entered::Existing(_))));
    assert_eq!((table.len(), table.is_closed()), (3, true));
    table.open();
    let refused = table.enter(late.hash, 9, |_| false, |_| false, || Err(Refused::Full));
    assert_eq!((refused.err(), table.len()), (Some(Refused::Full), 3));
    assert!(is_new(enter(&table, &late, 9)));
}

#[tokio::test]
async fn who_waits_for_an_empty_table_is_woken_by_the_last_row() {
    let table = Table::new();
    let rows = [named(1), named(2)];
    for row in &rows {
        assert!(is_new(enter(&table, row, 9)));
    }
    let mut empty = Box::pin(table.empty());
    let mut wait = std::pin::pin!(tokio::task::unconstrained(&mut empty));
    let mut poll = || {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        wait.as_mut().poll(&mut cx).is_ready()
    };
    assert!(!poll());
    table.remove(&rows[0]);
    assert!(!poll());
    table.remove(&rows[1]);
    assert!(poll());
}

/// How large each shard is, and how many rows it has.
fn sizes(table: &Table<Named>) -> Vec<(usize, usize)> {
    table.shards.iter().map(|shard| shard.0.read()).map(|s| (s.num_buckets(), s.len())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// P16: in whatever order rows go, a shard is never much larger than what is in it.
    #[test]
    fn a_table_shrinks_with_what_is_taken_out(
        count in 1_000_u64..20_000,
        order in any::<u64>(),
        again in any::<bool>(),
    ) {
        let table = Table::new();
        let mut rows: Vec<_> = (0..count).map(named).collect();
        for row in &rows {
            prop_assert!(is_new(enter(&table, row, usize::MAX)));
        }
        rows.sort_by_key(|row| row.hash.rotate_left(order as u32 % 64) ^ order);
        for (at, row) in rows.iter().enumerate() {
            prop_assert!(table.remove(row));
            // Rows that come meanwhile keep their marks from being cleared.
            if again && at % 3 == 0 {
                let passing = named(count + at as u64);
                prop_assert!(is_new(enter(&table, &passing, usize::MAX)));
                prop_assert!(table.remove(&passing));
            }
            if at % 1000 == 0 {
                for (buckets, len) in sizes(&table) {
                    prop_assert!(buckets <= 64 || buckets <= len * 16, "{buckets} for {len}");
                }
            }
        }
        prop_assert!(sizes(&table).iter().all(|(buckets, len)| *buckets <= 64 && *len == 0));
    }
}
