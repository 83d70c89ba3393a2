//! Handing over a generated secret: never lost, never overwriting anything.
//!
//! The secret waits in a draft named after its key while the transaction runs, and takes its final name after the
//! commit. A run that ended in between has left the draft, and the next run finds it by the key that was committed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{BootstrapError, KeyOutput};

/// Writes the draft of a key's secret.
///
/// # Errors
/// The final file exists, or the directory cannot be written.
pub(super) fn draft(output: &KeyOutput, key: &str) -> Result<(), BootstrapError> {
    let write = || -> io::Result<()> {
        if output.path.try_exists()? {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists already"));
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(draft_path(&output.path, key))?;
        file.write_all(output.secret.expose().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    write().map_err(|source| BootstrapError::KeyFile { path: output.path.clone(), source })
}

/// Gives the draft of the committed key its final name. Nothing to do when that happened before.
///
/// # Errors
/// The draft cannot be renamed.
pub(super) fn hand_over(path: &Path, key: &str) -> Result<(), BootstrapError> {
    let draft = draft_path(path, key);
    let hand_over = || {
        if !draft.try_exists()? {
            return Ok(());
        }
        // A link fails where a rename would overwrite.
        fs::hard_link(&draft, path)?;
        fs::remove_file(&draft)
    };
    hand_over().map_err(|source| BootstrapError::KeyFile { path: path.to_path_buf(), source })
}

/// Removes the draft of a key that was not made.
pub(super) fn discard(path: &Path, key: &str) {
    // It may not exist.
    let _ = fs::remove_file(draft_path(path, key));
}

fn draft_path(path: &Path, key: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{key}"));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_model::Secret;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_handed_over_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let output = KeyOutput { path: path.clone(), secret: Secret::new("s".to_owned()) };
        draft(&output, "one").unwrap();
        assert!(!path.exists());
        hand_over(&path, "one").unwrap();
        hand_over(&path, "one").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "s\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(draft(&output, "two").is_err(), "an existing file is never overwritten");
    }
}
