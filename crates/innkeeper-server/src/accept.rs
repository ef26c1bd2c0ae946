//! The one accept loop: takes connections until it is told to close, and waits for them to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clients::Addresses;
use crate::limits;

/// Runs `connection` for each connection, of so many at once from one address. Once it is `closing`
/// no more are taken, and this returns when the last one has ended.
pub(crate) async fn each<F>(
    listener: Arc<TcpListener>,
    closing: &CancellationToken,
    per_address: usize,
    mut connection: impl FnMut(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Semaphore::new(limits::CONNECTIONS);
    let addresses = Addresses::new(per_address);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = closing.cancelled() => break,
            Some(_) = connections.join_next() => room.add_permits(1),
            accepted = accept(&listener, &room) => {
                let Some((stream, peer)) = accepted else { continue };
                let Some(place) = addresses.enter(peer.ip()) else {
                    tracing::debug!(%peer, "too many connections from one address");
                    room.add_permits(1);
                    continue;
                };
                // An `async` block that awaits what it captures would have room for it twice.
                connections.spawn(connection(stream, peer).map(|()| drop(place)));
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection; `None` if there is none to be had at the moment.
async fn accept(listener: &TcpListener, room: &Semaphore) -> Option<(TcpStream, SocketAddr)> {
    // Given back when the connection has ended. The semaphore is never closed.
    let place = room.acquire().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            place.forget();
            // Small answers go out at once.
            let _ = stream.set_nodelay(true);
            Some((stream, peer))
        }
        Err(error) => {
            // Out of file descriptors, mostly: others have to close first.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}
