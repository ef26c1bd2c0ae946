//! How what nodes ask of each other and answer is written down and read.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use super::{Answered, Asked};
use crate::cluster::contain::contained;
use crate::frame::Tail;
use crate::ownership::placement::KeyHash;
use crate::ownership::record::Shard;
use crate::subscriber::{self, Listening};
use crate::trace;

/// Writes something down. What users have made may refuse that, or panic; then it is not said.
pub(crate) fn write(what: &impl Serialize) -> Option<Bytes> {
    let mut written = Vec::with_capacity(ROOM);
    write_behind(what, &mut written)?;
    Some(written.into())
}

/// For how many bytes there is room at first: most of what is said is short.
const ROOM: usize = 64;

fn write_behind(what: &impl Serialize, to: &mut Vec<u8>) -> Option<()> {
    write_with(what, Tail(to))
}

fn write_with<F: Flavor>(what: &impl Serialize, to: F) -> Option<F::Output> {
    match contained(|| postcard::serialize_with_flavor(what, to)) {
        Some(Ok(written)) => Some(written),
        Some(Err(error)) => {
            tracing::error!(%error, "what was to be sent cannot be written down");
            None
        }
        None => {
            tracing::error!("the code that was to write down what is sent has panicked");
            None
        }
    }
}

/// Writes a question down, and behind it the trace that it is a part of, if somebody collects
/// those. Who does not know of traces reads over it.
pub(crate) fn write_asked(asked: &Asked<'_>) -> Option<Bytes> {
    let mut written = Vec::with_capacity(ROOM);
    write_behind(asked, &mut written)?;
    write_trace(&mut written);
    Some(written.into())
}

fn write_trace(to: &mut Vec<u8>) {
    if let Some(trace) = trace::current() {
        to.extend_from_slice(trace.as_bytes());
    }
}

/// How many bytes the length of some bytes takes at most.
const LENGTH_MAX: usize = 10;

/// Writes down something whose last field is bytes, and into these `what`: as if that had been
/// written for itself and copied there. `whole` has none there. Answers where it is, too.
fn write_into(
    whole: &impl Serialize,
    what: &impl Serialize,
    behind: impl FnOnce(&mut Vec<u8>),
) -> Option<(Bytes, Range<usize>)> {
    let mut written = Vec::with_capacity(2 * ROOM);
    // Room for a length of more bytes than one, which is what none takes.
    written.resize(LENGTH_MAX - 1, 0);
    write_behind(whole, &mut written)?;
    let begin = written.len();
    write_behind(what, &mut written)?;
    let end = written.len();
    let mut length = [0; LENGTH_MAX];
    let length = postcard::to_slice(&(end - begin), &mut length).ok()?;
    // It is short what is moved, however long the rest.
    let more = length.len() - 1;
    written.copy_within(LENGTH_MAX - 1..begin - 1, LENGTH_MAX - 1 - more);
    written[begin - 1 - more..begin].copy_from_slice(length);
    behind(&mut written);
    let first = LENGTH_MAX - 1 - more;
    Some((Bytes::from(written).slice(first..), begin - first..end - first))
}

/// A message, written down as a part of what is asked.
pub(crate) struct Said {
    /// All that is asked.
    pub(crate) asked: Bytes,
    /// Where in it the message is.
    at: Range<usize>,
    /// The subscriber that it brings.
    pub(crate) listening: Option<Arc<dyn Listening>>,
}

impl Said {
    /// The message alone.
    pub(crate) fn message(&self) -> Bytes {
        self.asked.slice(self.at.clone())
    }
}

/// Writes down a question that ends in a message; `asked` has none there.
pub(crate) fn write_said(asked: &Asked<'_>, message: &impl Serialize) -> Option<Said> {
    let (written, listening) = subscriber::outgoing(|| write_into(asked, message, write_trace));
    let (asked, at) = written?;
    Some(Said { asked, at, listening })
}

/// The shard of a key, by how it is written down.
pub(crate) fn shard_of(key: &impl Serialize, shards: Shard) -> Option<Shard> {
    Some(write_with(key, Hashed::default())?.shard(shards))
}

/// What is written down and only hashed.
#[derive(Default)]
struct Hashed(KeyHash);

impl Flavor for Hashed {
    type Output = KeyHash;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.write(&[byte]);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.write(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<KeyHash> {
        Ok(self.0)
    }
}

/// Writes down that a call was carried out, with this reply.
pub(crate) fn write_reply(reply: &impl Serialize) -> Option<Bytes> {
    write_into(&Answered::Reply(&[]), reply, |_| {}).map(|(written, _)| written)
}

/// The trace behind a question.
pub(crate) fn trace_of(written: &[u8]) -> Option<&str> {
    let (_, trace) = postcard::take_from_bytes::<Asked<'_>>(written).ok()?;
    std::str::from_utf8(trace).ok().filter(|trace| !trace.is_empty())
}

/// Reads what was written down. Code of users that panics there has not read it.
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    contained(|| postcard::from_bytes(bytes))?.ok()
}

#[cfg(test)]
mod tests {
    use super::super::Ask;
    use super::*;
    use crate::ownership::placement;

    #[test]
    fn a_message_is_the_same_bytes_whether_it_was_copied_into_its_question_or_written_there() {
        for bytes in [0, 1, 125, 126, 127, 128, 129, 16_381, 16_382, 16_383, 16_384, 70_000] {
            let said = "a".repeat(bytes);
            let message = write(&said).unwrap();
            let ask =
                |message| Asked { kind: "room", version: 3, ask: Ask::Call { to: 7, message } };
            let written = write_said(&ask(&[]), &said).unwrap();
            assert_eq!(written.asked, write(&ask(&message)).unwrap(), "{bytes}");
            assert_eq!(written.message(), message, "{bytes}");
            let reply = write(&Answered::Reply(&message));
            assert_eq!(write_reply(&said), reply, "{bytes}");
        }
    }

    #[test]
    fn the_shard_of_a_key_is_that_of_its_bytes() {
        for key in 0..1_000_u64 {
            let key = (key, format!("room:{key}"));
            let expected = placement::shard_of(&write(&key).unwrap(), 1024);
            assert_eq!(shard_of(&key, 1024), Some(expected));
        }
    }

    #[test]
    fn who_does_not_know_of_traces_reads_over_the_one_behind_a_question() {
        let asked = Asked { kind: "room", version: 1, ask: Ask::Call { to: 7, message: b"hello" } };
        let without = write(&asked).unwrap();
        let with = [&without[..], b"00-trace-span-01"].concat();
        assert_eq!((trace_of(&without), trace_of(&with)), (None, Some("00-trace-span-01")));
        let read = read::<Asked<'_>>(&with).unwrap();
        assert!(matches!(read.ask, Ask::Call { to: 7, message: b"hello" }), "{read:?}");
        // What is no text is no trace.
        assert_eq!(trace_of(&[&without[..], &[0xff, 0xfe]].concat()), None);
    }
}
