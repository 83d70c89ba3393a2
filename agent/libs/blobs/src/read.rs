//! Streams a replica from disk with constant memory: `pread` on blocking threads into pooled buffers, two in flight,
//! handed out without copying.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use sf_model::BlobId;
use tokio::sync::mpsc;

use crate::error::StoreError;
use crate::layout::Store;
use crate::pipeline::drop_behind;
use crate::pool::{BUFFER_BYTES, BufferPool};
use crate::range::ByteRange;

/// Blobs above this size are dropped from the page cache behind the reader, so that one download does not evict what
/// guests use.
const DROP_BEHIND_FROM: u64 = 512 << 20;

/// An open replica. It stays readable when the replica is removed meanwhile.
#[derive(Debug, Clone)]
pub struct Replica {
    file: Arc<File>,
    path: PathBuf,
    size: u64,
}

impl Replica {
    /// Opens a blob's replica on this node.
    ///
    /// # Errors
    /// [`StoreError::NotHere`] when there is none.
    pub async fn open(store: &Store, blob: BlobId) -> Result<Self, StoreError> {
        let path = store.blob(blob);
        let opened = tokio::task::spawn_blocking(move || -> Result<Self, StoreError> {
            let file = File::open(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => StoreError::NotHere(blob),
                _ => StoreError::io("open", &path)(error),
            })?;
            let size = file.metadata().map_err(StoreError::io("inspect", &path))?.len();
            Ok(Self { file: Arc::new(file), path, size })
        });
        opened.await.map_err(|_| StoreError::ThreadGone("reader"))?
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of a range in order. A range beyond the end is cut. The stream ends with an error when the disk does
    /// not give what it promised; dropping the stream stops reading.
    pub fn stream(&self, range: ByteRange) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static {
        let end = self.size.min(range.start.saturating_add(range.length));
        // One buffer waits in the channel while the next is being read.
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(self.clone().pump(range.start, end, sender));
        futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        })
    }

    async fn pump(self, mut at: u64, end: u64, sender: mpsc::Sender<Result<Bytes, StoreError>>) {
        let pool = BufferPool::new(3);
        let drop_cache = self.size > DROP_BEHIND_FROM;
        self.advise_sequential(at, end);
        while at < end {
            // Waiting for room first keeps a stream nobody reads from reading ahead.
            let Ok(slot) = sender.reserve().await else { return };
            let Some(mut buffer) = pool.take().await else { return };
            let wanted = usize::try_from(end - at).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            let file = Arc::clone(&self.file);
            let read = tokio::task::spawn_blocking(move || -> io::Result<_> {
                let storage = buffer.storage();
                storage.resize(wanted, 0);
                file.read_exact_at(storage, at)?;
                if drop_cache {
                    drop_behind(&file, at, wanted as u64);
                }
                Ok(buffer)
            });
            let item = match read.await {
                Ok(Ok(buffer)) => Ok(Bytes::from_owner(buffer)),
                Ok(Err(error)) => Err(StoreError::io("read", &self.path)(error)),
                Err(_) => Err(StoreError::ThreadGone("reader")),
            };
            let failed = item.is_err();
            slot.send(item);
            if failed {
                return;
            }
            at += wanted as u64;
        }
    }

    fn advise_sequential(&self, at: u64, end: u64) {
        if let (Ok(offset), Ok(length)) = (i64::try_from(at), i64::try_from(end.saturating_sub(at))) {
            // Advice only: a refusal changes nothing.
            let _ = posix_fadvise(&self.file, offset, length, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, TryStreamExt};

    use super::*;

    async fn replica(bytes: &[u8]) -> (tempfile::TempDir, Store, BlobId) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let blob = BlobId::random();
        store.make_fan_directory(blob).unwrap();
        std::fs::write(store.blob(blob), bytes).unwrap();
        (root, store, blob)
    }

    async fn read(replica: &Replica, start: u64, length: u64) -> Vec<u8> {
        let pieces: Vec<Bytes> = replica.stream(ByteRange { start, length }).try_collect().await.unwrap();
        pieces.concat()
    }

    #[tokio::test]
    async fn ranges_give_exactly_their_bytes() {
        let bytes: Vec<u8> = (0..BUFFER_BYTES * 2 + 9).map(|at| (at % 241) as u8).collect();
        let (_root, store, blob) = replica(&bytes).await;
        let replica = Replica::open(&store, blob).await.unwrap();
        assert!(read(&replica, 0, replica.size()).await == bytes);
        assert!(read(&replica, 5, BUFFER_BYTES as u64 + 7).await == bytes[5..BUFFER_BYTES + 12]);
        assert!(read(&replica, replica.size(), 5).await.is_empty());
        assert!(read(&replica, replica.size() - 1, 500).await == bytes[bytes.len() - 1..]);
    }

    #[tokio::test]
    async fn a_removed_replica_stays_readable_for_those_who_have_it_open() {
        let (_root, store, blob) = replica(b"still here").await;
        let replica = Replica::open(&store, blob).await.unwrap();
        std::fs::remove_file(store.blob(blob)).unwrap();
        assert_eq!(read(&replica, 0, 99).await, b"still here");
        assert!(matches!(Replica::open(&store, blob).await, Err(StoreError::NotHere(_))));
    }

    #[tokio::test]
    async fn a_file_that_shrank_is_an_error_and_not_a_short_answer() {
        let (_root, store, blob) = replica(&vec![1; BUFFER_BYTES * 2]).await;
        let replica = Replica::open(&store, blob).await.unwrap();
        File::options().write(true).open(store.blob(blob)).unwrap().set_len(10).unwrap();
        let pieces: Vec<_> = replica.stream(ByteRange::whole(replica.size())).collect().await;
        assert!(pieces.last().unwrap().is_err());
    }
}
