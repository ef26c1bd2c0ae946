//! Page views counted in memory, a process for each path, and kept in SQLite.
//!
//! A path's process adds up what it is told and writes the sum every few seconds, with one upsert
//! however many views there were. It writes what is left when it ends: idle, or with the program.
//! The store is started before the counters, so it ends after them.

mod counter;
mod store;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::routing::post;
use innkeeper::{ChildSpec, Keyed, Restart, Shutdown, ShutdownReport, StartChildError, Supervisor};
use tokio::net::TcpListener;

pub use counter::{Counter, CounterApi, CounterMessage, CounterReply};
pub use store::{Store, StoreApi};

/// A path without views for so long needs no process.
const IDLE: Duration = Duration::from_secs(60);

/// The counters and their store.
#[derive(Clone, Debug)]
pub struct PageViews {
    supervisor: Supervisor,
    counters: Keyed<String, Counter>,
}

impl PageViews {
    /// Starts it, with its views in a database at `path`, written every `flush`.
    ///
    /// # Errors
    /// What the supervisor says: the database cannot be opened.
    pub async fn start(path: &Path, flush: Duration) -> Result<PageViews, StartChildError> {
        let supervisor = Supervisor::new().name("page_views").start().await?;
        let stores = Keyed::<(), Store>::with_args(ChildSpec::new(), {
            let path = path.to_owned();
            move |()| path.clone()
        });
        // By key, so that a counter that writes while the store restarts waits for it.
        let stores = stores.name("store").start(&supervisor).await?;
        stores
            .get_or_start(&())
            .await
            .map_err(StartChildError::Failed)?
            .process()
            .map_err(StartChildError::Failed)?;
        let spec = ChildSpec::new()
            .restart(Restart::Transient)
            .shutdown(Shutdown::Timeout(Duration::from_secs(10)));
        let counters = Keyed::<String, Counter>::with_args(spec, move |path: &String| {
            counter::Args { path: path.clone(), store: stores.via(&()), flush }
        });
        let counters = counters.idle_after(IDLE).start(&supervisor).await?;
        Ok(PageViews { supervisor, counters })
    }

    /// Counts one view of a path, and answers how many this process of it has counted.
    ///
    /// # Errors
    /// [`innkeeper::CallError`]: not counted, or perhaps.
    pub async fn view(&self, path: String) -> Result<u64, innkeeper::CallError<CounterMessage>> {
        self.counters.via(&path).view().await
    }

    /// Ends the counters, each of which writes what it has, and then the store.
    pub async fn stop(&self) -> ShutdownReport {
        self.supervisor.shutdown(Duration::from_secs(20)).await
    }
}

/// Serves `POST /view/any/path` until `stop`, and the requests that are under way then.
///
/// # Errors
/// What the socket says.
pub async fn serve(
    listener: TcpListener,
    views: PageViews,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = Router::new().route("/view/{*path}", post(view)).with_state(views);
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}

/// A view is answered once it is counted; what was not counted is not answered with success.
async fn view(
    State(views): State<PageViews>,
    extract::Path(path): extract::Path<String>,
) -> Result<String, (StatusCode, String)> {
    let counted = views.view(path).await;
    counted
        .map(|count| count.to_string())
        .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

/// Where a listener is, in words.
pub fn greeting(address: SocketAddr) -> String {
    format!("listening at {address}")
}
