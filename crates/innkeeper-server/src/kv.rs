//! The key-value protocol of Elixir's Mix & OTP guide, over TCP.

pub mod command;
mod connection;
pub mod line;
mod refusing;

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::accept;
use crate::app::App;

pub(crate) use refusing::refuse;

/// Serves connections until the server closes; returns when the last one has ended.
pub(crate) async fn serve(listener: Arc<TcpListener>, app: Arc<App>) {
    let per_address = app.config.connections_per_client;
    let connection = |stream, peer| connection::run(stream, peer, app.clone());
    accept::each(listener, &app.closing, per_address, connection).await;
}
