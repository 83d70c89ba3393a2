//! Whether a process was given the secrets of now, without either side showing them.
//!
//! The digest is salted, so that it says nothing about a weak secret to whoever sees it, and it never leaves the record of
//! the process and the memory of whoever compares.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Bytes of salt.
const SALT: usize = 16;

/// The digest of the credentials in the directory that the service manager gave this process; `None` without any.
///
/// # Errors
/// A credential cannot be read.
pub fn own(directory: Option<&Path>) -> io::Result<Option<String>> {
    let Some(directory) = directory else { return Ok(None) };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        found.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
    }
    if found.is_empty() {
        return Ok(None);
    }
    let salt: [u8; SALT] = rand::random();
    Ok(Some(digest(&hex::encode(salt), &found)))
}

/// Whether a process that recorded `recorded` was given what the files hold now.
///
/// # Errors
/// A file cannot be read.
pub fn same(recorded: Option<&str>, files: &BTreeMap<String, PathBuf>) -> io::Result<bool> {
    let mut found = BTreeMap::new();
    for (name, path) in files {
        found.insert(name.clone(), fs::read(path)?);
    }
    match recorded {
        None => Ok(found.is_empty()),
        Some(recorded) => {
            let salt = recorded.split_once(':').map_or("", |(salt, _)| salt);
            Ok(digest(salt, &found) == recorded)
        }
    }
}

fn digest(salt: &str, secrets: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    hash.update(salt);
    for (name, bytes) in secrets {
        hash.update(format!("\n{name}:{}:", bytes.len()));
        hash.update(bytes);
    }
    format!("{salt}:{}", hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_secret_is_noticed_and_none_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let (given, etc) = (dir.path().join("given"), dir.path().join("etc"));
        for directory in [&given, &etc] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("kek"), "weak").unwrap();
        }
        let files = BTreeMap::from([("kek".to_owned(), etc.join("kek"))]);
        let recorded = own(Some(&given)).unwrap().unwrap();
        assert!(!recorded.contains("weak"));
        assert_ne!(own(Some(&given)).unwrap().unwrap(), recorded, "salted");
        assert!(same(Some(&recorded), &files).unwrap());
        fs::write(etc.join("kek"), "other").unwrap();
        assert!(!same(Some(&recorded), &files).unwrap());
        assert!(!same(None, &files).unwrap() && same(None, &BTreeMap::new()).unwrap());
        assert_eq!(own(None).unwrap(), None);
        fs::remove_file(etc.join("kek")).unwrap();
        assert!(same(Some(&recorded), &files).is_err(), "unreadable is not the same as absent");
    }
}
