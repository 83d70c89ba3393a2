//! The claim of the one writer.

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::StoreError;
use crate::layout::Store;

/// While it lives no other program can claim the store. The kernel releases it when the program ends in any way.
#[derive(Debug)]
pub struct StoreLock(#[expect(dead_code, reason = "held for its effect")] Flock<File>);

impl Store {
    /// Claims the store.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another program has it.
    pub fn lock(&self) -> Result<StoreLock, StoreError> {
        let path = self.root().join("layout");
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(StoreLock(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Err(StoreError::InUse { root: self.root().to_owned() }),
            Err((_, errno)) => Err(StoreError::errno("lock", &path)(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_writer_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let lock = store.lock().unwrap();
        assert!(matches!(store.lock(), Err(StoreError::InUse { .. })));
        drop(lock);
        store.lock().unwrap();
    }
}
