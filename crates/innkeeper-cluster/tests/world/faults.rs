//! What goes wrong: between the nodes and the coordinator, and with the nodes themselves.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{
    Committed, Coordinator, CoordinatorError, Entry, Later, Listing, Revision, Transaction, Watch,
};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::NODES;
use super::dice::Dice;
use super::host::Host;

/// The way from the nodes to the coordinator.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) memory: Memory,
    dice: Dice,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// The coordinator answers nobody.
    down: bool,
    /// Nothing of this node gets through.
    cut: [bool; NODES],
    /// One in so many requests has bad luck. 0: none.
    loss: u64,
    /// How late requests, answers and news may be, in milliseconds.
    late: u64,
}

impl Network {
    pub(crate) fn new(dice: Dice) -> Network {
        Network { memory: Memory::new(), dice, state: Arc::default() }
    }

    pub(crate) fn heal(&self) {
        *self.state.lock() = State::default();
    }

    /// The coordinator as one node sees it.
    pub(crate) fn of(&self, node: usize) -> Arc<dyn Coordinator> {
        Arc::new(Way { node, network: self.clone() })
    }

    fn is_cut(&self, node: usize) -> bool {
        let state = self.state.lock();
        state.down || state.cut[node]
    }

    fn is_lost(&self) -> bool {
        let loss = self.state.lock().loss;
        loss > 0 && self.dice.one_in(loss)
    }

    fn lateness(&self) -> Duration {
        let late = self.state.lock().late;
        // Most are quick, whatever the time; a few are very late.
        let late = if self.dice.one_in(4) { late } else { late / 50 };
        self.dice.ms(0, late + 2)
    }
}

struct Way {
    node: usize,
    network: Network,
}

fn unknown() -> CoordinatorError {
    CoordinatorError::Unknown("no answer".to_owned())
}

impl Way {
    /// Goes to the coordinator and comes back, or does not.
    fn travel<T: Send + 'static>(
        &self,
        within: Duration,
        repeats: bool,
        what: impl Fn(&Memory) -> Later<'_, Result<T, CoordinatorError>> + Send + 'static,
    ) -> Later<'_, Result<T, CoordinatorError>> {
        let (network, node) = (self.network.clone(), self.node);
        let (there, back) = (network.lateness(), network.lateness());
        let (lost_there, lost_back) = (network.is_lost(), network.is_lost());
        let again = repeats && network.is_lost();
        // On its own: it gets there whether the sender still waits or not.
        let journey = tokio::spawn(async move {
            sleep(there).await;
            if lost_there || network.is_cut(node) {
                return Err(unknown());
            }
            let answer = what(&network.memory).await;
            if again {
                sleep(network.dice.ms(0, 5_000)).await;
                drop(what(&network.memory).await);
            }
            sleep(back).await;
            if lost_back || network.is_cut(node) {
                return Err(unknown());
            }
            answer
        });
        Box::pin(async move {
            match timeout(within, journey).await {
                Ok(Ok(Ok(answer))) => Ok(answer),
                Ok(Ok(Err(CoordinatorError::Unknown(_)))) => {
                    sleep(within).await;
                    Err(unknown())
                }
                Ok(Ok(Err(error))) => Err(error),
                Ok(Err(_)) | Err(_) => Err(unknown()),
            }
        })
    }
}

impl Coordinator for Way {
    fn commit(
        &self,
        transaction: Transaction,
        within: Duration,
    ) -> Later<'_, Result<Committed, CoordinatorError>> {
        self.travel(within, true, move |memory| memory.commit(transaction.clone(), within))
    }

    fn list(
        &self,
        prefix: String,
        within: Duration,
    ) -> Later<'_, Result<Listing, CoordinatorError>> {
        self.travel(within, false, move |memory| memory.list(prefix.clone(), within))
    }

    fn watch(
        &self,
        prefix: String,
        after: Revision,
        within: Duration,
    ) -> Later<'_, Result<Box<dyn Watch>, CoordinatorError>> {
        let (network, node) = (self.network.clone(), self.node);
        Box::pin(async move {
            let watch = network.memory.watch(prefix, after, within).await?;
            Ok(Box::new(Slow { watch, node, network, next: None }) as Box<dyn Watch>)
        })
    }
}

/// A watch that lags, and breaks now and then.
struct Slow {
    watch: Box<dyn Watch>,
    node: usize,
    network: Network,
    next: Option<Vec<Entry>>,
}

impl Watch for Slow {
    fn next(&mut self) -> Later<'_, Result<Vec<Entry>, CoordinatorError>> {
        Box::pin(async {
            if self.next.is_none() {
                self.next = Some(self.watch.next().await?);
            }
            sleep(self.network.lateness()).await;
            while self.network.is_cut(self.node) {
                sleep(Duration::from_millis(100)).await;
            }
            if self.network.is_lost() {
                return Err(CoordinatorError::NotDone("the watch broke".to_owned()));
            }
            Ok(self.next.take().unwrap_or_default())
        })
    }
}

/// What goes wrong, one thing after the other and sometimes two at once.
pub(crate) struct Faults {
    pub(crate) dice: Dice,
    pub(crate) network: Network,
    pub(crate) hosts: Vec<Arc<Host>>,
}

impl Faults {
    pub(crate) async fn run(&self) -> Infallible {
        // First there is something to lose.
        sleep(self.dice.ms(2_000, 8_000)).await;
        tokio::join!(self.nemesis(), self.nemesis()).0
    }

    async fn nemesis(&self) -> Infallible {
        loop {
            sleep(self.dice.ms(500, 8_000)).await;
            let node = self.dice.below(NODES as u64) as usize;
            let (host, state) = (&self.hosts[node], &self.network.state);
            let long = self.dice.ms(200, 12_000);
            match self.dice.below(9) {
                0 => {
                    state.lock().down = true;
                    sleep(long).await;
                    state.lock().down = false;
                }
                1 | 2 => {
                    state.lock().cut[node] = true;
                    sleep(long).await;
                    state.lock().cut[node] = false;
                }
                3 => {
                    state.lock().loss = 2 + self.dice.below(8);
                    sleep(long).await;
                    state.lock().loss = 0;
                }
                4 => {
                    state.lock().late = 200 + self.dice.below(4_000);
                    sleep(long).await;
                    state.lock().late = 0;
                }
                5 => {
                    host.pause();
                    sleep(long).await;
                    host.resume(false);
                }
                6 => {
                    host.pause();
                    sleep(long).await;
                    host.resume(true);
                }
                7 => host.crash(),
                _ => host.drain(),
            }
        }
    }
}
