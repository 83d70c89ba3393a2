//! Names of the metrics of a spool; they are a contract.

use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{counter, gauge};
use parking_lot::Mutex;

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

/// The present figures of the spools of a process, shown together. The series carry no label: rows and bytes are those of
/// all spools, and ages, pauses and obstacles are the worst of them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct SpoolFigures {
    spools: Arc<Mutex<Vec<Figures>>>,
}

/// The figures of one spool.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    depth: f64,
    bytes: f64,
    oldest_age: f64,
    blocked: f64,
    backoff: f64,
}

/// Where one spool shows its figures.
#[derive(Debug, Clone)]
pub(crate) struct Gauges {
    shown: Option<(SpoolFigures, usize)>,
    /// A file of a newer build lies beside the spool, and will as long as this build runs.
    set_aside: Arc<AtomicBool>,
}

impl Gauges {
    /// Beside the figures of other spools of this process.
    pub(crate) fn among(figures: &SpoolFigures) -> Self {
        let mut spools = figures.spools.lock();
        spools.push(Figures::default());
        Self { shown: Some((figures.clone(), spools.len() - 1)), set_aside: Arc::default() }
    }

    /// Nowhere: the spool of a daemon that is gone is not the process's own.
    pub(crate) fn hidden() -> Self {
        Self { shown: None, set_aside: Arc::default() }
    }

    /// Makes the series exist.
    pub(crate) fn announce(&self) {
        announce();
        self.depth(0);
        self.bytes(0);
        self.oldest_age(0.0);
        self.blocked(false);
        self.backoff(0.0);
    }

    pub(crate) fn depth(&self, rows: u64) {
        self.set("eventlog_spool_depth", rows as f64, |own| &mut own.depth, f64::add);
    }

    pub(crate) fn bytes(&self, bytes: u64) {
        self.set("eventlog_spool_bytes", bytes as f64, |own| &mut own.bytes, f64::add);
    }

    pub(crate) fn oldest_age(&self, seconds: f64) {
        self.set("eventlog_spool_oldest_age_seconds", seconds, |own| &mut own.oldest_age, f64::max);
    }

    /// Something stays behind until a newer build runs, however well this one drains.
    pub(crate) fn set_aside(&self) {
        self.set_aside.store(true, Ordering::Relaxed);
        self.blocked(true);
    }

    pub(crate) fn blocked(&self, blocked: bool) {
        let value = f64::from(u8::from(blocked || self.set_aside.load(Ordering::Relaxed)));
        self.set("eventlog_spool_blocked", value, |own| &mut own.blocked, f64::max);
    }

    pub(crate) fn backoff(&self, seconds: f64) {
        self.set("eventlog_drain_backoff_seconds", seconds, |own| &mut own.backoff, f64::max);
    }

    fn set(
        &self,
        name: &'static str,
        value: f64,
        of: fn(&mut Figures) -> &mut f64,
        join: fn(f64, f64) -> f64,
    ) {
        let Some((figures, index)) = &self.shown else { return };
        let mut spools = figures.spools.lock();
        if let Some(own) = spools.get_mut(*index) {
            *of(own) = value;
        }
        gauge!(name).set(spools.iter_mut().map(|spool| *of(spool)).fold(0.0, join));
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
