//! What a shutdown of a whole tree leaves to report: who had to be killed, and who is still there.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Weak};

use crate::limits;
use crate::seam::Mutex;
use crate::supervisor::child::{Child, Pending};
use crate::supervisor::look::Kind;

/// How a shutdown went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Processes that did not end within their own time and were killed.
    pub killed: Names,
    /// Processes that have not ended: their code does not come to an await point, or the time for
    /// the whole shutdown was too short.
    pub stuck: Names,
}

impl ShutdownReport {
    /// Whether every process ended in order.
    pub fn is_clean(&self) -> bool {
        self.killed.count == 0 && self.stuck.count == 0
    }
}

/// A bounded list of names, and how many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Names {
    /// How many.
    pub count: usize,
    /// The first [`limits::NAMES_REPORTED`] of them.
    pub names: Vec<String>,
}

impl Names {
    pub(crate) fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.names.len() < limits::NAMES_REPORTED {
            self.names.push(name());
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join(", "))?;
        match self.count - self.names.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Something with children, that can say which of them have not ended.
pub(crate) trait Container: Send + Sync {
    fn survivors(&self, names: &mut Names);

    /// What has the children.
    fn kind(&self) -> Kind;

    /// How many there are, in whatever state.
    fn len(&self) -> usize;

    /// The first children after a place, in the order of their start, and whether there are more.
    fn page(self: Arc<Self>, after: u64, limit: usize) -> Pending<(Vec<Arc<dyn Child>>, bool)>;

    /// The child at a place.
    fn child(&self, at: u64) -> Option<Arc<dyn Child>>;

    /// Itself, for who knows its type.
    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// What one whole tree notes about its shutdown.
#[derive(Default)]
pub(crate) struct Closing {
    /// There once the shutdown has begun.
    killed: Mutex<Option<Names>>,
    containers: Mutex<Vec<Weak<dyn Container>>>,
}

impl Closing {
    pub(crate) fn join(&self, container: Weak<dyn Container>) {
        let mut containers = self.containers.lock();
        containers.retain(|container| container.strong_count() > 0);
        containers.push(container);
    }

    pub(crate) fn killed(&self, name: String) {
        if let Some(killed) = &mut *self.killed.lock() {
            killed.add(|| name);
        }
    }

    /// From now on it is noted who is killed. A second shutdown joins the first.
    pub(crate) fn begin(&self) {
        self.killed.lock().get_or_insert_default();
    }

    pub(crate) fn report(&self) -> ShutdownReport {
        let containers: Vec<Arc<dyn Container>> =
            self.containers.lock().iter().filter_map(Weak::upgrade).collect();
        let mut stuck = Names::default();
        for container in containers {
            container.survivors(&mut stuck);
        }
        ShutdownReport { killed: self.killed.lock().clone().unwrap_or_default(), stuck }
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closing").field("killed", &self.killed).finish_non_exhaustive()
    }
}
