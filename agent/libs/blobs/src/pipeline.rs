//! Ingest: one asynchronous reader feeds a writer thread and one thread per hash function through bounded channels of
//! pooled buffers. Memory is at most [`POOL_BUFFERS`] MiB whatever the size, and no disk or hash work runs on the
//! asynchronous runtime. Dropping the pipeline cancels it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use tokio::sync::{mpsc, oneshot};

use crate::error::StoreError;
use crate::hashing::{Digests, Hasher, HasherSet};
use crate::pool::{Buffer, BufferPool};

/// How many buffers one ingest may hold.
pub const POOL_BUFFERS: usize = 8;

/// How many bytes are written between two flushes. Without them a large ingest would fill the page cache with dirty
/// pages, evict those of the guests, and end in one very long flush.
pub const FLUSH_EVERY: u64 = 64 << 20;

/// What an ingest produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// Bytes in the file, including those that were there before a resumption.
    pub size: u64,
    /// The values over the whole file.
    pub digests: Digests,
}

/// A running ingest.
pub struct Pipeline {
    pool: BufferPool,
    filling: Option<Buffer>,
    lanes: Vec<mpsc::Sender<Arc<Buffer>>>,
    writer: oneshot::Receiver<Result<(), StoreError>>,
    hashers: Vec<oneshot::Receiver<Hasher>>,
    size: u64,
    flushed: Arc<AtomicU64>,
}

impl Pipeline {
    /// Starts the threads. Writing begins at `offset`, up to which `hashers` must have been fed already.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start(file: File, path: &Path, offset: u64, hashers: HasherSet) -> Result<Self, StoreError> {
        let flushed = Arc::new(AtomicU64::new(offset));
        let mut lanes = Vec::new();
        let writer = {
            let writer = Writer {
                file,
                path: path.to_owned(),
                at: offset,
                unflushed_from: offset,
                flushed: Arc::clone(&flushed),
            };
            spawn_lane("blob-writer", &mut lanes, move |source| writer.run(source))?
        };
        let hashers = hashers
            .into_inner()
            .into_iter()
            .map(|hasher| spawn_lane("blob-hasher", &mut lanes, move |source| hash_lane(hasher, source)))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            pool: BufferPool::new(POOL_BUFFERS),
            filling: None,
            lanes,
            writer,
            hashers,
            size: offset,
            flushed,
        })
    }

    /// Takes the next bytes; waits while all buffers are on their way to the disk.
    ///
    /// # Errors
    /// The writer has failed; its own error says how.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let mut buffer = match self.filling.take() {
                Some(buffer) => buffer,
                None => self.pool.take().await.ok_or(StoreError::ThreadGone("buffer pool"))?,
            };
            let before = bytes.len();
            bytes = buffer.fill(bytes);
            self.size += (before - bytes.len()) as u64;
            let full = buffer.room() == 0;
            self.filling = Some(buffer);
            if full {
                self.pass_on().await?;
            }
        }
        Ok(())
    }

    /// Bytes taken so far, including those before `offset`.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes from the start that have reached the disk.
    pub fn flushed(&self) -> u64 {
        self.flushed.load(Ordering::Acquire)
    }

    /// Waits until everything is written and hashed. The last flush is left to the commit.
    ///
    /// # Errors
    /// The first error of the writer.
    pub async fn finish(mut self) -> Result<Ingested, StoreError> {
        self.pass_on().await?;
        self.lanes.clear();
        (&mut self.writer).await.map_err(|_| StoreError::ThreadGone("writer"))??;
        let mut done = Vec::with_capacity(self.hashers.len());
        for hasher in self.hashers {
            done.push(hasher.await.map_err(|_| StoreError::ThreadGone("hasher"))?);
        }
        Ok(Ingested { size: self.size, digests: HasherSet::from_iter(done).finish() })
    }

    async fn pass_on(&mut self) -> Result<(), StoreError> {
        let Some(buffer) = self.filling.take() else { return Ok(()) };
        let shared = Arc::new(buffer);
        for lane in &self.lanes {
            if lane.send(Arc::clone(&shared)).await.is_err() {
                // Only the writer ends early, and only with an error.
                return Err(match (&mut self.writer).await {
                    Ok(Err(error)) => error,
                    _ => StoreError::ThreadGone("writer"),
                });
            }
        }
        Ok(())
    }
}

/// Starts one thread that works on every buffer in turn and answers when the channel closes.
fn spawn_lane<R: Send + 'static>(
    name: &'static str,
    lanes: &mut Vec<mpsc::Sender<Arc<Buffer>>>,
    work: impl FnOnce(mpsc::Receiver<Arc<Buffer>>) -> R + Send + 'static,
) -> Result<oneshot::Receiver<R>, StoreError> {
    let (sender, source) = mpsc::channel(POOL_BUFFERS);
    let (answer, result) = oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        // An ingest that was dropped has no one left to tell.
        .spawn(move || drop(answer.send(work(source))))
        .map_err(StoreError::io("start a thread for", Path::new(name)))?;
    lanes.push(sender);
    Ok(result)
}

fn hash_lane(mut hasher: Hasher, mut source: mpsc::Receiver<Arc<Buffer>>) -> Hasher {
    while let Some(buffer) = source.blocking_recv() {
        hasher.update(buffer.as_ref().as_ref());
    }
    hasher
}

struct Writer {
    file: File,
    path: PathBuf,
    at: u64,
    unflushed_from: u64,
    flushed: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, mut source: mpsc::Receiver<Arc<Buffer>>) -> Result<(), StoreError> {
        while let Some(buffer) = source.blocking_recv() {
            let bytes: &[u8] = buffer.as_ref().as_ref();
            self.file.write_all_at(bytes, self.at).map_err(StoreError::io("write", &self.path))?;
            self.at += bytes.len() as u64;
            if self.at - self.unflushed_from >= FLUSH_EVERY {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(StoreError::io("flush", &self.path))?;
        self.flushed.store(self.at, Ordering::Release);
        drop_behind(&self.file, self.unflushed_from, self.at - self.unflushed_from);
        self.unflushed_from = self.at;
        Ok(())
    }
}

/// Tells the kernel that a range of the file will not be read again soon. Advice only: a refusal changes nothing.
pub(crate) fn drop_behind(file: &File, offset: u64, length: u64) {
    if let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) {
        let _ = posix_fadvise(file, offset, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::Algorithm;
    use crate::pool::BUFFER_BYTES;

    async fn ingest(pieces: &[&[u8]]) -> (Vec<u8>, Ingested) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bytes");
        let file = File::create(&path).unwrap();
        let mut pipeline = Pipeline::start(file, &path, 0, HasherSet::new(&Algorithm::INLINE)).unwrap();
        for piece in pieces {
            pipeline.write(piece).await.unwrap();
        }
        let ingested = pipeline.finish().await.unwrap();
        (std::fs::read(&path).unwrap(), ingested)
    }

    #[tokio::test]
    async fn bytes_and_values_do_not_depend_on_how_they_arrive() {
        let much: Vec<u8> = (0..BUFFER_BYTES * 3 + 17).map(|at| (at % 253) as u8).collect();
        let mut expected = HasherSet::new(&Algorithm::INLINE);
        expected.update(&much);
        for size in [1000, BUFFER_BYTES, BUFFER_BYTES * 2 + 1] {
            let (bytes, ingested) = ingest(&much.chunks(size).collect::<Vec<_>>()).await;
            assert_eq!(ingested.size, much.len() as u64);
            assert_eq!(ingested.digests, expected.finish());
            assert!(bytes == much);
        }
    }

    #[tokio::test]
    async fn nothing_is_a_legal_blob() {
        let (bytes, ingested) = ingest(&[]).await;
        assert!(bytes.is_empty());
        assert_eq!(ingested.size, 0);
        assert_eq!(ingested.digests.len(), 3);
    }

    #[tokio::test]
    async fn an_ingest_can_go_on_where_another_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bytes");
        std::fs::write(&path, b"abcXX").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(3).unwrap();
        let mut fed = HasherSet::new(&[Algorithm::Blake3]);
        fed.update(b"abc");
        let mut pipeline = Pipeline::start(file, &path, 3, fed).unwrap();
        pipeline.write(b"def").await.unwrap();
        let ingested = pipeline.finish().await.unwrap();
        assert_eq!(ingested.size, 6);
        assert_eq!(
            ingested.digests.get(&Algorithm::Blake3).unwrap(),
            &blake3::hash(b"abcdef").to_hex().to_string()
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"abcdef");
    }

    #[tokio::test]
    async fn the_writers_error_reaches_the_reader() {
        let path = Path::new("/dev/full");
        let file = File::options().write(true).open(path).unwrap();
        let mut pipeline = Pipeline::start(file, path, 0, HasherSet::new(&[Algorithm::Blake3])).unwrap();
        let chunk = vec![1; BUFFER_BYTES];
        let error = loop {
            if let Err(error) = pipeline.write(&chunk).await {
                break error;
            }
        };
        assert!(error.is_disk_full(), "{error}");
    }
}
