//! Rooms over WebSocket, key-value buckets over TCP and an HTTP API, on innkeeper.

mod accept;
mod app;
mod auth;
mod bucket;
mod census;
pub mod channels;
mod clients;
mod clock;
mod config;
mod error;
mod http;
pub mod kv;
pub mod limits;
mod memory;
mod room;
mod secret;
mod tls;
mod user;

use std::io;
use std::sync::Arc;

use innkeeper::{ShutdownReport, StartChildError};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::app::App;

pub use auth::{Authority, Denied, Jwt, Permit};
pub use config::Config;
pub use secret::Secret;
pub use tls::Tls;

/// Where the server listens.
#[derive(Debug)]
pub struct Listeners {
    /// For HTTP and WebSocket.
    pub http: TcpListener,
    /// For the key-value protocol.
    pub kv: Option<TcpListener>,
}

/// Why the server did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A listener has no address.
    Listener(io::Error),
    /// The supervision tree did not start.
    Start(StartChildError),
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RunError::Listener(error) => write!(f, "a listener has no address: {error}"),
            RunError::Start(error) => write!(f, "the supervision tree did not start: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

/// How a drain went.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Drained {
    /// Processes that did not end by themselves.
    pub processes: ShutdownReport,
    /// Connections were still open when the time was over.
    pub connections_cut: bool,
}

impl Drained {
    /// Whether everything ended in order, in time.
    pub fn is_clean(&self) -> bool {
        self.processes.is_clean() && !self.connections_cut
    }
}

/// Serves until `shutdown` is done, then drains: no new work is let in, what is under way is
/// finished and told to everybody, sockets are closed with 1012, rooms end.
///
/// # Errors
/// [`RunError`] if it could not start.
///
/// # Cancel safety
/// Dropping the future ends the server without a drain.
pub async fn run(
    listeners: Listeners,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<Drained, RunError> {
    let address = listeners.http.local_addr().map_err(RunError::Listener)?;
    let app = App::start(config, address.ip().is_loopback()).await.map_err(RunError::Start)?;
    let app = Arc::new(app);
    let http = http::serve(listeners.http, app.clone());
    let kv = async {
        if let Some(listener) = listeners.kv {
            kv::serve(listener, app.clone()).await;
        }
    };
    let serving = async { tokio::join!(http, kv) };
    tokio::pin!(serving);
    tokio::select! {
        // They end only once the server closes.
        _ = &mut serving => {}
        () = shutdown => {}
    }
    Ok(drain(&app, serving).await)
}

/// Ends everything in order, within the drain timeout.
async fn drain(app: &App, serving: impl Future) -> Drained {
    let began = clock::now();
    let limit = app.config.drain_timeout;
    let left = || limit.saturating_sub(began.elapsed());
    let rooms = app.rooms.count();
    tracing::info!(rooms, "draining: no new work is let in");
    app.intake.begin_drain();
    let connections = async {
        let finish = timeout(left(), app.intake.finish()).await;
        // What was answered has been told to every member by now; each socket writes the last of it
        // before its close frame.
        app.closing.cancel();
        let closed = timeout(left(), serving).await;
        finish.is_err() || closed.is_err()
    };
    let connections_cut = connections.await;
    let processes = app.supervisor.shutdown(left().max(limits::LAST_MOMENT)).await;
    let took_ms = began.elapsed().as_millis();
    if processes.is_clean() && !connections_cut {
        tracing::info!(took_ms, "drained: every connection and every room has ended");
    }
    Drained { processes, connections_cut }
}
