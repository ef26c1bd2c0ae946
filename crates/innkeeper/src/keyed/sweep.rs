//! The process of a scope: opens it, looks after idle and parked keys, and ends all at the end.

use std::sync::Arc;

use crate::call::ReplyTo;
use crate::child_spec::{ChildSpec, Restart, Shutdown};
use crate::clock;
use crate::context::Context;
use crate::exit::ExitReason;
use crate::guard::contained;
use crate::keyed::owner::KeyedCell;
use crate::keyed::scope::Scope;
use crate::keyed::{Key, remembered};
use crate::limits;
use crate::process::{Message, Process, StartError};
use crate::seam::{Spawner, yield_now};

/// A scope is waited for as long as its processes take; each has its own limit.
pub(crate) const SPEC: ChildSpec =
    ChildSpec::new().restart(Restart::Permanent).shutdown(Shutdown::Infinity);

/// How many passes make up the idle time.
const PASSES: u8 = 4;

/// The process of a scope. It is not in the way of anything that is done with a key.
pub(crate) struct Keeper<K: Key, P: Process> {
    scope: Arc<Scope<K, P>>,
}

/// What it tells itself, time and again.
pub(crate) struct Sweep;

impl Message for Sweep {
    type Reply = ();
}

impl<K: Key, P: Process> Process for Keeper<K, P> {
    type Args = Arc<Scope<K, P>>;
    type Message = Sweep;

    async fn init(scope: &Arc<Scope<K, P>>, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let _ = scope.shared.spawner.set(Spawner::current());
        let period = match scope.shared.idle_after {
            Some(time) => time / u32::from(PASSES),
            None => scope.shared.policy.park_time / u32::from(PASSES),
        };
        let period = period.clamp(limits::SWEEP_MIN, limits::SWEEP_MAX);
        ctx.send_interval(period, || Sweep)?;
        scope.table.open();
        remembered::begin(scope, ctx);
        Ok(Keeper { scope: scope.clone() })
    }

    async fn handle(&mut self, _: Sweep, _: ReplyTo<Sweep>, _: &mut Context<Self>) {
        let (table, shared) = (&self.scope.table, &self.scope.shared);
        let parked = shared.tally.parked() > 0;
        let passes = shared.idle_after.map(|_| PASSES);
        for shard in 0..table.shards() {
            for cell in table.rows(shard) {
                each(cell, |cell| {
                    cell.sweep(passes);
                    if parked && cell.is_vacant() {
                        drop(self.scope.stop_cell(cell, ExitReason::Normal));
                    }
                });
            }
            yield_now().await;
        }
    }

    async fn terminate(&mut self, why: &ExitReason, _: &mut Context<Self>) {
        if why.is_abnormal() {
            // The keeper is restarted; the keys need not notice.
            return;
        }
        self.scope.table.close();
        let told = clock::now();
        for shard in 0..self.scope.table.shards() {
            for cell in self.scope.table.rows(shard) {
                each(cell, |cell| drop(self.scope.stop_cell(cell, ExitReason::Shutdown)));
            }
            yield_now().await;
        }
        let table = &self.scope.table;
        self.scope.unless_stuck(told, table.empty(), || table.len()).await;
    }
}

/// Does something to one cell and lets go of it, which may be its end. A key whose own code panics
/// is not to be in the way of the other keys.
fn each<K: Key, P: Process>(cell: Arc<KeyedCell<K, P>>, what: impl FnOnce(&Arc<KeyedCell<K, P>>)) {
    drop(contained(|| {
        what(&cell);
        drop(cell);
    }));
}
