//! One WebSocket: reads frames, writes what waits in its outbox, and ends in order.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;

use crate::app::{App, Open};
use crate::auth::Permit;
use crate::channels::session::{Session, Verdict};
use crate::limits;

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
pub(crate) async fn run(
    mut socket: WebSocket,
    user: Arc<str>,
    permit: Permit,
    peer: SocketAddr,
    app: Arc<App>,
) {
    let _open = Open::count(&app.tally.web_sockets);
    let mut session = Session::new(app.clone(), user, permit, peer);
    let close = serve(&mut socket, &mut session, &app).await;
    tracing::debug!(%peer, ?close, "socket ended");
    // What was sent before the end is still done, and answered if it can be.
    session.finish().await;
    if close == Close::Restart {
        refuse_rest(&mut socket, &mut session).await;
    }
    if close == Close::Stuck {
        drop(socket);
    } else {
        // Fails where the client has said goodbye already, which is answered nevertheless.
        let _ = write(&mut socket, session.outbox.drain()).await;
        say_goodbye(socket, close).await;
    }
    session.close().await;
}

async fn serve(socket: &mut WebSocket, session: &mut Session, app: &App) -> Close {
    let silence = tokio::time::sleep(limits::SOCKET_SILENCE);
    tokio::pin!(silence);
    let mut heard = false;
    loop {
        let outbox = session.outbox.clone();
        tokio::select! {
            frames = outbox.take() => {
                if write(socket, frames).await.is_err() {
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
            () = app.closing.cancelled() => return Close::Restart,
        }
    }
}

/// Answers what the client has sent by now, or is just sending: nothing is let in any more, so each
/// push is refused, and none is left without an answer.
async fn refuse_rest(socket: &mut WebSocket, session: &mut Session) {
    let outbox = session.outbox.clone();
    let refusing = async {
        // First what is answered by now: a client that waits for that is not silent for good.
        while write(socket, outbox.drain()).await.is_ok() {
            let Ok(message) = timeout(limits::QUIET, socket.next()).await else { return };
            if hear(session, message).await.is_err() {
                return;
            }
        }
    };
    let _ = timeout(limits::REFUSING, refusing).await;
}

async fn hear(
    session: &mut Session,
    message: Option<Result<Message, axum::Error>>,
) -> Result<(), Close> {
    let verdict = match message {
        Some(Ok(Message::Text(text))) => session.hear(text).await,
        Some(Ok(Message::Binary(_))) => {
            session.bad_frame("expected text, got a binary frame; connect with vsn=2.0.0 and JSON")
        }
        // Pings are answered below us.
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Verdict::GoOn,
        Some(Ok(Message::Close(_))) | None => return Err(Close::Client),
        Some(Err(error)) => return Err(broken(&error)),
    };
    match verdict {
        Verdict::GoOn => Ok(()),
        Verdict::HangUp => Err(Close::Policy),
    }
}

/// What a socket that cannot be read any more is closed with.
fn broken(error: &axum::Error) -> Close {
    // The library's error is not part of its interface, so its words decide; if they change, the
    // client is told less.
    let text = error.to_string();
    if text.contains("too long") || text.contains("Space limit") || text.contains("too big") {
        Close::TooLarge
    } else if text.contains("UTF-8") || text.contains("utf-8") {
        Close::NotText
    } else {
        Close::Client
    }
}

/// Writes frames, and flushes once.
async fn write(socket: &mut WebSocket, frames: VecDeque<Utf8Bytes>) -> Result<(), ()> {
    let writing = async {
        for frame in frames {
            socket.feed(Message::Text(frame)).await?;
        }
        socket.flush().await
    };
    match timeout(limits::WRITE_TIMEOUT, writing).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(()),
    }
}

/// Sends the close frame and waits, a little, for the client's.
async fn say_goodbye(mut socket: WebSocket, close: Close) {
    let (code, reason) = match close {
        Close::Client => {
            // Its goodbye is answered already, in kind; the answer has yet to be sent.
            let _ = timeout(limits::GOODBYE, socket.close()).await;
            return;
        }
        Close::Silent => (1001, "silent for too long"),
        Close::NotText => (1007, "not UTF-8"),
        Close::Policy => (1008, "too many frames that make no sense"),
        Close::TooLarge => (1009, "frame too large"),
        Close::Restart => (1012, "service restart"),
        Close::Stuck => return,
    };
    let frame = CloseFrame { code, reason: reason.into() };
    let goodbye = async {
        socket.send(Message::Close(Some(frame))).await?;
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<_, axum::Error>(())
    };
    let _ = timeout(limits::GOODBYE, goodbye).await;
}
