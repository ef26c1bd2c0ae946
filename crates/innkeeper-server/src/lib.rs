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
mod meanwhile;
mod member;
mod memory;
mod room;
mod secret;
mod span;
mod tls;
mod user;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use innkeeper::{ShutdownReport, StartChildError};
use innkeeper_cluster::JoinError;
use innkeeper_cluster::ownership::Over;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::app::App;
use crate::meanwhile::Ports;
use crate::member::Membership;

pub use auth::{Authority, Denied, Jwt, Permit};
pub use config::Config;
pub use member::Joining;
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
    /// The cluster was not joined.
    Join(JoinError),
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RunError::Listener(error) => write!(f, "a listener has no address: {error}"),
            RunError::Start(error) => write!(f, "the supervision tree did not start: {error}"),
            RunError::Join(error) => write!(f, "the cluster was not joined: {error}"),
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

/// Serves until `shutdown` is done or an admin says so, then drains: no new work is let in, what is
/// under way is
/// finished and told to everybody, sockets are closed with 1012, rooms end or, on a cluster, move.
///
/// On a cluster it serves while it has a session. When that is lost its sockets are closed with
/// 1012, its rooms are killed, and it joins again. Without one it answers that it lives, and that
/// it is not ready. `ready` is called once, when it is to serve for the first time.
///
/// # Errors
/// [`RunError`] if it could not start, or can never join again: its cluster was configured anew, or
/// the coordinator was put back to an older state.
///
/// # Cancel safety
/// Dropping the future ends the server without a drain.
pub async fn run(
    listeners: Listeners,
    config: Config,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(),
) -> Result<Drained, RunError> {
    let address = listeners.http.local_addr().map_err(RunError::Listener)?;
    let ports = Ports { http: Arc::new(listeners.http), kv: listeners.kv.map(Arc::new) };
    tokio::pin!(shutdown);
    let mut ready = Some(ready);
    loop {
        let joined = tokio::select! {
            joined = join(&ports, &config, ready.is_some()) => joined,
            () = &mut shutdown => return Ok(Drained::default()),
        };
        let mut membership = joined.map_err(RunError::Join)?;
        let app = App::start(config.clone(), address.ip().is_loopback(), membership.as_ref());
        let app = Arc::new(app.await.map_err(RunError::Start)?);
        if let Some(ready) = ready.take() {
            ready();
        }
        let serving = serve(ports.http.clone(), ports.kv.clone(), app.clone());
        tokio::pin!(serving);
        let over = tokio::select! {
            // They end only once the server closes.
            _ = &mut serving => None,
            () = &mut shutdown => None,
            () = app.told_to_drain.cancelled() => None,
            over = over(membership.as_mut()) => Some(over),
        };
        let Some(over) = over else {
            // With these the ports are closed: who comes now is to go to another node.
            drop(ports);
            return Ok(drain(&app, serving, membership, app.config.drain_timeout).await);
        };
        let node = &config.node;
        let what = "the session is over: what ran here ends, and this node joins again";
        tracing::warn!(node, ?over, "{what}");
        let ending = drain(&app, serving, None, limits::SESSION_END);
        let _ = ports.meanwhile(&config, ending).await;
    }
}

/// Joins the cluster, if there is one, and answers on the ports meanwhile.
async fn join(
    ports: &Ports,
    config: &Config,
    is_first: bool,
) -> Result<Option<Membership>, JoinError> {
    let Some(joining) = &config.cluster else { return Ok(None) };
    let joined = async {
        match is_first {
            true => Membership::first(joining).await,
            false => Membership::again(joining).await,
        }
    };
    ports.meanwhile(config, joined).await.map(Some)
}

/// Serves connections until the server closes.
async fn serve(http: Arc<TcpListener>, kv: Option<Arc<TcpListener>>, app: Arc<App>) {
    let buckets = async {
        if let Some(listener) = kv {
            kv::serve(listener, app.clone()).await;
        }
    };
    tokio::join!(http::serve(http, app.clone()), buckets);
}

/// The end of a session, if there is one.
async fn over(membership: Option<&mut Membership>) -> Over {
    match membership {
        None => std::future::pending().await,
        Some(membership) => membership.over().await,
    }
}

/// Ends everything in order, within the time.
async fn drain(
    app: &App,
    serving: impl Future,
    mut membership: Option<Membership>,
    limit: Duration,
) -> Drained {
    let began = clock::now();
    let left = || limit.saturating_sub(began.elapsed());
    let rooms = app.rooms.count();
    let node = &app.config.node;
    tracing::info!(node, rooms, "draining: no new work is let in");
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
    if let Some(membership) = &mut membership {
        membership.give_away(left()).await;
    }
    // What nobody has taken ends in order, while this node still may act for it.
    let processes = app.supervisor.shutdown(left().max(limits::LAST_MOMENT)).await;
    if let Some(membership) = membership {
        membership.leave().await;
    }
    let took_ms = began.elapsed().as_millis();
    if processes.is_clean() && !connections_cut {
        tracing::info!(node, took_ms, "drained: every connection and every room has ended");
    }
    Drained { processes, connections_cut }
}
