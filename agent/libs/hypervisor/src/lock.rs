//! One file lock per instance, shared by the worker and the cleaner. The kernel releases it with the process, so a
//! successor never waits for a dead one.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use sf_model::InstanceId;

/// Pause between attempts. A lock is rarely contended, and waiting in the kernel could not be cancelled.
const PAUSE: Duration = Duration::from_millis(50);

/// The lock files of this node.
#[derive(Debug, Clone)]
pub struct Locks(PathBuf);

/// A held lock.
#[derive(Debug)]
pub struct InstanceLock {
    path: PathBuf,
    _held: Flock<File>,
}

impl Locks {
    /// Locks below `run_path`.
    pub fn new(run_path: &Path) -> Self {
        Self(run_path.join("instances"))
    }

    /// Takes the lock if it is free. `None`: somebody holds it.
    ///
    /// # Errors
    /// The directory or the file cannot be used.
    pub fn try_take(&self, instance: InstanceId) -> io::Result<Option<InstanceLock>> {
        std::fs::create_dir_all(&self.0)?;
        let path = self.0.join(format!("{instance}.lock"));
        loop {
            let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
            let opened = file.metadata()?.ino();
            let held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => held,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, error)) => return Err(error.into()),
            };
            // A holder that removed the file between our open and our lock left us with a name nobody else sees.
            match std::fs::metadata(&path) {
                Ok(metadata) if metadata.ino() == opened => {
                    return Ok(Some(InstanceLock { path, _held: held }));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }

    /// Waits for the lock. `None`: not free within `limit`.
    ///
    /// # Errors
    /// As [`Locks::try_take`].
    pub async fn take(&self, instance: InstanceId, limit: Duration) -> io::Result<Option<InstanceLock>> {
        let wait = async {
            loop {
                if let Some(lock) = self.try_take(instance)? {
                    return Ok(lock);
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(limit, wait).await.ok().transpose()
    }
}

impl InstanceLock {
    /// Removes the lock file of an instance that is gone, then releases the lock.
    pub fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holder_at_a_time_even_across_removal() {
        let dir = tempfile::tempdir().unwrap();
        let (locks, instance) = (Locks::new(dir.path()), InstanceId::random());
        let first = locks.try_take(instance).unwrap().unwrap();
        assert!(locks.try_take(instance).unwrap().is_none());
        assert!(locks.try_take(InstanceId::random()).unwrap().is_some());
        assert!(locks.take(instance, Duration::from_millis(60)).await.unwrap().is_none());
        first.discard();
        let second = locks.take(instance, Duration::from_secs(20)).await.unwrap().unwrap();
        assert!(locks.try_take(instance).unwrap().is_none());
        drop(second);
        assert!(locks.try_take(instance).unwrap().is_some());
    }
}
