//! How frames are written, and what is read from bytes that anybody may have sent.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use postcard::ser_flavors::Flavor;

use super::Frame;
use crate::limits;

/// What a connection begins with.
pub const MAGIC: [u8; 8] = *b"innkeep\n";

/// How many bytes the length of a frame takes.
pub const LENGTH_BYTES: usize = 4;

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadFrame {
    /// It is longer than may be.
    TooLarge {
        /// In bytes.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// It ends early, or is none that is known.
    Unreadable,
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadFrame::TooLarge { bytes, max } => {
                write!(f, "frame: expected at most {max} bytes, got {bytes}")
            }
            BadFrame::Unreadable => f.write_str("not a frame that is known"),
        }
    }
}

impl std::error::Error for BadFrame {}

/// Writes a frame with its length at the end of `to`.
///
/// # Errors
/// [`BadFrame::TooLarge`]; nothing is written then.
pub fn encode(frame: &Frame, to: &mut Vec<u8>) -> Result<(), BadFrame> {
    let begin = to.len();
    to.extend_from_slice(&[0; LENGTH_BYTES]);
    // Nothing that is written here can fail: there is no map, and no sequence without a length.
    let written = postcard::serialize_with_flavor(frame, Tail(to));
    let bytes = to.len() - begin - LENGTH_BYTES;
    let max = limits::FRAME_BYTES_MAX;
    if written.is_err() || bytes > max {
        to.truncate(begin);
        return Err(BadFrame::TooLarge { bytes, max });
    }
    let length = u32::try_from(bytes).unwrap_or(u32::MAX);
    to[begin..begin + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// How long the body of a frame is that `bytes` begin with. `None`: more bytes are needed to tell.
///
/// # Errors
/// [`BadFrame::TooLarge`].
pub fn length(bytes: &[u8], max: usize) -> Result<Option<usize>, BadFrame> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let bytes = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if bytes > max {
        return Err(BadFrame::TooLarge { bytes, max });
    }
    Ok(Some(bytes))
}

/// Reads the body of a frame. What is opaque in it is not copied. What stands behind its end was
/// added by a later release, and is skipped.
///
/// # Errors
/// [`BadFrame`], whatever the bytes are.
pub fn decode(body: &Bytes) -> Result<Frame, BadFrame> {
    decode_in(body, 0..body.len())
}

/// As [`decode`], of a body that is there among other bytes.
pub(crate) fn decode_in(bytes: &Bytes, body: Range<usize>) -> Result<Frame, BadFrame> {
    let read = postcard::from_bytes::<Frame<&[u8]>>(&bytes[body]);
    let frame = read.map_err(|_| BadFrame::Unreadable)?;
    Ok(frame.map(|part| if part.is_empty() { Bytes::new() } else { bytes.slice_ref(part) }))
}

/// Writes behind what is there.
pub(crate) struct Tail<'a>(pub(crate) &'a mut Vec<u8>);

impl Flavor for Tail<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
