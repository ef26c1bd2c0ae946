//! One WebSocket: reads frames, writes what waits in its outbox, and ends in order.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::app::{App, Open};
use crate::auth::Permit;
use crate::channels::outbox::Outbox;
use crate::channels::session::{Session, Verdict};
use crate::channels::wire::{Incoming, Wire};
use crate::limits;

/// Who has come in by a handshake.
pub(crate) struct Guest {
    pub(crate) user: Arc<str>,
    pub(crate) permit: Permit,
    pub(crate) peer: SocketAddr,
}

/// What WebSocket is read from. What it writes by itself goes through the outbox, frame by frame,
/// so that it cannot get into the midst of another.
struct Line {
    incoming: Incoming,
    outbox: Arc<Outbox>,
}

type WebSocket = WebSocketStream<Line>;

/// Why a socket is closed, as WebSocket knows it (RFC 6455, 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// The client said so, or went away.
    Client,
    /// It was silent for too long.
    Silent,
    /// It sent what is no text.
    NotText,
    /// It sent too much that makes no sense.
    Policy,
    /// It sent more than a frame may have.
    TooLarge,
    /// The server shuts down; the client is to come back.
    Restart,
    /// It does not take what is written.
    Stuck,
}

/// Serves a socket until its client or the server closes it.
/// `head` is what was read of it already.
pub(crate) async fn run(wire: impl Wire, head: Vec<u8>, guest: Guest, app: Arc<App>) {
    let _open = Open::count(&app.tally.web_sockets);
    let (incoming, outgoing) = wire.halves();
    let outbox = Arc::new(Outbox::new(outgoing));
    let line = Line { incoming, outbox: outbox.clone() };
    let config = config(app.config.max_message_bytes);
    let socket = WebSocketStream::from_partially_read(line, head, Role::Server, Some(config));
    let mut socket = socket.await;
    let Guest { user, permit, peer } = guest;
    let mut session = Session::new(app.clone(), user, permit, peer, outbox);
    let close = serve(&mut socket, &mut session, &app).await;
    tracing::debug!(%peer, ?close, "socket ended");
    // In a box: for as long as it serves, a socket need not have the place for its end.
    Box::pin(end(socket, session, close)).await;
}

async fn end(mut socket: WebSocket, mut session: Session, close: Close) {
    // What was sent before the end is still done, and answered if it can be.
    session.finish().await;
    if close == Close::Restart {
        refuse_rest(&mut socket, &mut session).await;
    }
    if close == Close::Stuck {
        drop(socket);
    } else {
        let _ = flush(&session.outbox).await;
        session.outbox.seal();
        say_goodbye(socket, &session.outbox, close).await;
    }
    session.close().await;
}

async fn serve(socket: &mut WebSocket, session: &mut Session, app: &App) -> Close {
    let silence = tokio::time::sleep(limits::SOCKET_SILENCE);
    tokio::pin!(silence);
    let mut heard = false;
    let mut frozen = app.frozen.clone();
    loop {
        let outbox = session.outbox.clone();
        tokio::select! {
            () = outbox.waiting() => {
                if write(&outbox).await.is_err() {
                    return Close::Stuck;
                }
            }
            done = session.next_push(), if session.is_waiting() => {
                if let Some(done) = done {
                    session.joined(done).await;
                }
            }
            message = socket.next(), if session.has_room() => {
                heard = true;
                match hear(session, message).await {
                    Ok(()) => {}
                    Err(close) => return close,
                }
            }
            () = &mut silence => {
                if !heard {
                    return Close::Silent;
                }
                heard = false;
                let again = silence.deadline() + limits::SOCKET_SILENCE;
                silence.as_mut().reset(again);
            }
            () = is_frozen(frozen.as_mut()) => session.freeze().await,
            () = app.closing.cancelled() => return Close::Restart,
        }
    }
}

/// Waits until this node freezes, if it may.
async fn is_frozen(frozen: Option<&mut watch::Receiver<bool>>) {
    let Some(frozen) = frozen else { return std::future::pending().await };
    loop {
        // Without a sender the session is over, and all sockets are closed.
        if frozen.changed().await.is_err() {
            return std::future::pending().await;
        }
        if *frozen.borrow_and_update() {
            return;
        }
    }
}

/// Answers what the client has sent by now, or is just sending: nothing is let in any more, so each
/// push is refused, and none is left without an answer.
async fn refuse_rest(socket: &mut WebSocket, session: &mut Session) {
    let outbox = session.outbox.clone();
    let refusing = async {
        // First what is answered by now: a client that waits for that is not silent for good.
        while flush(&outbox).await.is_ok() {
            let Ok(message) = timeout(limits::QUIET, socket.next()).await else { return };
            if hear(session, message).await.is_err() {
                return;
            }
        }
    };
    let _ = timeout(limits::REFUSING, refusing).await;
}

async fn hear(session: &mut Session, message: Option<Result<Message, Error>>) -> Result<(), Close> {
    let verdict = match message {
        Some(Ok(Message::Text(text))) => session.hear(text).await,
        Some(Ok(Message::Binary(_))) => {
            session.bad_frame("expected text, got a binary frame; connect with vsn=2.0.0 and JSON")
        }
        // Pings are answered below us.
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Verdict::GoOn,
        Some(Ok(Message::Close(_))) | None => return Err(Close::Client),
        Some(Err(error)) => return Err(broken(&error)),
    };
    match verdict {
        Verdict::GoOn => Ok(()),
        Verdict::HangUp => Err(Close::Policy),
    }
}

/// What a socket that cannot be read any more is closed with.
fn broken(error: &Error) -> Close {
    if matches!(error, Error::Capacity(_)) {
        Close::TooLarge
    } else if matches!(error, Error::Utf8(_)) {
        Close::NotText
    } else {
        Close::Client
    }
}

/// The library's buffers are sized for few large streams; there are many small ones here.
fn config(max_message_bytes: usize) -> WebSocketConfig {
    // JSON may take six bytes for one of the text: a control character is written \u001f.
    let frame_max = 6 * max_message_bytes + limits::FRAME_OVERHEAD;
    WebSocketConfig::default()
        .read_buffer_size(limits::SOCKET_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(frame_max))
        .max_frame_size(Some(frame_max))
}

/// Writes some of what waits, if the client takes it in time.
async fn write(outbox: &Outbox) -> Result<(), ()> {
    match timeout(limits::WRITE_TIMEOUT, outbox.write()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(()),
    }
}

/// Writes all that waits.
async fn flush(outbox: &Outbox) -> Result<(), ()> {
    while !outbox.is_empty() {
        write(outbox).await?;
    }
    Ok(())
}

/// Sends the close frame and waits, a little, for the client's.
async fn say_goodbye(mut socket: WebSocket, outbox: &Outbox, close: Close) {
    let (code, reason) = match close {
        Close::Client => {
            // Its goodbye is answered already, in kind; the answer has yet to be sent.
            let goodbye = async {
                let _ = SinkExt::close(&mut socket).await;
                flush(outbox).await
            };
            let _ = timeout(limits::GOODBYE, goodbye).await;
            return;
        }
        Close::Silent => (1001, "silent for too long"),
        Close::NotText => (1007, "not UTF-8"),
        Close::Policy => (1008, "too many frames that make no sense"),
        Close::TooLarge => (1009, "frame too large"),
        Close::Restart => (1012, "service restart"),
        Close::Stuck => return,
    };
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    let goodbye = async {
        socket.send(Message::Close(Some(frame))).await.map_err(drop)?;
        flush(outbox).await?;
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<_, ()>(())
    };
    let _ = timeout(limits::GOODBYE, goodbye).await;
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.incoming).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    /// Takes whole frames only: the library is told to write each at once.
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        frames: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outbox.control(Bytes::copy_from_slice(frames));
        Poll::Ready(Ok(frames.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
