//! The coordinator as an owner sees it that gives a shard away: that one transaction, or its
//! answer, is lost, late, doubled, or the last thing that happens.

use std::sync::Arc;
use std::time::Duration;

use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{
    Change, Committed, Comparison, Coordinator, CoordinatorError, Later, Transaction,
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::front::Front;
use super::tap::{Fate, LATE};

/// What is done to the transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// To what is asked.
    Asked(Fate),
    /// It is carried out, and the answer does not come.
    Unanswered,
}

/// A coordinator that does something to one transfer.
#[derive(Clone)]
pub(crate) struct Clerk {
    pub(crate) memory: Memory,
    rule: Arc<Mutex<Option<Rule>>>,
    pub(crate) reached: Arc<Notify>,
}

impl Clerk {
    pub(crate) fn new(memory: Memory) -> Clerk {
        Clerk { memory, rule: Arc::default(), reached: Arc::default() }
    }

    /// From now on, once.
    pub(crate) fn rule(&self, rule: Rule) {
        *self.rule.lock() = Some(rule);
    }

    /// What is to be done to this transaction: it names two sessions, and writes a shard.
    fn rule_for(&self, transaction: &Transaction) -> Option<Rule> {
        let is_session = |compare: &&Comparison| match compare {
            Comparison::Created(key, at) => key.contains("/node/") && *at > 0,
            _ => false,
        };
        let is_shard =
            |change: &Change| matches!(change, Change::Put(key, _) if key.contains("/shard/"));
        let sessions = transaction.compares.iter().filter(is_session).count();
        let is_transfer = sessions == 2 && transaction.writes.iter().any(is_shard);
        let rule = self.rule.lock().take_if(|_| is_transfer)?;
        self.reached.notify_one();
        Some(rule)
    }
}

impl Front for Clerk {
    fn behind(&self) -> &Memory {
        &self.memory
    }

    fn commit(
        &self,
        transaction: Transaction,
        within: Duration,
    ) -> Later<'_, Result<Committed, CoordinatorError>> {
        let rule = self.rule_for(&transaction);
        let memory = self.memory.clone();
        let again = move |after: Duration, transaction: Transaction| {
            tokio::spawn(async move {
                sleep(after).await;
                memory.commit(transaction, within).await
            });
        };
        Box::pin(async move {
            match rule {
                None => return self.memory.commit(transaction, within).await,
                Some(Rule::Asked(Fate::Doubled)) => {
                    again(LATE, transaction.clone());
                    return self.memory.commit(transaction, within).await;
                }
                Some(Rule::Asked(Fate::Late | Fate::Slow)) => again(LATE, transaction),
                Some(Rule::Asked(Fate::Lost)) => {}
                Some(Rule::Unanswered) => drop(self.memory.commit(transaction, within).await),
            }
            sleep(within).await;
            Err(CoordinatorError::Unknown("no answer".to_owned()))
        })
    }
}
