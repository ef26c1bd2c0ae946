//! The test suite for implementers of [`Coordinator`]: what everything else rests on.
//!
//! Call [`all`] in a test, with an implementation that nobody else writes to under `prefix`.

#![allow(clippy::unwrap_used)] // What a test unwraps is what it asserts.

use std::time::Duration;

use super::{
    Change, Committed, Comparison, Coordinator, CoordinatorError, Entry, Transaction, Watch,
};

/// How long anything may take.
const WITHIN: Duration = Duration::from_secs(5);

/// Runs every check.
///
/// # Panics
/// If one fails.
pub async fn all(coordinator: &impl Coordinator, prefix: &str) {
    let suite = Suite { coordinator, prefix };
    suite.a_transaction_is_carried_out_whole_or_not_at_all().await;
    suite.creation_and_last_change_are_told_apart().await;
    suite.values_are_compared().await;
    suite.of_many_who_create_a_key_one_succeeds().await;
    suite.what_was_done_is_listed_and_nothing_else().await;
    suite.many_entries_are_listed_whole().await;
    suite.a_watch_tells_every_change_in_order_from_where_it_began().await;
    suite.a_transaction_takes_a_hundred_and_twenty_claims().await;
}

struct Suite<'a, C> {
    coordinator: &'a C,
    prefix: &'a str,
}

fn created(key: &str, at: u64) -> Comparison {
    Comparison::Created(key.to_owned(), at)
}

fn modified(key: &str, at: u64) -> Comparison {
    Comparison::Modified(key.to_owned(), at)
}

fn put(key: &str, value: &str) -> Change {
    Change::Put(key.to_owned(), value.as_bytes().to_vec())
}

fn delete(key: &str) -> Change {
    Change::Delete(key.to_owned())
}

impl<C: Coordinator> Suite<'_, C> {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn commit(&self, compares: Vec<Comparison>, writes: Vec<Change>) -> Committed {
        self.coordinator.commit(Transaction { compares, writes }, WITHIN).await.unwrap()
    }

    async fn list(&self, name: &str) -> Vec<Entry> {
        self.coordinator.list(self.key(name), WITHIN).await.unwrap().entries
    }

    async fn a_transaction_is_carried_out_whole_or_not_at_all(&self) {
        let (a, b) = (self.key("whole/a"), self.key("whole/b"));
        let first = self.commit(vec![created(&a, 0)], vec![put(&a, "1"), put(&b, "1")]).await;
        assert!(first.done, "the keys are new");
        let second = self.commit(vec![created(&b, 0)], vec![put(&a, "2"), delete(&b)]).await;
        assert!(!second.done, "a comparison that does not hold refuses all writes");
        let entries = self.list("whole/").await;
        let values: Vec<_> = entries.iter().map(|entry| entry.value.clone().unwrap()).collect();
        assert_eq!(values, [b"1", b"1"]);
        assert!(entries.iter().all(|entry| entry.modified == first.revision));
        let both = vec![created(&a, first.revision), modified(&b, first.revision)];
        assert!(self.commit(both, vec![delete(&a), delete(&b)]).await.done);
        assert!(self.list("whole/").await.is_empty());
    }

    async fn creation_and_last_change_are_told_apart(&self) {
        let key = self.key("revisions");
        let first = self.commit(Vec::new(), vec![put(&key, "1")]).await.revision;
        let second = self.commit(Vec::new(), vec![put(&key, "1")]).await.revision;
        assert!(second > first, "also a write of the same value is a change");
        let entry = self.list("revisions").await.remove(0);
        assert_eq!((entry.created, entry.modified), (first, second));
        assert!(!self.commit(vec![modified(&key, first)], vec![put(&key, "2")]).await.done);
        assert!(self.commit(vec![created(&key, first)], vec![delete(&key)]).await.done);
        let third = self.commit(vec![modified(&key, 0)], vec![put(&key, "3")]).await;
        assert!(third.done, "a key that was deleted is not there");
        let entry = self.list("revisions").await.remove(0);
        assert_eq!(entry.created, third.revision, "and is created anew");
        assert!(!self.commit(vec![created(&key, first)], vec![put(&key, "4")]).await.done);
    }

    async fn values_are_compared(&self) {
        let key = self.key("value");
        let is = |value: &str| Comparison::Value(key.clone(), value.as_bytes().to_vec());
        assert!(!self.commit(vec![is("1")], vec![put(&key, "2")]).await.done, "it is not there");
        self.commit(Vec::new(), vec![put(&key, "1")]).await;
        assert!(self.commit(vec![is("1")], vec![put(&key, "2")]).await.done);
        assert!(!self.commit(vec![is("1")], vec![put(&key, "3")]).await.done);
    }

    async fn of_many_who_create_a_key_one_succeeds(&self) {
        let key = self.key("race");
        let one = || async { self.commit(vec![created(&key, 0)], vec![put(&key, "me")]).await };
        let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
        let done = [a, b, c, d].into_iter().filter(|outcome| outcome.done).count();
        assert_eq!(done, 1);
    }

    async fn what_was_done_is_listed_and_nothing_else(&self) {
        let (inside, outside) = (self.key("list/in"), self.key("list0"));
        let done = self.commit(Vec::new(), vec![put(&inside, "1"), put(&outside, "1")]).await;
        let listing = self.coordinator.list(self.key("list/"), WITHIN).await.unwrap();
        assert_eq!(listing.entries.len(), 1);
        assert_eq!(listing.entries[0].key, inside);
        assert!(listing.revision >= done.revision);
    }

    async fn many_entries_are_listed_whole(&self) {
        for chunk in 0..20 {
            let keys = (0..100).map(|n| self.key(&format!("many/{chunk:02}-{n:03}")));
            self.commit(Vec::new(), keys.map(|key| put(&key, "1")).collect()).await;
        }
        let entries = self.list("many/").await;
        assert_eq!(entries.len(), 2_000);
        assert!(entries.is_sorted_by(|a, b| a.key < b.key), "by key");
    }

    async fn a_watch_tells_every_change_in_order_from_where_it_began(&self) {
        let (key, other) = (self.key("watch/a"), self.key("elsewhere"));
        let before = self.commit(Vec::new(), vec![put(&key, "old")]).await.revision;
        let first = self.commit(Vec::new(), vec![put(&key, "1")]).await.revision;
        let watch = self.coordinator.watch(self.key("watch/"), before, WITHIN).await;
        let mut watch = watch.unwrap_or_else(|error| panic!("{error}"));
        self.commit(Vec::new(), vec![put(&other, "1")]).await;
        let second = self.commit(Vec::new(), vec![delete(&key)]).await.revision;
        let seen = take(&mut *watch, 2).await.unwrap();
        let seen: Vec<_> =
            seen.into_iter().map(|entry| (entry.key, entry.value, entry.modified)).collect();
        assert_eq!(seen, [(key.clone(), Some(b"1".to_vec()), first), (key, None, second)]);
    }

    async fn a_transaction_takes_a_hundred_and_twenty_claims(&self) {
        let keys: Vec<_> = (0..120).map(|n| self.key(&format!("claims/{n}"))).collect();
        let compares = keys.iter().map(|key| modified(key, 0)).collect();
        let writes = keys.iter().map(|key| put(key, "1")).collect();
        assert!(self.commit(compares, writes).await.done);
    }
}

async fn take(watch: &mut dyn Watch, count: usize) -> Result<Vec<Entry>, CoordinatorError> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let next = tokio::time::timeout(WITHIN, watch.next()).await;
        seen.extend(next.expect("the watch says nothing")?);
    }
    Ok(seen)
}
