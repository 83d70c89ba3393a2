//! Publishes how full the store is.

use std::time::Duration;

use sf_blobs::space::{Level, Space};

use crate::error::{WorkError, blocking};
use crate::service::Service;

pub(super) const INTERVAL: Duration = Duration::from_secs(30);

impl Service {
    /// Measures the file system of the store and sets the gauges.
    pub(super) async fn measure_space(&self) -> Result<(), WorkError> {
        let space = self.space().await?;
        let reserved = self.ledger.reserved();
        let level = space.level(reserved, self.reservation());
        set("storage_reserved_bytes", reserved);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
        metrics::gauge!("storage_free_bytes", "fs" => "store").set(space.free_bytes as f64);
        for known in Level::ALL {
            metrics::gauge!("storage_watermark", "level" => known.as_str()).set(if known == level {
                1.0
            } else {
                0.0
            });
        }
        if level >= Level::Full {
            tracing::warn!(
                level = level.as_str(),
                free = space.free_bytes,
                "the store is nearly full: new bytes are refused"
            );
        }
        set("uploads_active", self.uploads.active() as u64);
        Ok(())
    }

    pub(super) async fn space(&self) -> Result<Space, WorkError> {
        let root = self.store.root().to_owned();
        blocking(move || Space::measure(&root)).await
    }
}

pub(super) fn set(name: &'static str, value: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    metrics::gauge!(name).set(value as f64);
}
