//! Callers that begin together: the time from the first one's start to the last one's end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

/// Runs `n` callers at once.
pub(crate) async fn run<F>(n: usize, mut caller: impl FnMut(usize) -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let ready = Arc::new(AtomicUsize::new(0));
    let (go, _) = watch::channel(false);
    // Not returned by the tasks: at each poll of one that returns something it is looked for.
    let (over, mut times) = mpsc::channel(n);
    let callers: Vec<_> = (0..n)
        .map(|lane| {
            let (body, ready, mut go) = (caller(lane), ready.clone(), go.subscribe());
            let over = over.clone();
            tokio::spawn(async move {
                ready.fetch_add(1, Ordering::AcqRel);
                let _ = go.changed().await;
                let began = Instant::now();
                body.await;
                let _ = over.try_send((began, Instant::now()));
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
        caller.await.expect("a caller comes to its end");
        let (began, ended) = times.recv().await.expect("each has sent its own");
        let (first, last) = span.unwrap_or((began, ended));
        span = Some((first.min(began), last.max(ended)));
    }
    span.map_or(Duration::ZERO, |(first, last)| last - first)
}
