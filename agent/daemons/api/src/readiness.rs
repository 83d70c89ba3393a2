//! Whether load balancers should send requests here (`database-tier.md` §15.1). A flag in memory: probes do no I/O.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sf_gateway::DbError;
use sf_runtime::{Loop, Pass};

use crate::api::Api;

/// Between two looks at the database tier.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// A look older than this proves nothing.
const STALE: Duration = Duration::from_secs(15);
/// Failed looks in a row until the flag falls.
const PATIENCE: u32 = 3;

/// The flag.
#[derive(Debug, Default)]
pub struct Readiness {
    seen: Mutex<Option<Seen>>,
    draining: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    ready: bool,
    failures: u32,
}

impl Readiness {
    /// Whether requests should come.
    pub fn is_ready(&self, now: Instant) -> bool {
        let fresh = |seen: Seen| seen.ready && now.saturating_duration_since(seen.at) <= STALE;
        !self.is_draining() && self.seen.lock().is_some_and(fresh)
    }

    /// Notes a look at the database tier. One success is enough; failures count only in a row.
    pub fn saw(&self, serving: bool, now: Instant) {
        let mut seen = self.seen.lock();
        let before = seen.unwrap_or(Seen { at: now, ready: false, failures: 0 });
        let failures = if serving { 0 } else { before.failures.saturating_add(1) };
        let ready = serving || (before.ready && failures < PATIENCE);
        *seen = Some(Seen { at: now, ready, failures });
    }

    /// From now on nobody should send requests.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Looks at the database tier until shutdown.
pub async fn watch(api: Api) {
    let (shutdown, liveness) = (api.daemon.shutdown.clone(), api.daemon.liveness.clone());
    let pass = |_| {
        let api = api.clone();
        async move {
            // The client checks every gateway by itself; a verdict not older than two of its rounds counts.
            api.readiness.saw(api.daemon.gateway.is_serving(2 * INTERVAL), Instant::now());
            Ok::<_, DbError>(Pass::Done)
        }
    };
    Loop::every("readiness", INTERVAL).run(shutdown, liveness, pass).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_or_silence_end_readiness() {
        let readiness = Readiness::default();
        let now = Instant::now();
        assert!(!readiness.is_ready(now));
        readiness.saw(true, now);
        assert!(readiness.is_ready(now));
        readiness.saw(false, now);
        readiness.saw(false, now);
        assert!(readiness.is_ready(now));
        readiness.saw(false, now);
        assert!(!readiness.is_ready(now));
        readiness.saw(true, now);
        assert!(readiness.is_ready(now) && !readiness.is_ready(now + Duration::from_secs(16)));
        readiness.drain();
        assert!(!readiness.is_ready(now));
    }
}
