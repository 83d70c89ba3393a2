//! Where everything stands below `STORAGE_PATH`, and who may be opened against whom.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sf_model::{BlobId, UploadId};

use crate::durable;
use crate::error::StoreError;
use crate::purpose::Purpose;

/// The layout this program writes.
pub const LAYOUT_VERSION: u32 = 1;

/// Mode of a finished replica and of a cache file: nobody writes to it again.
pub const SEALED_MODE: u32 = 0o444;

/// Mode of a file that is being written; the group `sf-store` may read it.
pub const OPEN_MODE: u32 = 0o640;

/// A node's store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<Path>,
    cache_is_linkable: bool,
}

/// The kind of file kept in the image cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheKind {
    /// A disk base.
    Qcow2,
    /// Optical media.
    Iso,
}

impl CacheKind {
    /// The file name extension.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Iso => "iso",
        }
    }
}

impl Store {
    /// Opens the store for its one writer: makes missing directories, checks the layout number and that renames
    /// inside the store stay on one file system.
    ///
    /// # Errors
    /// [`StoreError::LayoutTooNew`] and [`StoreError::SplitFileSystem`] mean that the node must not start.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(root).map_err(StoreError::io("create", root))?;
        check_layout(root, true)?;
        for (name, mode) in [
            ("blobs", 0o750),
            ("blobs/.staging", 0o750),
            ("uploads", 0o750),
            ("quarantine", 0o750),
            ("image_cache", 0o751),
        ] {
            make_directory(&root.join(name), mode)?;
        }
        let blobs = device(&root.join("blobs"))?;
        for name in ["blobs/.staging", "uploads", "quarantine"] {
            if device(&root.join(name))? != blobs {
                return Err(StoreError::SplitFileSystem {
                    first: root.join("blobs"),
                    second: root.join(name),
                });
            }
        }
        let cache_is_linkable = device(&root.join("image_cache"))? == blobs;
        if !cache_is_linkable {
            tracing::warn!(root = %root.display(), "image_cache is on its own file system: cached images are copies, not links");
        }
        Ok(Self { root: root.into(), cache_is_linkable })
    }

    /// Marks the root of a store. On a host whose root belongs to the super-user, its one writer cannot do that itself.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn prepare_root(root: &Path) -> Result<(), StoreError> {
        fs::create_dir_all(root).map_err(StoreError::io("create", root))?;
        check_layout(root, true)
    }

    /// Opens the store for a reader: checks the layout number, makes nothing.
    ///
    /// # Errors
    /// As [`Store::open`]; a node without a store gives an I/O error of kind `NotFound`.
    pub fn attach(root: &Path) -> Result<Self, StoreError> {
        check_layout(root, false)?;
        Ok(Self { root: root.into(), cache_is_linkable: false })
    }

    /// The directory all of it is in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a cache file can be a hard link to a replica.
    pub fn cache_is_linkable(&self) -> bool {
        self.cache_is_linkable
    }

    /// The directory that holds all replicas.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The directory of files being written.
    pub fn staging(&self) -> PathBuf {
        self.root.join("blobs/.staging")
    }

    /// The directory of client uploads.
    pub fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// The directory of disk bases.
    pub fn image_cache(&self) -> PathBuf {
        self.root.join("image_cache")
    }

    /// The directory of replicas that failed verification.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// Where the finished replica of a blob is.
    pub fn blob(&self, blob: BlobId) -> PathBuf {
        let name = blob.to_string();
        let fan: String = name.chars().take(2).collect();
        self.blobs().join(fan).join(name)
    }

    /// Where the bytes of a blob are while they arrive.
    pub fn partial(&self, purpose: Purpose, blob: BlobId) -> PathBuf {
        self.staging().join(format!("{purpose}-{blob}.partial"))
    }

    /// Where the journal of those bytes is.
    pub fn journal(&self, purpose: Purpose, blob: BlobId) -> PathBuf {
        self.staging().join(format!("{purpose}-{blob}.partial.meta"))
    }

    /// Where the bytes of an upload are.
    pub fn upload(&self, upload: UploadId) -> PathBuf {
        self.uploads().join(format!("{upload}.data"))
    }

    /// Where the acknowledged length of an upload is, so that a torn chunk can be cut off after a crash.
    pub fn upload_length(&self, upload: UploadId) -> PathBuf {
        self.uploads().join(format!("{upload}.length"))
    }

    /// Where a disk base is.
    pub fn cached(&self, blob: BlobId, kind: CacheKind) -> PathBuf {
        self.image_cache().join(format!("{blob}.{}", kind.extension()))
    }

    /// Makes the directory a replica goes into and returns its path.
    ///
    /// # Errors
    /// When the directory cannot be made or flushed.
    pub fn make_fan_directory(&self, blob: BlobId) -> Result<PathBuf, StoreError> {
        let path = self.blob(blob);
        let directory = path.parent().map(Path::to_owned).unwrap_or_else(|| self.blobs());
        if !directory.is_dir() {
            make_directory(&directory, 0o750)?;
            durable::sync_directory(&self.blobs())?;
        }
        Ok(directory)
    }
}

fn check_layout(root: &Path, create: bool) -> Result<(), StoreError> {
    let path = root.join("layout");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let found: u32 =
                text.trim().parse().map_err(|_| StoreError::LayoutUnreadable { path: path.clone() })?;
            if found > LAYOUT_VERSION {
                return Err(StoreError::LayoutTooNew { root: root.to_owned(), found, known: LAYOUT_VERSION });
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
            durable::write_atomically(&path, format!("{LAYOUT_VERSION}\n").as_bytes(), 0o644)?;
            durable::sync_directory(root)
        }
        Err(error) => Err(StoreError::io("read", &path)(error)),
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), StoreError> {
    if path.is_dir() {
        // An existing directory may have been set up by the operator; its mode is theirs.
        return Ok(());
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(StoreError::io("set the mode of", path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::io("create", path)(error)),
    }
}

fn device(path: &Path) -> Result<u64, StoreError> {
    let directory = File::open(path).map_err(StoreError::io("open", path))?;
    Ok(directory.metadata().map_err(StoreError::io("inspect", path))?.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_twice_keeps_the_layout() {
        let root = tempfile::tempdir().unwrap();
        Store::open(root.path()).unwrap();
        let store = Store::open(root.path()).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("layout")).unwrap(), "1\n");
        assert!(store.staging().is_dir());
        assert_eq!(fs::metadata(store.image_cache()).unwrap().mode() & 0o777, 0o751);
    }

    #[test]
    fn a_layout_from_the_future_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("layout"), "2\n").unwrap();
        assert!(matches!(Store::open(root.path()), Err(StoreError::LayoutTooNew { found: 2, .. })));
        assert!(matches!(Store::attach(root.path()), Err(StoreError::LayoutTooNew { found: 2, .. })));
        fs::write(root.path().join("layout"), "zwei").unwrap();
        assert!(matches!(Store::open(root.path()), Err(StoreError::LayoutUnreadable { .. })));
    }

    #[test]
    fn a_node_without_a_store_cannot_be_attached() {
        let root = tempfile::tempdir().unwrap();
        assert!(Store::attach(root.path()).is_err());
        assert!(!root.path().join("layout").exists());
    }

    #[test]
    fn replicas_fan_out_by_their_first_two_digits() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let blob: BlobId = "3f2504e0-4f89-41d3-9a0c-0305e82c3301".parse().unwrap();
        assert!(store.blob(blob).ends_with("blobs/3f/3f2504e0-4f89-41d3-9a0c-0305e82c3301"));
        assert!(store.make_fan_directory(blob).unwrap().is_dir());
    }
}
