//! What all nodes of a cluster agree on: written once, compared by every node that joins, and by
//! every transaction of its session.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::codec::{Prefix, number};
use crate::coordinator::{Change, Comparison, Coordinator, CoordinatorError, Entry, Transaction};
use crate::limits;
use crate::ownership::record::{Epoch, Revision};

/// By how much the epochs of a generation lie above those of the one before.
const GENERATION_BITS: u32 = 40;

/// What all nodes of a cluster agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Configuration {
    /// The version of what is written in the coordinator and said between nodes.
    pub protocol: u64,
    /// How many shards there are.
    pub shards: u64,
    /// How long a session lasts, in whole milliseconds.
    pub session: Duration,
    /// One more for each time that this was changed, or the coordinator was put back to an older
    /// state.
    pub generation: u64,
    /// Of this very one: two that were made in different pasts of a coordinator may be the same in
    /// all else.
    mark: u64,
}

/// The configuration as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) configuration: Configuration,
    pub(crate) bytes: Vec<u8>,
    /// Where it was written last. Whoever joins writes it anew, as it is.
    pub(crate) modified: Revision,
}

impl Configuration {
    pub(crate) fn new(protocol: u64, shards: u64, session: Duration, generation: u64) -> Self {
        let mark = RandomState::new().hash_one(0);
        Configuration { protocol, shards, session, generation, mark }
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Configuration> {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(Configuration {
            protocol: number(text, "protocol")?,
            shards: number(text, "shards")?,
            session: Duration::from_millis(number(text, "session_ms")?),
            generation: number(text, "generation")?,
            mark: number(text, "mark")?,
        })
    }

    /// The epoch that those of this generation lie above: above all that any generation before can
    /// have given, though the coordinator has forgotten them.
    pub(crate) fn floor(&self) -> Epoch {
        self.generation.saturating_sub(1) << GENERATION_BITS
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Configuration { protocol, shards, session, generation, mark } = self;
        writeln!(f, "protocol={protocol}\nshards={shards}\nsession_ms={}", session.as_millis())?;
        writeln!(f, "generation={generation}\nmark={mark}")
    }
}

impl Written {
    /// That it still is this one.
    pub(crate) fn compare(&self, prefix: &Prefix) -> Comparison {
        Comparison::Value(prefix.agreed(), self.bytes.clone())
    }

    /// Whether an entry shows that it is this one no more. An older one is news of long ago.
    pub(crate) fn is_replaced(&self, prefix: &Prefix, entry: &Entry) -> bool {
        let other = entry.value.as_ref().filter(|bytes| **bytes != self.bytes);
        let Some(other) = other.filter(|_| entry.key == prefix.agreed()) else { return false };
        let generation = Configuration::read(other).map(|other| other.generation);
        generation.is_none_or(|other| other >= self.configuration.generation)
    }
}

/// What the cluster is configured with. `None`: there is no such cluster.
pub(crate) async fn read(
    coordinator: &dyn Coordinator,
    prefix: &Prefix,
) -> Result<Option<Result<Written, Unreadable>>, CoordinatorError> {
    let key = prefix.agreed();
    let listing = coordinator.list(key.clone(), limits::JOIN_WAIT).await?;
    Ok(written(prefix, &listing.entries))
}

/// What the cluster is configured with, among all that is written of it.
pub(crate) fn written(prefix: &Prefix, entries: &[Entry]) -> Option<Result<Written, Unreadable>> {
    let key = prefix.agreed();
    let entry = entries.iter().find(|entry| entry.key == key)?;
    let bytes = entry.value.clone()?;
    let modified = entry.modified;
    let read = Configuration::read(&bytes);
    Some(match read {
        Some(configuration) => Ok(Written { configuration, bytes, modified }),
        None => Err(Unreadable { key }),
    })
}

/// Something is written there that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) key: String,
}

/// Makes the configuration of a new cluster. Whether it was new.
pub(crate) async fn create(
    coordinator: &dyn Coordinator,
    prefix: &Prefix,
    first: &Configuration,
) -> Result<bool, CoordinatorError> {
    let key = prefix.agreed();
    let create = Transaction {
        compares: vec![Comparison::Created(key.clone(), 0)],
        writes: vec![Change::Put(key, first.to_string().into_bytes())],
    };
    Ok(coordinator.commit(create, limits::JOIN_WAIT).await?.done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(configuration: Configuration) -> Written {
        let bytes = configuration.to_string().into_bytes();
        Written { configuration, bytes, modified: 5 }
    }

    fn configuration(generation: u64) -> Configuration {
        Configuration::new(1, 8, Duration::from_secs(5), generation)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = written(configuration(3));
        assert_eq!(Configuration::read(&written.bytes), Some(written.configuration));
        assert_eq!(Configuration::read(b"protocol=1\n"), None);
    }

    /// A10
    #[test]
    fn one_that_is_replaced_is_told_from_one_that_was_there_before() {
        let (prefix, ours) = (Prefix::new("c"), written(configuration(2)));
        let replaced = |key: String, value: Option<Vec<u8>>| {
            ours.is_replaced(&prefix, &Entry { key, value, created: 1, modified: 9 })
        };
        let by = |other: Configuration| replaced(prefix.agreed(), Some(written(other).bytes));
        assert!(!by(ours.configuration) && !by(configuration(1)));
        assert!(by(configuration(3)), "a later generation");
        assert!(by(configuration(2)), "the same one, made in another past");
        assert!(replaced(prefix.agreed(), Some(b"?".to_vec())));
        assert!(!replaced(prefix.name("cfg"), Some(b"?".to_vec())));
    }

    /// A10: fences of stores compare one number.
    #[test]
    fn epochs_of_a_later_generation_are_higher() {
        assert_eq!(configuration(1).floor(), 0);
        assert!(configuration(3).floor() > configuration(2).floor() + (1 << 39));
    }
}
