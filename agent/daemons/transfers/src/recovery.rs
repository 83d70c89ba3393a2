//! Puts right what an earlier life left half done: once before serving, then every minute for work that has no
//! owner any more.

use std::sync::Arc;
use std::time::Duration;

use sf_blobs::journal::Journal;
use sf_blobs::purpose::Purpose;
use sf_blobs::recovery::{self, Found, Recovered};
use sf_runtime::{Loop, Pass};

use crate::error::{WorkError, blocking};
use crate::service::Service;

const INTERVAL: Duration = Duration::from_secs(60);

/// How long a partial waits for its producer.
const KEEP_PARTIALS: Duration = Duration::from_secs(24 * 3600);

impl Service {
    /// Recovers everything nobody is working on. Work that needs the database waits for the next pass when it is away.
    ///
    /// # Errors
    /// The staging directory cannot be read.
    pub(crate) async fn recover(&self) -> Result<(), WorkError> {
        let store = self.store.clone();
        let finds = blocking(move || recovery::scan(&store)).await?;
        for found in finds.into_iter().filter(|found| !self.leases.has(found.blob)) {
            let (blob, purpose) = (found.blob, found.purpose);
            if let Err(error) = self.recover_one(found).await {
                tracing::warn!(%blob, %purpose, %error, "not recovered yet, will be tried again");
            }
        }
        Ok(())
    }

    async fn recover_one(&self, found: Found) -> Result<(), WorkError> {
        let (blob, purpose) = (found.blob, found.purpose);
        // A conversion has no lease, and its age says nothing: the image tool may write nothing for minutes.
        if purpose == Purpose::Xcode && self.images.has(&blob) {
            return Ok(());
        }
        let found = if self.is_younger(&found, KEEP_PARTIALS) {
            found
        } else {
            Found { journal: without_hope(found.journal), ..found }
        };
        let store = self.store.clone();
        match blocking(move || recovery::apply(&store, found)).await? {
            Recovered::Commit(published) => {
                let reply = self.commit_published(published).await?;
                tracing::info!(%blob, %purpose, deduplicated = reply.deduplicated, "a commit was repeated after a restart");
            }
            Recovered::Abort(blob) => self.abort(blob, "the producer ended before it was done").await,
            Recovered::Kept(journal) => {
                tracing::debug!(%blob, %purpose, offset = journal.verified_offset, "a partial waits for its producer");
            }
            Recovered::Removed => tracing::info!(%blob, %purpose, "bytes without a journal were removed"),
        }
        Ok(())
    }

    fn is_younger(&self, found: &Found, age: Duration) -> bool {
        let changed =
            std::fs::metadata(self.store.partial(found.purpose, found.blob)).and_then(|file| file.modified());
        changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|elapsed| elapsed < age))
    }

    /// The journal of a kept download of this URL, if there is one and nobody continues it.
    pub(crate) async fn find_partial(&self, url: &str) -> Option<Journal> {
        let store = self.store.clone();
        let finds = blocking(move || recovery::scan(&store)).await.ok()?;
        finds.into_iter().filter(|found| !self.leases.has(found.blob)).filter_map(|found| found.journal).find(
            |journal| {
                journal.purpose == Purpose::Fetch
                    && journal.is_resumable()
                    && journal.verified_offset > 0
                    && journal.sealed.is_none()
                    && journal.validators.as_ref().is_some_and(|known| known.url == url)
            },
        )
    }
}

/// Makes a partial that has waited too long look like one that cannot be resumed.
fn without_hope(journal: Option<Journal>) -> Option<Journal> {
    journal.map(|journal| Journal { verified_offset: 0, ..journal })
}

/// Runs until shutdown.
pub(crate) async fn watch(service: Arc<Service>) {
    let (shutdown, liveness) = (service.ctx.shutdown.clone(), service.ctx.liveness.clone());
    let pass = move |_| {
        let service = Arc::clone(&service);
        async move { service.recover().await.map(|()| Pass::Done) }
    };
    Loop::every("staging-recovery", INTERVAL)
        .max_silence(Duration::from_secs(600))
        .run(shutdown, liveness, pass)
        .await;
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use sf_model::BlobId;
    use tokio::sync::Notify;

    use super::*;
    use crate::testing::rig;

    #[tokio::test]
    async fn a_conversion_keeps_its_output_however_long_it_writes_nothing() {
        let rig = rig(&[]);
        let (service, blob) = (Arc::clone(&rig.service), BlobId::random());
        let partial = service.store.partial(Purpose::Xcode, blob);
        let long_ago = SystemTime::now() - KEEP_PARTIALS * 2;
        File::create(&partial).unwrap().set_modified(long_ago).unwrap();

        let ended = Arc::new(Notify::new());
        let (ending, end) = (service.ctx.shutdown.token(), Arc::clone(&ended));
        let conversion = service.images.join(blob, &ending, |_| async move {
            end.notified().await;
            Err(WorkError::Failed("deliberate".to_owned()))
        });
        let recovery = async {
            service.recover().await.unwrap();
            assert!(partial.exists(), "the image tool still writes to it");
            ended.notify_one();
        };
        tokio::join!(biased; conversion, recovery).0.unwrap().unwrap_err();
        service.recover().await.unwrap();
        assert!(!partial.exists(), "nobody writes to it any more");
    }
}
