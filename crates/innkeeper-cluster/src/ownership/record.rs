//! What is written in the coordinator, and the transactions that write it, as plain data.

use std::fmt;

/// The coordinator's counter of changes. A record was created at one and last changed at one; a
/// record that is not there counts as created at 0.
pub type Revision = u64;

/// The fencing token of a shard: each owner's is one higher than the last one's.
pub type Epoch = u64;

/// A part of the key space, by number.
pub type Shard = u16;

/// One start of one node's program. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// A node's session: it lasts for as long as the record that was created at that revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session {
    /// Whose.
    pub node: NodeId,
    /// At which revision its record was created.
    pub created: Revision,
}

/// The versions of the protocol that a program speaks: all from the one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Versions {
    /// The lowest.
    pub oldest: u64,
    /// The highest.
    pub newest: u64,
}

impl Versions {
    /// Of a program from before there were any others.
    pub const FIRST: Versions = Versions { oldest: 1, newest: 1 };

    /// Whether this is one of them.
    pub fn contains(self, version: u64) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }

    /// The highest that both speak.
    pub fn common(self, other: Versions) -> Option<u64> {
        let version = self.newest.min(other.newest);
        (self.contains(version) && other.contains(version)).then_some(version)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Versions { oldest, newest } = self;
        if oldest == newest { write!(f, "{oldest}") } else { write!(f, "{oldest} to {newest}") }
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its name, which stays when its program is started again.
    pub name: String,
    /// Where other nodes reach it.
    pub address: String,
    /// Its share of the shards, against the weights of the others.
    pub weight: u32,
    /// Whether it is giving its shards away.
    pub draining: bool,
    /// Which versions of the protocol its program speaks.
    pub versions: Versions,
    /// What the connections of this start of its program are signed with: the public key. `None`:
    /// they are not.
    pub key: Option<[u8; 32]>,
}

/// Who owns a shard, and since which change of hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owned {
    /// One more than under the owner before.
    pub epoch: Epoch,
    /// The session that it belongs to.
    pub owner: Session,
}

/// Where something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A node's session.
    Node(NodeId),
    /// A node's heartbeat.
    Beat(NodeId),
    /// The owner of a shard.
    Shard(Shard),
}

/// What is written there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Under [`Key::Node`].
    Member(Member),
    /// Under [`Key::Beat`]: how many there were.
    Beat(u64),
    /// Under [`Key::Shard`].
    Owned(Owned),
}

/// A value with its revisions, as it once was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Where it is written.
    pub key: Key,
    /// `None`: it was deleted, at revision `modified`.
    pub value: Option<Value>,
    /// When the record came to be.
    pub created: Revision,
    /// When it was written last.
    pub modified: Revision,
}

/// What must hold for a transaction to write anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// The record was created at this revision; 0: there is none.
    Created(Key, Revision),
    /// The record was written last at this revision; 0: there is none.
    Modified(Key, Revision),
    /// The heartbeat is this one.
    Beat(NodeId, u64),
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// Writes a value.
    Put(Key, Value),
    /// Takes the record out.
    Delete(Key),
}

/// Writes that happen all at once, and only if all comparisons hold at that instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is written then.
    pub writes: Vec<Write>,
}
