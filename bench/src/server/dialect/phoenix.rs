//! Phoenix Channels V2, as innkeeper speaks it.

use innkeeper_server::channels::frame::Frame;
use serde::Deserialize;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{Dialect, Heard, Line, nonsense};

/// A member of a room of innkeeper.
#[derive(Debug)]
pub(crate) struct Phoenix {
    user: String,
    topic: String,
    pushes: u64,
}

#[derive(Deserialize)]
struct Reply {
    status: String,
}

#[derive(Deserialize)]
struct Said {
    text: String,
}

impl Phoenix {
    pub(crate) fn new(user: &str, room: &str) -> Self {
        Phoenix { user: user.to_owned(), topic: format!("room:{room}"), pushes: 0 }
    }
}

impl Dialect for Phoenix {
    fn path(&self) -> String {
        format!("/socket/websocket?vsn=2.0.0&user={}", self.user)
    }

    fn hello(&self) -> Option<Message> {
        Some(Message::text(json!(["1", "join", self.topic, "phx_join", {}]).to_string()))
    }

    fn beat(&self) -> Option<Message> {
        Some(Message::text(json!([null, "beat", "phoenix", "heartbeat", {}]).to_string()))
    }

    fn say(&mut self, text: &str) -> Message {
        self.pushes += 1;
        let reference = self.pushes.to_string();
        Message::text(json!(["1", reference, self.topic, "say", { "text": text }]).to_string())
    }

    fn hear(&mut self, message: &Message) -> Result<Heard, String> {
        let Message::Text(text) = message else { return Ok(Heard::Other) };
        let frame = Frame::parse(text)?;
        let payload = frame.payload().get();
        match frame.event() {
            "said" => {
                let said: Said = serde_json::from_str(payload).map_err(|e| nonsense(e, message))?;
                let line = Line::parse(&said.text);
                line.map(Heard::Said).ok_or_else(|| nonsense("no line of ours", message))
            }
            "phx_reply" => {
                let reply: Reply =
                    serde_json::from_str(payload).map_err(|e| nonsense(e, message))?;
                match (reply.status.as_str(), frame.reference()) {
                    ("ok", Some("join")) => Ok(Heard::Joined),
                    ("ok", _) => Ok(Heard::Other),
                    _ => Err(nonsense("refused", message)),
                }
            }
            "phx_error" | "phx_close" => Ok(Heard::Dropped),
            _ => Ok(Heard::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(text: &str) -> Result<Heard, String> {
        Phoenix::new("ann", "lobby").hear(&Message::text(text))
    }

    #[test]
    fn what_it_says_is_what_phoenix_js_says() {
        let mut ann = Phoenix::new("ann", "lobby");
        assert_eq!(ann.path(), "/socket/websocket?vsn=2.0.0&user=ann");
        let said = |message: Option<Message>| message.unwrap().into_text().unwrap();
        assert_eq!(said(ann.hello()).as_str(), r#"["1","join","room:lobby","phx_join",{}]"#);
        assert_eq!(said(ann.beat()).as_str(), r#"[null,"beat","phoenix","heartbeat",{}]"#);
        let first = said(Some(ann.say("hi")));
        assert_eq!(first.as_str(), r#"["1","1","room:lobby","say",{"text":"hi"}]"#);
        assert!(said(Some(ann.say("hi"))).starts_with(r#"["1","2","#));
    }

    #[test]
    fn what_it_hears_is_told_apart() {
        let said = r#"[null,null,"room:a","said",{"seq":7,"from":"b","text":"3 250 ..","at":""}]"#;
        assert_eq!(hear(said), Ok(Heard::Said(Line { number: 3, due_us: 250 })));
        let joined = r#"["1","join","room:a","phx_reply",{"status":"ok","response":{}}]"#;
        assert_eq!(hear(joined), Ok(Heard::Joined));
        let answered = r#"["1","9","room:a","phx_reply",{"status":"ok","response":{"seq":1}}]"#;
        assert_eq!(hear(answered), Ok(Heard::Other));
        let slow = r#"["1","1","room:a","phx_error",{"reason":"slow_consumer"}]"#;
        assert_eq!(hear(slow), Ok(Heard::Dropped));
        assert_eq!(hear(r#"[null,null,"room:a","presence_diff",{}]"#), Ok(Heard::Other));
    }

    #[test]
    fn a_refusal_is_an_error() {
        let refused = r#"["1","9","room:a","phx_reply",{"status":"error","response":{}}]"#;
        assert!(hear(refused).unwrap_err().starts_with("refused"));
        assert!(hear("[1,2]").is_err());
    }
}
