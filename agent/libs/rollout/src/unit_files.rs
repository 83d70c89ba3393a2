//! The files of a unit, as the service manager would read them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Where the service manager looks, first wins.
const DIRECTORIES: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

/// The files of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFiles {
    /// The unit itself and its drop-ins in the order in which they apply, each with its text.
    pub files: Vec<(PathBuf, String)>,
}

impl UnitFiles {
    /// Reads the files of a unit of this host; none when it is not installed.
    ///
    /// # Errors
    /// A file exists and cannot be read.
    pub fn read(unit: &str) -> io::Result<Self> {
        Self::read_below(&DIRECTORIES.map(Path::new), unit)
    }

    fn read_below(directories: &[&Path], unit: &str) -> io::Result<Self> {
        let mut files = Vec::new();
        for directory in directories {
            if let Some(text) = read(&directory.join(unit))? {
                files.push((directory.join(unit), text));
                break;
            }
        }
        // Drop-ins of one name hide each other; they apply in the order of their names, wherever they are.
        let mut drop_ins: BTreeMap<String, PathBuf> = BTreeMap::new();
        for directory in directories.iter().rev() {
            for path in conf_files(&directory.join(format!("{unit}.d")))? {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                drop_ins.insert(name.unwrap_or_default(), path);
            }
        }
        for path in drop_ins.into_values() {
            if let Some(text) = read(&path)? {
                files.push((path, text));
            }
        }
        Ok(Self { files })
    }

    /// Whether the unit itself is there.
    pub fn exist(&self) -> bool {
        self.files.first().is_some_and(|(path, _)| path.extension().is_some_and(|ext| ext != "conf"))
    }

    /// A digest of the files and where they are.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (path, text) in &self.files {
            hash.update(format!("{}:{}:{text}\n", path.display(), text.len()));
        }
        hex::encode(hash.finalize())
    }

    /// The files behind `LoadCredential=`, by name. A relative or missing path names a credential that the service manager
    /// was given itself, which cannot be read here.
    pub fn credentials(&self) -> BTreeMap<String, PathBuf> {
        let mut found = BTreeMap::new();
        let lines = self.files.iter().flat_map(|(_, text)| text.lines());
        for value in lines.filter_map(|line| line.trim().strip_prefix("LoadCredential=")) {
            match value.trim().split_once(':') {
                Some((name, path)) if path.starts_with('/') => {
                    found.insert(name.to_owned(), PathBuf::from(path));
                }
                // An empty assignment takes back what came before it.
                None if value.trim().is_empty() => found.clear(),
                _ => {}
            }
        }
        found
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn conf_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: Vec<PathBuf> = paths.collect::<io::Result<_>>()?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "conf")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_unit_and_every_drop_in_count() {
        let dir = tempfile::tempdir().unwrap();
        let (etc, lib) = (dir.path().join("etc"), dir.path().join("lib"));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let files = || UnitFiles::read_below(&[&etc, &lib], "sf-api.service").unwrap();
        assert!(!files().exist());
        write(lib.join("sf-api.service"), "[Service]\nLoadCredential=kek:/etc/kek\n");
        let packaged = files();
        assert!(packaged.exist());
        write(
            etc.join("sf-api.service"),
            "[Service]\nLoadCredential=kek:/etc/sf/kek\nLoadCredential=given\n",
        );
        let own = files();
        assert_ne!(own.digest(), packaged.digest());
        assert_eq!(own.credentials(), BTreeMap::from([("kek".to_owned(), PathBuf::from("/etc/sf/kek"))]));
        write(lib.join("sf-api.service.d/50-site.conf"), "hidden");
        write(etc.join("sf-api.service.d/50-site.conf"), "[Service]\nLoadCredential=\n");
        write(etc.join("sf-api.service.d/README"), "no drop-in");
        let site = files();
        assert_eq!(site.files.len(), 2);
        assert!(site.files[1].0.starts_with(&etc) && site.credentials().is_empty());
        assert_eq!(files().digest(), site.digest(), "the same files, the same digest");
    }
}
