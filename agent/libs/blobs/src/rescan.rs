//! Computes hashes of a file that is already on disk with one sequential read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::StoreError;
use crate::hashing::HasherSet;
use crate::pipeline::drop_behind;
use crate::pool::BUFFER_BYTES;

/// Why a read ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum RescanError {
    /// The daemon is stopping or the result is no longer wanted.
    #[error("stopped before the end of the file")]
    Cancelled,
    /// The file could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Feeds the first `limit` bytes of a file (all of it when `None`) to `hashers` and returns how many there were. Looks
/// at `cancelled` before every buffer, and drops what it read from the page cache when `drop_cache` says so. Blocks.
///
/// # Errors
/// [`RescanError::Cancelled`], or the file cannot be read.
pub fn feed(
    path: &Path,
    limit: Option<u64>,
    hashers: &mut HasherSet,
    drop_cache: bool,
    cancelled: &AtomicBool,
) -> Result<u64, RescanError> {
    let file = File::open(path).map_err(StoreError::io("open", path))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let limit = limit.unwrap_or(u64::MAX);
    let mut at = 0;
    while at < limit {
        if cancelled.load(Ordering::Relaxed) {
            return Err(RescanError::Cancelled);
        }
        let read = match file.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(read) => (read as u64).min(limit - at),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(StoreError::io("read", path)(error).into()),
        };
        hashers.update(buffer.get(..usize::try_from(read).unwrap_or(0)).unwrap_or_default());
        if drop_cache {
            drop_behind(&file, at, read);
        }
        at += read;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::Algorithm;

    #[test]
    fn a_prefix_is_a_prefix() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let bytes: Vec<u8> = (0..BUFFER_BYTES + 5).map(|at| (at % 7) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        for limit in [0, 1, BUFFER_BYTES, BUFFER_BYTES + 5, BUFFER_BYTES + 6] {
            let mut set = HasherSet::new(&[Algorithm::Blake3]);
            let expected = limit.min(bytes.len());
            let fed = feed(&path, Some(limit as u64), &mut set, true, &AtomicBool::new(false)).unwrap();
            assert_eq!(fed, expected as u64);
            assert_eq!(
                set.finish().get(&Algorithm::Blake3).unwrap(),
                &blake3::hash(&bytes[..expected]).to_hex().to_string()
            );
        }
    }

    #[test]
    fn a_stop_is_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x").unwrap();
        let mut set = HasherSet::new(&[Algorithm::Blake3]);
        assert!(matches!(
            feed(file.path(), None, &mut set, false, &AtomicBool::new(true)),
            Err(RescanError::Cancelled)
        ));
    }
}
