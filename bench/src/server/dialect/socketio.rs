//! Socket.IO 5 over Engine.IO 4, with nothing but text in it.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{Dialect, Heard, Line, nonsense};

/// A member of a room of Socket.IO.
#[derive(Debug)]
pub(crate) struct SocketIo {
    user: String,
    room: String,
}

#[derive(Deserialize)]
struct Event(String, Said);

#[derive(Deserialize)]
struct Said {
    text: String,
}

impl SocketIo {
    pub(crate) fn new(user: &str, room: &str) -> Self {
        SocketIo { user: user.to_owned(), room: room.to_owned() }
    }
}

impl Dialect for SocketIo {
    fn path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=websocket&user={}", self.user)
    }

    fn hello(&self) -> Option<Message> {
        None
    }

    fn beat(&self) -> Option<Message> {
        None
    }

    fn say(&mut self, text: &str) -> Message {
        Message::text(format!("42{}", json!(["say", text])))
    }

    fn hear(&mut self, message: &Message) -> Result<Heard, String> {
        let Message::Text(text) = message else { return Ok(Heard::Other) };
        let text = text.as_str();
        // The first digit is Engine.IO's: open, ping, message; the second Socket.IO's.
        if let Some(event) = text.strip_prefix("42") {
            let Event(name, said) =
                serde_json::from_str(event).map_err(|e| nonsense(e, message))?;
            let line = Line::parse(&said.text).filter(|_| name == "said");
            return line.map(Heard::Said).ok_or_else(|| nonsense("no line of ours", message));
        }
        match text.get(..2).unwrap_or(text) {
            "2" => Ok(Heard::Answer(Message::text("3"))),
            "0{" => Ok(Heard::Answer(Message::text("40"))),
            "40" => {
                let join = json!(["join", self.room]);
                Ok(Heard::Answer(Message::text(format!("420{join}"))))
            }
            "43" => acknowledged(&text[2..]).map_err(|e| nonsense(e, message)),
            "41" => Ok(Heard::Dropped),
            _ => Err(nonsense("refused", message)),
        }
    }
}

/// The number of what is acknowledged, and an array: the join is number 0.
fn acknowledged(text: &str) -> Result<Heard, String> {
    let array = text.strip_prefix('0').ok_or("an acknowledgement that nobody waits for")?;
    serde_json::from_str::<IgnoredAny>(array).map_err(|error| error.to_string())?;
    Ok(Heard::Joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(text: &str) -> Result<Heard, String> {
        SocketIo::new("ann", "lobby").hear(&Message::text(text))
    }

    fn answer(text: &str) -> Result<Heard, String> {
        Ok(Heard::Answer(Message::text(text)))
    }

    #[test]
    fn the_handshake_goes_from_open_to_joined() {
        let mut ann = SocketIo::new("ann", "lobby");
        assert_eq!(ann.path(), "/socket.io/?EIO=4&transport=websocket&user=ann");
        assert_eq!((ann.hello(), ann.beat()), (None, None));
        assert_eq!(hear(r#"0{"sid":"x","pingInterval":25000}"#), answer("40"));
        assert_eq!(hear(r#"40{"sid":"y"}"#), answer(r#"420["join","lobby"]"#));
        assert_eq!(hear("430[]"), Ok(Heard::Joined));
        assert_eq!(ann.say("hi"), Message::text(r#"42["say","hi"]"#));
    }

    #[test]
    fn a_ping_is_answered() {
        assert_eq!(hear("2"), answer("3"));
    }

    #[test]
    fn what_is_said_is_read() {
        let said = r#"42["said",{"seq":1,"from":"ann","text":"3 250 ..","at":""}]"#;
        assert_eq!(hear(said), Ok(Heard::Said(Line { number: 3, due_us: 250 })));
    }

    #[test]
    fn anything_else_is_an_error() {
        for bad in [r#"44{"message":"no"}"#, "431[]", "", r#"42["other",{"text":"1 2"}]"#] {
            assert!(hear(bad).is_err(), "{bad}");
        }
    }
}
