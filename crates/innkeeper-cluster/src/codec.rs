//! How records are written in the coordinator: text that an operator can read, a field a line.
//!
//! A field that is not known is skipped, so that a release can add some.

use std::str::FromStr;

use crate::coordinator::{Change, Comparison, Entry, Transaction};
use crate::ownership::record::{
    Compare, Key, Member, NodeId, Owned, Record, Session, Txn, Value, Versions, Write,
};

/// Where everything of one cluster is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(String);

impl Prefix {
    pub(crate) fn new(cluster: &str) -> Prefix {
        Prefix(format!("{cluster}/"))
    }

    /// Of everything.
    pub(crate) fn all(&self) -> String {
        self.0.clone()
    }

    pub(crate) fn agreed(&self) -> String {
        format!("{}cfg", self.0)
    }

    /// Of all sessions.
    pub(crate) fn nodes(&self) -> String {
        format!("{}node/", self.0)
    }

    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}name/{name}", self.0)
    }

    pub(crate) fn key(&self, key: Key) -> String {
        let prefix = &self.0;
        match key {
            Key::Node(node) => format!("{prefix}node/{:016x}", node.0),
            Key::Beat(node) => format!("{prefix}hb/{:016x}", node.0),
            Key::Shard(shard) => format!("{prefix}shard/{shard:05}"),
        }
    }

    fn read_key(&self, key: &str) -> Option<Key> {
        let (kind, name) = key.strip_prefix(&self.0)?.split_once('/')?;
        let node = || u64::from_str_radix(name, 16).ok().map(NodeId);
        match kind {
            "node" => node().map(Key::Node),
            "hb" => node().map(Key::Beat),
            "shard" => name.parse().ok().map(Key::Shard),
            _ => None,
        }
    }

    pub(crate) fn transaction(&self, txn: &Txn) -> Transaction {
        let compare = |compare: &Compare| match compare {
            Compare::Created(key, at) => Comparison::Created(self.key(*key), *at),
            Compare::Modified(key, at) => Comparison::Modified(self.key(*key), *at),
            Compare::Beat(node, count) => {
                Comparison::Value(self.key(Key::Beat(*node)), write(&Value::Beat(*count)))
            }
        };
        let change = |change: &Write| match change {
            Write::Put(key, value) => Change::Put(self.key(*key), write(value)),
            Write::Delete(key) => Change::Delete(self.key(*key)),
        };
        Transaction {
            compares: txn.compares.iter().map(compare).collect(),
            writes: txn.writes.iter().map(change).collect(),
        }
    }

    /// `None` for what is none of the records that ownership is about, or cannot be read.
    pub(crate) fn record(&self, entry: &Entry) -> Option<Record> {
        let key = self.read_key(&entry.key)?;
        let value = match &entry.value {
            None => None,
            Some(bytes) => Some(read(key, std::str::from_utf8(bytes).ok()?)?),
        };
        Some(Record { key, value, created: entry.created, modified: entry.modified })
    }
}

fn write(value: &Value) -> Vec<u8> {
    match value {
        Value::Beat(count) => format!("count={count}\n"),
        Value::Owned(Owned { epoch, owner: Session { node, created } }) => {
            format!("epoch={epoch}\nowner={:016x}\ncreated={created}\n", node.0)
        }
        Value::Member(Member { name, address, weight, draining, versions, key }) => {
            let Versions { oldest, newest } = versions;
            let mut text = format!("name={name}\naddress={address}\nweight={weight}\n");
            text += &format!("draining={draining}\nversions={oldest}-{newest}\n");
            if let Some(key) = key {
                let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                text += &format!("key={hex}\n");
            }
            text
        }
    }
    .into_bytes()
}

fn read(key: Key, text: &str) -> Option<Value> {
    Some(match key {
        Key::Beat(_) => Value::Beat(number(text, "count")?),
        Key::Shard(_) => {
            let node = NodeId(u64::from_str_radix(field(text, "owner")?, 16).ok()?);
            let owner = Session { node, created: number(text, "created")? };
            Value::Owned(Owned { epoch: number(text, "epoch")?, owner })
        }
        Key::Node(_) => Value::Member(Member {
            name: field(text, "name")?.to_owned(),
            address: field(text, "address")?.to_owned(),
            weight: number(text, "weight")?,
            draining: number(text, "draining")?,
            versions: field(text, "versions").map_or(Some(Versions::FIRST), versions)?,
            key: field(text, "key").map_or(Some(None), |hex| public(hex).map(Some))?,
        }),
    })
}

fn versions(text: &str) -> Option<Versions> {
    let (oldest, newest) = text.split_once('-')?;
    Some(Versions { oldest: oldest.parse().ok()?, newest: newest.parse().ok()? })
}

fn public(hex: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    let is_whole = hex.len() == 2 * key.len() && hex.is_ascii();
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    is_whole.then_some(key)
}

pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

pub(crate) fn number<T: FromStr>(text: &str, name: &str) -> Option<T> {
    field(text, name)?.parse().ok()
}

/// Who holds a name: the start of a program that took it.
pub(crate) fn holder(bytes: &[u8]) -> Option<NodeId> {
    let text = std::str::from_utf8(bytes).ok()?;
    u64::from_str_radix(field(text, "node")?, 16).ok().map(NodeId)
}

pub(crate) fn hold(node: NodeId) -> Vec<u8> {
    format!("node={:016x}\n", node.0).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: Key, value: &Value) -> Entry {
        let (key, value) = (Prefix::new("c").key(key), Some(write(value)));
        Entry { key, value, created: 3, modified: 4 }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let node = NodeId(u64::MAX - 1);
        let member = Member {
            name: "a=b".to_owned(),
            address: "[::1]:9".to_owned(),
            weight: 3,
            draining: true,
            versions: Versions { oldest: 1, newest: 12 },
            key: Some(std::array::from_fn(|at| at as u8 * 8)),
        };
        let unsigned = Member { versions: Versions::FIRST, key: None, ..member.clone() };
        for (key, value) in [
            (Key::Beat(node), Value::Beat(7)),
            (Key::Node(node), Value::Member(member)),
            (Key::Node(node), Value::Member(unsigned)),
            (Key::Shard(9), Value::Owned(Owned { epoch: 5, owner: Session { node, created: 6 } })),
        ] {
            let read = Prefix::new("c").record(&entry(key, &value)).unwrap();
            assert_eq!(read, Record { key, value: Some(value), created: 3, modified: 4 });
        }
    }

    #[test]
    fn what_a_later_release_adds_is_skipped() {
        let mut entry = entry(Key::Beat(NodeId(1)), &Value::Beat(7));
        entry.value.as_mut().unwrap().extend(b"colour=red\n");
        let read = Prefix::new("c").record(&entry).unwrap();
        assert_eq!(read.value, Some(Value::Beat(7)));
    }

    /// A13
    #[test]
    fn a_node_of_the_first_version_is_read_from_what_it_writes() {
        let mut entry = entry(Key::Node(NodeId(1)), &Value::Beat(0));
        entry.value = Some(b"name=a\naddress=b\nweight=1\ndraining=false\n".to_vec());
        let Some(Value::Member(member)) = Prefix::new("c").record(&entry).unwrap().value else {
            panic!("no member")
        };
        assert_eq!((member.versions, member.key), (Versions::FIRST, None));
        for bad in ["versions=1", "versions=1-x", "key=12", "key=zz"] {
            let mut worse = entry.clone();
            worse.value.as_mut().unwrap().extend(format!("{bad}\n").bytes());
            assert_eq!(Prefix::new("c").record(&worse), None, "{bad}");
        }
    }

    #[test]
    fn what_is_not_ours_is_no_record() {
        let prefix = Prefix::new("c");
        let other = |key: &str, value: &[u8]| {
            let (key, value) = (key.to_owned(), Some(value.to_vec()));
            prefix.record(&Entry { key, value, created: 1, modified: 1 })
        };
        assert_eq!(other("d/hb/01", b"count=1\n"), None);
        assert_eq!(other("c/cfg", b"count=1\n"), None);
        assert_eq!(other("c/hb/01", b"count=many\n"), None);
        assert_eq!(other("c/hb/01", b"\xff"), None);
    }
}
