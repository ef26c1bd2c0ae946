//! Serves HTTP/1.1 on accepted connections, with time limits, and lets them end in order.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Parts;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tracing::{Instrument, Span};

use crate::accept;
use crate::app::{App, Open};
use crate::channels::socket;
use crate::channels::wire::Wire;
use crate::http::socket::{Door, LetIn};
use crate::http::{Peer, router};
use crate::limits;
use crate::span;
use crate::tls::Tls;

/// Serves connections until the server closes; returns when the last one has ended.
pub(crate) async fn serve(listener: Arc<TcpListener>, app: Arc<App>) {
    let router = router(app.clone());
    accept::each(listener, &app.closing, app.config.connections_per_client, |stream, peer| {
        connection(stream, peer, router.clone(), app.clone())
    })
    .await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, app: Arc<App>) {
    match &app.config.tls {
        None => speak(stream, peer, router, app).await,
        // In a box, so that a connection without it does not have the size of one with it.
        Some(tls) => Box::pin(secured(tls.clone(), stream, peer, router, app.clone())).await,
    }
}

async fn secured(tls: Tls, stream: TcpStream, peer: SocketAddr, router: Router, app: Arc<App>) {
    if let Some(stream) = secure(&tls, stream, peer).await {
        speak(stream, peer, router, app).await;
    }
}

/// The handshake of TLS, if it comes to something in time.
pub(super) async fn secure(
    tls: &Tls,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<TlsStream<TcpStream>> {
    match timeout(limits::HEADER_TIMEOUT, tls.acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no handshake"),
        Err(_) => tracing::debug!(%peer, "no handshake in time"),
    }
    None
}

/// Answers requests; if one of them is let in as a socket, serves that.
async fn speak<W: Wire>(wire: W, peer: SocketAddr, router: Router, app: Arc<App>) {
    let door = Door::default();
    // In a box for as long as it lasts: most connections are sockets, most of the time.
    let open = Open::count(&app.tally.http_connections);
    Box::pin(answer(wire, peer, router, door.clone(), &app.config.node, &app.closing)).await;
    drop(open);
    let Some(LetIn { guest, on_upgrade }) = door.let_in() else { return };
    drop(door);
    let Ok(upgraded) = on_upgrade.await else { return };
    // It is what was handed in above.
    let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<W>>() else { return };
    // Copied: the buffer of HTTP has 8 KiB, and would be there for as long as the socket is.
    let head = read_buf.to_vec();
    drop(read_buf);
    socket::run(io.into_inner(), head, guest, app).await;
}

/// Answers requests to `node` until the client closes or this side is `closing`.
pub(super) async fn answer<W: Wire>(
    wire: W,
    peer: SocketAddr,
    router: Router,
    door: Door,
    node: &str,
    closing: &CancellationToken,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let span = span::request(node, &request);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(door.clone());
        let answer = router.clone().call(request);
        let answer = async {
            let answered = answer.await;
            if let Ok(response) = &answered {
                Span::current().record("status", response.status().as_u16());
            }
            answered
        };
        answer.instrument(span)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIMEOUT)
        .max_buf_size(limits::HEADER_BYTES)
        .max_headers(limits::HEADERS)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = closing.cancelled() => {
            // The request under way is answered, then the connection ends.
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "http connection ended");
    }
}
