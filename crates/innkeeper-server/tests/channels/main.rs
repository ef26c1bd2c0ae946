//! Black-box tests of rooms over WebSocket, by bytes over real sockets: Phoenix Channels V2 as
//! clients meet it, refusals, hostile frames, slow readers and drains.

// Clippy knows tests by their attribute, and what they share has none.
#![allow(clippy::unwrap_used)]

mod support;

mod doors;
mod draining;
mod ending;
mod frames;
mod joining;
mod slow;
mod talking;
