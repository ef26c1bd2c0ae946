//! The key-value protocol of Elixir's Mix & OTP guide, over TCP.

pub mod command;
mod connection;
pub mod line;

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::accept;
use crate::app::App;

/// Serves connections until the server closes; returns when the last one has ended.
pub(crate) async fn serve(listener: Arc<TcpListener>, app: Arc<App>) {
    accept::each(listener, &app, |stream, peer| connection::run(stream, peer, app.clone())).await;
}
