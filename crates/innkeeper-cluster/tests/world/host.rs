//! The machine that a node runs on: it can be stopped, for good or for a while, and it can sleep.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use innkeeper_cluster::clock::Clock;
use innkeeper_cluster::ownership::Over;
use innkeeper_cluster::ownership::timing::{FAIL_OVER_DEFAULT, Now};
use innkeeper_cluster::{Settings, VERSIONS};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::SHARDS;
use super::counts::End;
use super::dice::Dice;

/// A machine.
pub(crate) struct Host {
    pub(crate) number: usize,
    /// Nanoseconds of its clocks in a thousand of ours.
    rate: u64,
    began: Instant,
    pub(crate) dice: Dice,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    paused: Option<Instant>,
    slept: Duration,
    crashes: bool,
    drains: bool,
    waker: Option<Waker>,
}

impl Host {
    /// `slow`: its clocks run at half speed.
    pub(crate) fn new(number: usize, dice: &Dice, slow: bool) -> Host {
        // Half a percent off either way: two of them are one percent apart at most.
        let rate = if slow { 500 } else { 995 + dice.below(11) };
        let (began, dice) = (Instant::now(), dice.fork());
        Host { number, rate, began, dice, state: Mutex::default() }
    }

    pub(crate) fn pause(&self) {
        self.state.lock().paused.get_or_insert_with(Instant::now);
    }

    /// Goes on; if it slept meanwhile, one of its clocks did not notice.
    pub(crate) fn resume(&self, slept: bool) {
        let mut state = self.state.lock();
        if let Some(since) = state.paused.take()
            && slept
        {
            state.slept += since.elapsed();
        }
        state.waker.take().into_iter().for_each(Waker::wake);
    }

    pub(crate) fn crash(&self) {
        let mut state = self.state.lock();
        state.crashes = true;
        state.waker.take().into_iter().for_each(Waker::wake);
    }

    pub(crate) fn drain(&self) {
        self.state.lock().drains = true;
    }

    /// Whether it was to drain, once.
    pub(crate) fn take_drain(&self) -> bool {
        std::mem::take(&mut self.state.lock().drains)
    }

    /// Runs one start of a program on it, which answers why its session ended, if it had one.
    /// Everything of the program stands still together, between any two of its steps.
    pub(crate) async fn run(&self, program: impl Future<Output = Option<Over>>) -> End {
        let mut program = pin!(program);
        match poll_fn(|cx| self.poll(cx, program.as_mut())).await {
            None => End::Crashed,
            Some(None) => End::FailedJoin,
            Some(Some(Over::Left)) => End::Left,
            Some(Some(_)) => End::Evicted,
        }
    }

    /// Waits until the program is started again. What was asked of the last one is forgotten.
    pub(crate) async fn rest(&self) {
        let _ = self.take_drain();
        sleep(self.dice.ms(100, 3_000)).await;
    }

    /// As whom its program joins.
    pub(crate) fn settings(&self, address: String) -> Settings {
        Settings {
            cluster: "sim".to_owned(),
            name: format!("node-{}", self.number),
            address,
            weight: 1,
            shards: SHARDS,
            session: Duration::from_secs(5),
            fail_over: FAIL_OVER_DEFAULT,
            versions: VERSIONS,
            starts_at_once: innkeeper_cluster::limits::STARTS_AT_ONCE,
        }
    }

    /// `None`: it crashed.
    fn poll<F: Future>(
        &self,
        cx: &mut Context<'_>,
        program: Pin<&mut F>,
    ) -> Poll<Option<F::Output>> {
        let mut state = self.state.lock();
        state.waker = Some(cx.waker().clone());
        if std::mem::take(&mut state.crashes) {
            return Poll::Ready(None);
        }
        if state.paused.is_some() {
            return Poll::Pending;
        }
        drop(state);
        program.poll(cx).map(Some)
    }

    pub(crate) fn heal(&self) {
        self.resume(false);
    }
}

impl Clock for Host {
    fn now(&self) -> Now {
        let state = self.state.lock();
        let awake = self.began.elapsed() - state.slept;
        let scaled = |time: Duration| time.as_nanos() as u64 / 1_000 * self.rate;
        Now { raw: scaled(awake), slept: scaled(state.slept) }
    }
}
