//! Client uploads in progress on this node: one writer each, chunks that are taken whole or not at all, and the rules
//! by which a chunk sent twice counts once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use sf_model::UploadId;
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::durable;
use crate::error::StoreError;
use crate::hashing::Digests;
use crate::layout::Store;
use crate::pool::BUFFER_BYTES;
use crate::rescan::RescanError;
pub use crate::upload_error::UploadError;
pub use crate::upload_file::Receipt;
use crate::upload_file::UploadFile;

/// How long an append waits for the one before it: clients resend after a broken connection while the node is still
/// tearing the old request down.
pub const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// Limits on what clients may send.
#[derive(Debug, Clone, Copy)]
pub struct UploadLimits {
    /// Largest chunk in bytes.
    pub chunk: u64,
    /// Largest upload in bytes.
    pub total: u64,
}

/// What the client said about a chunk besides its bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct AppendOptions {
    /// Announced length of the chunk.
    pub length: Option<u64>,
    /// Where the client believes the upload ends (`Upload-Offset`).
    pub offset: Option<u64>,
    /// The proxy in front knows that the answer to the previous chunk never reached the client.
    pub previous_undelivered: bool,
}

/// A chunk that was taken.
#[derive(Debug)]
pub struct Appended {
    /// Bytes in the upload now.
    pub size: u64,
    /// To be told when the answer has left.
    pub receipt: Receipt,
}

/// The uploads of this node.
#[derive(Clone)]
pub struct Uploads {
    store: Store,
    open: Arc<Mutex<HashMap<UploadId, Entry>>>,
}

type Slot = Arc<tokio::sync::Mutex<Option<UploadFile>>>;

struct Entry {
    slot: Slot,
    used: Instant,
}

/// Exclusive hold on an upload that is being turned into a blob. Dropping it lets the client go on, with a file that is
/// opened anew: the bytes held here may be a blob's by now, even when nobody could say so.
pub struct Committing {
    guard: OwnedMutexGuard<Option<UploadFile>>,
    /// Bytes in the upload.
    pub size: u64,
    /// The values over all of them.
    pub digests: Digests,
}

impl Uploads {
    /// The uploads below `store`.
    pub fn new(store: Store) -> Self {
        Self { store, open: Arc::default() }
    }

    /// Makes a new, empty upload. One that exists stays as it is.
    ///
    /// # Errors
    /// The files cannot be made.
    pub async fn create(&self, upload: UploadId) -> Result<(), UploadError> {
        let store = self.store.clone();
        blocking(move || Ok(UploadFile::create(&store, upload)?)).await
    }

    /// Bytes in the upload.
    ///
    /// # Errors
    /// [`UploadError::Lost`] when its file is gone, [`UploadError::Busy`] while a chunk takes long.
    pub async fn size(&self, upload: UploadId) -> Result<u64, UploadError> {
        let guard = self.hold(upload).await?;
        Ok(guard.as_ref().map_or(0, UploadFile::size))
    }

    /// Appends one chunk. It counts only when all of it has been written; the answer is the new size.
    ///
    /// # Errors
    /// See [`UploadError`]; after any of them the upload is as it was before.
    pub async fn append<S, E>(
        &self,
        upload: UploadId,
        options: AppendOptions,
        limits: UploadLimits,
        body: S,
    ) -> Result<Appended, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        if options.length.is_some_and(|length| length > limits.chunk) {
            return Err(UploadError::TooLarge { limit: limits.chunk });
        }
        let guard = self.hold(upload).await?;
        let size = guard.as_ref().map_or(0, UploadFile::size);
        let permitted = limits.chunk.min(limits.total.saturating_sub(size));
        if options.length.is_some_and(|length| length > permitted) {
            return Err(UploadError::TooLarge { limit: limits.total });
        }
        let (sender, receiver) = mpsc::channel(8);
        let writing = tokio::task::spawn_blocking(move || take_chunk(guard, options, receiver));
        forward(body, options.length, permitted, sender).await;
        writing.await.map_err(|_| StoreError::ThreadGone("upload writer"))?
    }

    /// Cuts the upload back.
    ///
    /// # Errors
    /// [`UploadError::BeyondEnd`] when it is shorter than that.
    pub async fn truncate(&self, upload: UploadId, length: u64) -> Result<(), UploadError> {
        let mut guard = self.hold(upload).await?;
        blocking(move || {
            let Some(file) = guard.as_mut() else { return Err(UploadError::Lost) };
            if length > file.size() {
                return Err(UploadError::BeyondEnd { size: file.size() });
            }
            Ok(file.truncate(length)?)
        })
        .await
    }

    /// Takes exclusive hold of an upload and finishes its hashes.
    ///
    /// # Errors
    /// [`UploadError::Busy`] while a chunk is being written, [`UploadError::Lost`] when the file is gone.
    pub async fn begin_commit(
        &self,
        upload: UploadId,
        cancelled: Arc<AtomicBool>,
    ) -> Result<Committing, UploadError> {
        let mut guard = self.hold(upload).await?;
        blocking(move || {
            let Some(file) = guard.as_mut() else { return Err(UploadError::Lost) };
            let digests = file.digests(&cancelled).map_err(|error| match error {
                RescanError::Cancelled => UploadError::Busy,
                RescanError::Store(error) => UploadError::Store(error),
            })?;
            let size = file.size();
            Ok(Committing { guard, size, digests })
        })
        .await
    }

    /// Removes an upload and its files. Returns whether there was one.
    ///
    /// # Errors
    /// [`UploadError::Busy`] while it is being written or committed.
    pub async fn discard(&self, upload: UploadId) -> Result<bool, UploadError> {
        match self.hold(upload).await {
            Ok(mut guard) => *guard = None,
            Err(UploadError::Lost) => {}
            Err(error) => return Err(error),
        }
        self.open.lock().remove(&upload);
        let store = self.store.clone();
        blocking(move || {
            durable::remove_if_present(&store.upload_length(upload))?;
            Ok(durable::remove_if_present(&store.upload(upload))?)
        })
        .await
    }

    /// Closes files nobody has touched for a while. Their next use opens them again.
    pub fn close_idle(&self, idle: Duration) {
        self.open.lock().retain(|_, entry| entry.used.elapsed() < idle || Arc::strong_count(&entry.slot) > 1);
    }

    /// How many uploads are open.
    pub fn active(&self) -> usize {
        self.open.lock().len()
    }

    async fn hold(&self, upload: UploadId) -> Result<OwnedMutexGuard<Option<UploadFile>>, UploadError> {
        let slot = {
            let mut open = self.open.lock();
            let entry =
                open.entry(upload).or_insert_with(|| Entry { slot: Slot::default(), used: Instant::now() });
            entry.used = Instant::now();
            Arc::clone(&entry.slot)
        };
        let mut guard =
            tokio::time::timeout(WRITER_PATIENCE, slot.lock_owned()).await.map_err(|_| UploadError::Busy)?;
        if guard.is_none() {
            let store = self.store.clone();
            match blocking(move || UploadFile::open(&store, upload)).await {
                Ok(file) => *guard = Some(file),
                Err(error) => {
                    self.open.lock().remove(&upload);
                    return Err(error);
                }
            }
        }
        Ok(guard)
    }
}

impl Committing {
    /// Where the bytes are.
    pub fn path(&self) -> Option<std::path::PathBuf> {
        self.guard.as_ref().map(|file| file.path().to_owned())
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        *self.guard = None;
    }
}

/// What the forwarding side tells the writing side.
enum Piece {
    Bytes(Bytes),
    /// The body ended as it should.
    End,
    /// The body is longer than permitted.
    TooLong(u64),
}

async fn forward<S, E>(mut body: S, length: Option<u64>, permitted: u64, sender: mpsc::Sender<Piece>)
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut seen = 0;
    while let Some(item) = body.next().await {
        // A broken body ends without `End`, which is how the writer knows.
        let Ok(bytes) = item else { return };
        seen += bytes.len() as u64;
        if seen > permitted {
            let _ = sender.send(Piece::TooLong(permitted)).await;
            return;
        }
        if sender.send(Piece::Bytes(bytes)).await.is_err() {
            return;
        }
    }
    if length.is_none_or(|length| length == seen) {
        let _ = sender.send(Piece::End).await;
    }
}

fn take_chunk(
    mut guard: OwnedMutexGuard<Option<UploadFile>>,
    options: AppendOptions,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Appended, UploadError> {
    let Some(file) = guard.as_mut() else { return Err(UploadError::Lost) };
    let mut chunk = file.begin_chunk();
    let written = write_pieces(file, &mut chunk, &mut pieces);
    let decided = written.and_then(|length| decide(file, &chunk, options, length));
    match decided {
        Ok(Verdict::Append) => {
            let receipt = file.accept(chunk)?;
            Ok(Appended { size: file.size(), receipt })
        }
        Ok(Verdict::Replay) => {
            file.reject()?;
            Ok(Appended { size: file.size(), receipt: file.last_receipt() })
        }
        Err(error) => {
            file.reject()?;
            Err(error)
        }
    }
}

/// Writes what arrives, in pieces large enough to hash in parallel, and returns how much it was.
fn write_pieces(
    file: &mut UploadFile,
    chunk: &mut crate::upload_file::Chunk,
    pieces: &mut mpsc::Receiver<Piece>,
) -> Result<u64, UploadError> {
    let mut gathered: Vec<u8> = Vec::new();
    let mut received = 0;
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(bytes)) => {
                received += bytes.len() as u64;
                gathered.extend_from_slice(&bytes);
                if gathered.len() >= BUFFER_BYTES {
                    file.write(chunk, &gathered)?;
                    gathered.clear();
                }
            }
            Some(Piece::End) => {
                file.write(chunk, &gathered)?;
                return Ok(received);
            }
            Some(Piece::TooLong(limit)) => return Err(UploadError::TooLarge { limit }),
            None => return Err(UploadError::Cut { received }),
        }
    }
}

enum Verdict {
    Append,
    Replay,
}

fn decide(
    file: &UploadFile,
    chunk: &crate::upload_file::Chunk,
    options: AppendOptions,
    length: u64,
) -> Result<Verdict, UploadError> {
    let size = file.size();
    match options.offset {
        Some(offset) if offset == size => Ok(Verdict::Append),
        Some(offset) if offset.checked_add(length) == Some(size) && file.is_last_again(chunk) => {
            Ok(Verdict::Replay)
        }
        Some(_) => Err(UploadError::OffsetMismatch { size }),
        None if (options.previous_undelivered || file.last_is_undelivered()) && file.is_last_again(chunk) => {
            Ok(Verdict::Replay)
        }
        None => Ok(Verdict::Append),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::ThreadGone("upload"))?
}
