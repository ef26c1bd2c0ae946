//! The runtime's clock, which tests hold still.

use innkeeper_cluster::clock::Clock;
use innkeeper_cluster::ownership::timing::Now;
use tokio::time::Instant;

/// The time since then.
pub(crate) struct Runtime(pub(crate) Instant);

impl Clock for Runtime {
    fn now(&self) -> Now {
        Now { raw: self.0.elapsed().as_nanos() as u64, slept: 0 }
    }
}
