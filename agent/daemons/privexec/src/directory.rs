//! Instance directories.

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, fchmod};
use nix::unistd::{Uid, fchown};
use sf_model::InstanceId;

use crate::failure::{Doing, OperationError, Outcome};
use crate::root::{Directory, StorageRoot};

/// QEMU runs as another user and walks through to its own disks.
const MODE: u32 = 0o711;
/// Levels of directories below an instance directory. There are none today.
const MAX_DEPTH: usize = 4;

/// Makes the directory, or repairs owner and mode.
pub(crate) fn prepare(root: &StorageRoot, instance: InstanceId) -> Outcome<()> {
    let instances = root.instances()?;
    let name = instance.to_string();
    instances.make(&name, MODE).doing("make the instance's directory")?;
    let directory = instances.subdirectory(&name).doing("open the instance's directory")?;
    if Uid::effective().is_root() {
        fchown(directory.descriptor(), Some(Uid::from_raw(0)), None).doing("own the instance's directory")?;
    }
    fchmod(directory.descriptor(), Mode::from_bits_truncate(MODE)).doing("set the directory's mode")
}

/// Removes the directory: renamed first, so that a crash never leaves half a directory under its own name.
pub(crate) fn remove(root: &StorageRoot, instance: InstanceId) -> Outcome<()> {
    let instances = root.instances()?;
    let (name, doomed) = (instance.to_string(), format!(".deleting-{instance}"));
    // Something may be left of an earlier attempt.
    remove_tree(&instances, &doomed, 0)?;
    match instances.rename(&name, &doomed) {
        Ok(()) => remove_tree(&instances, &doomed, 0),
        Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error).doing("set the instance's directory aside"),
    }
}

fn remove_tree(parent: &Directory, name: &str, depth: usize) -> Outcome<()> {
    if depth > MAX_DEPTH {
        return Err(OperationError::invalid("a directory this deep"));
    }
    let directory = match parent.subdirectory(name) {
        Ok(directory) => directory,
        Err(Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(error).doing("open the directory to remove"),
    };
    for entry in directory.names().doing("list the directory to remove")? {
        let status = directory.status(&entry).doing("look at a file to remove")?;
        let is_directory =
            status.is_some_and(|status| status.st_mode & SFlag::S_IFMT.bits() == libc::S_IFDIR);
        if is_directory {
            remove_tree(&directory, &entry, depth + 1)?;
        } else {
            directory.remove_file(&entry).doing("remove a file")?;
        }
    }
    parent.remove_directory(name).doing("remove the directory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn directories_are_made_repaired_and_removed_with_everything_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = StorageRoot::open(dir.path()).unwrap();
        let instance = InstanceId::random();
        let path = dir.path().join(format!("instances/{instance}"));
        prepare(&root, instance).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        prepare(&root, instance).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o711);

        std::fs::write(path.join("vda"), "x").unwrap();
        std::fs::create_dir(path.join("sub")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", path.join("sub/link")).unwrap();
        remove(&root, instance).unwrap();
        remove(&root, instance).unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("instances")).unwrap().count(), 0);
        assert!(std::path::Path::new("/etc/passwd").exists());
    }
}
