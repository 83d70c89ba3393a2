//! Keeps one line of code from flooding the log.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;

/// Lines per second of one call site that are written.
const LIMIT: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts lines per call site.
#[derive(Default)]
pub(crate) struct RateLimit {
    sites: HashMap<Identifier, Site>,
}

struct Site {
    since: Instant,
    written: u32,
    suppressed: u64,
}

impl RateLimit {
    /// Whether a line of `site` may be written now; if so, how many were left out since the last one.
    pub(crate) fn admit(&mut self, site: Identifier, now: Instant) -> Option<u64> {
        let site = self.sites.entry(site).or_insert(Site { since: now, written: 0, suppressed: 0 });
        if now.duration_since(site.since) >= WINDOW {
            site.since = now;
            site.written = 0;
        }
        if site.written >= LIMIT {
            site.suppressed += 1;
            return None;
        }
        site.written += 1;
        Some(std::mem::take(&mut site.suppressed))
    }
}
