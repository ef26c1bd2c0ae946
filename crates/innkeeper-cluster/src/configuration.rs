//! What all nodes of a cluster agree on: written once, compared by every node that joins, and by
//! every transaction of its session.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::codec::{Prefix, field, number};
use crate::coordinator::{Change, Comparison, Coordinator, CoordinatorError, Entry, Transaction};
use crate::limits;
use crate::ownership::record::{Epoch, Revision};
use crate::ownership::timing::FAIL_OVER_DEFAULT;

/// By how much the epochs of a generation lie above those of the one before.
const GENERATION_BITS: u32 = 40;

/// What all nodes of a cluster agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Configuration {
    /// The version of what is written in the coordinator and said between nodes that every node
    /// speaks, whatever else it does.
    pub protocol: u64,
    /// How many shards there are.
    pub shards: u64,
    /// How long a session lasts, in whole milliseconds.
    pub session: Duration,
    /// How long the coordinator may take to find a new leader, in whole milliseconds.
    pub fail_over: Duration,
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
    /// The first of a cluster.
    pub(crate) fn first(
        protocol: u64,
        shards: u64,
        session: Duration,
        fail_over: Duration,
    ) -> Configuration {
        let mark = RandomState::new().hash_one(0);
        Configuration { protocol, shards, session, fail_over, generation: 1, mark }
    }

    /// The same, of the next generation.
    pub(crate) fn next(self) -> Configuration {
        let mark = RandomState::new().hash_one(0);
        Configuration { generation: self.generation + 1, mark, ..self }
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Configuration> {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(Configuration {
            protocol: number(text, "protocol")?,
            shards: number(text, "shards")?,
            session: Duration::from_millis(number(text, "session_ms")?),
            // As in the first version of the protocol, which did not say.
            fail_over: match field(text, "failover_ms") {
                Some(ms) => Duration::from_millis(ms.parse().ok()?),
                None => FAIL_OVER_DEFAULT,
            },
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

impl Configuration {
    /// The same with a higher protocol: sessions go on under it.
    pub(crate) fn raised_to(&self, protocol: u64) -> Configuration {
        Configuration { protocol: self.protocol.max(protocol), ..*self }
    }

    /// As text, with what a later release has added to the text that it replaces.
    fn over(&self, old: &[u8]) -> Vec<u8> {
        let mut text = self.to_string();
        let known = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
        let known: Vec<_> = known.map(str::to_owned).collect();
        let is_added = |line: &&str| {
            line.split_once('=').is_some_and(|(name, _)| !known.iter().any(|it| it == name))
        };
        for line in String::from_utf8_lossy(old).lines().filter(is_added) {
            text += line;
            text.push('\n');
        }
        text.into_bytes()
    }
}

/// What somebody else has written over a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing, or what was there before it.
    None,
    /// The same with a higher protocol.
    Raised(Written),
    /// Another one.
    Replaced,
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Configuration { protocol, shards, session, fail_over, generation, mark } = self;
        writeln!(f, "protocol={protocol}\nshards={shards}\nsession_ms={}", session.as_millis())?;
        writeln!(f, "failover_ms={}", fail_over.as_millis())?;
        writeln!(f, "generation={generation}\nmark={mark}")
    }
}

impl Written {
    /// That it still is this one.
    pub(crate) fn compare(&self, prefix: &Prefix) -> Comparison {
        Comparison::Value(prefix.agreed(), self.bytes.clone())
    }

    /// What an entry shows of it. An older one is news of long ago.
    pub(crate) fn news(&self, prefix: &Prefix, entry: &Entry) -> News {
        let other = entry.value.as_ref().filter(|bytes| **bytes != self.bytes);
        let Some(bytes) = other.filter(|_| entry.key == prefix.agreed()) else { return News::None };
        let Some(other) = Configuration::read(bytes) else { return News::Replaced };
        let ours = self.configuration;
        if other == ours.raised_to(other.protocol) && entry.modified > self.modified {
            let (bytes, modified) = (bytes.clone(), entry.modified);
            return News::Raised(Written { configuration: other, bytes, modified });
        }
        let is_older = other.generation < ours.generation || ours == other.raised_to(ours.protocol);
        if is_older { News::None } else { News::Replaced }
    }

    /// What is written in its place.
    pub(crate) fn replaced_by(&self, next: &Configuration) -> Vec<u8> {
        next.over(&self.bytes)
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
        let first = Configuration::first(1, 8, Duration::from_secs(5), FAIL_OVER_DEFAULT);
        Configuration { generation, ..first }
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
            let entry = Entry { key, value, created: 1, modified: 9 };
            ours.news(&prefix, &entry) == News::Replaced
        };
        let by = |other: Configuration| replaced(prefix.agreed(), Some(written(other).bytes));
        assert!(!by(ours.configuration) && !by(configuration(1)));
        assert!(by(configuration(3)), "a later generation");
        assert!(by(configuration(2)), "the same one, made in another past");
        assert!(replaced(prefix.agreed(), Some(b"?".to_vec())));
        assert!(!replaced(prefix.name("cfg"), Some(b"?".to_vec())));
    }

    /// A13
    #[test]
    fn one_that_was_raised_is_the_same_and_one_from_before_that_is_old() {
        let (prefix, ours) = (Prefix::new("c"), written(configuration(2)));
        let news = |of: &Written, other: Configuration, modified| {
            let (key, value) = (prefix.agreed(), Some(other.to_string().into_bytes()));
            of.news(&prefix, &Entry { key, value, created: 1, modified })
        };
        let higher = ours.configuration.raised_to(2);
        let News::Raised(raised) = news(&ours, higher, 9) else { panic!("it is the same one") };
        assert_eq!((raised.configuration, raised.modified), (higher, 9));
        assert_eq!(news(&raised, ours.configuration, 5), News::None);
        assert_eq!(news(&raised, ours.configuration, 10), News::None, "it is refused by its text");
        assert_eq!(news(&ours, Configuration { shards: 9, ..higher }, 9), News::Replaced);
        assert_eq!(news(&ours, configuration(2).raised_to(2), 9), News::Replaced);
    }

    /// A13
    #[test]
    fn what_a_later_release_has_added_stays() {
        let mut ours = written(configuration(2));
        ours.bytes.extend(b"colour=red\n");
        let bytes = ours.replaced_by(&ours.configuration.raised_to(2));
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, format!("{}colour=red\n", ours.configuration.raised_to(2)));
    }

    #[test]
    fn one_that_does_not_say_how_long_a_fail_over_takes_is_of_the_first_version() {
        let text = b"protocol=1\nshards=8\nsession_ms=5000\ngeneration=1\nmark=7\n";
        let read = Configuration::read(text).unwrap();
        assert_eq!(read.fail_over, FAIL_OVER_DEFAULT);
    }

    /// A10: fences of stores compare one number.
    #[test]
    fn epochs_of_a_later_generation_are_higher() {
        assert_eq!(configuration(1).floor(), 0);
        assert!(configuration(3).floor() > configuration(2).floor() + (1 << 39));
    }
}
