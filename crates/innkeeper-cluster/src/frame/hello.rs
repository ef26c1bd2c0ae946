//! How two nodes begin: who they are, in which words they can talk, and why they do not.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ownership::link::Nonce;
use crate::ownership::record::{NodeId, Session, Versions};

/// Who has connected, and to whom. The same in every version of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The lowest and the highest version of the protocol that it speaks.
    pub versions: (u64, u64),
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Its session: the start of the program, and when its record was made.
    pub session: (u64, u64),
    /// The session that it wants to reach.
    pub to: (u64, u64),
    /// For how long can you prove your session?
    pub nonce: Nonce,
}

/// The connection is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that is spoken from here on.
    pub version: u64,
    /// For how long this side can prove its session, in nanoseconds.
    pub remaining: u64,
    /// For how long can you prove yours?
    pub nonce: Nonce,
}

/// Why a connection is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no version of the protocol that both speak.
    Versions {
        /// What the one who refuses speaks: from, to.
        here: (u64, u64),
        /// What the one who connected speaks.
        there: (u64, u64),
    },
    /// It is of another cluster.
    Cluster {
        /// The cluster of the one who refuses.
        here: String,
        /// That of the one who connected.
        there: String,
    },
    /// The one who refuses is not the one that was to be reached.
    Elsewhere,
    /// The session of the one who connected is not known, or over.
    Stranger,
    /// The one who connected has a name that its certificate does not prove, or that is not the
    /// name of its session.
    Name {
        /// The name.
        name: String,
    },
    /// It has not proven to be that start of the node's program, but knows its name and session:
    /// the connection is not signed by the key of that start, or it says of itself to speak other
    /// versions than that.
    Start {
        /// The name.
        name: String,
    },
}

impl Refusal {
    /// Whether to come again later is of no use.
    pub fn is_final(&self) -> bool {
        match self {
            Refusal::Versions { .. }
            | Refusal::Cluster { .. }
            | Refusal::Name { .. }
            | Refusal::Start { .. } => true,
            Refusal::Elsewhere | Refusal::Stranger => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Versions { here: (low, high), there: (from, to) } => write!(
                f,
                "no common protocol version: it speaks {}, this node {}; upgrade the older one",
                Versions { oldest: *low, newest: *high },
                Versions { oldest: *from, newest: *to },
            ),
            Refusal::Cluster { here, there } => {
                write!(f, "it is of the cluster `{here}`, this node of `{there}`")
            }
            Refusal::Elsewhere => f.write_str("another node is at that address"),
            Refusal::Stranger => f.write_str("it does not know of this node's session"),
            Refusal::Name { name } => write!(
                f,
                "the name `{name}` is not proven: use a certificate with it as a subject \
                 alternative name"
            ),
            Refusal::Start { name } => write!(
                f,
                "node `{name}`: the connection is not signed by the key of that start of its \
                 program; look for another program with its certificate"
            ),
        }
    }
}

pub(crate) fn pair(session: Session) -> (u64, u64) {
    (session.node.0, session.created)
}

pub(crate) fn session((node, created): (u64, u64)) -> Session {
    Session { node: NodeId(node), created }
}
