//! The coordinator within one process against the suite for implementers.

#![allow(clippy::unwrap_used)] // What a test unwraps is what it asserts.

use std::time::Duration;

use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{Change, Coordinator, CoordinatorError, Transaction, suite};

#[tokio::test(start_paused = true)]
async fn the_coordinator_within_one_process_passes_the_suite() {
    suite::all(&Memory::new(), "/test/").await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_before_a_compaction_says_so() {
    let memory = Memory::new();
    let within = Duration::from_secs(1);
    let writes = vec![Change::Put("a".to_owned(), Vec::new())];
    let put = Transaction { writes, ..Transaction::default() };
    memory.commit(put.clone(), within).await.unwrap();
    let oldest = memory.commit(put, within).await.unwrap().revision;
    memory.compact();
    let watch = memory.watch(String::new(), 1, within).await;
    assert_eq!(watch.err(), Some(CoordinatorError::Compacted { oldest }));
    assert!(memory.watch(String::new(), oldest, within).await.is_ok());
}
