//! A member of rooms that speaks Phoenix Channels V2 by hand, and remembers what it heard.

#![allow(dead_code)] // Each test binary uses a part of it.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

pub(crate) struct Member {
    socket: WebSocketStream<TcpStream>,
}

/// What a member hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A frame: join_ref, ref, topic, event, payload.
    Frame(Value),
    /// The server closed, with this code.
    Closed(Option<u16>),
}

impl Member {
    pub(crate) async fn connect(address: &str, user: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let url = format!("ws://{address}/socket/websocket?vsn=2.0.0&user={user}");
        // The library's buffers are sized for few large streams.
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let (socket, _) = client_async_with_config(url, stream, Some(config)).await.unwrap();
        Member { socket }
    }

    pub(crate) async fn push(&mut self, reference: u64, topic: &str, event: &str, payload: Value) {
        let frame = json!(["1", reference.to_string(), topic, event, payload]);
        // A server that has closed is seen by what is heard next.
        let _ = self.socket.send(Message::text(frame.to_string())).await;
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Heard::Frame(serde_json::from_str(&text).unwrap());
                }
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Closed(None),
            }
        }
    }

    /// Joins a room and answers the reply's response.
    pub(crate) async fn join(&mut self, topic: &str) -> Value {
        self.push(0, topic, "phx_join", json!({})).await;
        loop {
            match self.hear().await {
                Heard::Frame(frame) if frame[3] == "phx_reply" && frame[1] == "0" => {
                    assert_eq!(frame[4]["status"], "ok", "{frame}");
                    return frame[4]["response"].clone();
                }
                Heard::Frame(_) => {}
                Heard::Closed(code) => panic!("closed with {code:?} in the midst of a join"),
            }
        }
    }
}
