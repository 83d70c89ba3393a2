//! Limits on how often somebody may try: failed log-ins per source and namespace, and requests per key.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failed log-ins of one source for one namespace that are let pass in [`WINDOW`].
const MOST_FAILURES: u32 = 30;
const WINDOW: Duration = Duration::from_secs(60);
/// Sources and keys remembered at a time.
const MOST_ENTRIES: usize = 65_536;

/// Failed log-ins seen by this process, raised to what the cluster counted.
#[derive(Debug, Default)]
pub struct FailedLogins {
    entries: Mutex<HashMap<(IpAddr, String), Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    failures: u32,
}

impl FailedLogins {
    /// Seconds after which the source may try again, when it has failed too often.
    pub fn blocked(&self, source: IpAddr, namespace: &str, now: Instant) -> Option<u64> {
        let entries = self.entries.lock();
        let window = entries.get(&(source, namespace.to_owned()))?;
        let left = WINDOW.checked_sub(now.saturating_duration_since(window.since))?;
        (window.failures > MOST_FAILURES).then(|| left.as_secs().max(1))
    }

    /// Notes a failure. `counted` is what the cluster counted in the last minute, when it could be asked.
    pub fn failed(&self, source: IpAddr, namespace: &str, counted: Option<u32>, now: Instant) {
        let mut entries = self.entries.lock();
        make_room(&mut entries, |window| now.saturating_duration_since(window.since) < WINDOW);
        let window =
            entries.entry((source, namespace.to_owned())).or_insert(Window { since: now, failures: 0 });
        if now.saturating_duration_since(window.since) >= WINDOW {
            *window = Window { since: now, failures: 0 };
        }
        window.failures = window.failures.saturating_add(1).max(counted.unwrap_or(0));
    }
}

/// One token bucket per subject.
#[derive(Debug)]
pub struct Buckets<K> {
    entries: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Eq + Hash> Buckets<K> {
    /// No subjects yet.
    pub fn new() -> Self {
        Self { entries: Mutex::new(HashMap::new()) }
    }

    /// Whether the subject may go on: `rate` per second with bursts of `burst`. A rate of 0 is no limit.
    pub fn allows(&self, subject: K, rate: f64, burst: f64, now: Instant) -> bool {
        if rate <= 0.0 {
            return true;
        }
        let mut entries = self.entries.lock();
        // A bucket that had time to fill is as good as none.
        let full = Duration::from_secs_f64(burst / rate);
        make_room(&mut entries, |bucket| now.saturating_duration_since(bucket.at) < full);
        let bucket = entries.entry(subject).or_insert(Bucket { tokens: burst, at: now });
        let earned = now.saturating_duration_since(bucket.at).as_secs_f64() * rate;
        bucket.tokens = (bucket.tokens + earned).min(burst);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

impl<K: Eq + Hash> Default for Buckets<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// Forgets what does not matter any more, and everything when that is not enough: a flood of sources must not take memory.
fn make_room<K, V>(entries: &mut HashMap<K, V>, keep: impl Fn(&V) -> bool) {
    if entries.len() >= MOST_ENTRIES {
        entries.retain(|_, value| keep(value));
        if entries.len() >= MOST_ENTRIES {
            entries.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn too_many_failures_block_one_source_and_namespace_for_a_while() {
        let failures = FailedLogins::default();
        let now = Instant::now();
        for _ in 0..MOST_FAILURES {
            failures.failed(HERE, "t1", None, now);
        }
        assert_eq!(failures.blocked(HERE, "t1", now), None);
        failures.failed(HERE, "t1", None, now);
        assert_eq!(failures.blocked(HERE, "t1", now), Some(60));
        assert_eq!(failures.blocked(HERE, "t2", now), None);
        assert_eq!(failures.blocked([10, 0, 0, 1].into(), "t1", now), None);
        assert_eq!(failures.blocked(HERE, "t1", now + WINDOW + Duration::from_secs(1)), None);
    }

    #[test]
    fn what_others_counted_counts() {
        let failures = FailedLogins::default();
        let now = Instant::now();
        failures.failed(HERE, "t1", Some(31), now);
        assert!(failures.blocked(HERE, "t1", now).is_some());
    }

    #[test]
    fn buckets_empty_and_refill() {
        let buckets = Buckets::new();
        let now = Instant::now();
        assert!((0..5).all(|_| buckets.allows("k", 1.0, 5.0, now)));
        assert!(!buckets.allows("k", 1.0, 5.0, now));
        assert!(buckets.allows("other", 1.0, 5.0, now));
        assert!(buckets.allows("k", 1.0, 5.0, now + Duration::from_secs(1)));
        assert!((0..100).all(|_| buckets.allows("free", 0.0, 1.0, now)));
    }
}
