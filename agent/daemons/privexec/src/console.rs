//! The console log and its rotated parts.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::ftruncate;
use sf_model::InstanceId;

use crate::failure::{Doing, Outcome};
use crate::root::{Directory, StorageRoot};

const LOG: &str = "console.log";
/// Rotated parts are looked for up to this number; libvirt's log daemon keeps three.
const MAX_PARTS: u32 = 8;

/// Opens every part for reading, oldest first, with its length.
pub(crate) fn open(root: &StorageRoot, instance: InstanceId) -> Outcome<(Vec<u64>, Vec<OwnedFd>)> {
    let (mut sizes, mut files) = (Vec::new(), Vec::new());
    let Some(directory) = directory(root, instance)? else { return Ok((sizes, files)) };
    for name in rotated().rev().chain([LOG.to_owned()]) {
        if let Some(size) = directory.length(&name)? {
            files.push(directory.read(&name).doing("open the console log")?.into());
            sizes.push(size);
        }
    }
    Ok((sizes, files))
}

/// Empties the log in place, so that a writer which appends goes on, and removes rotated parts.
pub(crate) fn truncate(root: &StorageRoot, instance: InstanceId) -> Outcome<()> {
    let Some(directory) = directory(root, instance)? else { return Ok(()) };
    match directory.open(LOG, OFlag::O_WRONLY | OFlag::O_NOFOLLOW, Mode::empty()) {
        Ok(log) => ftruncate(log, 0).doing("empty the console log")?,
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(error).doing("open the console log"),
    }
    for name in rotated() {
        directory.remove_file(&name).doing("remove a rotated console log")?;
    }
    Ok(())
}

fn rotated() -> impl DoubleEndedIterator<Item = String> {
    (0..MAX_PARTS).map(|number| format!("{LOG}.{number}"))
}

fn directory(root: &StorageRoot, instance: InstanceId) -> Outcome<Option<Directory>> {
    match root.directory().subdirectory(&format!("instances/{instance}")) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error).doing("open the instance's directory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn text(files: Vec<OwnedFd>) -> String {
        let mut text = String::new();
        for file in files {
            std::fs::File::from(file).read_to_string(&mut text).unwrap();
        }
        text
    }

    #[test]
    fn parts_are_read_oldest_first_and_truncated_under_a_writer() {
        let dir = tempfile::tempdir().unwrap();
        let root = StorageRoot::open(dir.path()).unwrap();
        let instance = InstanceId::random();
        assert!(open(&root, instance).unwrap().1.is_empty());
        crate::directory::prepare(&root, instance).unwrap();
        assert!(open(&root, instance).unwrap().1.is_empty());

        let path = dir.path().join(format!("instances/{instance}/console.log"));
        for (name, content) in [("console.log", "new"), ("console.log.0", "mid "), ("console.log.1", "old ")]
        {
            std::fs::write(path.with_file_name(name), content).unwrap();
        }
        let (sizes, files) = open(&root, instance).unwrap();
        assert_eq!((sizes, text(files).as_str()), (vec![4, 4, 3], "old mid new"));

        let mut writer = std::fs::File::options().append(true).open(&path).unwrap();
        truncate(&root, instance).unwrap();
        writer.write_all(b"again").unwrap();
        assert_eq!(text(open(&root, instance).unwrap().1), "again");
    }
}
