//! The larger examples, a module each; each has a program in `src/bin` and a test that runs it.

pub mod kv_guide;
pub mod page_views;
pub mod rooms_in_axum;

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ready once the program is interrupted or told to end. It takes note from now on, not only when
/// it is awaited: whoever is told afterwards that the program listens may end it at once.
///
/// # Errors
/// The signals cannot be had.
pub fn told_to_end() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// The programs of the guide, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/GUIDE.md")]
struct Guide;
