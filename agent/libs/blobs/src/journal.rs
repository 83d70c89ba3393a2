//! The resume journal that stands beside bytes being written, so that a restart knows what they were for.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sf_model::{BlobId, OperationId, UploadId};

use crate::durable;
use crate::error::StoreError;
use crate::hashing::Digests;
use crate::layout::{OPEN_MODE, Store};
use crate::purpose::Purpose;

/// What an origin said about the version of a file, to resume or to skip a download.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// The resolved URL the bytes come from.
    pub url: String,
    /// Entity tag as sent, with its quotes.
    pub etag: Option<String>,
    /// `Last-Modified` as sent.
    pub last_modified: Option<String>,
    /// Announced length in bytes.
    pub content_length: Option<u64>,
}

impl Validators {
    /// The value for `If-Range`: a strong entity tag, else the date. `None` when the origin gave neither, which makes
    /// resuming unsafe.
    pub fn if_range(&self) -> Option<&str> {
        self.etag.as_deref().filter(|tag| !tag.starts_with("W/")).or(self.last_modified.as_deref())
    }
}

/// Facts that hold once every byte is on disk and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedFacts {
    /// Size in bytes.
    pub size: u64,
    /// Values of the functions computed so far.
    pub digests: Digests,
    /// What the producer needs to repeat its `CommitBlob` word for word.
    pub commit: serde_json::Value,
}

/// The journal of one blob being written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Why the bytes are written.
    pub purpose: Purpose,
    /// The blob they become.
    pub blob: BlobId,
    /// The operation on whose behalf.
    pub operation: Option<OperationId>,
    /// The upload whose file becomes the blob; then there is no partial in staging.
    pub upload: Option<UploadId>,
    /// Announced size in bytes.
    pub expected_size: Option<u64>,
    /// Announced values; a mismatch discards the bytes.
    pub expected: Digests,
    /// What the origin said, for producers that can resume.
    pub validators: Option<Validators>,
    /// Bytes from the start that are known to be on disk, at most [`crate::pipeline::FLUSH_EVERY`] behind.
    pub verified_offset: u64,
    /// Set by the last step before the rename.
    pub sealed: Option<SealedFacts>,
}

impl Journal {
    /// A journal for bytes of which nothing is known yet.
    pub fn new(purpose: Purpose, blob: BlobId) -> Self {
        Self {
            purpose,
            blob,
            operation: None,
            upload: None,
            expected_size: None,
            expected: Digests::new(),
            validators: None,
            verified_offset: 0,
            sealed: None,
        }
    }

    /// Whether the bytes are worth keeping across a restart.
    pub fn is_resumable(&self) -> bool {
        match self.purpose {
            Purpose::Pull => true,
            Purpose::Fetch => self.validators.as_ref().is_some_and(|known| known.if_range().is_some()),
            Purpose::Upload | Purpose::Snap | Purpose::Xcode | Purpose::Mem => false,
        }
    }

    /// Writes the journal as one step and flushes it with its name.
    ///
    /// # Errors
    /// The journal could not be made durable; the previous one is untouched.
    pub fn save(&self, store: &Store) -> Result<(), StoreError> {
        let path = store.journal(self.purpose, self.blob);
        let text = serde_json::to_vec(self)
            .map_err(|error| StoreError::BadJournal { path: path.clone(), reason: error.to_string() })?;
        durable::write_atomically(&path, &text, OPEN_MODE)?;
        durable::sync_directory(&store.staging())
    }

    /// Gives a partial another identity: its bytes are renamed, and the journal with them. A crash on the way leaves a
    /// partial without journal or a journal without partial, which recovery removes.
    ///
    /// # Errors
    /// The partial is not there or cannot be renamed.
    pub fn rename_partial(mut self, store: &Store, blob: BlobId) -> Result<Self, StoreError> {
        let old_journal = store.journal(self.purpose, self.blob);
        let from = store.partial(self.purpose, self.blob);
        fs::rename(&from, store.partial(self.purpose, blob)).map_err(StoreError::io("rename", &from))?;
        self.blob = blob;
        self.save(store)?;
        durable::remove_if_present(&old_journal)?;
        durable::sync_directory(&store.staging())?;
        Ok(self)
    }

    /// Reads a journal; `None` when there is none.
    ///
    /// # Errors
    /// The journal is there and cannot be read or understood.
    pub fn load(path: &Path) -> Result<Option<Self>, StoreError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", path)(error)),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| StoreError::BadJournal { path: path.to_owned(), reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_tag_alone_does_not_allow_to_resume() {
        let mut journal = Journal::new(Purpose::Fetch, BlobId::random());
        assert!(!journal.is_resumable());
        journal.validators = Some(Validators { etag: Some("W/\"a\"".into()), ..Validators::default() });
        assert!(!journal.is_resumable());
        journal.validators = Some(Validators { etag: Some("\"a\"".into()), ..Validators::default() });
        assert!(journal.is_resumable());
    }

    #[test]
    fn a_partial_takes_its_journal_to_its_new_identity() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let journal = Journal { verified_offset: 3, ..Journal::new(Purpose::Pull, BlobId::random()) };
        let blob = BlobId::random();
        assert!(journal.clone().rename_partial(&store, blob).is_err(), "there are no bytes");
        journal.save(&store).unwrap();
        std::fs::write(store.partial(Purpose::Pull, journal.blob), "abc").unwrap();
        let renamed = journal.rename_partial(&store, blob).unwrap();
        assert_eq!(Journal::load(&store.journal(Purpose::Pull, blob)).unwrap(), Some(renamed));
        assert_eq!(std::fs::read(store.partial(Purpose::Pull, blob)).unwrap(), b"abc");
        assert_eq!(std::fs::read_dir(store.staging()).unwrap().count(), 2);
    }

    #[test]
    fn a_journal_survives_its_file() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let mut journal = Journal::new(Purpose::Pull, BlobId::random());
        journal.verified_offset = 7;
        journal.save(&store).unwrap();
        let path = store.journal(Purpose::Pull, journal.blob);
        assert_eq!(Journal::load(&path).unwrap(), Some(journal));
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(Journal::load(&path), Err(StoreError::BadJournal { .. })));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Journal::load(&path).unwrap(), None);
    }
}
