//! Hashes that nobody needed when the blob arrived, computed one at a time with one sequential read.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use sf_blobs::Algorithm;
use sf_blobs::hashing::HasherSet;
use sf_blobs::rescan::{self, RescanError};
use sf_gateway::CallClass;
use sf_model::BlobId;
use sf_protos::blobs::RecordHashRequest;
use tokio::sync::Notify;

use crate::committer::hashes;
use crate::error::{WorkError, blocking};
use crate::service::Service;

/// More requests than this are refused; a client asks again by polling.
const MAX_QUEUED: usize = 10_000;

/// What is asked for. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct HashQueue(Arc<Inner>);

#[derive(Default)]
struct Inner {
    waiting: Mutex<VecDeque<(BlobId, Algorithm)>>,
    work: Notify,
}

impl HashQueue {
    /// Asks for a value. False when it was asked for before or the queue is full.
    pub(crate) fn ask(&self, blob: BlobId, algorithm: Algorithm) -> bool {
        let mut waiting = self.0.waiting.lock();
        if waiting.len() >= MAX_QUEUED || waiting.contains(&(blob, algorithm)) {
            return false;
        }
        waiting.push_back((blob, algorithm));
        self.0.work.notify_one();
        true
    }

    /// Takes the next blob with everything asked of it.
    async fn next(&self) -> (BlobId, Vec<Algorithm>) {
        loop {
            if let Some(job) = self.try_next() {
                return job;
            }
            self.0.work.notified().await;
        }
    }

    fn try_next(&self) -> Option<(BlobId, Vec<Algorithm>)> {
        let mut waiting = self.0.waiting.lock();
        let (blob, _) = *waiting.front()?;
        let asked: BTreeSet<Algorithm> =
            waiting.iter().filter(|(other, _)| *other == blob).map(|(_, algorithm)| *algorithm).collect();
        waiting.retain(|(other, _)| *other != blob);
        Some((blob, asked.into_iter().collect()))
    }
}

/// Computes until shutdown.
pub(crate) async fn compute(service: Arc<Service>) {
    let stopping = Arc::new(AtomicBool::new(false));
    while let Some((blob, asked)) = service.ctx.shutdown.unless(service.hashes.next()).await {
        let work = service.compute_hashes(blob, asked.clone(), Arc::clone(&stopping));
        match service.ctx.shutdown.unless(work).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%blob, ?asked, %error, "a hash could not be computed"),
            None => stopping.store(true, Ordering::Relaxed),
        }
    }
}

impl Service {
    async fn compute_hashes(
        &self,
        blob: BlobId,
        asked: Vec<Algorithm>,
        stopping: Arc<AtomicBool>,
    ) -> Result<(), WorkError> {
        let path = self.store.blob(blob);
        let digests = blocking(move || {
            let mut hashers = HasherSet::new(&asked);
            match rescan::feed(&path, None, &mut hashers, true, &stopping) {
                Ok(_) => Ok(hashers.finish()),
                Err(RescanError::Store(error)) => Err(WorkError::from(error)),
                Err(RescanError::Cancelled) => Err(WorkError::Unavailable("stopping".to_owned())),
            }
        })
        .await?;
        let request =
            RecordHashRequest { context: None, blob_uuid: blob.to_string(), hashes: hashes(&digests) };
        self.ctx.gateway.call(CallClass::Background, request).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_read_once_for_everything_asked_of_it() {
        let queue = HashQueue::default();
        let (one, two) = (BlobId::random(), BlobId::random());
        assert!(queue.ask(one, Algorithm::Sha1));
        assert!(queue.ask(two, Algorithm::Sha1));
        assert!(queue.ask(one, Algorithm::Xxh128));
        assert!(!queue.ask(one, Algorithm::Xxh128), "asked before");
        assert_eq!(queue.try_next(), Some((one, vec![Algorithm::Sha1, Algorithm::Xxh128])));
        assert_eq!(queue.try_next(), Some((two, vec![Algorithm::Sha1])));
        assert_eq!(queue.try_next(), None);
    }
}
