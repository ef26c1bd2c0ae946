//! Until when somebody waits: one timer for all that is under way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::clock;

/// What is waited for no longer than until some instant.
#[derive(Default)]
pub(crate) struct Overdue {
    waits: Mutex<Waits>,
    /// One has begun that ends before the timer goes off.
    sooner: Notify,
}

#[derive(Default)]
struct Waits {
    /// What is done about each, by when that is and in the order in which they began.
    all: BTreeMap<At, Late>,
    begun: u64,
    /// When the timer goes off.
    timer: Option<Instant>,
}

type At = (Instant, u64);

/// What is done about something whose time is over.
type Late = Box<dyn FnOnce() + Send>;

/// One wait. Dropped, it is over, and nothing is done about it.
#[must_use = "dropped, it is over"]
pub(crate) struct Wait {
    of: Arc<Overdue>,
    at: At,
}

impl Overdue {
    /// Does this in so long, unless the wait is over by then.
    pub(crate) fn begin(
        self: &Arc<Self>,
        within: Duration,
        late: impl FnOnce() + Send + 'static,
    ) -> Wait {
        let then = clock::after(within);
        let mut waits = self.waits.lock();
        let at = (then, waits.begun);
        waits.begun += 1;
        waits.all.insert(at, Box::new(late));
        let is_sooner = waits.timer.is_none_or(|timer| then < timer);
        drop(waits);
        if is_sooner {
            self.sooner.notify_one();
        }
        Wait { of: self.clone(), at }
    }

    /// Does what is due, for as long as it is polled.
    pub(crate) async fn run(&self) {
        loop {
            match self.set_timer() {
                None => self.sooner.notified().await,
                Some(then) => tokio::select! {
                    biased;
                    () = sleep_until(then) => {}
                    () = self.sooner.notified() => {}
                },
            }
            while let Some(late) = self.take_late() {
                late();
            }
        }
    }

    fn set_timer(&self) -> Option<Instant> {
        let mut waits = self.waits.lock();
        waits.timer = waits.all.first_key_value().map(|((then, _), _)| *then);
        waits.timer
    }

    fn take_late(&self) -> Option<Late> {
        let now = clock::after(Duration::ZERO);
        let mut waits = self.waits.lock();
        let first = waits.all.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let late = self.of.waits.lock().all.remove(&self.at);
        // Not under the lock: it may have waits of its own.
        drop(late);
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use tokio::sync::mpsc;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// P6
    #[tokio::test(start_paused = true)]
    async fn each_is_late_at_its_own_time_whatever_began_before_or_ended_meanwhile() {
        let overdue = Arc::new(Overdue::default());
        let (tell, mut told) = mpsc::channel(8);
        let began = clock::after(Duration::ZERO);
        let wait = |within| {
            let tell = tell.clone();
            overdue.begin(seconds(within), move || {
                let _ = tell.try_send((within, clock::after(Duration::ZERO) - began));
            })
        };
        let mut next = async || {
            tokio::select! {
                () = overdue.run() => None,
                told = told.recv() => told,
            }
        };
        let _kept = [wait(600), wait(5), wait(60)];
        assert_eq!(next().await, Some((5, seconds(5))));
        let mut running = Box::pin(next());
        assert!(poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx).is_pending())).await);
        // The timer is set for a minute: this one is sooner.
        let _sooner = wait(1);
        drop(wait(2));
        assert_eq!(running.as_mut().await, Some((1, seconds(6))));
        drop(running);
        assert_eq!(next().await, Some((60, seconds(60))));
        assert_eq!(next().await, Some((600, seconds(600))));
        assert!(overdue.waits.lock().all.is_empty());
    }
}
