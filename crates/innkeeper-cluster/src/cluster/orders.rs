//! Carries out what this node is told about its shards: packs what goes, and unpacks what comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::luggage::{Arriving, Bag, Handed, parts};
use super::{Desk, Inner, asked};
use crate::frame::{Part, Request, Under};
use crate::limits;
use crate::links::Origin;
use crate::node::Orders;
use crate::ownership::record::{Session, Shard};
use crate::ownership::{Command, Event, Gate};

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

    fn desk(&self, shard: Shard) -> Option<&Desk> {
        self.desks.get(usize::from(shard))
    }

    fn close(&self, shard: Shard) {
        if let Some(desk) = self.desk(shard) {
            desk.closed.store(true, Ordering::Release);
        }
    }

    /// Ends the processes of a shard, waits until nothing of them is left or leaving, and reports
    /// that.
    async fn pack(&self, under: Under) {
        let Some(desk) = self.desk(under.shard) else { return };
        let _turn = desk.turn.lock().await;
        self.close(under.shard);
        let right = desk.right(&self.node, under);
        let mut bags = Vec::new();
        for scope in self.scopes() {
            bags.append(&mut scope.pack(right.clone()).await);
        }
        // What came here and was never asked for goes on as it is.
        let handed = std::mem::take(&mut *desk.handed.lock());
        if handed.epoch == under.epoch {
            bags.extend(handed.states.into_iter().map(|((scope, key), (version, state))| Bag {
                scope,
                key,
                version,
                state: Some(state),
                casts: Vec::new(),
            }));
        }
        *desk.packed.lock() = Some(Arc::new(bags));
        loop {
            let left = self.left.notified();
            if !self.leaving.lock().contains_key(&under) {
                break;
            }
            left.await;
        }
        let Under { shard, epoch } = under;
        self.node.report(Event::Quiesced { shard, epoch }).await;
    }

    /// Sends what was packed to the next owner; `under` is what that would serve under.
    async fn offer(&self, under: Under, to: Session) {
        let Some(desk) = self.desk(under.shard) else { return };
        let _turn = desk.turn.lock().await;
        let bags = desk.packed.lock().clone().unwrap_or_default();
        let is_taken = self.send_parts(under, to, &bags).await.is_some();
        let Under { shard, epoch } = under;
        self.node
            .report(match is_taken {
                true => Event::Accepted { shard, epoch },
                false => Event::Declined { shard, epoch },
            })
            .await;
    }

    async fn send_parts(&self, under: Under, to: Session, bags: &[Bag]) -> Option<()> {
        let origin = Origin { sender: u64::from(under.shard), under: None };
        for part in parts(under, bags)? {
            let request = Request::Prepare(part);
            let sent = self.links().request(to, origin, request, limits::PART_WAIT).await;
            if let Err(why) = &sent {
                tracing::warn!(shard = under.shard, %why, "a shard stays: its state was not taken");
            }
            sent.ok()?;
        }
        Some(())
    }

    /// A part of what comes with a shard. Whether it was taken: not where its scopes do not run, or
    /// in another version.
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
        let mut arriving = desk.arriving.lock();
        if arriving.as_ref().is_none_or(|arriving| arriving.epoch != epoch || part.number == 0) {
            *arriving = Some(Arriving::new(epoch));
        }
        // Until it was unpacked, or turns out not to come here.
        desk.closed.store(true, Ordering::Release);
        if let Some(arriving) = arriving.as_mut() {
            arriving.take(part, bags);
        }
        true
    }

    /// Lets the processes of a shard begin, each with what it has here from before.
    async fn unpack(self: &Arc<Self>, under: Under) {
        let Some(desk) = self.desk(under.shard) else { return };
        let _turn = desk.turn.lock().await;
        let packed = desk.packed.lock().take();
        let arrived = desk.arriving.lock().take().filter(|it| it.epoch == under.epoch);
        let bags = match (packed, arrived.and_then(Arriving::whole)) {
            (Some(own), _) => Arc::unwrap_or_clone(own),
            (None, Some(bags)) => bags,
            (None, None) => Vec::new(),
        };
        let right = desk.right(&self.node, under);
        let mut casts = Vec::new();
        let mut handed = Handed { epoch: under.epoch, ..Handed::default() };
        for Bag { scope, key, version, state, casts: waiting } in bags {
            if let Some(state) = state {
                handed.states.insert((scope.clone(), key.clone()), (version, state));
            }
            casts.push((scope, key, version, waiting));
        }
        *desk.handed.lock() = handed;
        // Before anybody else can say something: they were sent before.
        for (scope, key, version, waiting) in &casts {
            if let Some(scope) = self.scope(&scope.clone().into()) {
                scope.deliver(right.clone(), key, *version, waiting).await;
            }
        }
        desk.closed.store(false, Ordering::Release);
        self.node.wake();
        let inner = self.clone();
        self.run(async move {
            // One after the other: who is asked for meanwhile does not wait for them.
            for (scope, key, ..) in casts {
                if let Some(scope) = inner.scope(&scope.into()) {
                    scope.revive(right.clone(), &key).await;
                }
            }
        });
    }

    /// What was packed is with the next owner, or of no use.
    async fn forget(&self, shard: Shard) {
        let Some(desk) = self.desk(shard) else { return };
        let _turn = desk.turn.lock().await;
        *desk.packed.lock() = None;
        desk.closed.store(false, Ordering::Release);
        self.node.wake();
    }

    /// What the process of a key had elsewhere, once.
    pub(super) fn take_handed(
        &self,
        under: Under,
        scope: &[u8],
        key: &[u8],
    ) -> Option<(u32, Vec<u8>)> {
        let mut handed = self.desk(under.shard)?.handed.lock();
        if handed.epoch != under.epoch || handed.states.is_empty() {
            return None;
        }
        handed.states.remove(&(scope.to_vec(), key.to_vec()))
    }
}
