//! Carries out what this node is told about its shards: packs what goes, and unpacks what comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::contain::contained_later;
use super::luggage::{Arriving, Bag, Luggage, parts, stays};
use super::{Desk, Inner, asked};
use crate::frame::{Part, Request, Under};
use crate::limits;
use crate::links::Origin;
use crate::node::Orders;
use crate::ownership::record::{Owned, Session, Shard};
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

    pub(super) fn desk(&self, shard: Shard) -> Option<&Desk> {
        self.desks.get(usize::from(shard))
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
        let right = desk.right(&self.node, under);
        let (mut bags, mut is_done) = (Vec::new(), true);
        for scope in self.scopes() {
            match contained_later(scope.pack(right.clone())).await {
                Some(mut packed) => bags.append(&mut packed),
                // Nobody knows what of it still runs, so the shard is not to go.
                None => is_done = false,
            }
        }
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

    /// Sends what was packed to the next owner; `under` is what that would serve under.
    async fn offer(&self, under: Under, to: Session) {
        let Some(desk) = self.desk(under.shard) else { return };
        let _turn = desk.turn.lock().await;
        let parts = desk.packed.lock().as_ref().and_then(|packed| parts(under, packed.bags()));
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
        if let Some(arriving) = arriving.as_mut() {
            arriving.take(part, bags);
        }
        true
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
        let (inner, right) = (self.clone(), desk.right(&self.node, under));
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
mod tests {
    use std::time::Duration;

    use super::super::{Cluster, Membership};
    use super::*;
    use crate::clock::Clock;
    use crate::coordinator::memory::Memory;
    use crate::coordinator::{Change, Coordinator, Transaction};
    use crate::join::{Settings, VERSIONS};
    use crate::net::memory::Memory as Wires;
    use crate::ownership::timing::{FAIL_OVER_DEFAULT, Now};

    const SECOND: Duration = Duration::from_secs(1);

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Now {
            Now { raw: 0, slept: 0 }
        }
    }

    async fn join(memory: &Memory, wires: &Wires, name: &str) -> (Cluster, Membership) {
        let settings = Settings {
            cluster: "test".to_owned(),
            name: name.to_owned(),
            address: format!("{name}:1"),
            weight: 1,
            shards: 1,
            session: 5 * SECOND,
            fail_over: FAIL_OVER_DEFAULT,
            versions: VERSIONS,
        };
        let net = Arc::new(wires.port(&settings.address));
        let joined = Cluster::join(Arc::new(memory.clone()), Arc::new(Still), net, &settings).await;
        joined.ok().unwrap_or_else(|| panic!("{name} has not joined"))
    }

    /// P16: as after a node that died in the midst of giving.
    #[tokio::test(start_paused = true)]
    async fn what_came_with_a_shard_is_dropped_when_that_goes_elsewhere() {
        let (memory, wires) = (Memory::new(), Wires::new());
        let (a, first) = join(&memory, &wires, "a").await;
        let (b, second) = join(&memory, &wires, "b").await;
        let test = async {
            let known = async |node: &Cluster, epoch: u64| loop {
                match node.node().owner(0) {
                    Some(owned) if owned.epoch >= epoch => return owned,
                    _ => tokio::time::sleep(SECOND / 100).await,
                }
            };
            let owned = known(&a, 1).await;
            let other = if owned.owner == a.node().session() { &b } else { &a };
            let epoch = known(other, 1).await.epoch + 1;
            let body = asked::write(&Vec::<Bag>::new()).unwrap_or_default();
            let part = Part { under: Under { shard: 0, epoch }, number: 0, count: 2, body };
            assert!(other.inner.arrive(&part));
            assert!(other.inner.desks[0].arriving.lock().is_some());
            let entries = memory.list("/innkeeper/test/shard/".to_owned(), SECOND).await;
            let Ok([entry]) = entries.as_ref().map(|list| &list.entries[..]) else {
                panic!("{entries:?}")
            };
            let text = String::from_utf8_lossy(entry.value.as_deref().unwrap_or_default());
            let text = text.replace(&format!("epoch={}\n", epoch - 1), &format!("epoch={epoch}\n"));
            let claim = Change::Put(entry.key.clone(), text.into());
            let claim = Transaction { writes: vec![claim], ..Transaction::default() };
            assert!(memory.commit(claim, SECOND).await.is_ok_and(|committed| committed.done));
            known(other, epoch).await;
            tokio::time::sleep(SECOND / 100).await;
            assert!(other.inner.desks[0].arriving.lock().is_none());
        };
        tokio::select! {
            _ = async { tokio::join!(first, second) } => panic!("their sessions are over"),
            () = test => {}
        }
    }
}
