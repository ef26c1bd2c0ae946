//! Something that stands in front of a coordinator, and does something to what passes.

use std::time::Duration;

use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{
    Committed, Coordinator, CoordinatorError, Later, Listing, Revision, Transaction, Watch,
};

/// What it does. Everything that it does not say passes.
pub(crate) trait Front: Send + Sync + 'static {
    fn behind(&self) -> &Memory;

    fn commit(
        &self,
        transaction: Transaction,
        within: Duration,
    ) -> Later<'_, Result<Committed, CoordinatorError>> {
        self.behind().commit(transaction, within)
    }

    fn watch(
        &self,
        prefix: String,
        after: Revision,
        within: Duration,
    ) -> Later<'_, Result<Box<dyn Watch>, CoordinatorError>> {
        self.behind().watch(prefix, after, within)
    }
}

/// The coordinator that it is with that in front.
#[derive(Clone)]
pub(crate) struct Fronted<F>(pub(crate) F);

impl<F: Front> Coordinator for Fronted<F> {
    fn commit(
        &self,
        transaction: Transaction,
        within: Duration,
    ) -> Later<'_, Result<Committed, CoordinatorError>> {
        self.0.commit(transaction, within)
    }

    fn list(
        &self,
        prefix: String,
        within: Duration,
    ) -> Later<'_, Result<Listing, CoordinatorError>> {
        self.0.behind().list(prefix, within)
    }

    fn watch(
        &self,
        prefix: String,
        after: Revision,
        within: Duration,
    ) -> Later<'_, Result<Box<dyn Watch>, CoordinatorError>> {
        self.0.watch(prefix, after, within)
    }
}
