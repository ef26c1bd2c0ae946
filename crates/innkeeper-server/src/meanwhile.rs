//! The ports of a node while it has no session: whoever asks is answered, if only that it is too
//! early, and does not wait in a queue that nobody takes from.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::{accept, http, kv, limits};

/// The ports of a server, for as long as it runs.
pub(crate) struct Ports {
    pub(crate) http: Arc<TcpListener>,
    pub(crate) kv: Option<Arc<TcpListener>>,
}

impl Ports {
    /// Does this, and answers meanwhile.
    ///
    /// # Cancel safety
    /// As the work; who is just being answered is cut off.
    pub(crate) async fn meanwhile<T>(&self, config: &Config, work: impl Future<Output = T>) -> T {
        let over = CancellationToken::new();
        let refusing = self.refuse(config, &over);
        tokio::pin!(work, refusing);
        let done = tokio::select! {
            done = &mut work => done,
            () = &mut refusing => unreachable!("it ends only once it is told to"),
        };
        over.cancel();
        // What was asked by now is answered; who has asked nothing comes again.
        let _ = timeout(limits::QUIET, refusing).await;
        done
    }

    /// Answers everybody that this node takes no work, until it is over.
    async fn refuse(&self, config: &Config, over: &CancellationToken) {
        let per_address = config.connections_per_client;
        let requests = accept::each(self.http.clone(), over, per_address, |stream, peer| {
            let (node, tls) = (config.node.clone(), config.tls.clone());
            http::refuse(stream, peer, node, tls, over.clone())
        });
        let lines = async {
            if let Some(kv) = self.kv.clone() {
                let refuse = |stream, _| kv::refuse(stream, over.clone());
                accept::each(kv, over, per_address, refuse).await;
            }
        };
        tokio::join!(requests, lines);
    }
}
