//! A copy of a blob from another node, when something on this node needs its bytes (`storage.md` §14).
//!
//! `copy` brings the bytes; here is what the database says, what is recorded, and what the end of a copy means.

mod copy;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use sf_blobs::client::{DataPlane, Peer};
use sf_blobs::commit::Staged;
use sf_blobs::journal::Journal;
use sf_blobs::pipeline::Ingested;
use sf_blobs::{Algorithm, Digests, Purpose};
use sf_gateway::CallClass;
use sf_model::{BlobId, InstanceId, NodeId, ObjectType, TransferId};
use sf_protos::blobs::{
    AcquireTransferReply, AcquireTransferRequest, BlobSource, CommitBlobRequest, FinishTransferRequest,
};
use tokio_util::sync::CancellationToken;

use crate::committer::{hashes, seconds_since, to_journal};
use crate::error::{WorkError, blocking};
use crate::leases::{Underway, Writing};
use crate::local::observer::Progress;
use crate::service::Service;
use copy::{Copying, Means, Order, RETRY_DELAYS};

/// Hashes that prove a copy, best first.
const PROOFS: [Algorithm; 3] = [Algorithm::Blake3, Algorithm::Sha512, Algorithm::Sha256];
/// Why bytes are copied: an instance waits for them.
const BOOT: &str = "boot";

impl Service {
    /// Brings a copy of a blob here. Callers for the same blob share one transfer.
    ///
    /// # Errors
    /// [`WorkError::Refused`] when the blob cannot be copied, [`WorkError::NoSpace`], [`WorkError::Unavailable`] when
    /// trying again later may help; the bytes that came are kept for that.
    pub(crate) async fn ensure_local(
        self: &Arc<Self>,
        blob: BlobId,
        instance: Option<InstanceId>,
    ) -> Result<(), WorkError> {
        let service = Arc::clone(self);
        let ending = self.ctx.shutdown.token();
        let work = |unwanted| async move { service.pull(blob, instance, &unwanted).await };
        let pulled = self.pulls.join(blob, &ending, work);
        pulled.await.unwrap_or_else(|| Err(WorkError::Failed("the transfer ended unexpectedly".to_owned())))
    }

    async fn pull(
        &self,
        blob: BlobId,
        instance: Option<InstanceId>,
        unwanted: &CancellationToken,
    ) -> Result<(), WorkError> {
        let stopping = || WorkError::Unavailable("stopping".to_owned());
        let _slot = self.pull_slots.acquire().await.map_err(|_| stopping())?;
        if self.store.blob(blob).is_file() {
            return Ok(());
        }
        let started = Instant::now();
        let grant = self.acquire(blob).await?;
        let transfer: TransferId = grant
            .transfer_uuid
            .parse()
            .map_err(|_| WorkError::Failed("the database named no transfer".to_owned()))?;
        let underway = Arc::new(Underway::new(transfer));
        let writing = self.leases.enter_transfer(blob, Arc::clone(&underway), unwanted);
        let subject = (ObjectType::Blob, blob.to_string());
        let progress = Progress::new(self.ctx.events.clone(), subject, "pull", instance);
        let sources: Vec<&str> = grant.sources.iter().map(|source| source.node_name.as_str()).collect();
        progress.tell("pull started", json!({ "sources": sources, "bytes": grant.size }));
        let outcome = self.bring_copy(blob, &grant, &underway, &writing, &progress).await;
        let result = if outcome.is_ok() { "ok" } else { "error" };
        metrics::counter!("transfer_total", "direction" => "in", "purpose" => BOOT, "result" => result)
            .increment(1);
        match &outcome {
            Ok(()) => {
                let seconds = seconds_since(started);
                metrics::histogram!("transfer_seconds", "purpose" => BOOT).record(seconds);
                progress.tell("pull complete", json!({ "bytes": grant.size, "seconds": seconds }));
            }
            Err(error) => progress.tell("pull failed", json!({ "cause": error.to_string() })),
        }
        outcome
    }

    async fn acquire(&self, blob: BlobId) -> Result<AcquireTransferReply, WorkError> {
        let request = AcquireTransferRequest {
            context: None,
            transfer_uuid: TransferId::random().to_string(),
            blob_uuid: blob.to_string(),
            node_uuid: self.node().to_string(),
            purpose: BOOT.to_owned(),
        };
        Ok(self.ctx.gateway.call(CallClass::Background, request).await?)
    }

    async fn bring_copy(
        &self,
        blob: BlobId,
        grant: &AcquireTransferReply,
        underway: &Underway,
        writing: &Writing,
        progress: &Progress,
    ) -> Result<(), WorkError> {
        let (algorithm, value) = proof(grant)?;
        // A boot may use half of what other writers must leave alone.
        let _promise = self.ledger.promise(self.store.root(), self.reservation() / 2, grant.size)?;
        let plane = DataPlane::new(Arc::new(self.keys()), self.node())
            .map_err(|error| WorkError::Failed(format!("no client for other nodes: {error}")))?;
        let order = Order {
            blob,
            size: grant.size,
            proof: (algorithm, value.clone()),
            peers: grant.sources.iter().filter_map(|source| self.peer(source)).collect(),
            delays: RETRY_DELAYS.to_vec(),
        };
        let journal = self.pull_journal(blob).await?;
        let journal = Journal {
            expected_size: Some(grant.size),
            expected: Digests::from([(algorithm, value)]),
            ..journal
        };
        let means = Means { store: &self.store, plane: &plane, underway, progress, cancel: &writing.lost };
        let mut copying = Copying::new(means, &order);
        match copying.run(journal).await {
            Ok((staged, ingested)) => {
                let kept = self.keep_copy(blob, staged, ingested).await;
                if kept.as_ref().is_err_and(|error| !error.is_undecided()) {
                    self.finish_transfer(blob, underway, "the copy was not kept", &[]).await;
                }
                kept
            }
            Err(failure) => {
                self.finish_transfer(blob, underway, &failure.error.to_string(), &failure.suspects).await;
                Err(failure.error)
            }
        }
    }

    /// What an earlier life of this daemon left of the copy.
    async fn pull_journal(&self, blob: BlobId) -> Result<Journal, WorkError> {
        let path = self.store.journal(Purpose::Pull, blob);
        let left = blocking(move || Journal::load(&path)).await;
        Ok(match left {
            Ok(Some(journal)) if journal.sealed.is_none() => journal,
            // A sealed one is committed by recovery; here it is made again over it.
            Ok(_) => Journal::new(Purpose::Pull, blob),
            Err(error) => {
                tracing::info!(%blob, %error, "a partial copy is not continued");
                Journal::new(Purpose::Pull, blob)
            }
        })
    }

    /// Makes the bytes a copy that the cluster knows.
    async fn keep_copy(&self, blob: BlobId, staged: Staged, ingested: Ingested) -> Result<(), WorkError> {
        let request = CommitBlobRequest {
            blob_uuid: blob.to_string(),
            node_uuid: self.node().to_string(),
            size: ingested.size,
            hashes: hashes(&ingested.digests),
            ..CommitBlobRequest::default()
        };
        let commit = to_journal(&request);
        let sealing = blocking(move || Ok::<_, WorkError>(staged.seal(ingested.digests, commit))).await?;
        match sealing {
            Ok(sealed) => self.commit(sealed).await.map(drop),
            Err((staged, error)) => {
                if let Err(error) = blocking(move || staged.discard()).await {
                    tracing::warn!(%blob, %error, "a partial could not be removed");
                }
                Err(error.into())
            }
        }
    }

    /// Best effort: the lease lapses by itself.
    async fn finish_transfer(&self, blob: BlobId, underway: &Underway, error: &str, suspects: &[NodeId]) {
        let request = FinishTransferRequest {
            context: None,
            transfer_uuid: underway.transfer.to_string(),
            blob_uuid: blob.to_string(),
            node_uuid: self.node().to_string(),
            error: error.chars().take(200).collect(),
            suspect_nodes: suspects.iter().map(ToString::to_string).collect(),
        };
        if let Err(error) = self.ctx.gateway.call(CallClass::Background, request).await {
            tracing::info!(%blob, %error, "a transfer could not be ended, its lease will lapse");
        }
    }

    /// Every node of a cluster serves its copies on the same port.
    fn peer(&self, source: &BlobSource) -> Option<Peer> {
        let address: IpAddr = source.mesh_ip.parse().ok()?;
        let port = self.ctx.config.transfers_port;
        Some(Peer { node: source.node_uuid.parse().ok()?, address: SocketAddr::new(address, port) })
    }
}

/// The hash that the bytes have to have.
fn proof(grant: &AcquireTransferReply) -> Result<(Algorithm, String), WorkError> {
    let known = |algorithm: Algorithm| {
        let hash = grant.hashes.iter().find(|hash| hash.algorithm == algorithm.as_str())?;
        Some((algorithm, algorithm.normalise(&hash.value)?))
    };
    PROOFS.into_iter().find_map(known).ok_or_else(|| {
        WorkError::Failed("no hash of the blob is known, so that a copy could not be verified".to_owned())
    })
}
