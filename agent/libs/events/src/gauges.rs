//! Names of the metrics of a spool; they are a contract.

use metrics::{counter, gauge};

use crate::spool::DropReason;

/// Makes the series exist before the first event.
pub(crate) fn announce() {
    for reason in DropReason::ALL {
        counter!("eventlog_spool_dropped_total", "reason" => reason.label()).increment(0);
    }
    for result in ["ok", "retry", "split"] {
        counter!("eventlog_drain_batches_total", "result" => result).increment(0);
    }
    counter!("eventlog_spool_corrupt_total").increment(0);
    depth(0);
    bytes(0);
    oldest_age(0.0);
    blocked(false);
    backoff(0.0);
}

pub(crate) fn depth(rows: u64) {
    gauge!("eventlog_spool_depth").set(rows as f64);
}

pub(crate) fn bytes(bytes: u64) {
    gauge!("eventlog_spool_bytes").set(bytes as f64);
}

pub(crate) fn oldest_age(seconds: f64) {
    gauge!("eventlog_spool_oldest_age_seconds").set(seconds);
}

pub(crate) fn blocked(blocked: bool) {
    gauge!("eventlog_spool_blocked").set(f64::from(u8::from(blocked)));
}

pub(crate) fn backoff(seconds: f64) {
    gauge!("eventlog_drain_backoff_seconds").set(seconds);
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
