//! What fits, and the count of what did not.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::SpoolOptions;
use crate::gauges::{self, Gauges};

/// Why an event was dropped before it was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The spool is full.
    HighWater,
    /// The spool is nearly full and this type of event does not use the reserve.
    Reserve,
    /// Too many records wait for the writer.
    QueueFull,
    /// The writer did not answer in time; the event may still be stored.
    Stalled,
    /// The disk refuses.
    Io,
}

impl DropReason {
    pub(crate) const ALL: [Self; 5] =
        [Self::HighWater, Self::Reserve, Self::QueueFull, Self::Stalled, Self::Io];

    /// The label of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::HighWater => "high_water",
            Self::Reserve => "reserve",
            Self::QueueFull => "queue_full",
            Self::Stalled => "stalled",
            Self::Io => "io",
        }
    }
}

/// Rows and payload bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Depth {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes as u64;
    }

    pub(crate) fn remove(&mut self, other: Depth) {
        self.rows = self.rows.saturating_sub(other.rows);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// The high-water marks and the present depth, kept in memory.
pub(crate) struct Limits {
    max: Depth,
    depth: Mutex<Depth>,
    dropped: AtomicU64,
    gauges: Gauges,
}

impl Limits {
    pub(crate) fn new(options: &SpoolOptions, depth: Depth, gauges: Gauges) -> Self {
        let max = Depth { rows: options.max_rows, bytes: options.max_bytes };
        let limits = Self { max, depth: Mutex::new(Depth::default()), dropped: AtomicU64::new(0), gauges };
        limits.set(depth);
        limits
    }

    pub(crate) fn depth(&self) -> Depth {
        *self.depth.lock()
    }

    pub(crate) fn set(&self, depth: Depth) {
        *self.depth.lock() = depth;
        self.gauges.depth(depth.rows);
    }

    /// Whether a record may join `depth`. The newest is refused, never the oldest: what was acknowledged stays.
    pub(crate) fn admit(&self, depth: Depth, bytes: usize, keeps_reserve: bool) -> Result<(), DropReason> {
        let after = Depth { rows: depth.rows + 1, bytes: depth.bytes + bytes as u64 };
        let exceeds = |max: Depth| after.rows > max.rows || after.bytes > max.bytes;
        let nearly = Depth { rows: self.max.rows / 10 * 9, bytes: self.max.bytes / 10 * 9 };
        if exceeds(self.max) {
            Err(DropReason::HighWater)
        } else if !keeps_reserve && exceeds(nearly) {
            Err(DropReason::Reserve)
        } else {
            Ok(())
        }
    }

    pub(crate) fn count_drop(&self, reason: DropReason) {
        gauges::dropped(reason);
        let total = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if total == 1 || total.is_multiple_of(100) {
            tracing::warn!(reason = reason.label(), total, "events are being dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tenth_is_kept_for_what_matters() {
        let options = SpoolOptions {
            directory: "/nowhere".into(),
            max_rows: 100,
            max_bytes: 1000,
            sync_interval: std::time::Duration::ZERO,
        };
        let limits = Limits::new(&options, Depth::default(), Gauges::hidden());
        let at = |rows, bytes| Depth { rows, bytes };
        assert_eq!(limits.admit(at(89, 0), 1, false), Ok(()));
        assert_eq!(limits.admit(at(90, 0), 1, false), Err(DropReason::Reserve));
        assert_eq!(limits.admit(at(90, 0), 1, true), Ok(()));
        assert_eq!(limits.admit(at(100, 0), 1, true), Err(DropReason::HighWater));
        assert_eq!(limits.admit(at(1, 950), 51, true), Err(DropReason::HighWater));
        assert_eq!(limits.admit(at(1, 880), 30, false), Err(DropReason::Reserve));
    }
}
