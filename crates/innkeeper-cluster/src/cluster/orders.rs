//! Carries out what this node is told about its shards: packs what goes, and unpacks what comes.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::contain::contained_later;
use super::luggage::{Arriving, Bag, Luggage, parts, stays};
use super::tenure::Owning;
use super::{ClusterEvent, Desk, Draining, Inner, asked};
use crate::frame::{Part, Request, Under};
use crate::limits;
use crate::links::Origin;
use crate::node::Orders;
use crate::ownership::record::{Owned, Session, Shard};
use crate::ownership::{Command, Event, Gate};

/// [`limits::ARRIVING_WAIT`], in nanoseconds.
const ARRIVING_WAIT_NS: u64 = limits::ARRIVING_WAIT.as_nanos() as u64;

impl Inner {
    /// Obeys until the session is over. Orders for one shard are carried out one after the other.
    pub(super) async fn obey(self: &Arc<Self>, mut orders: Orders) {
        while let Some(order) = orders.next().await {
            let inner = self.clone();
            match order {
                Command::Shut { shard, epoch } => {
                    // At once: the shard may be opened again before its turn comes.
                    self.close(shard);
                    self.run(async move { inner.pack(Under { shard, epoch }).await });
                }
                Command::Offer { shard, epoch, to } => {
                    self.run(async move { inner.offer(Under { shard, epoch }, to).await });
                }
                Command::Open { shard, epoch } | Command::Reopen { shard, epoch } => {
                    self.run(async move { inner.unpack(Under { shard, epoch }).await });
                }
                Command::Claim { shard, epoch } => {
                    // It is older than what was lost with that owner.
                    if let Some(desk) = self.desk(shard) {
                        desk.arriving.lock().take_if(|arriving| arriving.epoch <= epoch);
                    }
                }
                Command::Commit { shard, .. } => {
                    self.run(async move { inner.forget(shard).await });
                }
                Command::Lost { shard } => {
                    self.run(async move {
                        inner.forget(shard).await;
                        for scope in inner.scopes() {
                            scope.end_lost().await;
                        }
                    });
                }
                // Whoever runs the session ends what ran under it.
                Command::End(_) | Command::Send { .. } | Command::List => {}
            }
        }
    }

    fn close(&self, shard: Shard) {
        if let Some(desk) = self.desk(shard) {
            desk.open.store(0, Ordering::Release);
        }
    }

    /// Ends the processes of a shard, waits until nothing of them is left or leaving, and reports
    /// that.
    async fn pack(&self, under: Under) {
        let Some(desk) = self.desk(under.shard) else { return };
        let _turn = desk.turn.lock().await;
        self.close(under.shard);
        let right = desk.right(self, under);
        let (mut bags, mut is_done) = (Vec::new(), true);
        *desk.draining.lock() = Some(Draining::default());
        for scope in self.scopes() {
            let packing = contained_later(scope.pack(right.clone()));
            match self.unless_stuck(desk, &right, packing).await {
                Some(mut packed) => bags.append(&mut packed),
                // Nobody knows what of it still runs, so the shard is not to go.
                None => is_done = false,
            }
        }
        *desk.draining.lock() = None;
        // What no process that was ready has had goes on as it is.
        let mut packed = desk.take_handed(under.epoch);
        packed.add(bags);
        *desk.packed.lock() = Some(packed);
        loop {
            let left = self.left.notified();
            if !self.leaving.lock().contains_key(&under) {
                break;
            }
            left.await;
        }
        let Under { shard, epoch } = under;
        self.node
            .report(match is_done {
                true => Event::Quiesced { shard, epoch },
                false => Event::Declined { shard, epoch: epoch + 1 },
            })
            .await;
    }

    /// Waits for what is packed. If that takes long it tells, time and again, whom it waits for.
    async fn unless_stuck<T>(
        &self,
        desk: &Desk,
        right: &Arc<Owning>,
        packing: impl Future<Output = T>,
    ) -> T {
        let mut packing = pin!(packing);
        loop {
            let packed = tokio::time::timeout(limits::STUCK_AFTER, packing.as_mut()).await;
            if let Ok(packed) = packed {
                return packed;
            }
            let mut stuck = Vec::new();
            for scope in self.scopes() {
                let most = limits::STUCK_NAMED - stuck.len();
                stuck.append(&mut scope.names(right.clone(), most).await);
            }
            let shard = right.under.shard;
            tracing::warn!(shard, ?stuck, "a shard does not go: its processes do not end");
            // Nobody need listen.
            let _ = self.changes.send(ClusterEvent::Stuck { shard, processes: stuck.clone() });
            *desk.draining.lock() = Some(Draining { stuck });
        }
    }

    /// Sends what was packed to the next owner; `under` is what that would serve under.
    async fn offer(&self, under: Under, to: Session) {
        let Some(desk) = self.desk(under.shard) else { return };
        let _turn = desk.turn.lock().await;
        let attempt = desk.attempts.fetch_add(1, Ordering::Relaxed);
        let parts = desk.packed.lock().as_ref().and_then(|it| parts(under, attempt, it.bags()));
        let sent = match parts {
            Some(parts) => self.send_parts(parts, to).await,
            None => Err("it cannot be written down".to_owned()),
        };
        let is_taken = sent.is_ok();
        if let Err(why) = sent
            && !desk.is_told.swap(true, Ordering::Relaxed)
        {
            let packed = desk.packed.lock();
            let why = stays(packed.iter().flat_map(|packed| packed.bags()), &why);
            tracing::warn!(shard = under.shard, why, "a shard stays: its state was not taken");
        }
        let Under { shard, epoch } = under;
        self.node
            .report(match is_taken {
                true => Event::Accepted { shard, epoch },
                false => Event::Declined { shard, epoch },
            })
            .await;
    }

    async fn send_parts(&self, parts: Vec<Part>, to: Session) -> Result<(), String> {
        for part in parts {
            let shard = part.under.shard;
            let origin = Origin { sender: u64::from(shard), under: None };
            let request = Request::Prepare(part);
            let sent = self.links().request(to, origin, request, limits::PART_WAIT).await;
            sent.map_err(|why| why.to_string())?;
        }
        Ok(())
    }

    /// A part of what comes with a shard. Whether it was taken: not where its scopes do not run, or
    /// in another version, or where more is arriving already than is to be kept.
    pub(super) fn arrive(&self, part: &Part) -> bool {
        let Under { shard, epoch } = part.under;
        let known = self.node.owner(shard).map_or(0, |owned| owned.epoch);
        if self.node.gate(shard) != Gate::Shut || epoch <= known {
            return false;
        }
        let Some(desk) = self.desk(shard) else { return false };
        let Some(bags) = asked::read::<Vec<Bag>>(&part.body) else { return false };
        let fits = |bag: &Bag| {
            let scope = self.scope(&Bytes::copy_from_slice(&bag.scope));
            scope.is_some_and(|scope| scope.version() == bag.version)
        };
        if !bags.iter().all(fits) {
            return false;
        }
        let Some(share) = self.share(part.body.len()) else {
            tracing::warn!(shard, "a shard is not taken now: too much is arriving");
            return false;
        };
        let (now, mut arriving) = (self.node.now(), desk.arriving.lock());
        match arriving.as_ref().map(|arriving| arriving.cmp(part)) {
            Some(Equal) => {}
            // It was under way for so long that its sender has begun anew.
            Some(Greater) => return false,
            None | Some(Less) => *arriving = Some(Arriving::new(epoch, part.attempt, now)),
        }
        if let Some(arriving) = arriving.as_mut() {
            arriving.take(part, bags, share, now);
        }
        true
    }

    /// A share of what may arrive at this node, of so many bytes. If there is none left, what was
    /// sent in vain makes room.
    fn share(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        let share = || self.arrivals.clone().try_acquire_many_owned(bytes).ok();
        share().or_else(|| {
            let now = self.node.now();
            for desk in &self.desks {
                let is_late = |it: &mut Arriving| now.awake_since(it.at) > ARRIVING_WAIT_NS;
                desk.arriving.lock().take_if(is_late);
            }
            share()
        })
    }

    /// What came with a shard that has gone elsewhere is of no use.
    pub(super) fn drop_arriving(&self, before: &[Option<Owned>], now: &[Option<Owned>]) {
        let me = self.node.session();
        for (at, (desk, now)) in self.desks.iter().zip(now).enumerate() {
            if let Some(owned) = now.filter(|owned| before.get(at) != Some(&Some(*owned))) {
                desk.arriving.lock().take_if(|arriving| !arriving.is_awaited(owned, me));
            }
        }
    }

    /// Lets the processes of a shard begin, each with what it has here from before.
    async fn unpack(self: &Arc<Self>, under: Under) {
        let Some(desk) = self.desk(under.shard) else { return };
        let _turn = desk.turn.lock().await;
        let own = desk.packed.lock().take();
        let arrived = desk.arriving.lock().take_if(|arriving| arriving.epoch <= under.epoch);
        // What was packed here holds as long as nobody else has acted for the shard since.
        let own = own.filter(|own| under.epoch - own.epoch <= 1).map(Luggage::into_bags);
        let arrived = arrived.filter(|arrived| arrived.epoch == under.epoch);
        let bags = own.or_else(|| arrived?.whole()).unwrap_or_default();
        let handed = Luggage::new(under.epoch, bags);
        let keys = handed.keys();
        *desk.handed.lock() = handed;
        desk.open.store(under.epoch, Ordering::Release);
        self.node.wake();
        desk.turned.notify_waiters();
        self.opened.send_replace(());
        let (inner, right) = (self.clone(), desk.right(self, under));
        self.run(async move { inner.revive(right, keys).await });
    }

    /// What was packed is with the next owner, or of no use.
    async fn forget(&self, shard: Shard) {
        let Some(desk) = self.desk(shard) else { return };
        let _turn = desk.turn.lock().await;
        *desk.packed.lock() = None;
        desk.is_told.store(false, Ordering::Relaxed);
    }

    /// What the process of a key had before, for its `init` under this ownership.
    pub(super) fn handed(&self, under: Under, scope: &[u8], key: &[u8]) -> Option<Vec<u8>> {
        let handed = self.desk(under.shard)?.handed.lock();
        let is_it = handed.epoch == under.epoch && !handed.is_empty();
        is_it.then(|| handed.bag(scope, key)?.state.clone())?
    }

    /// A process is ready, with what was handed to it. Answers the casts that came along.
    pub(super) fn settled(&self, under: Under, scope: &[u8], key: &[u8]) -> Vec<Vec<u8>> {
        let Some(desk) = self.desk(under.shard) else { return Vec::new() };
        let mut handed = desk.handed.lock();
        if handed.epoch != under.epoch || handed.is_empty() {
            return Vec::new();
        }
        handed.take(scope, key).map(|bag| bag.casts).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
