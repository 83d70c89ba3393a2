//! The crash-safe way from bytes to a replica. Each stage is a type, so that no step can be left out or taken twice:
//! [`Staged`] (being written) → [`Sealed`] (complete, checked, on disk) → [`Published`] (under its final name).
//! All functions block; callers keep them off the asynchronous runtime.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};
use sf_model::{BlobId, UploadId};

use crate::durable;
use crate::error::StoreError;
use crate::hashing::Digests;
use crate::journal::{Journal, SealedFacts};
use crate::layout::{OPEN_MODE, SEALED_MODE, Store};
use crate::purpose::Purpose;

/// Bytes on their way. Dropping it leaves the partial and its journal for recovery.
#[derive(Debug)]
pub struct Staged {
    store: Store,
    journal: Box<Journal>,
    source: PathBuf,
}

/// Bytes that are complete, checked and on disk, still under their temporary name.
#[derive(Debug)]
pub struct Sealed(Staged, SealedFacts);

/// A finished replica the database has not confirmed yet.
#[derive(Debug)]
pub struct Published(Staged, SealedFacts);

impl Staged {
    /// Starts or resumes a partial: writes the journal, opens the file for writing and keeps what
    /// `journal.verified_offset` vouches for. When the final size is known its space is taken now, so that a full disk
    /// fails before the transfer and not in it.
    ///
    /// # Errors
    /// Disk full ([`StoreError::is_disk_full`]) or any other I/O error; nothing is left behind.
    pub fn begin(store: &Store, journal: Journal) -> Result<(Self, File), StoreError> {
        journal.save(store)?;
        let source = store.partial(journal.purpose, journal.blob);
        let staged = Self { store: store.clone(), journal: Box::new(journal), source };
        match staged.open() {
            Ok(file) => Ok((staged, file)),
            Err(error) => {
                // What cannot be removed on a failing disk is met again by recovery.
                let _ = staged.discard();
                Err(error)
            }
        }
    }

    fn open(&self) -> Result<File, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OPEN_MODE)
            .open(&self.source)
            .map_err(StoreError::io("create", &self.source))?;
        file.set_len(self.journal.verified_offset).map_err(StoreError::io("truncate", &self.source))?;
        if let Some(size) = self.journal.expected_size {
            reserve(&file, &self.source, size)?;
        }
        Ok(file)
    }

    /// Takes the file of a client upload as the source: it is renamed, never copied.
    ///
    /// # Errors
    /// The journal cannot be written. The upload is untouched.
    pub fn adopt_upload(store: &Store, upload: UploadId, mut journal: Journal) -> Result<Self, StoreError> {
        journal.upload = Some(upload);
        journal.save(store)?;
        Ok(Self { store: store.clone(), source: store.upload(upload), journal: Box::new(journal) })
    }

    /// Takes a file that another program has put into the staging directory under this blob's name.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn adopt_partial(store: &Store, journal: Journal) -> Result<Self, StoreError> {
        journal.save(store)?;
        Ok(Self {
            store: store.clone(),
            source: store.partial(journal.purpose, journal.blob),
            journal: Box::new(journal),
        })
    }

    /// Takes up what a restart found; the journal says where its bytes were before they got their final name.
    fn resume(store: &Store, journal: Journal) -> Self {
        let source = match journal.upload {
            Some(upload) => store.upload(upload),
            None => store.partial(journal.purpose, journal.blob),
        };
        Self { store: store.clone(), journal: Box::new(journal), source }
    }

    /// The journal as last saved.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Where the bytes are now.
    pub fn path(&self) -> &Path {
        &self.source
    }

    /// Notes that everything before `offset` has reached the disk.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn record_progress(&mut self, offset: u64) -> Result<(), StoreError> {
        self.journal.verified_offset = offset;
        self.journal.save(&self.store)
    }

    /// Checks size and expected values, flushes the bytes, makes the file read-only and writes all of it into the
    /// journal.
    ///
    /// # Errors
    /// [`StoreError::WrongSize`] or [`StoreError::WrongDigest`] when the bytes are not the announced ones; an I/O error
    /// otherwise. After either the partial must be discarded ([`Staged::discard`]): a failed flush is never repeated.
    pub fn seal(mut self, digests: Digests, commit: serde_json::Value) -> Result<Sealed, (Self, StoreError)> {
        match self.try_seal(digests, commit) {
            Ok(facts) => Ok(Sealed(self, facts)),
            Err(error) => Err((self, error)),
        }
    }

    fn try_seal(&mut self, digests: Digests, commit: serde_json::Value) -> Result<SealedFacts, StoreError> {
        let file = File::open(&self.source).map_err(StoreError::io("open", &self.source))?;
        let size = file.metadata().map_err(StoreError::io("inspect", &self.source))?.len();
        check(&self.journal, size, &digests)?;
        file.sync_data().map_err(StoreError::io("flush", &self.source))?;
        durable::set_mode(&self.source, SEALED_MODE)?;
        let facts = SealedFacts { size, digests, commit };
        self.journal.sealed = Some(facts.clone());
        self.journal.save(&self.store)?;
        Ok(facts)
    }

    /// Gives up: the partial and its journal go. The file of an upload stays, writable again.
    ///
    /// # Errors
    /// A file could not be removed; recovery will meet it again.
    pub fn discard(self) -> Result<(), StoreError> {
        match self.journal.upload {
            Some(_) => restore_upload(&self.source)?,
            None => drop(durable::remove_if_present(&self.source)?),
        }
        forget_journal(&self.store, &self.journal)
    }
}

impl Sealed {
    /// Takes up a sealed partial that a restart found.
    pub fn resume(store: &Store, journal: Journal, facts: SealedFacts) -> Self {
        Self(Staged::resume(store, journal), facts)
    }

    /// The blob.
    pub fn blob(&self) -> BlobId {
        self.0.journal.blob
    }

    /// Size, values and the commit to repeat.
    pub fn facts(&self) -> &SealedFacts {
        &self.1
    }

    /// Renames the bytes to their final name and flushes both directories.
    ///
    /// # Errors
    /// An I/O error; the journal tells recovery where the bytes are.
    pub fn publish(self) -> Result<Published, (Staged, StoreError)> {
        match self.0.rename_to_final() {
            Ok(()) => Ok(Published(self.0, self.1)),
            Err(error) => Err((self.0, error)),
        }
    }

    /// Gives up, as [`Staged::discard`].
    ///
    /// # Errors
    /// A file could not be removed; recovery will meet it again.
    pub fn discard(self) -> Result<(), StoreError> {
        self.0.discard()
    }
}

impl Staged {
    fn rename_to_final(&self) -> Result<(), StoreError> {
        let directory = self.store.make_fan_directory(self.journal.blob)?;
        let target = self.store.blob(self.journal.blob);
        fs::rename(&self.source, &target).map_err(StoreError::io("rename into place", &self.source))?;
        durable::sync_directory(&directory)?;
        if let Some(left) = self.source.parent() {
            durable::sync_directory(left)?;
        }
        Ok(())
    }
}

impl Published {
    /// The blob.
    pub fn blob(&self) -> BlobId {
        self.0.journal.blob
    }

    /// Why the bytes were written.
    pub fn purpose(&self) -> Purpose {
        self.0.journal.purpose
    }

    /// Size, values and the commit to repeat.
    pub fn facts(&self) -> &SealedFacts {
        &self.1
    }

    /// Takes up a replica that a restart found with its journal still there.
    pub fn resume(store: &Store, journal: Journal, facts: SealedFacts) -> Self {
        Self(Staged::resume(store, journal), facts)
    }

    /// The database has confirmed the replica: the journal goes.
    ///
    /// # Errors
    /// The journal could not be removed; recovery will repeat the commit, which changes nothing.
    pub fn committed(self) -> Result<(), StoreError> {
        self.forget_upload_length()?;
        forget_journal(&self.0.store, &self.0.journal)
    }

    /// The database already has the same bytes as `winner`: they become this node's replica of it, or go when it
    /// has one.
    ///
    /// # Errors
    /// An I/O error; recovery will repeat the commit and get the same answer.
    pub fn merged_into(self, winner: BlobId) -> Result<(), StoreError> {
        let own = self.0.store.blob(self.blob());
        let other = self.0.store.blob(winner);
        if other.try_exists().map_err(StoreError::io("look for", &other))? {
            durable::remove_if_present(&own)?;
        } else {
            let directory = self.0.store.make_fan_directory(winner)?;
            fs::rename(&own, &other).map_err(StoreError::io("rename into place", &own))?;
            durable::sync_directory(&directory)?;
        }
        if let Some(directory) = own.parent() {
            durable::sync_directory(directory)?;
        }
        self.forget_upload_length()?;
        forget_journal(&self.0.store, &self.0.journal)
    }

    /// The database has refused the commit for good: the bytes go; those of an upload return to it.
    ///
    /// # Errors
    /// An I/O error; recovery will repeat the commit and get the same answer.
    pub fn withdraw(self) -> Result<(), StoreError> {
        let own = self.0.store.blob(self.blob());
        match self.0.journal.upload {
            Some(_) => {
                fs::rename(&own, &self.0.source).map_err(StoreError::io("rename back", &own))?;
                restore_upload(&self.0.source)?;
                durable::sync_directory(&self.0.store.uploads())?;
            }
            None => drop(durable::remove_if_present(&own)?),
        }
        forget_journal(&self.0.store, &self.0.journal)
    }

    fn forget_upload_length(&self) -> Result<(), StoreError> {
        if let Some(upload) = self.0.journal.upload {
            durable::remove_if_present(&self.0.store.upload_length(upload))?;
        }
        Ok(())
    }
}

fn check(journal: &Journal, size: u64, digests: &Digests) -> Result<(), StoreError> {
    if let Some(expected) = journal.expected_size
        && expected != size
    {
        return Err(StoreError::WrongSize { expected, found: size });
    }
    for (algorithm, expected) in &journal.expected {
        let found = digests.get(algorithm).cloned().unwrap_or_default();
        if &found != expected {
            return Err(StoreError::WrongDigest { algorithm: *algorithm, expected: expected.clone(), found });
        }
    }
    Ok(())
}

/// Takes the blocks of the file without changing its size, so that a short file stays visibly short.
fn reserve(file: &File, path: &Path, size: u64) -> Result<(), StoreError> {
    use nix::errno::Errno;
    if size == 0 {
        return Ok(());
    }
    let length = i64::try_from(size).map_err(|_| StoreError::TooLarge { limit: i64::MAX.unsigned_abs() })?;
    match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length) {
        // Some file systems cannot preallocate; then a full disk is found while writing, as for unknown sizes.
        Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(errno) => Err(StoreError::errno("reserve space for", path)(errno)),
    }
}

fn restore_upload(path: &Path) -> Result<(), StoreError> {
    durable::set_mode(path, OPEN_MODE)
}

fn forget_journal(store: &Store, journal: &Journal) -> Result<(), StoreError> {
    durable::remove_if_present(&store.journal(journal.purpose, journal.blob))?;
    durable::sync_directory(&store.staging())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::hashing::{Algorithm, HasherSet};

    fn store() -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        (root, store)
    }

    fn digests(bytes: &[u8]) -> Digests {
        let mut set = HasherSet::new(&Algorithm::INLINE);
        set.update(bytes);
        set.finish()
    }

    fn staged(store: &Store, journal: Journal, bytes: &[u8]) -> Staged {
        let (staged, mut file) = Staged::begin(store, journal).unwrap();
        file.write_all(bytes).unwrap();
        staged
    }

    #[test]
    fn a_committed_replica_is_read_only_and_leaves_nothing_behind() {
        let (_root, store) = store();
        let blob = BlobId::random();
        let staged = staged(&store, Journal::new(Purpose::Mem, blob), b"hello");
        let sealed = staged.seal(digests(b"hello"), serde_json::Value::Null).unwrap();
        let published = sealed.publish().unwrap();
        assert_eq!(published.facts().size, 5);
        published.committed().unwrap();
        assert_eq!(fs::read(store.blob(blob)).unwrap(), b"hello");
        assert!(fs::metadata(store.blob(blob)).unwrap().permissions().readonly());
        assert_eq!(fs::read_dir(store.staging()).unwrap().count(), 0);
    }

    #[test]
    fn wrong_bytes_never_reach_the_final_name() {
        let (_root, store) = store();
        let mut journal = Journal::new(Purpose::Fetch, BlobId::random());
        journal.expected_size = Some(4);
        let (rest, error) = staged(&store, journal.clone(), b"hello")
            .seal(digests(b"hello"), serde_json::Value::Null)
            .unwrap_err();
        assert!(matches!(error, StoreError::WrongSize { expected: 4, found: 5 }));
        rest.discard().unwrap();
        journal.expected_size = None;
        journal.expected.insert(Algorithm::Sha256, digests(b"other").remove(&Algorithm::Sha256).unwrap());
        let (rest, error) = staged(&store, journal.clone(), b"hello")
            .seal(digests(b"hello"), serde_json::Value::Null)
            .unwrap_err();
        assert!(matches!(error, StoreError::WrongDigest { algorithm: Algorithm::Sha256, .. }));
        rest.discard().unwrap();
        assert!(!store.blob(journal.blob).exists());
        assert_eq!(fs::read_dir(store.staging()).unwrap().count(), 0);
    }

    #[test]
    fn equal_content_becomes_a_replica_of_the_winner() {
        let (_root, store) = store();
        let winner = BlobId::random();
        for _ in 0..2 {
            let blob = BlobId::random();
            let sealed = staged(&store, Journal::new(Purpose::Fetch, blob), b"same")
                .seal(digests(b"same"), serde_json::Value::Null)
                .unwrap();
            sealed.publish().unwrap().merged_into(winner).unwrap();
            assert!(!store.blob(blob).exists());
            assert_eq!(fs::read(store.blob(winner)).unwrap(), b"same");
        }
    }

    #[test]
    fn a_refused_commit_gives_the_upload_back() {
        let (_root, store) = store();
        let upload = UploadId::random();
        fs::write(store.upload(upload), b"mine").unwrap();
        let staged =
            Staged::adopt_upload(&store, upload, Journal::new(Purpose::Upload, BlobId::random())).unwrap();
        let published = staged.seal(digests(b"mine"), serde_json::Value::Null).unwrap().publish().unwrap();
        assert!(!store.upload(upload).exists());
        published.withdraw().unwrap();
        assert_eq!(fs::read(store.upload(upload)).unwrap(), b"mine");
        assert!(!fs::metadata(store.upload(upload)).unwrap().permissions().readonly());
        assert_eq!(fs::read_dir(store.staging()).unwrap().count(), 0);
    }
}
