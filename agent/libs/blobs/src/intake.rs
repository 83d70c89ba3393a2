//! Bytes arriving in the staging directory: the partial, its journal and its hashes, over as many connections as it
//! takes. A connection that ends early costs nothing; what reached the disk outlives the daemon.

use std::fs::File;
use std::sync::atomic::AtomicBool;

use crate::commit::Staged;
use crate::error::StoreError;
use crate::hashing::{Algorithm, HasherSet};
use crate::journal::Journal;
use crate::layout::Store;
use crate::pipeline::{Ingested, Pipeline};
use crate::rescan::{self, RescanError};

/// One blob on its way in.
pub struct Intake {
    store: Store,
    journal: Journal,
    running: Option<Running>,
}

struct Running {
    staged: Staged,
    pipeline: Pipeline,
    recorded: u64,
}

impl Intake {
    /// Nothing is opened yet.
    pub fn new(store: &Store, journal: Journal) -> Self {
        Self { store: store.clone(), journal, running: None }
    }

    /// What the next [`Intake::begin`] writes down.
    pub fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Bytes taken so far; `None` before the first one can be.
    pub fn size(&self) -> Option<u64> {
        self.running.as_ref().map(|running| running.pipeline.size())
    }

    /// Starts at the first byte, over whatever was there.
    ///
    /// # Errors
    /// As [`Staged::begin`].
    pub async fn begin(&mut self, algorithms: &[Algorithm]) -> Result<(), StoreError> {
        self.running = None;
        self.journal.verified_offset = 0;
        self.open(0, HasherSet::new(algorithms)).await
    }

    /// Continues the partial that an earlier life kept: its bytes are hashed again, because the states died with the
    /// daemon. Without such a partial nothing is opened.
    ///
    /// # Errors
    /// As [`Staged::begin`].
    pub async fn take_up(&mut self, algorithms: &[Algorithm]) -> Result<(), StoreError> {
        let offset = self.journal.verified_offset;
        if offset == 0 || !self.journal.is_resumable() {
            self.journal.verified_offset = 0;
            return Ok(());
        }
        let path = self.store.partial(self.journal.purpose, self.journal.blob);
        let mut hashers = HasherSet::new(algorithms);
        let fed = blocking(move || {
            match rescan::feed(&path, Some(offset), &mut hashers, true, &AtomicBool::new(false)) {
                Ok(fed) => Ok((fed, hashers)),
                Err(RescanError::Store(error)) => Err(error),
                Err(RescanError::Cancelled) => Err(StoreError::ThreadGone("rescan")),
            }
        });
        match fed.await {
            Ok((fed, hashers)) if fed == offset => self.open(offset, hashers).await,
            _ => {
                self.journal.verified_offset = 0;
                Ok(())
            }
        }
    }

    /// Takes bytes, and notes in the journal what has reached the disk whenever that grew.
    ///
    /// # Errors
    /// Nothing was opened, or the disk fails.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let running = self.running.as_mut().ok_or(StoreError::ThreadGone("intake"))?;
        running.pipeline.write(bytes).await?;
        let flushed = running.pipeline.flushed();
        if flushed == running.recorded {
            return Ok(());
        }
        let Some(Running { mut staged, pipeline, .. }) = self.running.take() else { return Ok(()) };
        let recorded = blocking(move || {
            staged.record_progress(flushed)?;
            Ok(staged)
        });
        self.running = Some(Running { staged: recorded.await?, pipeline, recorded: flushed });
        Ok(())
    }

    /// Waits until everything is written and hashed. The partial of a failed one is removed.
    ///
    /// # Errors
    /// As [`Pipeline::finish`].
    pub async fn finish(&mut self) -> Result<(Staged, Ingested), StoreError> {
        let Running { staged, pipeline, .. } = self.running.take().ok_or(StoreError::ThreadGone("intake"))?;
        match pipeline.finish().await {
            Ok(ingested) => Ok((staged, ingested)),
            Err(error) => {
                blocking(move || staged.discard()).await?;
                Err(error)
            }
        }
    }

    /// Removes the partial; the next [`Intake::begin`] starts anew.
    ///
    /// # Errors
    /// A file could not be removed; recovery will meet it again.
    pub async fn discard(&mut self) -> Result<(), StoreError> {
        self.journal.verified_offset = 0;
        if let Some(Running { staged, pipeline, .. }) = self.running.take() {
            drop(pipeline);
            blocking(move || staged.discard()).await?;
        }
        Ok(())
    }

    async fn open(&mut self, offset: u64, hashers: HasherSet) -> Result<(), StoreError> {
        let (store, journal) = (self.store.clone(), self.journal.clone());
        let (staged, file): (Staged, File) = blocking(move || Staged::begin(&store, journal)).await?;
        let pipeline = Pipeline::start(file, staged.path(), offset, hashers)?;
        self.running = Some(Running { staged, pipeline, recorded: offset });
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::ThreadGone("storage"))?
}

#[cfg(test)]
mod tests {
    use sf_model::BlobId;

    use super::*;
    use crate::pipeline::FLUSH_EVERY;
    use crate::purpose::Purpose;

    fn bytes() -> Vec<u8> {
        (0..FLUSH_EVERY + 77).map(|at| (at % 251) as u8).collect()
    }

    #[tokio::test]
    async fn a_partial_of_an_earlier_life_goes_on_where_the_journal_vouches_for_it() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let (bytes, journal) = (bytes(), Journal::new(Purpose::Pull, BlobId::random()));
        let mut first = Intake::new(&store, journal.clone());
        first.begin(&[Algorithm::Blake3]).await.unwrap();
        first.write(&bytes).await.unwrap();
        // The writer is a thread of its own: one more byte after its flush brings the journal up to date.
        let kept = loop {
            first.write(&[]).await.unwrap();
            let path = store.journal(Purpose::Pull, journal.blob);
            let kept = Journal::load(&path).unwrap().unwrap();
            if kept.verified_offset > 0 {
                break kept;
            }
            tokio::task::yield_now().await;
        };
        drop(first);
        let mut second = Intake::new(&store, kept.clone());
        second.take_up(&[Algorithm::Blake3]).await.unwrap();
        let size = second.size().unwrap();
        assert_eq!(size, kept.verified_offset);
        second.write(&bytes[usize::try_from(size).unwrap()..]).await.unwrap();
        let (staged, ingested) = second.finish().await.unwrap();
        assert_eq!(ingested.digests[&Algorithm::Blake3], blake3::hash(&bytes).to_hex().to_string());
        staged.discard().unwrap();
        assert_eq!(std::fs::read_dir(store.staging()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn without_a_partial_nothing_is_opened_and_discarding_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let mut journal = Journal::new(Purpose::Pull, BlobId::random());
        journal.verified_offset = 5;
        let mut intake = Intake::new(&store, journal);
        intake.take_up(&[Algorithm::Blake3]).await.unwrap();
        assert_eq!(intake.size(), None);
        assert!(intake.write(b"x").await.is_err());
        intake.begin(&[Algorithm::Blake3]).await.unwrap();
        intake.write(b"x").await.unwrap();
        intake.discard().await.unwrap();
        assert_eq!(std::fs::read_dir(store.staging()).unwrap().count(), 0);
    }
}
