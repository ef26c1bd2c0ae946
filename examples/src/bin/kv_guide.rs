//! The key-value server of the Mix & OTP guide.
//!
//! Run it: `cargo run -p innkeeper-examples --bin kv_guide`, then `nc 127.0.0.1 4040` in two
//! windows: `CREATE shopping`, `SUBSCRIBE shopping` in the one, `PUT shopping milk 3` in the other.
//! Look at `src/kv_guide.rs` first: it is the supervision tree.

#![allow(clippy::print_stdout)]

use std::error::Error;

use innkeeper_examples::kv_guide::Kv;
use innkeeper_examples::told_to_end;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // As in the guide: the port is configuration.
    let port = std::env::var("PORT").unwrap_or_else(|_| "4040".to_owned());
    let port = port.parse().map_err(|_| format!("PORT: expected a port number, got {port:?}"))?;
    let kv = Kv::start(([127, 0, 0, 1], port).into()).await?;
    let end = told_to_end()?;
    println!("listening at {}", kv.address);
    end.await;
    println!("shut down in order: {}", kv.stop().await.is_clean());
    Ok(())
}
