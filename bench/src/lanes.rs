//! Callers that begin together: the time from the first one's start to the last one's end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Runs `n` callers at once.
pub(crate) async fn run<F>(n: usize, mut caller: impl FnMut(usize) -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let ready = Arc::new(AtomicUsize::new(0));
    let (go, _) = watch::channel(false);
    let callers: Vec<_> = (0..n)
        .map(|lane| {
            let (body, ready, mut go) = (caller(lane), ready.clone(), go.subscribe());
            tokio::spawn(async move {
                ready.fetch_add(1, Ordering::AcqRel);
                let _ = go.changed().await;
                let began = Instant::now();
                body.await;
                (began, Instant::now())
            })
        })
        .collect();
    while ready.load(Ordering::Acquire) < n {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    // From this thread, not from a worker, which would keep those it wakes for itself.
    go.send_replace(true);
    let mut span: Option<(Instant, Instant)> = None;
    for caller in callers {
        let (began, ended) = caller.await.expect("a caller comes to its end");
        let (first, last) = span.unwrap_or((began, ended));
        span = Some((first.min(began), last.max(ended)));
    }
    span.map_or(Duration::ZERO, |(first, last)| last - first)
}
