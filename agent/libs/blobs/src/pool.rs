//! A fixed number of large buffers, so that the memory of a stream does not depend on how long it is.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Size of every buffer: large enough that system calls do not matter, small enough to keep many.
pub const BUFFER_BYTES: usize = 1 << 20;

/// A pool of buffers of [`BUFFER_BYTES`] each. Cheap to clone; clones share the buffers.
#[derive(Debug, Clone)]
pub struct BufferPool {
    permits: Arc<Semaphore>,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// One buffer; dropping it returns it to its pool.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    _permit: OwnedSemaphorePermit,
}

impl BufferPool {
    /// A pool of `count` buffers. Memory is taken when a buffer is first used.
    pub fn new(count: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(count)), free: Arc::default() }
    }

    /// Waits for a buffer. It is empty and has [`BUFFER_BYTES`] of room. `None` cannot happen while the pool exists.
    pub async fn take(&self) -> Option<Buffer> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let mut bytes = self.free.lock().pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
        bytes.clear();
        Some(Buffer { bytes, free: Arc::clone(&self.free), _permit: permit })
    }
}

impl Buffer {
    /// How many bytes still fit.
    pub fn room(&self) -> usize {
        BUFFER_BYTES.saturating_sub(self.bytes.len())
    }

    /// Takes as much of `bytes` as fits and returns the rest.
    pub fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(bytes.len().min(self.room()));
        self.bytes.extend_from_slice(taken);
        rest
    }

    /// The storage itself, for readers that fill it from a file.
    pub fn storage(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.free.lock().push(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_buffer_is_waited_for_and_reused() {
        let pool = BufferPool::new(1);
        let mut first = pool.take().await.unwrap();
        assert_eq!(first.fill(b"abc"), b"");
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.take().await.unwrap().as_ref().len() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert_eq!(waiting.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_given_back() {
        let mut buffer = BufferPool::new(1).take().await.unwrap();
        let much = vec![7; BUFFER_BYTES + 3];
        assert_eq!(buffer.fill(&much), &[7, 7, 7]);
        assert_eq!(buffer.room(), 0);
    }
}
