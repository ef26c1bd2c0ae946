//! Rooms in an axum application of one's own.
//!
//! Run it: `cargo run -p innkeeper-examples --bin embed_in_axum`, then open two WebSockets at
//! `ws://127.0.0.1:4200/rooms/lobby`, with `websocat` or from a browser's console, and talk. Look
//! at `src/rooms_in_axum.rs`: the rooms are one value in the state of the application.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use innkeeper::Supervisor;
use innkeeper_examples::{rooms_in_axum, told_to_end};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let supervisor = Supervisor::new().start().await?;
    let rooms = rooms_in_axum::rooms(&supervisor).await?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "4200".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let end = told_to_end()?;
    println!("listening at {}", listener.local_addr()?);
    tokio::select! {
        served = async { axum::serve(listener, rooms_in_axum::app(rooms)).await } => served?,
        () = end => {}
    }
    println!(
        "shut down in order: {}",
        supervisor.shutdown(Duration::from_secs(5)).await.is_clean()
    );
    Ok(())
}
