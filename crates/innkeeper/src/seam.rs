//! The one place that says which locks and tasks the crate runs on.
//!
//! Normally parking_lot's locks and tokio's tasks; under `--cfg shuttle` the schedule explorer's,
//! so that the same code can be run under seeded thread schedules. What stays tokio's in both (its
//! synchronisation types, which need no runtime) is used directly.

#[cfg(not(shuttle))]
mod real {
    pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
    pub(crate) use std::sync::atomic;

    /// The runtime that a scope's processes run on, whoever asks for them.
    #[derive(Clone, Debug)]
    pub(crate) struct Spawner(tokio::runtime::Handle);

    impl Spawner {
        /// The runtime of the caller.
        ///
        /// # Panics
        /// Outside of a tokio runtime.
        #[track_caller]
        pub(crate) fn current() -> Spawner {
            Spawner(tokio::runtime::Handle::current())
        }

        pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
            drop(self.0.spawn(task));
        }
    }

    pub(crate) use std::thread_local;
    pub(crate) use tokio::task::yield_now;
    pub(crate) use tokio_util::time::DelayQueue;
    pub(crate) use tokio_util::time::delay_queue::Key as TimerKey;

    /// How long it is until a timer goes off that is in the queue.
    pub(crate) fn time_left<T>(timers: &DelayQueue<T>, key: &TimerKey) -> std::time::Duration {
        crate::clock::until(timers.deadline(key))
    }
}

#[cfg(shuttle)]
mod real {
    use std::task::{Context, Poll};
    use std::time::Duration;

    pub(crate) use shuttle::sync::{MutexGuard, atomic};

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(crate) fn into_inner(self) -> T {
            self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            RwLock(shuttle::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    #[derive(Clone, Debug)]
    pub(crate) struct Spawner;

    impl Spawner {
        pub(crate) fn current() -> Spawner {
            Spawner
        }

        pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
            drop(shuttle::future::spawn(task));
        }
    }

    /// Timers that never go off: what comes first is for the schedule to say, and not for a clock.
    #[derive(Debug)]
    pub(crate) struct DelayQueue<T>(Vec<T>);

    /// One of those timers.
    #[derive(Debug)]
    pub(crate) struct TimerKey;

    /// A timer that went off, which none does.
    pub(crate) struct Expired<T>(T);

    impl<T> Expired<T> {
        pub(crate) fn into_inner(self) -> T {
            self.0
        }
    }

    impl<T> DelayQueue<T> {
        pub(crate) fn new() -> Self {
            DelayQueue(Vec::new())
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }

        pub(crate) fn insert(&mut self, timer: T, _: Duration) -> TimerKey {
            self.0.push(timer);
            TimerKey
        }

        pub(crate) fn try_remove(&mut self, _: &TimerKey) -> Option<Expired<T>> {
            self.0.pop().map(Expired)
        }

        pub(crate) fn poll_expired(&mut self, _: &mut Context<'_>) -> Poll<Option<Expired<T>>> {
            Poll::Pending
        }

        pub(crate) fn clear(&mut self) {
            self.0.clear();
        }
    }

    /// Nobody knows.
    pub(crate) fn time_left<T>(_: &DelayQueue<T>, _: &TimerKey) -> Duration {
        Duration::ZERO
    }

    pub(crate) use shuttle::future::yield_now;
    pub(crate) use shuttle::thread_local;
}

pub(crate) use real::*;
