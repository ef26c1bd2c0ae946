//! Keys whose process was handed over from another node, and has not begun here.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{GetError, StopError};
use crate::keyed::scope::{Scope, Shared, Under};
use crate::keyed::{Key, Outcome, placed};
use crate::placement::{Kept, Tenure, Turn};
use crate::process::Process;

impl<K: Key, P: Process> Shared<K, P> {
    /// Whether the process of a key was handed over, and none was ready since.
    pub(super) fn kept(&self, key: &K, under: Under<'_>) -> Option<Kept> {
        self.placement.as_ref()?.kept(key, &**under?)
    }
}

/// Has the process of such a key begin, that is to end: in order, with what was handed over. If
/// there is none in time, that is given up. Answers whether there was anything.
pub(super) async fn begin<K: Key, P: Process>(
    scope: &Arc<Scope<K, P>>,
    tenure: &Arc<dyn Tenure>,
    key: &K,
    turn: Turn,
    timeout: Duration,
) -> Result<bool, StopError> {
    if scope.shared.kept(key, Some(tenure)).is_none() {
        return Ok(false);
    }
    match placed::get_here(scope, tenure, key, None, turn, false, timeout).await {
        Ok(Outcome::Started(_) | Outcome::Existing(_)) | Err(GetError::NotFound) => {}
        Err(GetError::Away(away)) => return Err(StopError::Away(away)),
        Err(GetError::Cycle(cycle)) => return Err(StopError::Cycle(cycle)),
        given_up @ (Ok(Outcome::Ignored) | Err(_)) => {
            let scope_name = &scope.shared.name;
            tracing::warn!(scope_name, ?key, ?given_up, "stopped with what was handed over");
            let placement = scope.shared.placement.as_ref();
            drop(placement.map(|placement| placement.settled(key, &**tenure)));
        }
    }
    Ok(true)
}
