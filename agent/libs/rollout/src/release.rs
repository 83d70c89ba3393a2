//! Releases on disk: one directory each, and a link to the one that runs.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Directory of releases and the link, as the role lays them out.
pub const BASE: &str = "/usr/lib/shakenfist";
/// The executable in a release.
pub const EXECUTABLE: &str = "sf-node";

/// The releases of a host.
#[derive(Debug, Clone)]
pub struct Releases {
    base: PathBuf,
}

impl Releases {
    /// Those below a directory, [`BASE`] on an installed host.
    pub fn below(base: &Path) -> Self {
        Self { base: base.to_owned() }
    }

    /// The link to the release that runs.
    pub fn link(&self) -> PathBuf {
        self.base.join("current")
    }

    /// The release that the link names; `None` without a link.
    ///
    /// # Errors
    /// The link cannot be read.
    pub fn current(&self) -> io::Result<Option<PathBuf>> {
        match fs::read_link(self.link()) {
            Ok(target) => Ok(Some(self.base.join(target))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has the link name another release; whoever starts a daemon meanwhile finds one of both.
    ///
    /// # Errors
    /// The release has no executable, or the directory cannot be written.
    pub fn flip(&self, to: &Path) -> io::Result<()> {
        fs::metadata(to.join(EXECUTABLE))?;
        let draft = self.base.join(format!(".current.{}", std::process::id()));
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(to.strip_prefix(&self.base).unwrap_or(to), &draft)?;
        fs::rename(&draft, self.link())?;
        fs::File::open(&self.base)?.sync_all()
    }

    /// Releases beyond the `keep` youngest, never one of `needed`, oldest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn superfluous(&self, keep: usize, needed: &[&Path]) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(self.base.join("releases")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        found.sort();
        let old = found.len().saturating_sub(keep);
        let old = found.into_iter().take(old).map(|(_, path)| path);
        Ok(old.filter(|path| !needed.contains(&path.as_path())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_moves_and_old_releases_go() {
        let dir = tempfile::tempdir().unwrap();
        let releases = Releases::below(dir.path());
        assert_eq!(releases.current().unwrap(), None);
        let paths: Vec<PathBuf> = ["a", "b", "c"].map(|name| dir.path().join("releases").join(name)).into();
        for (at, path) in paths.iter().enumerate() {
            fs::create_dir_all(path).unwrap();
            fs::write(path.join(EXECUTABLE), "").unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at as u64);
            fs::File::open(path).unwrap().set_modified(time).unwrap();
        }
        releases.flip(&paths[0]).unwrap();
        releases.flip(&paths[2]).unwrap();
        assert_eq!(releases.current().unwrap().as_deref(), Some(paths[2].as_path()));
        assert_eq!(
            fs::read_link(releases.link()).unwrap(),
            Path::new("releases/c"),
            "relative: the tree may move"
        );
        assert!(releases.flip(&dir.path().join("releases/none")).is_err());
        assert_eq!(releases.superfluous(2, &[&paths[2]]).unwrap(), [paths[0].clone()]);
        assert!(releases.superfluous(2, &[&paths[0]]).unwrap().is_empty());
    }
}
