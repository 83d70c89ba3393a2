//! The storage root. Everything is opened relative to it and can neither leave it nor follow a link.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use sf_model::InstanceId;

use crate::failure::{Doing, OperationError, Outcome};

/// An open directory below which names are resolved.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

/// The storage root with its name, which appears in backing-file references only.
#[derive(Debug)]
pub(crate) struct StorageRoot {
    path: PathBuf,
    directory: Directory,
}

impl StorageRoot {
    /// Opens the root, making it and the directory of instances if they are missing. Later they are only opened: what
    /// vanishes under a running daemon is a store that went away, not one to begin anew.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let path = path.canonicalize()?;
        let flags = libc::O_DIRECTORY | libc::O_CLOEXEC;
        let file = File::options().read(true).custom_flags(flags).open(&path)?;
        let directory = Directory(file.into());
        // Guests' QEMU walks through it, so anybody may.
        directory.make("instances", 0o711)?;
        Ok(Self { path, directory })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The directory of all instances.
    pub(crate) fn instances(&self) -> Outcome<Directory> {
        self.directory.subdirectory("instances").doing("open the instances directory")
    }

    /// One instance's directory.
    pub(crate) fn instance(&self, instance: InstanceId) -> Outcome<Directory> {
        self.directory.subdirectory(&format!("instances/{instance}")).doing("open the instance's directory")
    }
}

impl Directory {
    /// Opens a file or directory below this one.
    pub(crate) fn open(&self, name: &str, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let mut how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
        // The kernel refuses a mode for calls that create nothing.
        if flags.contains(OFlag::O_CREAT) {
            how = how.mode(mode);
        }
        openat2(self.0.as_fd(), name, how)
    }

    pub(crate) fn subdirectory(&self, name: &str) -> nix::Result<Self> {
        self.open(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).map(Self)
    }

    /// Opens a regular file for reading.
    pub(crate) fn read(&self, name: &str) -> nix::Result<File> {
        self.open(name, OFlag::O_RDONLY | OFlag::O_NOFOLLOW, Mode::empty()).map(File::from)
    }

    /// Makes an empty file with mode 0600; one of that name is removed first.
    pub(crate) fn create(&self, name: &str) -> nix::Result<File> {
        self.remove_file(name)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        self.open(name, flags, Mode::from_bits_truncate(0o600)).map(File::from)
    }

    /// Makes a directory; one that exists is fine.
    pub(crate) fn make(&self, name: &str, mode: u32) -> nix::Result<()> {
        match mkdirat(self.0.as_fd(), name, Mode::from_bits_truncate(mode)) {
            // The process's mask may have taken bits away.
            Ok(()) => {
                nix::sys::stat::fchmod(self.subdirectory(name)?.0.as_fd(), Mode::from_bits_truncate(mode))
            }
            Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Status of a name, links not followed. `None`: absent.
    pub(crate) fn status(&self, name: &str) -> nix::Result<Option<FileStat>> {
        match fstatat(self.0.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(status)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Length of a regular file. `None`: absent.
    pub(crate) fn length(&self, name: &str) -> Outcome<Option<u64>> {
        match self.read(name) {
            Ok(file) => {
                let metadata = file.metadata().doing("read the file's length")?;
                if metadata.mode() & libc::S_IFMT != libc::S_IFREG {
                    return Err(OperationError::invalid("a file that is not regular"));
                }
                Ok(Some(metadata.len()))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error).doing("open the file"),
        }
    }

    /// Removes a file; absent is success.
    pub(crate) fn remove_file(&self, name: &str) -> nix::Result<()> {
        absent_is_fine(unlinkat(self.0.as_fd(), name, UnlinkatFlags::NoRemoveDir))
    }

    /// Removes an empty directory; absent is success.
    pub(crate) fn remove_directory(&self, name: &str) -> nix::Result<()> {
        absent_is_fine(unlinkat(self.0.as_fd(), name, UnlinkatFlags::RemoveDir))
    }

    /// Renames within this directory and makes the change durable.
    pub(crate) fn rename(&self, from: &str, to: &str) -> nix::Result<()> {
        renameat(self.0.as_fd(), from, self.0.as_fd(), to)?;
        fsync(self.0.as_fd())
    }

    /// Names in this directory. Listed through the descriptor, so that a rename meanwhile leads nowhere else.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/self/fd/{}", self.0.as_raw_fd()))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }
}

fn absent_is_fine(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_root_can_be_opened() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("secret");
        std::fs::write(&outside, "x").unwrap();
        let base = dir.path().join("root");
        std::fs::create_dir(&base).unwrap();
        std::os::unix::fs::symlink(&outside, base.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", base.join("dirlink")).unwrap();
        let root = StorageRoot::open(&base).unwrap();
        for name in ["../secret", "link", "/etc/passwd", "dirlink/passwd"] {
            assert!(root.directory().read(name).is_err(), "{name}");
        }
        assert!(root.directory().create("../made").is_err());
    }
}
