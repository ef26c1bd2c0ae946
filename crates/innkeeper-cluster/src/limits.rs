//! Every bound and default wait of the cluster, by name.

use std::time::Duration;

/// How many changes the coordinator within one process remembers for those who watch.
pub const HISTORY_MAX: usize = 65_536;

/// How long each step of joining may take.
pub const JOIN_WAIT: Duration = Duration::from_secs(2);

/// How long a name, of a cluster or of a node, and an address may be, in characters.
pub const NAME_MAX: usize = 255;

/// How many shards one transaction claims: etcd takes 128 comparisons and 128 writes by default.
pub const CLAIMS_MAX: usize = 120;

/// How many shards of one node may be on the move at once.
pub const MOVES_MAX: usize = 8;

/// How often the machine is asked what is due, for each heartbeat.
pub const TICKS_PER_HEARTBEAT: u32 = 10;

/// How many reports on orders may wait.
pub const REPORTS_MAX: usize = 1_024;

/// How many orders may wait for whoever carries them out, before they wait at the driver.
pub const ORDERS_MAX: usize = 1_024;
