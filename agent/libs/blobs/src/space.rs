//! Room on the file system of the store, and what may still be written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::statvfs::statvfs;

use crate::error::StoreError;

/// Below this much free space the node stops being healthy, in bytes.
pub const CRITICAL_BYTES: u64 = 2 << 30;

/// Free space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes an unprivileged program may still write.
    pub free_bytes: u64,
    /// Free file records.
    pub free_inodes: u64,
    /// All file records; 0 on file systems that do not count them.
    pub inodes: u64,
}

/// How full a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing to do.
    Normal,
    /// No surplus copies arrive; caches are trimmed.
    Low,
    /// New uploads, fetches, snapshots and pulls are refused.
    Full,
    /// The node is not healthy.
    Critical,
}

impl Level {
    /// The name used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Low => "low",
            Self::Full => "full",
            Self::Critical => "critical",
        }
    }

    /// Every level.
    pub const ALL: [Level; 4] = [Self::Normal, Self::Low, Self::Full, Self::Critical];
}

impl Space {
    /// Asks the file system that `path` is on.
    ///
    /// # Errors
    /// The path is not there.
    pub fn measure(path: &Path) -> Result<Self, StoreError> {
        let answer = statvfs(path).map_err(StoreError::errno("measure the space of", path))?;
        Ok(Self {
            free_bytes: answer.blocks_available().saturating_mul(answer.fragment_size()),
            free_inodes: answer.files_available(),
            inodes: answer.files(),
        })
    }

    /// The level, with `reserved` bytes promised to writers and `reservation` bytes (`NODE_DISK_RESERVATION_GB`) that
    /// are not for the store.
    pub fn level(&self, reserved: u64, reservation: u64) -> Level {
        let few_inodes = self.inodes > 0 && self.free_inodes.saturating_mul(100) < self.inodes;
        if self.free_bytes < CRITICAL_BYTES || few_inodes {
            Level::Critical
        } else if self.free_bytes.saturating_sub(reserved) < reservation {
            Level::Full
        } else if self.free_bytes < reservation.saturating_mul(3) {
            Level::Low
        } else {
            Level::Normal
        }
    }

    /// Whether `needed` more bytes may be written.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`].
    pub fn admit(&self, reserved: u64, reservation: u64, needed: u64) -> Result<(), StoreError> {
        let available = self.free_bytes.saturating_sub(reserved).saturating_sub(reservation);
        let critical = self.level(reserved, reservation) >= Level::Full;
        if critical || needed > available { Err(StoreError::NoSpace { needed, available }) } else { Ok(()) }
    }
}

/// Bytes promised to writers that have not written them yet. Cheap to clone; clones share the sum.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<AtomicU64>);

/// One promise; dropping it takes the bytes off the sum.
#[derive(Debug)]
pub struct Promise {
    ledger: Ledger,
    bytes: u64,
}

impl Ledger {
    /// The sum of all promises in bytes.
    pub fn reserved(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Measures the file system of `path` and promises `needed` bytes of it when they are there.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`], or the file system cannot be asked.
    pub fn promise(&self, path: &Path, reservation: u64, needed: u64) -> Result<Promise, StoreError> {
        // Promise first, so that two callers at once cannot both see the same room.
        let before = self.0.fetch_add(needed, Ordering::AcqRel);
        let promise = Promise { ledger: self.clone(), bytes: needed };
        Space::measure(path)?.admit(before, reservation, needed)?;
        Ok(promise)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.ledger.0.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn space(free_gib: u64) -> Space {
        Space { free_bytes: free_gib * GIB, free_inodes: 50, inodes: 100 }
    }

    #[rstest::rstest]
    #[case(100, 0, Level::Normal)]
    #[case(60, 0, Level::Normal)]
    #[case(59, 0, Level::Low)]
    #[case(59, 40, Level::Full)]
    #[case(19, 0, Level::Full)]
    #[case(1, 0, Level::Critical)]
    fn levels(#[case] free: u64, #[case] reserved: u64, #[case] expected: Level) {
        assert_eq!(space(free).level(reserved * GIB, 20 * GIB), expected);
    }

    #[test]
    fn few_inodes_are_critical_unless_nobody_counts_them() {
        let mut space = space(100);
        space.free_inodes = 0;
        assert_eq!(space.level(0, 20 * GIB), Level::Critical);
        space.inodes = 0;
        assert_eq!(space.level(0, 20 * GIB), Level::Normal);
    }

    #[test]
    fn admission_leaves_the_reservation_alone() {
        assert!(space(30).admit(0, 20 * GIB, 10 * GIB).is_ok());
        assert!(space(30).admit(1, 20 * GIB, 10 * GIB).is_err());
        assert!(space(30).admit(0, 20 * GIB, 10 * GIB + 1).is_err());
    }

    #[test]
    fn a_promise_is_given_back() {
        let ledger = Ledger::default();
        let here = Path::new("/");
        let promise = ledger.promise(here, 0, 1).unwrap();
        assert_eq!(ledger.reserved(), 1);
        assert!(ledger.promise(here, u64::MAX, 1).unwrap_err().is_disk_full());
        drop(promise);
        assert_eq!(ledger.reserved(), 0);
    }
}
