//! The frames of Phoenix Channels V2: `[join_ref, ref, topic, event, payload]` as JSON text.

use std::borrow::Cow;

use axum::extract::ws::Utf8Bytes;
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

/// Writes a frame.
pub(crate) fn encode(
    join_ref: Option<&str>,
    reference: Option<&str>,
    topic: &str,
    event: &str,
    payload: &impl Serialize,
) -> Utf8Bytes {
    let frame = (join_ref, reference, topic, event, payload);
    // Strings, numbers and maps with text keys can always be written as JSON.
    serde_json::to_string(&frame).unwrap_or_default().into()
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
    use proptest::prelude::*;

    use super::*;

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
            let read = Frame::parse(&written).unwrap();
            prop_assert_eq!(read.join_ref(), Some(join.as_str()));
            prop_assert_eq!((read.topic(), read.event()), (topic.as_str(), event.as_str()));
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".*") {
            let _ = Frame::parse(&text);
        }
    }
}
