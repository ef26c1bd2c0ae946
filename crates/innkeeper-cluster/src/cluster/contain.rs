//! Runs code of users so that a panic in it costs what it was for, and nothing else.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// What came of it; `None` if it panicked. The panic was reported where it was.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    // Whoever calls this looks at nothing that the work may have left half done.
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The same for what takes its time.
pub(super) async fn contained_later<F: Future>(work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    poll_fn(|cx| match contained(|| work.as_mut().poll(cx)) {
        Some(Poll::Ready(done)) => Poll::Ready(Some(done)),
        Some(Poll::Pending) => Poll::Pending,
        None => Poll::Ready(None),
    })
    .await
}
