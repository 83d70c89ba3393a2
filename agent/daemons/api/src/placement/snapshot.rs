//! The capacity of all hypervisors as of at most a second ago, with the admissions made through this process applied.

use std::time::{Duration, Instant};

use sf_gateway::CallClass;
use sf_protos::scheduler::{GetCapacityRequest, NodeCapacity};
use sf_scheduler::Snapshot;
use sf_scheduler::wire::{capacity_from_wire, snapshot_from_wire};
use tokio::sync::Mutex;

use super::figures;
use crate::api::Api;
use crate::error::ApiError;

/// The one snapshot of the process.
#[derive(Debug, Default)]
pub struct CapacityCache {
    kept: Mutex<Option<(Instant, Snapshot)>>,
}

/// Whether figures were read for the decision at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Read just now.
    Fresh,
    /// Read for an earlier decision, at most the configured time ago.
    Kept,
}

impl CapacityCache {
    /// A snapshot not older than configured. Concurrent refreshes are one call, because the lock is held meanwhile.
    /// A request about tags or blobs is answered for itself: such figures are not kept.
    ///
    /// # Errors
    /// The database tier does not answer.
    pub async fn snapshot(
        &self,
        api: &Api,
        request: GetCapacityRequest,
    ) -> Result<(Snapshot, Age), ApiError> {
        let special = !request.tags.is_empty() || !request.blob_uuids.is_empty();
        if special {
            return Ok((fetch(api, request).await?, Age::Fresh));
        }
        let max_age = api.daemon.cluster.current().scheduler_cache_timeout;
        let mut kept = self.kept.lock().await;
        match kept.as_ref().filter(|(at, _)| is_fresh(*at, max_age)) {
            Some((at, snapshot)) => {
                figures::snapshot_used(*at);
                Ok((snapshot.clone(), Age::Kept))
            }
            None => {
                let snapshot = fetch(api, request).await?;
                *kept = Some((Instant::now(), snapshot.clone()));
                Ok((snapshot, Age::Fresh))
            }
        }
    }

    /// Makes the next snapshot a new one, when the present one proved wrong or may be.
    pub async fn expire(&self) {
        *self.kept.lock().await = None;
    }

    /// Applies an admission, so that a burst spreads.
    pub async fn admitted(&self, node: &NodeCapacity, tags: &[String]) {
        let (Ok(id), Some(capacity)) = (node.node_uuid.parse(), capacity_from_wire(node)) else { return };
        if let Some((_, snapshot)) = self.kept.lock().await.as_mut() {
            snapshot.apply_admission(id, capacity, tags);
        }
    }
}

fn is_fresh(at: Instant, max_age: Duration) -> bool {
    at.elapsed() <= max_age
}

async fn fetch(api: &Api, request: GetCapacityRequest) -> Result<Snapshot, ApiError> {
    let read = Instant::now();
    let snapshot = snapshot_from_wire(&api.tier(CallClass::Interactive, request).await?);
    figures::snapshot_read(&snapshot);
    figures::snapshot_used(read);
    Ok(snapshot)
}
