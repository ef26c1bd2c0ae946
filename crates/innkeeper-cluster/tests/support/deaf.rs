//! A coordinator that says nothing of its own accord, as one whose connections are made anew: a
//! session learns of a change by its lists, and by what is refused.

use std::time::Duration;

use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{CoordinatorError, Entry, Later, Revision, Watch};

use crate::front::Front;

#[derive(Clone)]
pub(crate) struct Deaf(pub(crate) Memory);

impl Front for Deaf {
    fn behind(&self) -> &Memory {
        &self.0
    }

    fn watch(
        &self,
        _: String,
        _: Revision,
        _: Duration,
    ) -> Later<'_, Result<Box<dyn Watch>, CoordinatorError>> {
        Box::pin(async { Ok(Box::new(Silence) as Box<dyn Watch>) })
    }
}

struct Silence;

impl Watch for Silence {
    fn next(&mut self) -> Later<'_, Result<Vec<Entry>, CoordinatorError>> {
        Box::pin(std::future::pending())
    }
}
