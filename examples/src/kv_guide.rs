//! The key-value server of Elixir's Mix & OTP guide, small and whole.
//!
//! What the guide builds chapter by chapter, in the same parts: buckets that are processes with
//! names, a supervisor for them, a TCP server whose connections are tasks, and clients that
//! subscribe to a bucket. `docs/GUIDE.md` goes through it.

mod bucket;
pub mod server;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use innkeeper::{
    ChildSpec, DynamicSupervisor, Groups, Keyed, ShutdownReport, StartChildError, Supervisor,
    TaskSupervisor,
};
use tokio::net::TcpListener;

pub use bucket::{Bucket, BucketApi};
use server::SubscriberMessage;

/// Who is told of the changes of each bucket.
pub type Subscribers = Groups<String, SubscriberMessage>;

/// The whole application: what the guide's `KV.Application` starts.
#[derive(Debug)]
pub struct Kv {
    supervisor: Supervisor,
    /// The guide's `KV` registry and `KV.BucketSupervisor`, which here are one thing.
    pub buckets: Keyed<String, Bucket>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Kv {
    /// Starts it, listening at `address`.
    ///
    /// # Errors
    /// What the socket says, or the supervisor.
    pub async fn start(address: SocketAddr) -> io::Result<Kv> {
        let listener = Arc::new(TcpListener::bind(address).await?);
        let address = listener.local_addr()?;
        Kv::supervise(listener, address).await.map_err(io::Error::other)
    }

    async fn supervise(
        listener: Arc<TcpListener>,
        address: SocketAddr,
    ) -> Result<Kv, StartChildError> {
        let supervisor = Supervisor::new().name("kv").start().await?;
        let subscribers = Subscribers::new();
        let told = subscribers.clone();
        let args = move |name: &String| (name.clone(), told.clone());
        let buckets = Keyed::<String, Bucket>::with_args(ChildSpec::new(), args);
        let buckets = buckets.start(&supervisor).await?;
        let connections = TaskSupervisor::new().name("connections").max_children(10_000);
        let connections = connections.start(&supervisor).await?;
        let acceptor = TaskSupervisor::new().name("acceptor").start(&supervisor).await?;
        let listeners = DynamicSupervisor::new().name("subscribers").start(&supervisor).await?;
        let server =
            server::Server { buckets: buckets.clone(), subscribers, listeners, connections };
        // Permanent, as in the guide: nobody would take connections any more.
        let accept = move || server.clone().accept(listener.clone());
        acceptor.start_child(ChildSpec::new(), accept).await?;
        Ok(Kv { supervisor, buckets, address })
    }

    /// Ends it, in the reverse order of its start.
    pub async fn stop(&self) -> ShutdownReport {
        self.supervisor.shutdown(Duration::from_secs(5)).await
    }
}
