//! Counts page views in memory and keeps them in SQLite; nothing that was counted is lost.
//!
//! Run it: `cargo run -p innkeeper-examples --bin page_view_analytics -- views.sqlite`, then
//! `curl -X POST http://127.0.0.1:4100/view/blog/hello` as often as you like, and `kill -TERM` it.
//! Look at `SELECT * FROM views` before and after: the sum is written every two seconds, and once
//! more at the end. `tests/page_view_analytics.rs` does that under load.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use innkeeper_examples::page_views::{self, PageViews};
use innkeeper_examples::told_to_end;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "views.sqlite".to_owned());
    let port = std::env::var("PORT").unwrap_or_else(|_| "4100".to_owned());
    let views = PageViews::start(&PathBuf::from(path), Duration::from_secs(2)).await?;
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let end = told_to_end()?;
    println!("{}", page_views::greeting(listener.local_addr()?));
    // First those who ask, then the counters, then the store.
    page_views::serve(listener, views.clone(), end).await?;
    println!("shut down in order: {}", views.stop().await.is_clean());
    Ok(())
}
