//! Tells the database which uploads are alive and removes the bytes of those that are not (`storage.md` §11.4).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use sf_gateway::{CallClass, DbError};
use sf_model::UploadId;
use sf_protos::blobs::{GetUploadRequest, TouchUploadsRequest};
use sf_protos::common::Caller;

use super::count_removed;
use crate::error::{WorkError, blocking};
use crate::service::Service;

pub(super) const TOUCH_EVERY: Duration = Duration::from_secs(60);
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(300);

/// A file without a row is left alone for this long: its row may be about to appear.
const GRACE: Duration = Duration::from_secs(3600);
/// Open files nobody uses are closed after this long.
const CLOSE_AFTER: Duration = Duration::from_secs(600);
/// Uploads of one call.
const BATCH: usize = 500;

impl Service {
    /// Reports uploads that got bytes since the last pass, and drops those whose row is gone.
    pub(super) async fn touch_uploads(&self) -> Result<(), WorkError> {
        let fresh: Vec<UploadId> = self
            .upload_files()
            .await?
            .into_iter()
            .filter(|(_, age)| *age < TOUCH_EVERY * 2)
            .map(|(id, _)| id)
            .collect();
        for batch in fresh.chunks(BATCH) {
            let request = TouchUploadsRequest {
                node_uuid: self.node().to_string(),
                upload_uuids: batch.iter().map(ToString::to_string).collect(),
            };
            let reply = self.ctx.gateway.call(CallClass::Background, request).await?;
            // A row that is not there yet and one that is gone look the same; the sweep tells them apart by age.
            if !reply.gone.is_empty() {
                tracing::debug!(count = reply.gone.len(), "uploads without a row were touched");
            }
        }
        self.uploads.close_idle(CLOSE_AFTER);
        Ok(())
    }

    /// Removes files without a live upload.
    pub(super) async fn sweep_uploads(&self) -> Result<(), WorkError> {
        let idle = self.upload_files().await?.into_iter().filter(|(_, age)| *age > GRACE);
        for (upload, age) in idle {
            if self.ctx.shutdown.is_requested() {
                break;
            }
            let caller = Some(Caller { namespace: "system".to_owned() });
            let request = GetUploadRequest { caller, upload_uuid: upload.to_string() };
            let gone = match self.ctx.gateway.call(CallClass::Background, request).await {
                Ok(reply) => {
                    reply.upload.and_then(|upload| upload.state).is_some_and(|state| state.state == "deleted")
                }
                Err(DbError::NotFound { .. }) => true,
                Err(error) => return Err(error.into()),
            };
            if gone {
                self.remove_upload(upload, age).await?;
            }
        }
        Ok(())
    }

    async fn remove_upload(&self, upload: UploadId, idle: Duration) -> Result<(), WorkError> {
        let path = self.store.upload(upload);
        let size = blocking(move || sf_blobs::durable::size_if_present(&path)).await?.unwrap_or(0);
        if self.uploads.discard(upload).await? {
            count_removed("upload", size);
            metrics::counter!("uploads_reaped_total").increment(1);
            tracing::info!(%upload, bytes = size, idle_seconds = idle.as_secs(), "the bytes of an ended upload were removed");
        }
        Ok(())
    }

    /// Every upload with a file here, and how long ago the file changed.
    async fn upload_files(&self) -> Result<BTreeMap<UploadId, Duration>, WorkError> {
        let directory = self.store.uploads();
        blocking(move || {
            let unreadable = |error: std::io::Error| {
                WorkError::Failed(format!("cannot list {}: {error}", directory.display()))
            };
            let mut files: BTreeMap<UploadId, Duration> = BTreeMap::new();
            for entry in std::fs::read_dir(&directory).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let path = entry.path();
                let Some(upload) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()) else {
                    continue;
                };
                let changed =
                    entry.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::now());
                let age = changed.elapsed().unwrap_or_default();
                files.entry(upload).and_modify(|known| *known = age.min(*known)).or_insert(age);
            }
            Ok::<_, WorkError>(files)
        })
        .await
    }
}
