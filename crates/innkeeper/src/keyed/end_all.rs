//! Ending many processes of a scope at once, and waiting until all have ended that can.

use std::sync::Arc;
use std::time::Duration;

use crate::cell::{Flight, Stopping};
use crate::child_spec::Shutdown;
use crate::clock::{self, Moment};
use crate::exit::ExitReason;
use crate::keyed::Key;
use crate::keyed::owner::KeyedCell;
use crate::keyed::scope::Scope;
use crate::limits;
use crate::process::Process;
use crate::wait_for;

/// Processes that were told to end.
pub(crate) struct Ending {
    /// How many were told to.
    pub(crate) told: usize,
    began: Moment,
    ends: Vec<Arc<Flight>>,
}

impl Ending {
    /// Waits until they have ended, but for those that are stuck.
    pub(crate) async fn wait<K: Key, P: Process>(self, scope: &Scope<K, P>) {
        let ended = async {
            for end in &self.ends {
                end.wait().await;
            }
        };
        let left = || self.ends.iter().filter(|end| !end.initialized()).count();
        scope.unless_stuck(self.began, ended, left).await;
    }
}

impl<K: Key, P: Process> Scope<K, P> {
    /// Tells every process to end that there is now, of those that `which` picks.
    pub(crate) async fn end_all(&self, which: impl Fn(&KeyedCell<K, P>) -> bool) -> Ending {
        let mut ending = Ending { told: 0, began: clock::now(), ends: Vec::new() };
        self.visit(|cell| {
            if which(&cell)
                && let Stopping::Wait { flight, .. } = self.stop_cell(&cell, ExitReason::Shutdown)
            {
                ending.told += 1;
                // Whoever is one of them, or is waited for by one, cannot wait for that one.
                if wait_for::wait_for(&*cell).is_ok() {
                    ending.ends.push(flight);
                }
            }
        })
        .await;
        ending
    }

    /// Waits for processes that were told to end at `told`. What has not ended a while after it was
    /// killed is stuck, and is not waited for; but of very many the last ones may not have come to
    /// their turn by then, so it is only over if none ends meanwhile of those that are `left`.
    pub(crate) async fn unless_stuck(
        &self,
        told: Moment,
        ended: impl Future<Output = ()>,
        left: impl Fn() -> usize,
    ) {
        let limit = match self.shared.spec.shutdown {
            Shutdown::BrutalKill => Duration::ZERO,
            Shutdown::Timeout(time) => time,
            Shutdown::Infinity => return ended.await,
        };
        let stuck = async {
            clock::alarm(told.after(limit)).await;
            loop {
                let before = left();
                // From now, for to tell them all may have taken longer than each may take to end.
                clock::alarm(clock::now().after(limits::STUCK_AFTER)).await;
                if left() == before {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = ended => {}
            () = stuck => {}
        }
    }
}
