//! The few file operations that make a change survive a power cut.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::StoreError;

/// Flushes a directory, so that the names in it survive a power cut.
///
/// # Errors
/// The flush failed. It must not be repeated on the same descriptor: the kernel may have dropped the dirty pages.
pub fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = File::open(path).map_err(StoreError::io("open", path))?;
    directory.sync_all().map_err(StoreError::io("flush", path))
}

/// Replaces a small file as one step: after a crash either the old or the new content is there. The caller flushes
/// the directory when the name itself must survive.
///
/// # Errors
/// Any step failed; the old content is untouched.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let draft = Path::new(&name);
    write_draft(draft, content, mode)
        .and_then(|()| fs::rename(draft, path).map_err(StoreError::io("rename", draft)))
        .inspect_err(|_| drop(fs::remove_file(draft)))
}

fn write_draft(draft: &Path, content: &[u8], mode: u32) -> Result<(), StoreError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(draft)
        .map_err(StoreError::io("create", draft))?;
    file.write_all(content).map_err(StoreError::io("write", draft))?;
    file.sync_data().map_err(StoreError::io("flush", draft))
}

/// Removes a file; one that is not there counts as removed. Returns whether it was there.
///
/// # Errors
/// The file is there and cannot be removed.
pub fn remove_if_present(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("remove", path)(error)),
    }
}

/// The size of a file, or `None` when it is not there.
///
/// # Errors
/// The file cannot be inspected.
pub fn size_if_present(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("inspect", path)(error)),
    }
}

/// Sets the mode of a file.
///
/// # Errors
/// The mode cannot be changed.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), StoreError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(StoreError::io("set the mode of", path))
}
