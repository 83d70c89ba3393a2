//! A full disk, on a small tmpfs of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sf_blobs::Algorithm;
use sf_blobs::commit::Staged;
use sf_blobs::error::StoreError;
use sf_blobs::hashing::HasherSet;
use sf_blobs::journal::Journal;
use sf_blobs::layout::Store;
use sf_blobs::pipeline::Pipeline;
use sf_blobs::purpose::Purpose;
use sf_blobs::uploads::{AppendOptions, UploadError, UploadLimits, Uploads};
use sf_model::{BlobId, UploadId};

const SIZE: u64 = 16 << 20;

/// A mounted tmpfs; unmounted when dropped.
struct SmallDisk {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        match mount(
            Some("tmpfs"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(format!("size={SIZE}").as_str()),
        ) {
            Ok(()) => Some(Self { path, _directory: directory }),
            Err(errno) => {
                eprintln!("skipped: a tmpfs cannot be mounted ({errno})");
                None
            }
        }
    }

    /// Leaves `free` bytes.
    fn fill(&self, free: u64) -> PathBuf {
        let filler = self.path.join("_filler");
        let space = sf_blobs::space::Space::measure(&self.path).unwrap();
        std::fs::write(&filler, vec![0; usize::try_from(space.free_bytes - free).unwrap()]).unwrap();
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount2(&self.path, MntFlags::MNT_DETACH).unwrap();
    }
}

async fn ingest(store: &Store, size: u64, announced: bool) -> Result<(), StoreError> {
    let mut journal = Journal::new(Purpose::Fetch, BlobId::random());
    journal.expected_size = announced.then_some(size);
    let (staged, file) = Staged::begin(store, journal)?;
    let mut pipeline = Pipeline::start(file, staged.path(), 0, HasherSet::new(&[Algorithm::Blake3]))?;
    let ingested = write_all(&mut pipeline, size).await;
    let ingested = match ingested {
        Ok(()) => pipeline.finish().await,
        Err(error) => Err(error),
    };
    match ingested {
        Ok(ingested) => {
            let sealed =
                staged.seal(ingested.digests, serde_json::Value::Null).map_err(|(_, error)| error)?;
            sealed.publish().map_err(|(_, error)| error)?.committed()
        }
        Err(error) => {
            staged.discard()?;
            Err(error)
        }
    }
}

async fn write_all(pipeline: &mut Pipeline, size: u64) -> Result<(), StoreError> {
    let piece = vec![3; 1 << 16];
    for _ in 0..size / piece.len() as u64 {
        pipeline.write(&piece).await?;
    }
    Ok(())
}

fn staged(store: &Store) -> usize {
    std::fs::read_dir(store.staging()).unwrap().count()
}

#[tokio::test]
async fn an_ingest_that_does_not_fit_leaves_nothing_and_the_next_that_fits_succeeds() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = Store::open(&disk.path).unwrap();
    // Room for about 1 %, 50 % and 99.9 % of what comes.
    for room in [100 << 10, 5 << 20, (10 << 20) - (64 << 10)] {
        let filler = disk.fill(room);
        for announced in [true, false] {
            let error = ingest(&store, 10 << 20, announced).await.unwrap_err();
            assert!(error.is_disk_full(), "{error}");
            assert_eq!(staged(&store), 0, "room {room}, announced {announced}");
        }
        std::fs::remove_file(filler).unwrap();
        ingest(&store, 1 << 20, true).await.unwrap();
    }
}

#[tokio::test]
async fn a_chunk_that_does_not_fit_leaves_the_upload_as_it_was() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = Store::open(&disk.path).unwrap();
    let uploads = Uploads::new(store.clone());
    let upload = UploadId::random();
    uploads.create(upload).await.unwrap();
    let limits = UploadLimits { chunk: 8 << 20, total: 1 << 30 };
    let chunk = Bytes::from(vec![5; 4 << 20]);
    let append = || async {
        let body = stream::iter([Ok::<_, Infallible>(chunk.clone())]);
        let appended = uploads.append(upload, AppendOptions::default(), limits, body).await?;
        appended.receipt.delivered();
        Ok::<_, UploadError>(appended.size)
    };
    assert_eq!(append().await.unwrap(), 4 << 20);
    let filler = disk.fill(2 << 20);
    let error = append().await.unwrap_err();
    assert!(matches!(&error, UploadError::Store(error) if error.is_disk_full()), "{error}");
    assert_eq!(uploads.size(upload).await.unwrap(), 4 << 20);
    assert_eq!(size_of(&store.upload(upload)), 4 << 20);
    std::fs::remove_file(filler).unwrap();
    assert_eq!(append().await.unwrap(), 8 << 20, "room came back");
}

fn size_of(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}
