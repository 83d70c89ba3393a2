//! Room on the disk for a download: asked for ahead of its bytes.

use sf_blobs::error::StoreError;
use sf_blobs::layout::Store;
use sf_blobs::space::{Ledger, Promise};

/// Bytes asked for at a time while the end of the file is not known.
const STEP: u64 = 64 << 20;

/// The books of the node's storage.
#[derive(Debug, Clone, Default)]
pub struct Room {
    /// Bytes promised to all writers.
    pub ledger: Ledger,
    /// Bytes that are not for the store (`NODE_DISK_RESERVATION_GB`).
    pub reservation: u64,
}

/// Room held for one download.
#[derive(Debug, Default)]
pub(super) struct Held {
    promise: Option<Promise>,
    /// Where in the file the room ends.
    until: u64,
}

impl Held {
    /// Asks for the rest of a file from `offset`, or for the first step of one whose size is not known.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`].
    pub(super) fn begin(
        &mut self,
        room: &Room,
        store: &Store,
        offset: u64,
        size: Option<u64>,
    ) -> Result<(), StoreError> {
        let needed = size.map_or(STEP, |size| size.saturating_sub(offset));
        self.renew(room, store, offset, needed)
    }

    /// Before bytes are written up to `end`: asks for another step if the room ends before that.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`].
    pub(super) fn reach(&mut self, room: &Room, store: &Store, end: u64) -> Result<(), StoreError> {
        if end <= self.until {
            return Ok(());
        }
        let from = self.until;
        self.renew(room, store, from, (end - from).max(STEP))
    }

    /// What was held before has been written: the file system counts it from here on, so the promise must not.
    fn renew(&mut self, room: &Room, store: &Store, from: u64, needed: u64) -> Result<(), StoreError> {
        self.promise = None;
        self.promise = Some(room.ledger.promise(store.root(), room.reservation, needed)?);
        self.until = from.saturating_add(needed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_given_room_step_by_step_and_refused_when_there_is_none() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let (mut room, mut held) = (Room::default(), Held::default());
        held.begin(&room, &store, 0, None).unwrap();
        assert_eq!(room.ledger.reserved(), STEP);
        held.reach(&room, &store, STEP).unwrap();
        held.reach(&room, &store, STEP + 1).unwrap();
        assert_eq!((room.ledger.reserved(), held.until), (STEP, 2 * STEP), "what is written is not held");
        room.reservation = u64::MAX;
        held.reach(&room, &store, 2 * STEP).unwrap();
        assert!(held.reach(&room, &store, 2 * STEP + 1).unwrap_err().is_disk_full());
        assert_eq!(room.ledger.reserved(), 0);
    }

    #[test]
    fn a_file_of_known_size_is_given_what_it_still_needs() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let (room, mut held) = (Room::default(), Held::default());
        held.begin(&room, &store, 300, Some(1000)).unwrap();
        assert_eq!((room.ledger.reserved(), held.until), (700, 1000));
    }
}
