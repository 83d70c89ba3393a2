//! Where things are below the data directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::fcntl::{Flock, FlockArg};
use rand::Rng;
use sf_units::{DIRECTORIES, HEARTBEAT};

use crate::failure::{Exit, Failure};

/// Longest path of a unix socket in Linux, without the closing zero.
const MAX_SOCKET_PATH: usize = 107;
/// The longest name of a socket that daemons make below the directory.
const LONGEST_SOCKET: &str = "run/instances/00000000-0000-0000-0000-000000000000/console.sock";

/// The data directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// An absolute directory, short enough for the sockets in it.
    pub(super) fn new(directory: &Path) -> Result<Self, Failure> {
        let root = std::path::absolute(directory).context("the data directory has no absolute path")?;
        let longest = root.join(LONGEST_SOCKET).as_os_str().len();
        if longest > MAX_SOCKET_PATH {
            let room = MAX_SOCKET_PATH - LONGEST_SOCKET.len() - 1;
            return Err(Failure::say(
                Exit::Refused,
                format!("{} is too long for sockets below it: at most {room} characters", root.display()),
            ));
        }
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn etc(&self) -> PathBuf {
        self.root.join("etc")
    }

    pub(super) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(super) fn mariadb(&self) -> PathBuf {
        self.root.join("mariadb")
    }

    pub(super) fn libvirt(&self) -> PathBuf {
        self.root.join("libvirt")
    }

    pub(super) fn libvirt_socket(&self) -> PathBuf {
        self.libvirt().join("run/libvirt-sock")
    }

    pub(super) fn system_key(&self) -> PathBuf {
        self.root.join("credentials/system_key")
    }

    pub(super) fn mariadb_password(&self) -> PathBuf {
        self.root.join("credentials/mariadb_password")
    }

    /// Name of the cluster, from its bootstrap on.
    pub(super) fn cluster_id(&self) -> PathBuf {
        self.root.join("cluster_id")
    }

    pub(super) fn report(&self) -> PathBuf {
        self.root.join("standalone.json")
    }

    /// Takes the directory for this process.
    pub(super) fn lock(&self) -> Result<Flock<File>, Failure> {
        fs::create_dir_all(&self.root).with_context(|| format!("{} cannot be made", self.root.display()))?;
        let path = self.root.join("standalone.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
            let why = format!(
                "another agent runs in {}; stop it first, or use another directory",
                self.root.display()
            );
            Failure::say(Exit::Busy, why)
        })
    }

    /// Makes what is missing.
    pub(super) fn make(&self) -> Result<(), Failure> {
        let directories = [
            ("credentials", 0o700),
            ("etc", 0o755),
            ("etc/config.d", 0o755),
            ("run", 0o755),
            ("run/netns", 0o755),
            ("run/queues", 0o755),
            ("run/instances", 0o755),
            ("run/locks", 0o755),
            ("run/transfers", 0o755),
            ("run/net-privexec", 0o755),
            ("mariadb", 0o700),
            // The storage tree exists before its health is first looked at; a missing folder is a vanished store.
            ("blobs", 0o750),
            ("uploads", 0o750),
            ("quarantine", 0o750),
            ("image_cache", 0o751),
            ("instances", 0o751),
            ("spool", 0o755),
        ];
        for (name, mode) in directories {
            let path = self.root.join(name);
            DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(&path)
                .with_context(|| format!("{} cannot be made", path.display()))?;
        }
        for directory in DIRECTORIES.iter().filter(|directory| directory.heartbeat) {
            let path = self.root.join(directory.path.trim_start_matches("{storage_path}/")).join(HEARTBEAT);
            let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&path);
            file.with_context(|| format!("{} cannot be made", path.display()))?;
        }
        Ok(())
    }
}

/// The secret in a file of mode 0600, made when it is missing. It is complete or absent, never half written.
pub(super) fn secret_file(path: &Path, make: impl FnOnce() -> String) -> Result<String, Failure> {
    if !path.try_exists().with_context(|| format!("{} cannot be read", path.display()))? {
        write_whole(path, &make(), 0o600)?;
    }
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Writes a file as a whole: readers see the old or the new text.
pub(super) fn write_whole(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let draft = path.with_extension("draft");
    let write = || {
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    Ok(write().with_context(|| format!("{} cannot be written", path.display()))?)
}

/// Random text for a password.
pub(super) fn random_text() -> String {
    hex::encode(rand::rng().random::<[u8; 24]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert_eq!(secret_file(&path, || "one\n".to_owned()).unwrap(), "one");
        assert_eq!(secret_file(&path, || "two".to_owned()).unwrap(), "one");
    }

    #[test]
    fn the_store_is_made_with_what_its_health_is_told_by() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        for _start in 0..2 {
            layout.make().unwrap();
        }
        for folder in ["blobs", "uploads", "image_cache", "instances"] {
            assert!(dir.path().join(folder).join(HEARTBEAT).is_file(), "{folder}");
        }
    }

    #[test]
    fn a_directory_too_deep_for_sockets_is_refused() {
        assert!(Layout::new(Path::new(&format!("/{}", "x".repeat(90)))).is_err());
        assert!(Layout::new(Path::new("/srv/sf-quickstart")).is_ok());
    }
}
