//! Serves HTTP/1.1 on accepted connections, with time limits, and lets them end in order.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tower_service::Service;

use crate::accept;
use crate::app::{App, Open};
use crate::http::{Peer, router};
use crate::limits;

/// Serves connections until the server closes; returns when the last one has ended.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>) {
    let router = router(app.clone());
    accept::each(listener, &app, |stream, peer| {
        connection(stream, peer, router.clone(), app.clone())
    })
    .await;
}

/// What HTTP is spoken over.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wire for T {}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, app: Arc<App>) {
    let _open = Open::count(&app.tally.http_connections);
    let Some(tls) = &app.config.tls else { return speak(stream, peer, router, &app).await };
    match timeout(limits::HEADER_TIMEOUT, tls.acceptor.accept(stream)).await {
        Ok(Ok(stream)) => speak(stream, peer, router, &app).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no handshake"),
        Err(_) => tracing::debug!(%peer, "no handshake in time"),
    }
}

async fn speak(stream: impl Wire, peer: SocketAddr, router: Router, app: &App) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIMEOUT)
        .max_buf_size(limits::HEADER_BYTES)
        .max_headers(limits::HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = app.closing.cancelled() => {
            // The request under way is answered, then the connection ends.
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "http connection ended");
    }
}
