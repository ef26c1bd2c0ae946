//! Decides whether a name is free to be taken: nobody took it, who did is gone, or is known to be
//! dead.

use std::time::Duration;

use super::JoinError;
use crate::burial;
use crate::clock::Clock;
use crate::codec::{self, Prefix};
use crate::coordinator::{Change, Comparison, Coordinator};
use crate::home::Home;
use crate::limits;
use crate::ownership::record::{Key, NodeId, Value};
use crate::ownership::timing::Timing;
use crate::ownership::vigil::{Verdict, Vigil};

/// What must hold for a name to be taken, and what is written as it is.
#[derive(Debug, Default)]
pub(super) struct Free {
    pub(super) compares: Vec<Comparison>,
    pub(super) writes: Vec<Change>,
}

/// What is asked, and with what.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) coordinator: &'a dyn Coordinator,
    pub(super) clock: &'a dyn Clock,
    pub(super) prefix: &'a Prefix,
    pub(super) timing: Timing,
    pub(super) home: Option<&'a Home>,
}

impl Asking<'_> {
    /// Waits for the end of a session that is silent, and ends it when its time is over: there may
    /// be nobody else to do so.
    pub(super) async fn free(&self, name: &str) -> Result<Free, JoinError> {
        let key = self.prefix.name(name);
        let listing = self.coordinator.list(key.clone(), limits::JOIN_WAIT).await?;
        let Some(entry) = listing.entries.into_iter().find(|entry| entry.key == key) else {
            return Ok(Free { compares: vec![Comparison::Created(key, 0)], writes: Vec::new() });
        };
        let same = Comparison::Modified(key.clone(), entry.modified);
        let Some(node) = entry.value.as_deref().and_then(codec::holder) else {
            return Err(JoinError::Unreadable { key });
        };
        if let Some(mut free) = self.succeed(node).await? {
            free.compares.push(same);
            return Ok(free);
        }
        if !self.outlive(name, node).await? {
            return Err(JoinError::NameInUse { name: name.to_owned() });
        }
        let gone = Comparison::Created(self.prefix.key(Key::Node(node)), 0);
        Ok(Free { compares: vec![same, gone], writes: Vec::new() })
    }

    /// What ends the session of a predecessor that is known to be dead. In the transaction that
    /// makes the next one, so that nobody sees the node without a session and takes its shards.
    async fn succeed(&self, node: NodeId) -> Result<Option<Free>, JoinError> {
        let Some(home) = self.home else { return Ok(None) };
        let death = burial::death(self.coordinator, self.prefix, home, node).await?;
        let Some(death) = death else { return Ok(None) };
        burial::settle(self.clock, &death).await;
        let burial = self.prefix.transaction(&death.burial());
        tracing::info!(session = ?death.session(), "the program before this one is dead");
        Ok(Some(Free { compares: burial.compares, writes: burial.writes }))
    }

    /// Whether a session has ended. If not, it is alive.
    async fn outlive(&self, name: &str, node: NodeId) -> Result<bool, JoinError> {
        let Asking { coordinator, clock, prefix, timing, .. } = *self;
        let mut vigil = Vigil::new(node, timing);
        let mut is_said = false;
        let key = prefix.key(Key::Beat(node));
        // Each question has its deadline, and a heartbeat or its absence is an answer; what is
        // waited for is at most a session without any, and then the questions fail.
        loop {
            let asked = clock.now();
            let listing = coordinator.list(key.clone(), limits::JOIN_WAIT).await?;
            let record = listing.entries.iter().find_map(|entry| prefix.record(entry));
            let beat = record.and_then(|record| match record.value {
                Some(Value::Beat(count)) => Some((count, record.modified)),
                _ => None,
            });
            match vigil.hear(beat, asked, clock.now()) {
                Verdict::Gone => return Ok(true),
                Verdict::Alive => return Ok(false),
                Verdict::Wait if !is_said => {
                    is_said = true;
                    let most = Duration::from_nanos(timing.session);
                    tracing::info!(
                        name,
                        "the last session of this name is not over yet; waiting up to {most:?} \
                         (started on its --data-dir, a node that was killed need not wait)"
                    );
                }
                Verdict::Wait => {}
                Verdict::Evict(txn) => {
                    let txn = prefix.transaction(&txn);
                    return Ok(coordinator.commit(txn, limits::JOIN_WAIT).await?.done);
                }
            }
            tokio::time::sleep(Duration::from_nanos(timing.heartbeat)).await;
        }
    }
}
