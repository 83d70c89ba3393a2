//! Names of the metrics of a spool; they are a contract.

use metrics::{counter, gauge};

use crate::spool::DropReason;

/// Makes the counters exist before the first event.
fn announce() {
    for reason in DropReason::ALL {
        counter!("eventlog_spool_dropped_total", "reason" => reason.label()).increment(0);
    }
    for result in ["ok", "retry", "split"] {
        counter!("eventlog_drain_batches_total", "result" => result).increment(0);
    }
    counter!("eventlog_spool_corrupt_total").increment(0);
}

/// The present figures of one spool. They carry no label: a process shows those of its own spool, and a spool that it
/// drains for a daemon that is gone shows none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gauges {
    /// Of the process's own spool.
    Shown,
    /// Of an adopted one.
    Hidden,
}

impl Gauges {
    /// Makes the series exist.
    pub(crate) fn announce(self) {
        announce();
        self.depth(0);
        self.bytes(0);
        self.oldest_age(0.0);
        self.blocked(false);
        self.backoff(0.0);
    }

    pub(crate) fn depth(self, rows: u64) {
        self.set("eventlog_spool_depth", rows as f64);
    }

    pub(crate) fn bytes(self, bytes: u64) {
        self.set("eventlog_spool_bytes", bytes as f64);
    }

    pub(crate) fn oldest_age(self, seconds: f64) {
        self.set("eventlog_spool_oldest_age_seconds", seconds);
    }

    pub(crate) fn blocked(self, blocked: bool) {
        self.set("eventlog_spool_blocked", f64::from(u8::from(blocked)));
    }

    pub(crate) fn backoff(self, seconds: f64) {
        self.set("eventlog_drain_backoff_seconds", seconds);
    }

    fn set(self, name: &'static str, value: f64) {
        if self == Self::Shown {
            gauge!(name).set(value);
        }
    }
}

pub(crate) fn batch(result: &'static str) {
    counter!("eventlog_drain_batches_total", "result" => result).increment(1);
}

pub(crate) fn dropped(reason: DropReason) {
    counter!("eventlog_spool_dropped_total", "reason" => reason.label()).increment(1);
}

pub(crate) fn corrupt() {
    counter!("eventlog_spool_corrupt_total").increment(1);
}

pub(crate) fn quarantined(reason: &str) {
    // Reasons of the server are a short list; anything longer is not a label.
    let known = reason.len() <= 32 && reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let label = if known { reason.to_owned() } else { "other".to_owned() };
    counter!("eventlog_spool_quarantined_total", "reason" => label).increment(1);
}
