//! Evicts disk bases nobody uses (`storage.md` §19.2), and rereads the image table.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sf_gateway::CallClass;
use sf_images::table::ImageTable;
use sf_model::BlobId;
use sf_protos::instances::ListInstancesForNodeRequest;

use super::{count_removed, space};
use crate::cache;
use crate::error::{WorkError, blocking};
use crate::service::Service;

pub(super) const INTERVAL: Duration = Duration::from_secs(300);

/// A deletion is decided on an answer no older than this.
const FRESH: Duration = Duration::from_secs(30);

impl Service {
    /// One pass. Without a complete answer about this node's instances nothing is evicted.
    pub(super) async fn sweep_cache(&self) -> Result<(), WorkError> {
        self.reload_table();
        let store = self.store.clone();
        let candidates = blocking(move || cache::list(&store)).await?;
        space::set("image_cache_bytes", candidates.iter().map(|candidate| candidate.bytes).sum());
        let asked = Instant::now();
        let named = self.named_blobs().await?;
        let idle = self.ctx.cluster.current().image_cache_idle;
        let max = self.ctx.config.image_cache_max_bytes;
        for chosen in cache::choose(candidates, |blob| named.contains(&blob), idle, max) {
            if asked.elapsed() > FRESH || self.ctx.shutdown.is_requested() {
                break;
            }
            let (store, blob) = (self.store.clone(), chosen.blob);
            blocking(move || cache::remove(&store, blob)).await?;
            count_removed("cache", chosen.bytes);
        }
        Ok(())
    }

    /// Blobs that disks of this node's instances are made over, deleted instances included until they are forgotten.
    async fn named_blobs(&self) -> Result<BTreeSet<BlobId>, WorkError> {
        let node_uuid = self.node().to_string();
        let request = |page| ListInstancesForNodeRequest { node_uuid: node_uuid.clone(), page: Some(page) };
        let all = self
            .ctx
            .gateway
            .collect_all(CallClass::Bulk, request, |reply| (reply.instances, reply.page))
            .await?;
        let disks = all.into_vec().into_iter().flat_map(|instance| instance.disks);
        Ok(disks.filter_map(|disk| disk.blob_uuid?.parse().ok()).collect())
    }

    /// A table that cannot be read leaves the one there is in place.
    pub(super) fn reload_table(&self) {
        let cluster = self.ctx.cluster.current();
        match ImageTable::load(&self.ctx.config.image_table, &cluster.image_download_url) {
            Ok(table) => self.table.store(Some(Arc::new(table))),
            Err(error) => tracing::error!(%error, "the image table of before goes on being used"),
        }
    }
}
