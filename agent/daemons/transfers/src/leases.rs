//! The leases of what this node is writing: renewed in one batch, and when one is lost its writer stops.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sf_gateway::{CallClass, DbError};
use sf_model::{BlobId, NodeId, TransferId};
use sf_protos::blobs::{RenewLeasesRequest, TransferProgress};
use sf_runtime::{Loop, Pass};
use tokio_util::sync::CancellationToken;

use crate::service::Service;

/// A lease lasts 60 s; three renewals may be missed.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// Blobs being written. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct LeaseBook(Arc<Mutex<HashMap<BlobId, Entry>>>);

struct Entry {
    kept_by: KeptBy,
    lost: CancellationToken,
}

/// What the database has to hear of from time to time.
enum KeptBy {
    /// A new blob: the operation or upload that pins it, and whether the blob has a row.
    Pin { holder: String, reserved: bool },
    /// A copy of a blob that other nodes have.
    Transfer(Arc<Underway>),
}

/// How far a copy is.
pub(crate) struct Underway {
    pub(crate) transfer: TransferId,
    source: Mutex<Option<NodeId>>,
    bytes: AtomicU64,
}

impl Underway {
    pub(crate) fn new(transfer: TransferId) -> Self {
        Self { transfer, source: Mutex::new(None), bytes: AtomicU64::new(0) }
    }

    /// The bytes come from this node now.
    pub(crate) fn now_from(&self, source: NodeId) {
        *self.source.lock() = Some(source);
    }

    /// So many bytes are here.
    pub(crate) fn at(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    fn progress(&self) -> TransferProgress {
        TransferProgress {
            transfer_uuid: self.transfer.to_string(),
            source_node_uuid: self.source.lock().map(|node| node.to_string()).unwrap_or_default(),
            bytes_done: self.bytes.load(Ordering::Relaxed),
        }
    }
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
        self.insert(blob, KeptBy::Pin { holder: holder.to_string(), reserved: false }, ending)
    }

    /// Enters a copy.
    pub(crate) fn enter_transfer(
        &self,
        blob: BlobId,
        underway: Arc<Underway>,
        ending: &CancellationToken,
    ) -> Writing {
        self.insert(blob, KeptBy::Transfer(underway), ending)
    }

    fn insert(&self, blob: BlobId, kept_by: KeptBy, ending: &CancellationToken) -> Writing {
        let lost = ending.child_token();
        self.0.lock().insert(blob, Entry { kept_by, lost: lost.clone() });
        Writing { book: self.clone(), blob, lost }
    }

    /// Whether a blob is being written.
    pub(crate) fn has(&self, blob: BlobId) -> bool {
        self.0.lock().contains_key(&blob)
    }

    fn request(&self, node_uuid: String) -> Option<RenewLeasesRequest> {
        let book = self.0.lock();
        let mut request = RenewLeasesRequest { node_uuid, ..RenewLeasesRequest::default() };
        for (blob, entry) in book.iter() {
            match &entry.kept_by {
                KeptBy::Pin { holder, reserved } => {
                    request.holders.push(holder.clone());
                    // Before its row exists a blob has no lease that could be lost.
                    request.writing.extend(reserved.then(|| blob.to_string()));
                }
                KeptBy::Transfer(underway) => request.transfers.push(underway.progress()),
            }
        }
        (!book.is_empty()).then_some(request)
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
        if let Some(Entry { kept_by: KeptBy::Pin { reserved, .. }, .. }) =
            self.book.0.lock().get_mut(&self.blob)
        {
            *reserved = true;
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
    fn a_copy_tells_how_far_it_is_and_has_no_lease_of_its_own_blob() {
        let book = LeaseBook::default();
        let (blob, source) = (BlobId::random(), NodeId::random());
        let underway = Arc::new(Underway::new(TransferId::random()));
        let writing = book.enter_transfer(blob, underway.clone(), &CancellationToken::new());
        underway.now_from(source);
        underway.at(7);
        let request = book.request("n".to_owned()).unwrap();
        assert!(request.writing.is_empty() && request.holders.is_empty() && book.has(blob));
        let [told] = request.transfers.try_into().unwrap();
        let expected = (underway.transfer.to_string(), source.to_string(), 7);
        assert_eq!((told.transfer_uuid, told.source_node_uuid, told.bytes_done), expected);
        drop(writing);
        assert!(book.request("n".to_owned()).is_none());
    }

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
