//! A server on ports of its own, ended in order at the end of a test.

#![allow(dead_code)] // Each test binary uses a part of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use innkeeper_server::{Config, Drained, Listeners, run};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Server {
    pub(crate) http: SocketAddr,
    pub(crate) kv: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    ready: Arc<AtomicBool>,
    running: JoinHandle<Drained>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Server::with(|_| {}).await
    }

    pub(crate) async fn with(set: impl FnOnce(&mut Config)) -> Self {
        Server::on("127.0.0.1:0", set).await
    }

    pub(crate) async fn on(address: &str, set: impl FnOnce(&mut Config)) -> Self {
        let http = TcpListener::bind(address).await.unwrap();
        let kv = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (http_at, kv_at) = (http.local_addr().unwrap(), kv.local_addr().unwrap());
        let mut config = Config::default();
        set(&mut config);
        let (shutdown, told) = oneshot::channel::<()>();
        let listeners = Listeners { http, kv: Some(kv) };
        let ready = Arc::new(AtomicBool::new(false));
        let is_ready = ready.clone();
        let running = tokio::spawn(async move {
            let told = async {
                let _ = told.await;
            };
            run(listeners, config, told, || is_ready.store(true, Ordering::Relaxed)).await.unwrap()
        });
        Server { http: http_at, kv: kv_at, shutdown: Some(shutdown), ready, running }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        // One that listens everywhere is reached on loopback.
        format!("http://127.0.0.1:{}{path}", self.http.port())
    }

    /// Whether it has said that it serves.
    pub(crate) fn was_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Tells it to drain; it goes on in the background.
    pub(crate) fn begin_drain(&mut self) {
        drop(self.shutdown.take());
    }

    /// It is no more, without a word.
    pub(crate) fn dies(self) {
        self.running.abort();
    }

    /// Waits for the end of the drain.
    pub(crate) async fn drained(mut self) -> Drained {
        self.begin_drain();
        self.running.await.unwrap()
    }
}

pub(crate) const SOON: Duration = Duration::from_secs(20);
