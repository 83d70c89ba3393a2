//! The end of a fetch: version, validators, the artifact's state, and the disks that waited for it, in one transaction.

use sf_model::event::EventType;
use sf_model::{ArtifactId, BlobId, InstanceId, ObjectRef, ObjectType, OperationId};
use sf_protos::artifacts::complete_fetch_request::Outcome;
use sf_protos::artifacts::{CompleteFetchReply, CompleteFetchRequest, FetchedBlob};

use super::{flight, hold, versions};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::references::{self, ReferenceKind};
use crate::sql::{rows, sql};
use crate::wire::{parse, state_message};

rows! {
    struct Waiting {
        instance_uuid: InstanceId,
        position: u32,
    }
}

/// Records how a fetch ended.
///
/// # Errors
/// [`StoreError::Missing`] for an artifact or blob that is gone.
pub async fn complete_fetch(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &CompleteFetchRequest,
) -> StoreResult<CompleteFetchReply> {
    let artifact: ArtifactId = parse("artifact_uuid", &request.artifact_uuid)?;
    let operation: OperationId = parse("operation_uuid", &request.operation_uuid)?;
    let held = hold::live(conn, artifact).await?;
    let outcome = request.outcome.as_ref().ok_or_else(|| StoreError::invalid("outcome: required"))?;
    let mut reply = CompleteFetchReply::default();
    let current = match outcome {
        Outcome::Fetched(fetched) => {
            let blob: BlobId = parse("fetched.blob_uuid", &fetched.blob_uuid)?;
            let index = versions::add_version(conn, ctx, &held, blob).await?;
            let current = current(conn, &held).await?;
            write_validators(conn, &request.resolved_url, fetched).await?;
            reply.index = Some(index);
            current
        }
        Outcome::NotModified(_) => {
            let known = known_blob(conn, &request.resolved_url).await?;
            match known {
                Some(blob) => reply.index = Some(versions::add_version(conn, ctx, &held, blob).await?),
                None => return Err(StoreError::missing(ObjectType::Blob, &request.resolved_url)),
            }
            sql("UPDATE url_validators SET checked_at = UTC_TIMESTAMP(6) WHERE url_hash = ?")
                .bind(flight::validator_key(&request.resolved_url))
                .run(conn)
                .await?;
            current(conn, &held).await?
        }
        Outcome::Failed(failure) => {
            let current = current(conn, &held).await?;
            let objects = [ObjectRef::new(ObjectType::Artifact, artifact)];
            if current.is_some() {
                let message = format!("update failed, using cached version: {}", failure.message);
                ctx.event(EventType::Audit, message, &objects);
            } else {
                sql("UPDATE artifacts SET state = 'error', state_changed_at = UTC_TIMESTAMP(6), error_message = ?, \
                     row_version = row_version + 1 WHERE uuid = ?")
                .bind(state_message(&failure.message))
                .bind(artifact)
                .run(conn)
                .await?;
                ctx.event(EventType::Audit, format!("fetch failed: {}", failure.message), &objects);
                reply.errored = true;
            }
            current
        }
    };
    if let Some(blob) = current {
        pin_waiting_disks(conn, ctx, artifact, blob).await?;
        reply.blob_uuid = Some(blob.to_string());
    }
    references::unpin(conn, operation.as_uuid()).await?;
    flight::release(conn, operation).await?;
    Ok(reply)
}

/// The blob of the newest version.
async fn current(conn: &mut Conn, held: &hold::Held) -> StoreResult<Option<BlobId>> {
    Ok(versions::live(conn, held).await?.last().map(|version| version.blob_uuid))
}

async fn known_blob(conn: &mut Conn, url: &str) -> StoreResult<Option<BlobId>> {
    sql("SELECT v.blob_uuid AS value FROM url_validators v JOIN blobs b ON b.uuid = v.blob_uuid \
         AND b.state = 'created' WHERE v.url_hash = ?")
    .bind(flight::validator_key(url))
    .value(conn)
    .await
}

/// Gives the blob to every disk that waits for this artifact, with the reference that keeps it.
async fn pin_waiting_disks(
    conn: &mut Conn,
    ctx: &TxContext,
    artifact: ArtifactId,
    blob: BlobId,
) -> StoreResult<()> {
    let waiting: Vec<Waiting> = sql("SELECT d.instance_uuid, d.position FROM instance_disks d \
         JOIN instances i ON i.uuid = d.instance_uuid AND i.state IN ('initial', 'preflight', 'creating') \
         WHERE d.artifact_uuid = ? AND d.blob_uuid IS NULL ORDER BY d.instance_uuid, d.position FOR UPDATE")
    .bind(artifact)
    .all(conn)
    .await?;
    for disk in waiting {
        sql("UPDATE instance_disks SET blob_uuid = ? WHERE instance_uuid = ? AND position = ?")
            .bind(blob)
            .bind(disk.instance_uuid)
            .bind(disk.position)
            .run(conn)
            .await?;
        let holder = disk.instance_uuid.as_uuid();
        references::add(conn, blob, ReferenceKind::Disk, holder, &disk.position.to_string()).await?;
        let message = format!("disk {} uses blob {blob}", disk.position);
        ctx.event(EventType::Status, message, &[ObjectRef::new(ObjectType::Instance, disk.instance_uuid)]);
    }
    Ok(())
}

async fn write_validators(conn: &mut Conn, url: &str, fetched: &FetchedBlob) -> StoreResult<()> {
    if fetched.etag.is_none() && fetched.last_modified.is_none() {
        // Nothing to ask with: the next fetch is a full one.
        sql("DELETE FROM url_validators WHERE url_hash = ?")
            .bind(flight::validator_key(url))
            .run(conn)
            .await?;
        return Ok(());
    }
    sql("INSERT INTO url_validators (url_hash, url, etag, last_modified, content_length, blob_uuid, checked_at) \
         VALUES (?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE etag = VALUES(etag), \
         last_modified = VALUES(last_modified), content_length = VALUES(content_length), \
         blob_uuid = VALUES(blob_uuid), checked_at = VALUES(checked_at)")
    .bind(flight::validator_key(url))
    .bind(url.chars().take(4096).collect::<String>())
    .bind(fetched.etag.as_deref().map(|text| text.chars().take(512).collect::<String>()))
    .bind(fetched.last_modified.as_deref().map(|text| text.chars().take(128).collect::<String>()))
    .bind(fetched.content_length)
    .bind(parse::<BlobId>("fetched.blob_uuid", &fetched.blob_uuid)?)
    .run(conn)
    .await?;
    Ok(())
}
