//! Rooms over WebSocket: Phoenix Channels, protocol V2.

pub mod frame;
pub(crate) mod outbox;
pub(crate) mod presence;
pub(crate) mod seat;
pub(crate) mod session;
pub(crate) mod socket;
pub(crate) mod wire;
