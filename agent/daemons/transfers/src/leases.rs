//! The leases of what this node is writing: renewed in one batch, and when one is lost its writer stops.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sf_gateway::{CallClass, DbError};
use sf_model::BlobId;
use sf_protos::blobs::RenewLeasesRequest;
use sf_runtime::{Loop, Pass};
use tokio_util::sync::CancellationToken;

use crate::service::Service;

/// A lease lasts 60 s; three renewals may be missed.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// Blobs being written. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct LeaseBook(Arc<Mutex<HashMap<BlobId, Entry>>>);

struct Entry {
    holder: String,
    reserved: bool,
    lost: CancellationToken,
}

/// One blob being written. While it lives its lease is renewed and no sweep touches its files.
pub(crate) struct Writing {
    book: LeaseBook,
    blob: BlobId,
    /// Cancelled when the lease is gone or the daemon ends.
    pub(crate) lost: CancellationToken,
}

impl LeaseBook {
    /// Enters a blob. `holder` is the operation or upload that pins it; `ending` ends with the daemon.
    pub(crate) fn enter(&self, blob: BlobId, holder: impl ToString, ending: &CancellationToken) -> Writing {
        let lost = ending.child_token();
        self.0.lock().insert(blob, Entry { holder: holder.to_string(), reserved: false, lost: lost.clone() });
        Writing { book: self.clone(), blob, lost }
    }

    /// Whether a blob is being written.
    pub(crate) fn has(&self, blob: BlobId) -> bool {
        self.0.lock().contains_key(&blob)
    }

    fn request(&self, node_uuid: String) -> Option<RenewLeasesRequest> {
        let book = self.0.lock();
        // Before its row exists a blob has no lease that could be lost.
        let reserved = book.iter().filter(|(_, entry)| entry.reserved);
        let writing = reserved.map(|(blob, _)| blob.to_string()).collect();
        let holders = book.values().map(|entry| entry.holder.clone()).collect();
        (!book.is_empty()).then_some(RenewLeasesRequest { node_uuid, writing, holders })
    }

    fn lose(&self, blob: BlobId) {
        if let Some(entry) = self.0.lock().get(&blob) {
            entry.lost.cancel();
        }
    }
}

impl Writing {
    /// The blob's row exists: from now on its lease is renewed.
    pub(crate) fn reserved(&self) {
        if let Some(entry) = self.book.0.lock().get_mut(&self.blob) {
            entry.reserved = true;
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.book.0.lock().remove(&self.blob);
    }
}

/// Renews until shutdown.
pub(crate) async fn renew(service: Arc<Service>) {
    let (shutdown, liveness) = (service.ctx.shutdown.clone(), service.ctx.liveness.clone());
    let pass = move |_| {
        let service = Arc::clone(&service);
        async move {
            let Some(request) = service.leases.request(service.node().to_string()) else {
                return Ok(Pass::Done);
            };
            let reply = service.ctx.gateway.call(CallClass::Lease, request).await?;
            for blob in reply.lost.iter().filter_map(|text| text.parse().ok()) {
                tracing::warn!(%blob, "the lease of a blob being written is gone, its writer stops");
                service.leases.lose(blob);
            }
            Ok::<_, DbError>(Pass::Done)
        }
    };
    Loop::every("blob-leases", RENEW_EVERY).run(shutdown, liveness, pass).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_lease_stops_its_writer_and_an_ended_one_is_not_renewed() {
        let book = LeaseBook::default();
        let ending = CancellationToken::new();
        let (kept, lost) = (BlobId::random(), BlobId::random());
        let kept_writing = book.enter(kept, "op-1", &ending);
        let lost_writing = book.enter(lost, "op-2", &ending);
        assert!(book.request("n".to_owned()).unwrap().writing.is_empty(), "nothing is reserved yet");
        kept_writing.reserved();
        lost_writing.reserved();
        book.lose(lost);
        assert!(lost_writing.lost.is_cancelled() && !kept_writing.lost.is_cancelled());
        drop(lost_writing);
        let request = book.request("n".to_owned()).unwrap();
        assert_eq!((request.writing, request.holders), (vec![kept.to_string()], vec!["op-1".to_owned()]));
        ending.cancel();
        assert!(kept_writing.lost.is_cancelled());
        drop(kept_writing);
        assert!(book.request("n".to_owned()).is_none() && !book.has(kept));
    }
}
