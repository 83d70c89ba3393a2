//! Messages to the service manager. Without one (no `NOTIFY_SOCKET`) they do nothing.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::liveness::{DEFAULT_SILENCE, Liveness};
use crate::shutdown::Shutdown;

/// Time between messages to the watchdog.
const WATCHDOG_PERIOD: Duration = Duration::from_secs(10);

/// The configuration is valid and the daemon listens.
pub fn ready() {
    send(NotifyState::Ready);
}

/// The daemon ends in an orderly way.
pub fn stopping() {
    send(NotifyState::Stopping);
}

/// One line on what the daemon does.
pub fn status(text: &str) {
    send(NotifyState::Status(text));
}

/// Starts the task that tells the watchdog every ten seconds that all loops make progress. While one is late nothing is
/// sent and the loop is named in the log, so that the service manager ends a wedged process.
pub fn watch(liveness: Liveness, shutdown: Shutdown) {
    tokio::spawn(async move {
        let own = liveness.register("watchdog", DEFAULT_SILENCE);
        while shutdown.unless(tokio::time::sleep(WATCHDOG_PERIOD)).await.is_some() {
            own.tick();
            pet(&liveness);
        }
        // Draining has its own deadline and no loops: it must not be killed for silence.
        loop {
            send(NotifyState::Watchdog);
            tokio::time::sleep(WATCHDOG_PERIOD).await;
        }
    });
}

fn pet(liveness: &Liveness) {
    let late = liveness.late();
    if late.is_empty() {
        return send(NotifyState::Watchdog);
    }
    for loop_ in late {
        tracing::error!(r#loop = %loop_.name, silent_seconds = loop_.silent.as_secs(), "a loop makes no progress");
    }
}

fn send(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
