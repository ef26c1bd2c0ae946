//! The port to the network: connections between nodes as streams of bytes, each end knowing what
//! the other could prove of its name.
//!
//! Whatever is said over them, and every fence, is in [`links`](crate::links), whichever network
//! carries it.

pub mod memory;
mod tcp;
mod tls;

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

pub use crate::coordinator::Later;
pub use crate::start_key::Binding;
pub use tcp::{BindError, Tcp};
pub use tls::{Tls, TlsError};

/// The network as one node sees it.
pub trait Net: Send + Sync + 'static {
    /// Waits for somebody who connects. What remains to be done until bytes can be exchanged, a
    /// handshake of TLS, is done by the future that is answered.
    ///
    /// # Errors
    /// The listener does not work now; ask again in a while.
    ///
    /// # Cancel safety
    /// Nobody who connected is lost when the future is dropped.
    fn accept(&self) -> Later<'_, io::Result<Later<'static, io::Result<Wire>>>>;

    /// Connects to the node of that name at that address. Where the network proves names, the
    /// other side has proven this one.
    ///
    /// # Errors
    /// There is no connection.
    fn connect(&self, address: String, name: String) -> Later<'_, io::Result<Wire>>;
}

/// A connection.
pub struct Wire {
    /// What the other side says.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What is said to it. Shutting it down lets the other side read to the end.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// What is known of it.
    pub proof: Box<dyn Proof>,
}

/// What the other side of a connection has proven.
pub trait Proof: Send + Sync {
    /// Whether it may have this name.
    fn is_named(&self, name: &str) -> bool;

    /// What only the two ends of this connection know, and no other connection ever has. `None`:
    /// there is nothing that whoever is in between could not know as well, and nothing to sign.
    fn binding(&self) -> Option<Binding>;
}

/// Nobody proves anything: whoever can connect is believed.
#[derive(Clone, Copy, Debug)]
pub struct Unproven;

impl Proof for Unproven {
    fn is_named(&self, _: &str) -> bool {
        true
    }

    fn binding(&self) -> Option<Binding> {
        None
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}
