//! What a placement sees of all processes of its scope that run here, and does to all of them.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use super::{Hosted, Placed, Tenure};
use crate::error::Away;
use crate::keyed::{self, Key, KeyRange, Page, Scope};
use crate::observe::ProcessInfo;
use crate::owner::Owner;
use crate::process::Process;

/// Processes that were told to end, and may not have ended yet.
pub struct Ending<K: Key, P: Process> {
    /// `None`: there is no scope any more, and nothing that could end.
    told: Option<(Arc<Scope<K, P>>, keyed::Told)>,
}

impl<K: Key, P: Process> Hosted<K, P> {
    /// A snapshot of the process of a key; none if it has none under this tenure.
    ///
    /// # Errors
    /// The tenure is over, or in doubt.
    pub fn info(&self, tenure: &Arc<dyn Tenure>, key: &K) -> Result<Option<ProcessInfo>, Away> {
        let scope = self.scope.upgrade().ok_or(Away::NotOwner)?;
        keyed::info_here(&scope, tenure, key)
    }

    /// Shows the tenure of every process here, once.
    ///
    /// # Guarantees
    /// As [`Keyed::visit`](crate::Keyed::visit).
    pub async fn visit(&self, mut look: impl FnMut(&dyn Tenure)) {
        let Some(scope) = self.scope.upgrade() else { return };
        scope
            .visit(|cell| cell.owner.placed().into_iter().for_each(|it| look(&**it.tenure())))
            .await;
    }

    /// What processes are called that have not ended under a tenure: so many of them.
    ///
    /// # Guarantees
    /// As [`Keyed::visit`](crate::Keyed::visit).
    pub async fn names(&self, tenure: &Arc<dyn Tenure>, most: usize) -> Vec<String> {
        let mut names = Vec::new();
        let Some(scope) = self.scope.upgrade() else { return names };
        scope
            .visit(|cell| {
                let is_left = cell.owner.runs_under(tenure) && !cell.is_vacant();
                if is_left && names.len() < most {
                    names.push(cell.owner.name());
                }
            })
            .await;
        names
    }

    /// The first `limit` keys of a range, of processes whose tenure `which` picks.
    ///
    /// # Guarantees
    /// As [`Keyed::page`](crate::Keyed::page).
    pub async fn page(
        &self,
        range: &KeyRange<K>,
        limit: usize,
        which: impl Fn(&dyn Tenure) -> bool,
    ) -> Page<K>
    where
        K: Ord,
    {
        let Some(scope) = self.scope.upgrade() else { return Page::empty() };
        let under = |placed: Option<&Placed>| placed.is_some_and(|it| which(&**it.tenure()));
        scope
            .page(limit, |cell| range.contains(&cell.owner.key) && under(cell.owner.placed()))
            .await
    }

    /// Tells every process to end whose tenure `which` picks.
    ///
    /// # Cancel safety
    /// The orders that were given stand.
    pub async fn end_all(&self, which: impl Fn(&dyn Tenure) -> bool) -> Ending<K, P> {
        let Some(scope) = self.scope.upgrade() else { return Ending { told: None } };
        let under = |placed: Option<&Placed>| placed.is_some_and(|it| which(&**it.tenure()));
        let told = scope.end_all(|cell| under(cell.owner.placed())).await;
        Ending { told: Some((scope, told)) }
    }
}

impl<K: Key, P: Process> Ending<K, P> {
    /// How many were told to end.
    pub fn told(&self) -> usize {
        self.told.as_ref().map_or(0, |(_, told)| told.told)
    }

    /// Waits until all have ended that can, as [`Keyed::stop_all`](crate::Keyed::stop_all) does.
    ///
    /// # Cancel safety
    /// Dropping the future drops the wait.
    pub async fn wait(self) {
        if let Some((scope, told)) = self.told {
            told.wait(&scope).await;
        }
    }
}

impl<K: Key, P: Process> fmt::Debug for Ending<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").field("told", &self.told()).finish_non_exhaustive()
    }
}
