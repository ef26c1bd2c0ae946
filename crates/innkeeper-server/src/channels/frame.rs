//! The frames of Phoenix Channels V2: `[join_ref, ref, topic, event, payload]` as JSON text, in a
//! frame of WebSocket.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A frame that a client sent. Borrowed from its text.
#[derive(Debug, Deserialize)]
pub struct Frame<'a>(
    #[serde(borrow)] Option<Cow<'a, str>>,
    #[serde(borrow)] Option<Cow<'a, str>>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] &'a RawValue,
);

impl<'a> Frame<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| {
            format!("expected [join_ref, ref, topic, event, payload] as JSON: {error}")
        })
    }

    /// To which join it belongs.
    pub fn join_ref(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// What its reply is to name.
    pub fn reference(&self) -> Option<&str> {
        self.1.as_deref()
    }

    /// To whom it is said.
    pub fn topic(&self) -> &str {
        &self.2
    }

    /// What is said.
    pub fn event(&self) -> &str {
        &self.3
    }

    /// The rest, still as JSON.
    pub fn payload(&self) -> &'a RawValue {
        self.4
    }
}

/// The longest header of a frame of WebSocket that goes to a client.
const HEADER_MAX: usize = 10;

/// The first byte of a frame that is a whole text.
const WHOLE_TEXT: u8 = 0x81;

/// Writes a frame, with the header that WebSocket has before it: the bytes are those that are sent,
/// however many they are sent to.
pub(crate) fn encode(
    join_ref: Option<&str>,
    reference: Option<&str>,
    topic: &str,
    event: &str,
    payload: &impl Serialize,
) -> Bytes {
    let mut bytes = vec![0; HEADER_MAX];
    // Strings, numbers and maps with text keys can always be written as JSON.
    let _ = serde_json::to_writer(&mut bytes, &(join_ref, reference, topic, event, payload));
    let begin = put_header(&mut bytes, 0);
    Bytes::from(bytes).slice(begin..)
}

/// The end of frames that differ in their join only, from the payload on: the same bytes for all.
pub(crate) fn tail(payload: &impl Serialize) -> Bytes {
    let mut bytes = Vec::new();
    let _ = serde_json::to_writer(&mut bytes, payload);
    bytes.push(b']');
    Bytes::from(bytes)
}

/// What comes before `tail` in the frame of one join, with the header of both.
pub(crate) fn head(join_ref: Option<&str>, topic: &str, event: &str, tail: &Bytes) -> Bytes {
    let mut bytes = vec![0; HEADER_MAX];
    let reference: Option<&str> = None;
    let _ = serde_json::to_writer(&mut bytes, &(join_ref, reference, topic, event));
    // What would end here goes on.
    if let Some(end) = bytes.last_mut() {
        *end = b',';
    }
    let begin = put_header(&mut bytes, tail.len());
    Bytes::from(bytes).slice(begin..)
}

/// Puts the header right before the text, to which so much more belongs (RFC 6455, 5.2); where it
/// begins.
fn put_header(bytes: &mut [u8], more: usize) -> usize {
    let length = bytes.len() - HEADER_MAX + more;
    let (short, long) = match length {
        0..=125 => (length as u8, &[][..]),
        126..=0xffff => (126, &(length as u16).to_be_bytes()[..]),
        _ => (127, &(length as u64).to_be_bytes()[..]),
    };
    let begin = HEADER_MAX - 2 - long.len();
    bytes[begin..begin + 2].copy_from_slice(&[WHOLE_TEXT, short]);
    bytes[begin + 2..HEADER_MAX].copy_from_slice(long);
    begin
}

/// The payload of a `phx_reply`.
#[derive(Serialize)]
pub(crate) struct Reply<T> {
    status: &'static str,
    response: T,
}

impl<T> Reply<T> {
    pub(crate) fn ok(response: T) -> Self {
        Reply { status: "ok", response }
    }

    pub(crate) fn error(response: T) -> Self {
        Reply { status: "error", response }
    }
}

/// A payload without anything.
#[derive(Serialize)]
pub(crate) struct Empty {}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::Role;
    use tokio_tungstenite::tungstenite::{Message, WebSocket};

    use super::*;

    /// The text of a frame, as another library reads it.
    fn text_of(frame: &Bytes) -> String {
        let sent = Cursor::new(frame.to_vec());
        let mut client = WebSocket::from_raw_socket(sent, Role::Client, None);
        let Message::Text(text) = client.read().unwrap() else { panic!("no text") };
        assert_eq!(client.get_ref().position(), frame.len() as u64);
        text.as_str().to_owned()
    }

    #[test]
    fn the_header_is_right_for_each_length() {
        // With the quotes and brackets around it: 126, 127 and so on in all.
        let around = text_of(&encode(None, None, "", "", &"")).len();
        for length in [around, 125, 126, 127, 0xffff, 0x1_0000] {
            let payload = "x".repeat(length - around);
            assert_eq!(text_of(&encode(None, None, "", "", &payload)).len(), length);
        }
    }

    #[test]
    fn what_phoenix_js_sends_is_read() {
        let join = Frame::parse(r#"["3","3","room:lobby","phx_join",{}]"#).unwrap();
        assert_eq!((join.join_ref(), join.reference()), (Some("3"), Some("3")));
        assert_eq!((join.topic(), join.event()), ("room:lobby", "phx_join"));
        let beat = Frame::parse(r#"[null,"7","phoenix","heartbeat",{}]"#).unwrap();
        assert_eq!((beat.join_ref(), beat.reference()), (None, Some("7")));
    }

    #[test]
    fn escapes_are_read() {
        let frame = Frame::parse(r#"["1","2","room:a\"b","say",{"text":"\u00e9"}]"#).unwrap();
        assert_eq!(frame.topic(), "room:a\"b");
        assert_eq!(frame.payload().get(), r#"{"text":"\u00e9"}"#);
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        for bad in ["", "{}", "[]", "[1,2,3]", r#"[1,"2","t","e",{}]"#, r#"["1","2","t","e"]"#] {
            let error = Frame::parse(bad).unwrap_err();
            assert!(
                error.starts_with("expected [join_ref, ref, topic, event, payload]"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_frame_with_a_sixth_part_is_refused() {
        assert!(Frame::parse(r#"["1","2","t","e",{},1]"#).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(join in ".*", topic in ".*", event in ".*", text in ".*") {
            let written = encode(Some(&join), None, &topic, &event, &text);
            let written = text_of(&written);
            let read = Frame::parse(&written).unwrap();
            prop_assert_eq!(read.join_ref(), Some(join.as_str()));
            prop_assert_eq!((read.topic(), read.event()), (topic.as_str(), event.as_str()));
        }

        #[test]
        fn a_frame_in_two_parts_is_the_same_frame(join in ".*", topic in ".*", text in ".{0,200}") {
            let tail = tail(&text);
            let head = head(Some(&join), &topic, "presence_state", &tail);
            let whole = encode(Some(&join), None, &topic, "presence_state", &text);
            prop_assert_eq!([head, tail].concat(), whole);
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".*") {
            let _ = Frame::parse(&text);
        }
    }
}
