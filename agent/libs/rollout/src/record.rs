//! What a process was started with, kept by the process itself.
//!
//! The record is a sealed memory file that stays open for as long as the process lives. The super-user reads it through
//! `/proc/<pid>/fd`. Nothing has to be created, owned or cleaned up for it, it works in every sandbox, and it cannot
//! outlive what it describes.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

/// Name of the memory file, as `/proc/<pid>/fd` shows it.
const NAME: &CStr = c"sf-record";
const LINK: &str = "/memfd:sf-record";
/// Bytes that a record may have.
const MOST: u64 = 64 * 1024;

/// What a process was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which daemon.
    pub daemon: String,
    /// Version of its executable.
    pub version: String,
    /// Digest of the keys that take effect with a restart.
    pub fixed: String,
    /// Digest of the keys that take effect when they are read again.
    pub live: String,
    /// Digest of its unit files.
    pub unit: String,
    /// Salted digest of its credentials; absent when it was given none.
    pub credentials: Option<String>,
}

/// Keeps a record for as long as it lives.
#[derive(Debug)]
pub struct Kept {
    _file: OwnedFd,
}

/// Publishes a record.
///
/// # Errors
/// The kernel gives no memory file.
pub fn keep(record: &Record) -> io::Result<Kept> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = memfd_create(NAME, flags).map_err(io::Error::from)?;
    let mut file = File::from(file);
    file.write_all(serde_json::to_string(record)?.as_bytes())?;
    let seals =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(io::Error::from)?;
    Ok(Kept { _file: file.into() })
}

/// Reads the record of a process; `None` when it has none, or has ended.
///
/// # Errors
/// The process may not be looked into.
pub fn read(pid: u32) -> io::Result<Option<Record>> {
    let Some(path) = find(pid)? else { return Ok(None) };
    let mut text = String::new();
    match File::open(&path).and_then(|file| file.take(MOST).read_to_string(&mut text)) {
        Ok(_) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the record is. There are two for a moment while a daemon reads its files again, and either was true then.
fn find(pid: u32) -> io::Result<Option<PathBuf>> {
    let directory = Path::new("/proc").join(pid.to_string()).join("fd");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut found = None;
    for entry in entries {
        let path = entry?.path();
        // A descriptor may be closed while the directory is read.
        if fs::read_link(&path).is_ok_and(|target| target.to_string_lossy().starts_with(LINK)) {
            found = Some(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record whose parts are told apart.
    pub(crate) fn record() -> Record {
        Record {
            daemon: "api".into(),
            version: "1".into(),
            fixed: "f".into(),
            live: "l".into(),
            unit: "u".into(),
            credentials: None,
        }
    }

    #[test]
    fn a_record_lives_as_long_as_it_is_kept() {
        let record = record();
        let own = std::process::id();
        let kept = keep(&record).unwrap();
        assert_eq!(read(own).unwrap(), Some(record.clone()));
        let path = find(own).unwrap().unwrap();
        assert!(File::options().write(true).open(path).unwrap().write_all(b"x").is_err(), "it is sealed");
        drop(kept);
        assert_eq!(read(own).unwrap(), None);
        assert_eq!(read(u32::MAX >> 1).unwrap(), None, "no such process");
    }
}
