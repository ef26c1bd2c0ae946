//! The program of a node: it can be stopped, for good or for a while, between any two of its steps.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use innkeeper_cluster::clock::Clock;
use innkeeper_cluster::ownership::record::NodeId;
use innkeeper_cluster::ownership::{Command, Event, Gate, Over, Release};
use innkeeper_cluster::{Node, Orders};
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use crate::Mistake;
use crate::oracle::Oracle;
use crate::world::SHARDS;
use crate::world::faults::Network;
use crate::world::host::Host;

/// Starts the program again and again. Never ends.
pub(crate) async fn run(host: Arc<Host>, network: Network, oracle: Oracle, mistake: Mistake) {
    loop {
        let life = live(host.clone(), network.clone(), oracle.clone(), mistake);
        let ended = host.run(life).await;
        oracle.count(|counts| counts.ended(ended));
        host.rest().await;
    }
}

/// One start of the program. `None`: it could not join.
async fn live(host: Arc<Host>, network: Network, oracle: Oracle, mistake: Mistake) -> Option<Over> {
    let settings = host.settings("nowhere:1".to_owned());
    let clock: Arc<dyn Clock> = host.clone();
    let start = NodeId(host.dice.below(u64::MAX));
    let joined = Node::join_as(network.of(host.number), clock, &settings, start).await;
    let (node, orders, running) = joined.ok()?;
    let rooms = Arc::new(Rooms { host, node, oracle, mistake, busy: Mutex::default() });
    let handlers: Vec<_> = (0..4).map(|_| Box::pin(rooms.handle()) as Forever<'_>).collect();
    let mut all: Vec<Forever<'_>> = handlers;
    all.push(Box::pin(rooms.drain()));
    all.push(Box::pin(rooms.look()));
    let (desks, on_desks): (Vec<Desk>, Vec<_>) = (0..SHARDS).map(|_| unbounded_channel()).unzip();
    all.push(Box::pin(rooms.obey(orders, desks)));
    all.extend(on_desks.into_iter().map(|orders| Box::pin(rooms.move_out(orders)) as Forever<'_>));
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

/// Where the orders for one shard go.
type Desk = UnboundedSender<Command>;

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

    /// Which shards the node acts for, whether anybody has anything for them or not.
    async fn look(&self) -> std::convert::Infallible {
        loop {
            sleep(Duration::from_millis(100)).await;
            for shard in 0..SHARDS {
                if self.is_busy(shard) || matches!(self.node.gate(shard), Gate::Open(_)) {
                    self.oracle.served(shard);
                }
            }
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

    /// Hands each order to whoever sees to its shard: a shard that takes its time to be quiet does
    /// not keep the others waiting.
    async fn obey(&self, mut orders: Orders, desks: Vec<Desk>) -> std::convert::Infallible {
        loop {
            match orders.next().await {
                Some(
                    order @ (Command::Shut { shard, .. }
                    | Command::Offer { shard, .. }
                    | Command::Commit { shard, .. }),
                ) => drop(desks[usize::from(shard)].send(order)),
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Carries out the orders for one shard.
    async fn move_out(&self, mut orders: UnboundedReceiver<Command>) -> std::convert::Infallible {
        let dice = self.host.dice.fork();
        loop {
            match orders.recv().await {
                // It never gets to say so.
                Some(Command::Shut { .. }) if self.mistake == Mistake::NeverQuiet => {}
                Some(Command::Shut { shard, epoch }) => {
                    while self.is_busy(shard) {
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
                Some(_) => self.oracle.count(|counts| counts.moved += 1),
                None => std::future::pending().await,
            }
        }
    }

    fn is_busy(&self, shard: u16) -> bool {
        self.busy.lock().get(&shard).is_some_and(|busy| *busy > 0)
    }
}
