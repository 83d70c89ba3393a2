//! The file of one upload: its acknowledged size, the running hashes, and the points it can be cut back to for free.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sf_model::UploadId;

use crate::error::StoreError;
use crate::hashing::{Algorithm, Digests, HasherSet};
use crate::layout::{OPEN_MODE, Store};
use crate::pipeline::{FLUSH_EVERY, drop_behind};
use crate::rescan::{self, RescanError};
use crate::upload_error::UploadError;

/// How many chunk boundaries an upload remembers its hashes at.
const MARKS: usize = 8;

/// The last chunk that was taken, to recognise the same chunk sent again.
#[derive(Debug, Clone)]
struct LastChunk {
    length: u64,
    blake3: blake3::Hash,
    delivered: Arc<AtomicBool>,
}

/// What to do when the answer to a chunk has left the node: then the client knows of it and a chunk that looks the
/// same is a new one.
#[derive(Debug, Clone)]
pub struct Receipt(Arc<AtomicBool>);

impl Receipt {
    /// The answer has been written to the client's connection.
    pub fn delivered(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// An open upload.
pub(crate) struct UploadFile {
    file: Arc<File>,
    path: PathBuf,
    length_file: File,
    size: u64,
    flushed: u64,
    /// `None` when the hashes do not match the file any more.
    running: Option<HasherSet>,
    marks: VecDeque<(u64, HasherSet)>,
    last: Option<LastChunk>,
}

/// A chunk being written behind the acknowledged end of the file.
pub(crate) struct Chunk {
    running: Option<HasherSet>,
    own: blake3::Hasher,
    length: u64,
}

impl UploadFile {
    /// Makes the empty files of a new upload; an existing one is left as it is.
    pub(crate) fn create(store: &Store, upload: UploadId) -> Result<(), StoreError> {
        let path = store.upload(upload);
        let created = OpenOptions::new().write(true).create_new(true).mode(OPEN_MODE).open(&path);
        match created {
            Ok(_) => write_length(&open_length(store, upload)?, &store.upload_length(upload), 0),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(StoreError::io("create", &path)(error)),
        }
    }

    /// Opens an upload and cuts off a chunk that was not acknowledged before the daemon ended.
    pub(crate) fn open(store: &Store, upload: UploadId) -> Result<Self, UploadError> {
        let path = store.upload(upload);
        let file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => UploadError::Lost,
                _ => StoreError::io("open", &path)(error).into(),
            })?;
        let on_disk = file.metadata().map_err(StoreError::io("inspect", &path))?.len();
        let length_file = open_length(store, upload)?;
        let acknowledged = read_length(&length_file, &store.upload_length(upload))?;
        let size = acknowledged.unwrap_or(on_disk).min(on_disk);
        if size < on_disk {
            file.set_len(size).map_err(StoreError::io("truncate", &path))?;
        }
        write_length(&length_file, &path, size)?;
        let running = (size == 0).then(|| HasherSet::new(&Algorithm::INLINE));
        Ok(Self {
            file: Arc::new(file),
            path,
            length_file,
            size,
            flushed: 0,
            running,
            marks: VecDeque::new(),
            last: None,
        })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a chunk at the end.
    pub(crate) fn begin_chunk(&self) -> Chunk {
        Chunk { running: self.running.clone(), own: blake3::Hasher::new(), length: 0 }
    }

    /// Writes the next bytes of a chunk. They do not count before [`UploadFile::accept`].
    pub(crate) fn write(&mut self, chunk: &mut Chunk, bytes: &[u8]) -> Result<(), StoreError> {
        let at = self.size + chunk.length;
        self.file.write_all_at(bytes, at).map_err(StoreError::io("write", &self.path))?;
        chunk.own.update(bytes);
        if let Some(running) = &mut chunk.running {
            running.update(bytes);
        }
        chunk.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets a chunk.
    pub(crate) fn reject(&mut self) -> Result<(), StoreError> {
        self.file.set_len(self.size).map_err(StoreError::io("truncate", &self.path))
    }

    /// Whether a written chunk is the previous one sent again.
    pub(crate) fn is_last_again(&self, chunk: &Chunk) -> bool {
        self.last
            .as_ref()
            .is_some_and(|last| last.length == chunk.length && last.blake3 == chunk.own.finalize())
    }

    /// Whether the client may not know that the previous chunk was taken.
    pub(crate) fn last_is_undelivered(&self) -> bool {
        self.last.as_ref().is_some_and(|last| !last.delivered.load(Ordering::Acquire))
    }

    /// Makes a written chunk part of the upload.
    pub(crate) fn accept(&mut self, chunk: Chunk) -> Result<Receipt, StoreError> {
        let size = self.size + chunk.length;
        if size - self.flushed.min(size) >= FLUSH_EVERY {
            self.file.sync_data().map_err(StoreError::io("flush", &self.path))?;
            drop_behind(&self.file, self.flushed, size - self.flushed);
            self.flushed = size;
        }
        write_length(&self.length_file, &self.path, size)?;
        if let Some(before) = self.running.take() {
            self.marks.push_back((self.size, before));
            while self.marks.len() > MARKS {
                self.marks.pop_front();
            }
        }
        self.size = size;
        self.running = chunk.running;
        let delivered = Arc::new(AtomicBool::new(false));
        self.last = Some(LastChunk {
            length: chunk.length,
            blake3: chunk.own.finalize(),
            delivered: Arc::clone(&delivered),
        });
        Ok(Receipt(delivered))
    }

    /// A receipt for the chunk that was sent again.
    pub(crate) fn last_receipt(&self) -> Receipt {
        Receipt(self.last.as_ref().map_or_else(Arc::default, |last| Arc::clone(&last.delivered)))
    }

    /// Cuts the upload to `length`, which is not beyond its end.
    pub(crate) fn truncate(&mut self, length: u64) -> Result<(), StoreError> {
        if length == self.size {
            return Ok(());
        }
        // The length file goes first: after a crash between the two the open cuts the rest off.
        write_length(&self.length_file, &self.path, length)?;
        self.file.set_len(length).map_err(StoreError::io("truncate", &self.path))?;
        self.size = length;
        self.flushed = self.flushed.min(length);
        self.last = None;
        while self.marks.back().is_some_and(|(at, _)| *at > length) {
            self.marks.pop_back();
        }
        self.running = match self.marks.back() {
            _ if length == 0 => Some(HasherSet::new(&Algorithm::INLINE)),
            Some((at, hashers)) if *at == length => Some(hashers.clone()),
            _ => None,
        };
        Ok(())
    }

    /// The values over the whole upload, reading it once when the running ones do not hold.
    pub(crate) fn digests(&mut self, cancelled: &AtomicBool) -> Result<Digests, RescanError> {
        let hashers = match self.running.take() {
            Some(hashers) => hashers,
            None => {
                let mut hashers = HasherSet::new(&Algorithm::INLINE);
                rescan::feed(&self.path, Some(self.size), &mut hashers, false, cancelled)?;
                hashers
            }
        };
        let digests = hashers.finish();
        self.running = Some(hashers);
        Ok(digests)
    }
}

fn open_length(store: &Store, upload: UploadId) -> Result<File, StoreError> {
    let path = store.upload_length(upload);
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(OPEN_MODE)
        .open(&path)
        .map_err(StoreError::io("open", &path))
}

/// The acknowledged length, or `None` when it was never written (or by an older program).
fn read_length(file: &File, path: &Path) -> Result<Option<u64>, StoreError> {
    let mut text = [0; 20];
    match file.read_exact_at(&mut text, 0) {
        Ok(()) => Ok(std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

/// One write of constant size, not flushed: it guards against the death of the program, not of the machine.
fn write_length(file: &File, path: &Path, length: u64) -> Result<(), StoreError> {
    file.write_all_at(format!("{length:020}\n").as_bytes(), 0)
        .map_err(StoreError::io("write the length of", path))
}
