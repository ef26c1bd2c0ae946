//! Colyseus 0.17: a seat is reserved over HTTP and taken over WebSocket; frames are binary, a byte
//! that says what it is and MessagePack behind it.

use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Message;

use super::{Dialect, Heard, Line, nonsense};

const JOIN_ROOM: u8 = 10;
const ERROR: u8 = 11;
const ROOM_DATA: u8 = 13;

/// A place in a room, as the server's answer to `POST /matchmake` has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Seat {
    pub(crate) room_id: String,
    process_id: String,
    session_id: String,
}

/// A member of a room of Colyseus.
#[derive(Debug)]
pub(crate) struct Colyseus {
    seat: Seat,
}

/// What a seat is asked for with.
#[derive(Serialize)]
struct Who<'a> {
    user: &'a str,
}

impl Colyseus {
    pub(crate) fn new(seat: Seat) -> Self {
        Colyseus { seat }
    }

    /// The request for a seat: in a new room, or in one that is there.
    pub(crate) fn reservation(address: &str, user: &str, room_id: Option<&str>) -> String {
        let body = serde_json::to_string(&Who { user }).unwrap_or_default();
        let path = match room_id {
            None => "create/chat".to_owned(),
            Some(id) => format!("joinById/{id}"),
        };
        format!(
            "POST /matchmake/{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// The seat in the whole answer.
    pub(crate) fn reserved(answer: &str) -> Result<Seat, String> {
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).map_err(|error| format!("no seat: {error}: {answer}"))
    }
}

impl Dialect for Colyseus {
    fn path(&self) -> String {
        let Seat { room_id, process_id, session_id } = &self.seat;
        format!("/{process_id}/{room_id}?sessionId={session_id}")
    }

    fn hello(&self) -> Option<Message> {
        None
    }

    fn beat(&self) -> Option<Message> {
        None
    }

    fn say(&mut self, text: &str) -> Message {
        let mut frame = vec![ROOM_DATA];
        pack(&mut frame, "say");
        pack(&mut frame, text);
        Message::binary(frame)
    }

    fn hear(&mut self, message: &Message) -> Result<Heard, String> {
        let Message::Binary(frame) = message else { return Ok(Heard::Other) };
        match frame.first() {
            Some(&JOIN_ROOM) => Ok(Heard::Confirm(Message::binary(vec![JOIN_ROOM]))),
            Some(&ROOM_DATA) => {
                let line = said(&mut Reader(&frame[1..])).and_then(Line::parse);
                line.map(Heard::Said).ok_or_else(|| nonsense("no line of ours", message))
            }
            Some(&ERROR) => Err(nonsense("refused", message)),
            _ => Ok(Heard::Other),
        }
    }
}

/// Writes a string.
fn pack(frame: &mut Vec<u8>, text: &str) {
    match text.len() {
        short @ 0..32 => frame.push(0xa0 | short as u8),
        long => {
            frame.push(0xda);
            frame.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
}

/// The text of an event `said` and its map.
fn said<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    if reader.text()? != "said" {
        return None;
    }
    let pairs = match reader.byte()? {
        small @ 0x80..0x90 => usize::from(small & 15),
        0xde => reader.number(2)?,
        _ => return None,
    };
    let mut found = None;
    for _ in 0..pairs {
        match reader.text()? {
            "text" => found = Some(reader.text()?),
            "seq" => reader.skip_number()?,
            _ => drop(reader.text()?),
        }
    }
    found
}

/// As much of MessagePack as an event has.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        let bytes = self.take(bytes)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn text(&mut self) -> Option<&'a str> {
        let bytes = match self.byte()? {
            short @ 0xa0..0xc0 => usize::from(short & 31),
            0xd9 => self.number(1)?,
            0xda => self.number(2)?,
            _ => return None,
        };
        std::str::from_utf8(self.take(bytes)?).ok()
    }

    fn skip_number(&mut self) -> Option<()> {
        let bytes = match self.byte()? {
            0..0x80 => 0,
            0xcc => 1,
            0xcd => 2,
            0xce | 0xca => 4,
            0xcf | 0xcb => 8,
            _ => return None,
        };
        self.take(bytes).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member() -> Colyseus {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 84\r\n\r\n\
                      {\"name\":\"chat\",\"sessionId\":\"S\",\"roomId\":\"R\",\"processId\":\"P\"}";
        Colyseus::new(Colyseus::reserved(answer).unwrap())
    }

    /// `13 "said" {"seq": SEQ.., "from": "ann", "text": TEXT}`
    fn frame(seq: &[u8], text: &str) -> Message {
        let mut frame = vec![ROOM_DATA];
        pack(&mut frame, "said");
        frame.push(0x83);
        pack(&mut frame, "seq");
        frame.extend_from_slice(seq);
        for word in ["from", "ann", "text", text] {
            pack(&mut frame, word);
        }
        Message::binary(frame)
    }

    #[test]
    fn a_seat_is_asked_for_and_taken() {
        let create = Colyseus::reservation("127.0.0.1:1", "ann", None);
        assert!(create.starts_with("POST /matchmake/create/chat HTTP/1.1\r\n"), "{create}");
        assert!(create.ends_with("content-length: 14\r\n\r\n{\"user\":\"ann\"}"), "{create}");
        let join = Colyseus::reservation("127.0.0.1:1", "ann", Some("R"));
        assert!(join.starts_with("POST /matchmake/joinById/R HTTP/1.1\r\n"), "{join}");
        assert_eq!(member().path(), "/P/R?sessionId=S");
        assert!(Colyseus::reserved("HTTP/1.1 500 no\r\n\r\n{}").is_err());
    }

    #[test]
    fn a_join_is_confirmed() {
        let joined = Message::binary(b"\x0a\x09abcdefghi\x04none".to_vec());
        let confirm = Heard::Confirm(Message::binary(vec![JOIN_ROOM]));
        assert_eq!(member().hear(&joined), Ok(confirm));
    }

    #[test]
    fn what_is_said_is_read_whatever_its_number_is_written_in() {
        for seq in [&[1][..], &[0xcc, 200], &[0xcd, 1, 0], &[0xce, 0, 1, 0, 0], &[0xcb; 9]] {
            let heard = member().hear(&frame(seq, "3 250 .."));
            assert_eq!(heard, Ok(Heard::Said(Line { number: 3, due_us: 250 })), "{seq:?}");
        }
        let long = Line { number: 3, due_us: 250 }.text(4096);
        assert!(matches!(member().hear(&frame(&[1], &long)), Ok(Heard::Said(_))));
    }

    #[test]
    fn what_it_says_is_a_type_and_a_text() {
        assert_eq!(member().say("hi"), Message::binary(b"\x0d\xa3say\xa2hi".to_vec()));
    }

    #[test]
    fn an_error_is_one() {
        assert!(member().hear(&Message::binary(b"\x0b\x01\xa2no".to_vec())).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut frame = vec![ROOM_DATA];
            frame.extend(bytes);
            let _ = member().hear(&Message::binary(frame));
        }
    }
}
