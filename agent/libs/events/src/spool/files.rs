//! The directory of a spool: its lock, and files that were set aside.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{self, statfs};

use super::SpoolError;

pub(crate) const FILE: &str = "eventlog.sqlite";
const LOCK: &str = "lock";
/// Damaged files kept for salvage.
const DAMAGED_KEPT: usize = 3;

/// Makes the directory and takes its lock.
pub(crate) fn prepare(directory: &Path) -> Result<Flock<File>, SpoolError> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(SpoolError::io(directory))?;
    warn_if_remote(directory);
    let lock = lock(directory)?;
    // The mode of the main file is inherited by its companions.
    let file = directory.join(FILE);
    OpenOptions::new().create(true).append(true).mode(0o600).open(&file).map_err(SpoolError::io(&file))?;
    Ok(lock)
}

/// Takes the lock, or says who has it.
pub(crate) fn lock(directory: &Path) -> Result<Flock<File>, SpoolError> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(SpoolError::io(&path))?;
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, _)| SpoolError::Busy {
        directory: directory.to_owned(),
        holder: holder(directory).unwrap_or_else(|| "unknown".to_owned()),
    })?;
    let written =
        lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| write!(lock, "{}", std::process::id()));
    written.map_err(SpoolError::io(&path))?;
    Ok(lock)
}

/// Pid in the lock file; `None` when it was never taken.
pub(crate) fn holder(directory: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(directory.join(LOCK)).ok()?.read_to_string(&mut text).ok()?;
    (!text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// Renames the spool file and its log to `eventlog.sqlite.<suffix>` and returns the new path.
pub(crate) fn set_aside(directory: &Path, suffix: &str) -> Result<PathBuf, SpoolError> {
    let from = directory.join(FILE);
    let to = directory.join(format!("{FILE}.{suffix}"));
    rename_if_there(&with_suffix(&from, "-wal"), &with_suffix(&to, "-wal"))?;
    rename_if_there(&from, &to)?;
    // The shared memory is rebuilt from the log; a stale one would hide it.
    let _ = fs::remove_file(with_suffix(&from, "-shm"));
    Ok(to)
}

/// Sets a damaged file aside and forgets the oldest beyond three.
pub(crate) fn set_damaged_aside(directory: &Path) -> Result<PathBuf, SpoolError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let path = set_aside(directory, &format!("damaged-{now}"))?;
    let mut damaged = set_aside_files(directory, "damaged-")?;
    damaged.sort();
    let surplus = damaged.len().saturating_sub(DAMAGED_KEPT);
    for old in damaged.into_iter().take(surplus) {
        remove_database(&old);
    }
    Ok(path)
}

/// Files that were set aside under this kind of suffix.
///
/// # Errors
/// The directory cannot be listed.
pub(crate) fn set_aside_files(directory: &Path, kind: &str) -> Result<Vec<PathBuf>, SpoolError> {
    let prefix = format!("{FILE}.{kind}");
    let matches = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm")
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(SpoolError::io(directory))? {
        let path = entry.map_err(SpoolError::io(directory))?.path();
        if matches(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Removes a database file with its companions.
pub(crate) fn remove_database(path: &Path) {
    for file in [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm")] {
        let _ = fs::remove_file(file);
    }
}

/// Bytes on disk.
pub(crate) fn disk_bytes(directory: &Path) -> u64 {
    let file = directory.join(FILE);
    let length = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
    length(&file) + length(&with_suffix(&file, "-wal"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), SpoolError> {
    match fs::rename(from, to) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(SpoolError::io(from)(e)),
        _ => Ok(()),
    }
}

/// The write-ahead log needs shared memory and a disk that does not hang.
fn warn_if_remote(directory: &Path) {
    const FUSE: statfs::FsType = statfs::FsType(0x6573_5546);
    const CIFS: statfs::FsType = statfs::FsType(0xff53_4d42);
    if let Ok(found) = statfs(directory)
        && [statfs::NFS_SUPER_MAGIC, FUSE, CIFS].contains(&found.filesystem_type())
    {
        tracing::warn!(path = %directory.display(), "the event spool is on a remote or user-space file system: move spool_path");
    }
}
