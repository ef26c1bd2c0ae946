//! What a service manager is told: that it is ready, that it ends, and that it is alive.

use std::future::pending;

use sd_notify::NotifyState;

/// Tells what it is up to. Nobody listens where it was not started by systemd.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// It listens.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It drains.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// It is alive.
#[cfg(feature = "cluster")]
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Says that it is alive, twice in each time that the manager waits for it; never ends.
pub(crate) async fn watchdog() {
    let Some(within) = sd_notify::watchdog_enabled() else { return pending().await };
    loop {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(within / 2).await;
    }
}
