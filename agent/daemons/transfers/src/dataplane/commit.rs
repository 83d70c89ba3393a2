//! `POST /v1/uploads/{uuid}/commit`: an upload becomes a blob and a version (`storage.md` §11.5).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, StatusCode};
use prost::Message;
use serde_json::json;
use sf_blobs::commit::{Sealed, Staged};
use sf_blobs::journal::Journal;
use sf_blobs::purpose::Purpose;
use sf_blobs::uploads::Committing;
use sf_blobs::wire::PROTOBUF;
use sf_events::event;
use sf_gateway::CallClass;
use sf_images::header::Inspection;
use sf_model::event::EventType;
use sf_model::{BlobId, ObjectType, UploadId};
use sf_protos::artifacts::Artifact;
use sf_protos::blobs::{AbortUploadCommitRequest, BeginUploadCommitRequest, CommitBlobRequest, UploadTarget};
use sf_protos::convert::timestamp;
use sf_runtime::context;

use super::refusal::Refused;
use crate::committer::{hashes, seconds_since, to_journal};
use crate::error::{WorkError, blocking};
use crate::facts::{look_at, to_wire};
use crate::service::Service;

/// Body: an `UploadTarget`. Answer: the `Artifact`. A repetition after a lost answer gets the recorded result.
pub(super) async fn commit(
    State(service): State<Arc<Service>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(upload): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<([(HeaderName, &'static str); 1], Vec<u8>), Refused> {
    let upload = service.admit_upload(&headers, peer, &upload).await?;
    let target = UploadTarget::decode(body)
        .map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "bad_body", "the body is not an UploadTarget"))?;
    // The commit ends by itself when the proxy goes away in the middle of it.
    let work = async move { service.commit_upload(upload, target).await };
    let artifact = match tokio::spawn(context::scope(context::current(), work)).await {
        Ok(committed) => committed?,
        Err(_) => return Err(WorkError::Failed("the commit ended unexpectedly".to_owned()).into()),
    };
    Ok(([(CONTENT_TYPE, PROTOBUF)], artifact.encode_to_vec()))
}

impl Service {
    async fn commit_upload(
        self: &Arc<Self>,
        upload: UploadId,
        target: UploadTarget,
    ) -> Result<Artifact, Refused> {
        let started = Instant::now();
        let blob = BlobId::random();
        let writing = self.leases.enter(blob, upload, &self.ctx.shutdown.token());
        let begin = BeginUploadCommitRequest {
            context: None,
            upload_uuid: upload.to_string(),
            node_uuid: self.node().to_string(),
            blob_uuid: blob.to_string(),
        };
        let begun = match self.ctx.gateway.call(CallClass::Interactive, begin).await {
            Ok(begun) => begun,
            Err(error) => {
                if error.is_unjudged() {
                    // It may have been begun. Giving back is guarded by the blob, so it can do no harm.
                    let service = Arc::clone(self);
                    tokio::spawn(async move { service.release(upload, blob).await });
                }
                return Err(WorkError::from(error).into());
            }
        };
        if let Some(artifact) = begun.already {
            return Ok(artifact);
        }
        writing.reserved();
        let prepared = self.prepare(upload, blob, target).await;
        let (held, sealed) = match prepared {
            Ok(prepared) => prepared,
            Err(refused) => {
                self.release(upload, blob).await;
                return Err(refused);
            }
        };
        let size = held.size;
        let reply = match self.commit(sealed).await {
            Ok(reply) => reply,
            // Nothing is known: recovery repeats the commit, and the client gets its result when it asks again.
            Err(error) if error.is_undecided() => return Err(error.into()),
            Err(error) => {
                self.release(upload, blob).await;
                return Err(error.into());
            }
        };
        drop((held, writing));
        let artifact =
            reply.artifact.ok_or_else(|| WorkError::Failed("the database sent no artifact".to_owned()))?;
        self.tell_converted(&artifact, upload, size, seconds_since(started)).await;
        Ok(artifact)
    }

    /// Finishes the hashes, judges the bytes and seals them, holding the upload all the while.
    async fn prepare(
        &self,
        upload: UploadId,
        blob: BlobId,
        target: UploadTarget,
    ) -> Result<(Committing, Sealed), Refused> {
        let held = self.uploads.begin_commit(upload, Arc::new(AtomicBool::new(false))).await?;
        let found = look_at(self.store.upload(upload), self.image_rules()).await?;
        self.judge_upload(&found, upload, &target).await?;
        let request = CommitBlobRequest {
            context: None,
            blob_uuid: blob.to_string(),
            node_uuid: self.node().to_string(),
            size: held.size,
            hashes: hashes(&held.digests),
            facts: Some(to_wire(&found)),
            modified: Some(timestamp(SystemTime::now())),
            fetched_at: None,
            may_deduplicate: true,
            upload: Some(target),
        };
        let (store, digests) = (self.store.clone(), held.digests.clone());
        let sealed = blocking(move || {
            let staged = Staged::adopt_upload(&store, upload, Journal::new(Purpose::Upload, blob))?;
            staged.seal(digests, to_journal(&request)).map_err(|(staged, error)| {
                if let Err(error) = staged.discard() {
                    tracing::warn!(%upload, %error, "an upload could not be given back");
                }
                error
            })
        })
        .await?;
        Ok((held, sealed))
    }

    async fn judge_upload(
        &self,
        found: &Inspection,
        upload: UploadId,
        target: &UploadTarget,
    ) -> Result<(), Refused> {
        let Some(refusal) = found.refusal() else { return Ok(()) };
        let objects = vec![(ObjectType::Upload, upload.to_string())];
        self.tell_unsafe(found.format.as_str(), refusal.reason, &refusal.text, objects).await;
        // Other things than images are kept with their verdict, and never become a disk.
        if target.artifact_type == "image" {
            Err(WorkError::Unsafe(refusal.text.clone()).into())
        } else {
            Ok(())
        }
    }

    /// Lets the client go on with its upload.
    async fn release(&self, upload: UploadId, blob: BlobId) {
        let request = AbortUploadCommitRequest {
            context: None,
            upload_uuid: upload.to_string(),
            blob_uuid: blob.to_string(),
        };
        if let Err(error) = self.ctx.gateway.call(CallClass::Background, request).await {
            tracing::warn!(%upload, %error, "an upload could not be released after a failed commit");
        }
    }

    async fn tell_converted(&self, artifact: &Artifact, upload: UploadId, size: u64, seconds: f64) {
        let index = artifact.versions.last().map(|version| version.index);
        let told = event(EventType::Audit, "upload converted")
            .object(ObjectType::Artifact, &artifact.uuid)
            .object(ObjectType::Upload, upload)
            .extra(json!({ "upload": upload.to_string(), "index": index, "bytes": size }))
            .duration(seconds);
        self.ctx.events.record(told).await;
        metrics::histogram!("ingest_seconds", "source" => "upload").record(seconds);
    }
}
