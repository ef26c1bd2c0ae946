//! What a room, a bucket or a user may be called.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest key, in bytes.
const BYTES_MAX: usize = 255;

/// The key of a room: 1 to 255 bytes of UTF-8 without control characters.
///
/// Keys are compared byte by byte: case and Unicode composition matter.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomKey(Arc<str>);

impl RoomKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKey {
    /// It is empty.
    Empty,
    /// It is longer than 255 bytes.
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It has a control character.
    Control {
        /// At which byte.
        at: usize,
    },
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadKey::Empty => f.write_str("expected a key of 1 to 255 bytes, got an empty one"),
            BadKey::TooLong { bytes } => {
                write!(f, "expected a key of 1 to {BYTES_MAX} bytes, got {bytes} bytes")
            }
            BadKey::Control { at } => {
                write!(f, "expected a key without control characters, got one at byte {at}")
            }
        }
    }
}

impl std::error::Error for BadKey {}

impl FromStr for RoomKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        if text.is_empty() {
            return Err(BadKey::Empty);
        }
        if text.len() > BYTES_MAX {
            return Err(BadKey::TooLong { bytes: text.len() });
        }
        match text.char_indices().find(|(_, char)| char.is_control()) {
            Some((at, _)) => Err(BadKey::Control { at }),
            None => Ok(RoomKey(text.into())),
        }
    }
}

impl TryFrom<String> for RoomKey {
    type Error = BadKey;

    fn try_from(text: String) -> Result<Self, BadKey> {
        text.parse()
    }
}

impl From<RoomKey> for String {
    fn from(key: RoomKey) -> String {
        key.as_str().to_owned()
    }
}

/// As text with quotes, which is how a log names a key.
impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_1_to_255_bytes_without_control_characters() {
        assert_eq!("".parse::<RoomKey>(), Err(BadKey::Empty));
        assert_eq!("a".parse::<RoomKey>().unwrap().as_str(), "a");
        assert!("é".repeat(127).parse::<RoomKey>().is_ok());
        assert_eq!("é".repeat(128).parse::<RoomKey>(), Err(BadKey::TooLong { bytes: 256 }));
        assert_eq!("a\nb".parse::<RoomKey>(), Err(BadKey::Control { at: 1 }));
        assert_eq!("\u{85}".parse::<RoomKey>(), Err(BadKey::Control { at: 0 }));
        assert!("a b/c?d#e%f 🦀".parse::<RoomKey>().is_ok());
    }

    #[test]
    fn a_bad_key_in_json_says_what_is_wrong() {
        let error = serde_json::from_str::<RoomKey>("\"\"").unwrap_err();
        assert!(error.to_string().contains("got an empty one"), "{error}");
    }
}
