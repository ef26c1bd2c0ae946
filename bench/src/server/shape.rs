//! What a run looks like: how many rooms of how many members, and who among them is slow.

use std::time::Duration;

/// The text of an ordinary message, in bytes.
const TEXT_BYTES: usize = 64;

/// In the room with the slow reader more is said, so that what it does not read piles up.
const LOUD_EVERY: Duration = Duration::from_millis(4);
/// See [`LOUD_EVERY`].
const LOUD_BYTES: usize = 4000;
/// See [`LOUD_EVERY`].
const LOUD_MEMBERS: usize = 10;

/// Rooms, their members, and how long they talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    /// Whether there is one room more, with a member that does not read.
    pub(crate) slow: bool,
    pub(crate) seconds: u32,
}

/// What happens in one room: its first member speaks, and all of them hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Talk {
    pub(crate) members: usize,
    /// Whether the last of them does not read.
    pub(crate) slow: bool,
    pub(crate) messages: u32,
    pub(crate) text_bytes: usize,
    /// From the beginning to the first message.
    pub(crate) first: Duration,
    pub(crate) every: Duration,
}

impl Talk {
    /// When a message is due, from the beginning; the first is number 1.
    pub(crate) fn due(&self, number: u32) -> Duration {
        self.first + self.every * (number - 1)
    }
}

impl Shape {
    /// Those that a run without arguments has.
    pub(crate) fn all(seconds: u32) -> [Shape; 5] {
        let shape = |rooms, members, slow| Shape { rooms, members, slow, seconds };
        [
            shape(1000, 10, false),
            shape(1900, 10, false),
            shape(1, 5000, false),
            shape(5000, 2, false),
            shape(1000, 10, true),
        ]
    }

    pub(crate) fn name(&self) -> String {
        let slow = if self.slow { "+slow" } else { "" };
        format!("{}x{}{slow}", self.rooms, self.members)
    }

    /// The rooms, their messages spread evenly over each second.
    pub(crate) fn talks(&self) -> impl Iterator<Item = Talk> {
        let Shape { rooms, members, slow, seconds } = *self;
        let every = Duration::from_secs(1);
        let quiet = (0..rooms).map(move |room| Talk {
            members,
            slow: false,
            messages: seconds,
            text_bytes: TEXT_BYTES,
            first: every.mul_f64(room as f64 / rooms as f64),
            every,
        });
        let loud = Talk {
            members: LOUD_MEMBERS,
            slow: true,
            messages: seconds * (every.as_millis() / LOUD_EVERY.as_millis()) as u32,
            text_bytes: LOUD_BYTES,
            first: Duration::ZERO,
            every: LOUD_EVERY,
        };
        quiet.chain(slow.then_some(loud))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_take_turns_within_each_second() {
        let shape = Shape { rooms: 4, members: 2, slow: false, seconds: 3 };
        let talks: Vec<_> = shape.talks().collect();
        let due: Vec<_> = talks.iter().map(|talk| talk.due(2).as_millis()).collect();
        assert_eq!(due, [1000, 1250, 1500, 1750]);
        assert!(talks.iter().all(|talk| talk.messages == 3 && !talk.slow));
    }

    #[test]
    fn a_slow_reader_is_in_a_room_of_its_own_in_which_more_is_said() {
        let shape = Shape { rooms: 1, members: 2, slow: true, seconds: 3 };
        let talks: Vec<_> = shape.talks().collect();
        assert_eq!((talks.len(), talks[1].slow, talks[1].messages), (2, true, 750));
        assert!(talks[1].due(750) < Duration::from_secs(3));
    }
}
