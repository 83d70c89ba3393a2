//! Removes quarantined replicas after their time, or at once when the store is low on space.

use std::time::Duration;

use sf_blobs::durable;
use sf_blobs::space::Level;

use super::count_removed;
use crate::error::{WorkError, blocking};
use crate::service::Service;

pub(super) const INTERVAL: Duration = Duration::from_secs(3600);

impl Service {
    /// One pass over `quarantine/`.
    pub(super) async fn sweep_quarantine(&self) -> Result<(), WorkError> {
        let level = self.space().await?.level(self.ledger.reserved(), self.reservation());
        let keep = if level == Level::Normal {
            self.ctx.cluster.current().quarantine_retention
        } else {
            Duration::ZERO
        };
        let directory = self.store.quarantine();
        blocking(move || {
            let unreadable = |error: std::io::Error| {
                WorkError::Failed(format!("cannot list {}: {error}", directory.display()))
            };
            for entry in std::fs::read_dir(&directory).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                // Names that begin with an underscore belong to health probes.
                if entry.file_name().to_string_lossy().starts_with('_') {
                    continue;
                }
                let Ok(metadata) = entry.metadata() else { continue };
                let age = metadata.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
                if age >= keep && durable::remove_if_present(&entry.path())? {
                    count_removed("quarantine", metadata.len());
                }
            }
            Ok::<_, WorkError>(())
        })
        .await
    }
}
