//! What a restart finds in the staging directory and what it does about it. The decision is a pure function; the
//! effects that need the database are left to the caller.

use std::collections::BTreeMap;
use std::fs;

use sf_model::BlobId;

use crate::commit::{Published, Sealed};
use crate::durable;
use crate::error::StoreError;
use crate::journal::{Journal, SealedFacts};
use crate::layout::{OPEN_MODE, Store};
use crate::purpose::{Purpose, StagingName};

/// What is on disk for one blob that was being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Why it was written.
    pub purpose: Purpose,
    /// The blob.
    pub blob: BlobId,
    /// The journal, when it is there and can be read.
    pub journal: Option<Journal>,
    /// Size of the bytes under their temporary name (for an upload: of the upload's file).
    pub partial: Option<u64>,
    /// Size of the file under its final name.
    pub finished: Option<u64>,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// The replica is in place: repeat `CommitBlob`, which may find that it was committed.
    RepeatCommit(SealedFacts),
    /// Every byte is on disk and checked: rename, then `CommitBlob`.
    PublishThenCommit(SealedFacts),
    /// Cut the partial back to what is known to be on disk and wait for the producer to go on.
    Keep {
        /// Bytes to keep.
        offset: u64,
    },
    /// Remove what there is and tell the database (`AbortBlob`).
    Discard,
    /// As `Discard`, but the bytes belong to an upload and stay with it.
    ReleaseUpload,
}

/// Decides about one find.
pub fn plan(found: &Found) -> Plan {
    let Some(journal) = &found.journal else { return Plan::Discard };
    if let Some(facts) = &journal.sealed {
        if found.finished == Some(facts.size) {
            return Plan::RepeatCommit(facts.clone());
        }
        // A sealed upload is not published here: its client has not been answered and will ask again.
        if journal.upload.is_none() && found.finished.is_none() && found.partial == Some(facts.size) {
            return Plan::PublishThenCommit(facts.clone());
        }
    }
    if journal.upload.is_some() {
        return Plan::ReleaseUpload;
    }
    match found.partial {
        Some(size)
            if journal.is_resumable() && size >= journal.verified_offset && journal.verified_offset > 0 =>
        {
            Plan::Keep { offset: journal.verified_offset }
        }
        _ => Plan::Discard,
    }
}

/// Lists the staging directory. Drafts of journals are removed on the way; names that are not ours are left alone.
///
/// # Errors
/// The directory cannot be read.
pub fn scan(store: &Store) -> Result<Vec<Found>, StoreError> {
    let staging = store.staging();
    let mut blobs = BTreeMap::new();
    for entry in fs::read_dir(&staging).map_err(StoreError::io("list", &staging))? {
        let entry = entry.map_err(StoreError::io("list", &staging))?;
        match StagingName::parse(&entry.file_name().to_string_lossy()) {
            StagingName::Partial(purpose, blob) | StagingName::Journal(purpose, blob) => {
                blobs.insert((purpose, blob), ());
            }
            StagingName::JournalDraft => {
                durable::remove_if_present(&entry.path())?;
            }
            StagingName::Foreign => {}
        }
    }
    blobs.into_keys().map(|(purpose, blob)| find(store, purpose, blob)).collect()
}

fn find(store: &Store, purpose: Purpose, blob: BlobId) -> Result<Found, StoreError> {
    let journal = match Journal::load(&store.journal(purpose, blob)) {
        Ok(journal) => journal.filter(|journal| journal.blob == blob && journal.purpose == purpose),
        Err(error @ StoreError::BadJournal { .. }) => {
            tracing::warn!(%error, "treating the bytes beside an unreadable journal as abandoned");
            None
        }
        Err(error) => return Err(error),
    };
    let partial = match journal.as_ref().and_then(|journal| journal.upload) {
        Some(upload) => store.upload(upload),
        None => store.partial(purpose, blob),
    };
    Ok(Found {
        purpose,
        blob,
        partial: durable::size_if_present(&partial)?,
        finished: durable::size_if_present(&store.blob(blob))?,
        journal,
    })
}

/// What is left to do with the database after the disk has been put right.
#[derive(Debug)]
pub enum Recovered {
    /// Call `CommitBlob` and then one of the methods of [`Published`].
    Commit(Published),
    /// Nothing: the producer will come back for the partial.
    Kept(Journal),
    /// Call `AbortBlob`.
    Abort(BlobId),
    /// Nothing: there was no journal, so no row is known to wait for these bytes.
    Removed,
}

/// Carries out the plan on disk.
///
/// # Errors
/// An I/O error; the find is still there and can be tried again.
pub fn apply(store: &Store, found: Found) -> Result<Recovered, StoreError> {
    let plan = plan(&found);
    match (plan, found.journal) {
        (Plan::RepeatCommit(facts), Some(journal)) => {
            Ok(Recovered::Commit(Published::resume(store, journal, facts)))
        }
        (Plan::PublishThenCommit(facts), Some(journal)) => {
            let published = Sealed::resume(store, journal, facts).publish().map_err(|(_, error)| error)?;
            Ok(Recovered::Commit(published))
        }
        (Plan::Keep { offset }, Some(journal)) => {
            let path = store.partial(found.purpose, found.blob);
            let file =
                fs::OpenOptions::new().write(true).open(&path).map_err(StoreError::io("open", &path))?;
            file.set_len(offset).map_err(StoreError::io("truncate", &path))?;
            Ok(Recovered::Kept(journal))
        }
        (plan, journal) => {
            let known = journal.is_some();
            let upload = journal.and_then(|journal| journal.upload).map(|upload| store.upload(upload));
            if let (Plan::ReleaseUpload, Some(path)) = (plan, upload)
                && found.partial.is_some()
            {
                durable::set_mode(&path, OPEN_MODE)?;
            }
            durable::remove_if_present(&store.partial(found.purpose, found.blob))?;
            durable::remove_if_present(&store.journal(found.purpose, found.blob))?;
            durable::sync_directory(&store.staging())?;
            Ok(if known { Recovered::Abort(found.blob) } else { Recovered::Removed })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::Digests;
    use crate::journal::Validators;

    fn sealed(mut journal: Journal, size: u64) -> Journal {
        journal.sealed = Some(SealedFacts { size, digests: Digests::new(), commit: serde_json::Value::Null });
        journal
    }

    fn found(journal: Option<Journal>, partial: Option<u64>, finished: Option<u64>) -> Found {
        let purpose = journal.as_ref().map_or(Purpose::Fetch, |journal| journal.purpose);
        let blob = journal.as_ref().map_or_else(BlobId::random, |journal| journal.blob);
        Found { purpose, blob, journal, partial, finished }
    }

    fn journal(purpose: Purpose) -> Journal {
        Journal::new(purpose, BlobId::random())
    }

    #[test]
    fn every_row_of_the_recovery_table() {
        let mut pull = journal(Purpose::Pull);
        pull.verified_offset = 64;
        let mut fetch = journal(Purpose::Fetch);
        fetch.verified_offset = 64;
        let blind_fetch = fetch.clone();
        fetch.validators = Some(Validators { etag: Some("\"1\"".into()), ..Validators::default() });
        let mut upload = journal(Purpose::Upload);
        upload.upload = Some(sf_model::UploadId::random());

        let facts = |size| SealedFacts { size, digests: Digests::new(), commit: serde_json::Value::Null };
        for (what, given, expected) in [
            ("no journal", found(None, Some(9), None), Plan::Discard),
            ("journal without bytes", found(Some(pull.clone()), None, None), Plan::Discard),
            ("pull under way", found(Some(pull.clone()), Some(99), None), Plan::Keep { offset: 64 }),
            ("torn below the mark", found(Some(pull.clone()), Some(63), None), Plan::Discard),
            ("fetch with a tag", found(Some(fetch.clone()), Some(99), None), Plan::Keep { offset: 64 }),
            ("fetch without", found(Some(blind_fetch.clone()), Some(99), None), Plan::Discard),
            ("snapshot", found(Some(journal(Purpose::Snap)), Some(99), None), Plan::Discard),
            (
                "sealed",
                found(Some(sealed(blind_fetch.clone(), 9)), Some(9), None),
                Plan::PublishThenCommit(facts(9)),
            ),
            ("sealed, torn", found(Some(sealed(blind_fetch.clone(), 9)), Some(8), None), Plan::Discard),
            (
                "renamed",
                found(Some(sealed(blind_fetch.clone(), 9)), None, Some(9)),
                Plan::RepeatCommit(facts(9)),
            ),
            ("another file", found(Some(sealed(blind_fetch, 9)), None, Some(8)), Plan::Discard),
            ("upload adopted", found(Some(upload.clone()), Some(9), None), Plan::ReleaseUpload),
            ("upload sealed", found(Some(sealed(upload.clone(), 9)), Some(9), None), Plan::ReleaseUpload),
            ("upload renamed", found(Some(sealed(upload, 9)), None, Some(9)), Plan::RepeatCommit(facts(9))),
        ] {
            assert_eq!(plan(&given), expected, "{what}");
        }
    }

    #[test]
    fn foreign_names_survive_a_scan() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        fs::write(store.staging().join("_heartbeat"), "1").unwrap();
        fs::write(store.staging().join(format!("pull-{}.partial.meta.tmp", BlobId::random())), "{").unwrap();
        fs::write(store.partial(Purpose::Mem, BlobId::random()), "x").unwrap();
        let finds = scan(&store).unwrap();
        assert_eq!(finds.len(), 1);
        for find in finds {
            assert!(matches!(apply(&store, find).unwrap(), Recovered::Removed));
        }
        assert!(store.staging().join("_heartbeat").exists());
        assert_eq!(fs::read_dir(store.staging()).unwrap().count(), 1);
    }
}
