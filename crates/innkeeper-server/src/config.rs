//! What can be set.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::Authority;
use crate::member::Joining;
use crate::secret::Secret;
use crate::tls::Tls;

/// The settings of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The name of this node.
    pub node: String,
    /// Rooms that may exist at once; buckets likewise.
    pub max_rooms: usize,
    /// Members that one room may have.
    pub max_members: usize,
    /// How long a room without members is kept.
    pub idle_after: Duration,
    /// Rooms and buckets that may be started each second, in all; 0: any number.
    pub starts_per_second: u32,
    /// Those that one client address may start each second; 0: any number.
    pub starts_per_client: u32,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// What an admin shows; without it, on another address than loopback, nobody is one.
    pub admin_token: Option<Secret>,
    /// Whether the dashboard shows the buttons that change something.
    pub allow_actions: bool,
    /// Origins besides its own whose pages may talk to this server.
    pub allow_origins: Vec<String>,
    /// Who says what a user may do; `None`: names are free.
    pub authority: Option<Arc<dyn Authority>>,
    /// What HTTP is served over TLS with; `None`: in the clear.
    pub tls: Option<Tls>,
    /// Connections that one client address may have at once, of each protocol; 0: any number.
    pub connections_per_client: usize,
    /// The longest text of a message, in bytes.
    pub max_message_bytes: usize,
    /// The cluster that it is a node of; `None`: it is alone.
    pub cluster: Option<Joining>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            node: "local".to_owned(),
            max_rooms: 1_000_000,
            max_members: 10_000,
            idle_after: Duration::from_secs(300),
            starts_per_second: 10_000,
            starts_per_client: 1_000,
            drain_timeout: Duration::from_secs(30),
            admin_token: None,
            allow_actions: false,
            allow_origins: Vec::new(),
            authority: None,
            tls: None,
            connections_per_client: 20_000,
            max_message_bytes: 4096,
            cluster: None,
        }
    }
}
