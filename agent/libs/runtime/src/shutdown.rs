//! Orderly end of a process: the first signal asks, the second hurries.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Tells every part of a process that it should end, and how long it may take. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    requested: CancellationToken,
    hurried: CancellationToken,
    requested_at: Arc<OnceLock<Instant>>,
    drain: Duration,
}

impl Shutdown {
    /// A shutdown that nobody asked for yet; work in flight may take `drain` once somebody does.
    pub fn new(drain: Duration) -> Self {
        Self {
            requested: CancellationToken::new(),
            hurried: CancellationToken::new(),
            requested_at: Arc::default(),
            drain,
        }
    }

    /// Starts a task that turns SIGTERM and SIGINT into a request and a second one into hurry. `on_reload` runs at each
    /// SIGHUP.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub fn listen(&self, on_reload: impl Fn() + Send + 'static) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => shutdown.request(),
                    _ = interrupt.recv() => shutdown.request(),
                    _ = hangup.recv() => on_reload(),
                }
            }
        });
        Ok(())
    }

    /// Asks for the end; asked again, hurries.
    pub fn request(&self) {
        if self.requested_at.set(Instant::now()).is_err() {
            self.hurried.cancel();
        }
        self.requested.cancel();
    }

    /// Whether the end was asked for.
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Resolves when the end is asked for.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Resolves when waiting for clients should be cut short.
    pub async fn hurried(&self) {
        self.hurried.cancelled().await;
    }

    /// What remains of the time for work in flight; the whole of it before the end is asked for.
    pub fn drain_left(&self) -> Duration {
        self.requested_at.get().map_or(self.drain, |at| self.drain.saturating_sub(at.elapsed()))
    }

    /// A token that is cancelled with the request, for libraries that want one.
    pub fn token(&self) -> CancellationToken {
        self.requested.clone()
    }

    /// Runs `work` unless the end is asked for first; `None` then.
    pub async fn unless<F: Future>(&self, work: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.requested() => None,
            output = work => Some(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_request_hurries() {
        let shutdown = Shutdown::new(Duration::from_secs(5));
        assert_eq!(shutdown.unless(async { 1 }).await, Some(1));
        assert_eq!(shutdown.drain_left(), Duration::from_secs(5));
        shutdown.request();
        assert!(shutdown.is_requested() && !shutdown.hurried.is_cancelled());
        assert_eq!(shutdown.unless(std::future::pending::<()>()).await, None);
        shutdown.request();
        shutdown.hurried().await;
        assert!(shutdown.drain_left() <= Duration::from_secs(5));
    }
}
