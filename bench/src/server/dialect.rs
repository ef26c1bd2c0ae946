//! What a member says and hears, in the words of each server.

mod colyseus;
mod phoenix;
mod socketio;

use std::fmt;

use tokio_tungstenite::tungstenite::Message;

pub(crate) use colyseus::{Colyseus, Seat};
pub(crate) use phoenix::Phoenix;
pub(crate) use socketio::SocketIo;

/// What has come from a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// To be answered with this.
    Answer(Message),
    /// The member is in.
    Joined,
    /// The member is in, and says this to confirm it.
    Confirm(Message),
    /// Somebody in the room said this.
    Said(Line),
    /// The server has put the member out.
    Dropped,
    /// Nothing that matters here.
    Other,
}

/// What is said: which message of its room, and when it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u32,
    /// In microseconds since the talk began.
    pub(crate) due_us: u64,
}

impl Line {
    /// The text of it, filled up to a length in bytes.
    pub(crate) fn text(self, bytes: usize) -> String {
        let mut text = format!("{} {} ", self.number, self.due_us);
        while text.len() < bytes {
            text.push('.');
        }
        text
    }

    /// Reads such a text.
    pub(crate) fn parse(text: &str) -> Option<Line> {
        let mut words = text.split(' ');
        let number = words.next()?.parse().ok()?;
        Some(Line { number, due_us: words.next()?.parse().ok()? })
    }
}

/// How one member talks to its server.
pub(crate) trait Dialect: Send {
    /// The path that is upgraded to a WebSocket.
    fn path(&self) -> String;

    /// What comes first, without being asked.
    fn hello(&self) -> Option<Message>;

    /// What is sent from time to time to be known as alive, where that is the client's business.
    fn beat(&self) -> Option<Message>;

    fn say(&mut self, text: &str) -> Message;

    /// # Errors
    /// What makes no sense, or was refused, in words.
    fn hear(&mut self, message: &Message) -> Result<Heard, String>;
}

fn nonsense(what: impl fmt::Display, message: &Message) -> String {
    format!("{what}: {message:?}")
}
