//! The program of a node: it can be stopped, for good or for a while, between any two of its steps.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use innkeeper_cluster::clock::Clock;
use innkeeper_cluster::ownership::record::NodeId;
use innkeeper_cluster::ownership::timing::FAIL_OVER_DEFAULT;
use innkeeper_cluster::ownership::{Command, Event, Gate, Over, Release};
use innkeeper_cluster::{Node, Orders, Settings, VERSIONS};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::faults::Network;
use crate::host::Host;
use crate::oracle::Oracle;
use crate::{Mistake, SHARDS};

/// Starts the program again and again. Never ends.
pub(crate) async fn run(host: Arc<Host>, network: Network, oracle: Oracle, mistake: Mistake) {
    loop {
        {
            let mut life = pin!(live(host.clone(), network.clone(), oracle.clone(), mistake));
            // Everything of the program stands still together, between any two of its steps.
            let ended = poll_fn(|cx| host.poll(cx, life.as_mut()));
            match ended.await {
                None => oracle.count(|counts| counts.crashed += 1),
                Some(None) => oracle.count(|counts| counts.failed_joins += 1),
                Some(Some(Over::Left)) => oracle.count(|counts| counts.left += 1),
                Some(Some(_)) => oracle.count(|counts| counts.evicted += 1),
            }
        }
        let _ = host.take_drain();
        sleep(host.dice.ms(100, 3_000)).await;
    }
}

/// One start of the program. `None`: it could not join.
async fn live(host: Arc<Host>, network: Network, oracle: Oracle, mistake: Mistake) -> Option<Over> {
    let settings = Settings {
        cluster: "sim".to_owned(),
        name: format!("node-{}", host.number),
        address: "nowhere:1".to_owned(),
        weight: 1,
        shards: SHARDS,
        session: Duration::from_secs(5),
        fail_over: FAIL_OVER_DEFAULT,
        versions: VERSIONS,
    };
    let clock: Arc<dyn Clock> = host.clone();
    let start = NodeId(host.dice.below(u64::MAX));
    let joined = Node::join_as(network.of(host.number), clock, &settings, start).await;
    let (node, orders, running) = joined.ok()?;
    let rooms = Arc::new(Rooms { host, node, oracle, mistake, busy: Mutex::default() });
    let handlers: Vec<_> = (0..4).map(|_| Box::pin(rooms.handle()) as Forever<'_>).collect();
    let mut all: Vec<Forever<'_>> = handlers;
    all.push(Box::pin(rooms.drain()));
    all.push(Box::pin(rooms.obey(orders)));
    let (mut running, mut over) = (pin!(running), None);
    // What runs does not notice the end of its session for a while.
    let mut lingers = pin!(async { sleep(rooms.host.dice.ms(0, 3_000)).await });
    poll_fn(|cx| {
        for part in &mut all {
            // None of them ends.
            let _ = part.as_mut().poll(cx);
        }
        if over.is_none()
            && let Poll::Ready(why) = running.as_mut().poll(cx)
        {
            over = Some(why);
        }
        match over {
            None => Poll::Pending,
            Some(_) => lingers.as_mut().poll(cx).map(|()| over),
        }
    })
    .await
}

type Forever<'a> = Pin<Box<dyn Future<Output = std::convert::Infallible> + Send + 'a>>;

/// What runs on a node: for each shard a room, whose handlers take a while.
struct Rooms {
    host: Arc<Host>,
    node: Node,
    oracle: Oracle,
    mistake: Mistake,
    /// How many messages of a shard were begun, and have not been let go of.
    busy: Mutex<HashMap<u16, usize>>,
}

impl Rooms {
    async fn handle(&self) -> std::convert::Infallible {
        let dice = self.host.dice.fork();
        loop {
            sleep(dice.ms(1, 400)).await;
            let shard = dice.below(u64::from(SHARDS)) as u16;
            let epoch = match self.node.gate(shard) {
                Gate::Open(epoch) => epoch,
                Gate::Frozen(epoch) if self.mistake == Mistake::NoFirstCheck => epoch,
                Gate::Frozen(_) | Gate::Shut => continue,
            };
            *self.busy.lock().entry(shard).or_default() += 1;
            self.oracle.begun(self.host.number, shard, epoch);
            sleep(if dice.one_in(20) { dice.ms(0, 6_000) } else { dice.ms(0, 50) }).await;
            self.let_out(shard, epoch).await;
            *self.busy.lock().entry(shard).or_default() -= 1;
        }
    }

    async fn let_out(&self, shard: u16, epoch: u64) {
        let mut held = false;
        loop {
            match self.node.release(shard, epoch) {
                _ if self.mistake == Mistake::NoSecondCheck => {}
                Release::Now => {}
                Release::Hold => {
                    if !std::mem::replace(&mut held, true) {
                        self.oracle.count(|counts| counts.held += 1);
                    }
                    sleep(Duration::from_millis(20)).await;
                    continue;
                }
                Release::Never => {
                    self.oracle.count(|counts| counts.dropped += 1);
                    return;
                }
            }
            return self.oracle.effect(self.host.number, shard, epoch);
        }
    }

    async fn drain(&self) -> std::convert::Infallible {
        loop {
            sleep(Duration::from_millis(300)).await;
            if self.host.take_drain() {
                self.node.drain().await;
            }
        }
    }

    async fn obey(&self, mut orders: Orders) -> std::convert::Infallible {
        let dice = self.host.dice.fork();
        loop {
            match orders.next().await {
                Some(Command::Shut { shard, epoch }) => {
                    while self.busy.lock().get(&shard).is_some_and(|busy| *busy > 0) {
                        sleep(Duration::from_millis(10)).await;
                    }
                    self.node.report(Event::Quiesced { shard, epoch }).await;
                }
                Some(Command::Offer { shard, epoch, .. }) => {
                    sleep(dice.ms(0, 100)).await;
                    if dice.one_in(8) {
                        self.oracle.count(|counts| counts.declined += 1);
                        self.node.report(Event::Declined { shard, epoch }).await;
                    } else {
                        self.node.report(Event::Accepted { shard, epoch }).await;
                    }
                }
                Some(Command::Commit { .. }) => self.oracle.count(|counts| counts.moved += 1),
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}
