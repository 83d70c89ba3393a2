//! What the leader removes from storage (`storage.md` §19.2).

use sf_model::event::EventType;
use sf_model::{ArtifactId, BlobId, NodeId, ObjectRef, ObjectType, UploadId};
use sf_protos::blobs::ReapStorageReply;

use super::{GRACE, reserve};
use crate::artifacts;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::metadata;
use crate::references;
use crate::sql::sql;
use crate::uploads;

/// Rows of one kind handled by one call.
const BATCH: u64 = 200;

/// Uploads nobody continues, artifacts of deleted namespaces, blobs whose writer is gone, blobs nothing refers to.
///
/// # Errors
/// Those of the database.
pub async fn reap(conn: &mut Conn, ctx: &TxContext) -> StoreResult<ReapStorageReply> {
    let artifacts = reap_artifacts(conn, ctx).await?;
    let uploads = reap_uploads(conn, ctx).await?;
    for leased in ["artifact_fetches", "blob_transfers"] {
        sql(format!("DELETE FROM {leased} WHERE lease_until < UTC_TIMESTAMP(6)")).run(conn).await?;
    }
    sql("DELETE FROM blob_references WHERE lease_until < UTC_TIMESTAMP(6) LIMIT 1000").run(conn).await?;
    let blobs = reap_blobs(conn, ctx).await?;
    let full = |count: u32| u64::from(count) >= BATCH;
    Ok(ReapStorageReply { more: full(artifacts) || full(uploads) || full(blobs), blobs, uploads, artifacts })
}

/// Removes the rows of blobs and uploads that were deleted longer ago than the configured delay; a blob keeps its row
/// while a node may still have its bytes.
///
/// # Errors
/// Those of the database.
pub async fn hard_delete(conn: &mut Conn, ctx: &TxContext, limit: u32) -> StoreResult<u32> {
    let delay = ctx.settings.cleaner_delay;
    let gone: Vec<BlobId> = sql("SELECT b.uuid AS value FROM blobs b WHERE b.state = 'deleted' \
         AND b.state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
         AND NOT EXISTS (SELECT 1 FROM blob_replicas p WHERE p.blob_uuid = b.uuid) \
         AND NOT EXISTS (SELECT 1 FROM artifact_versions v WHERE v.blob_uuid = b.uuid) LIMIT ? FOR UPDATE SKIP LOCKED")
    .bind(delay)
    .bind(limit)
    .values(conn)
    .await?;
    for blob in &gone {
        metadata::clear(conn, ObjectType::Blob, &blob.to_string()).await?;
        crate::events::drop_low_value(conn, ObjectType::Blob, &blob.to_string()).await?;
        sql("DELETE FROM blob_references WHERE blob_uuid = ?").bind(*blob).run(conn).await?;
        sql("DELETE FROM url_validators WHERE blob_uuid = ?").bind(*blob).run(conn).await?;
        sql("DELETE FROM blobs WHERE uuid = ?").bind(*blob).run(conn).await?;
    }
    let uploads = sql("DELETE FROM uploads WHERE state = 'deleted' \
         AND state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) LIMIT ?")
    .bind(delay)
    .bind(limit)
    .run(conn)
    .await?;
    Ok(u32::try_from(gone.len() + uploads).unwrap_or(u32::MAX))
}

async fn reap_artifacts(conn: &mut Conn, ctx: &TxContext) -> StoreResult<u32> {
    let orphans: Vec<ArtifactId> =
        sql("SELECT a.uuid AS value FROM artifacts a JOIN namespaces n ON n.name = a.namespace \
         WHERE n.state = 'deleted' AND a.state <> 'deleted' ORDER BY a.uuid LIMIT ?")
        .bind(BATCH)
        .values(conn)
        .await?;
    for artifact in &orphans {
        artifacts::delete_one(conn, ctx, *artifact).await?;
    }
    Ok(u32::try_from(orphans.len()).unwrap_or(u32::MAX))
}

async fn reap_uploads(conn: &mut Conn, ctx: &TxContext) -> StoreResult<u32> {
    let idle: Vec<UploadId> =
        sql("SELECT u.uuid AS value FROM uploads u LEFT JOIN nodes n ON n.uuid = u.node_uuid \
         WHERE u.state = 'created' AND (u.last_active < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
         OR n.uuid IS NULL OR n.state = 'deleted') ORDER BY u.uuid LIMIT ?")
        .bind(ctx.settings.upload_expiry)
        .bind(BATCH)
        .values(conn)
        .await?;
    for upload in &idle {
        uploads::discard(conn, *upload).await?;
        ctx.event(EventType::Prune, "idle upload removed", &[ObjectRef::new(ObjectType::Upload, *upload)]);
    }
    // A commit whose storage service died half way: the upload collects bytes again.
    sql("UPDATE uploads u JOIN blobs b ON b.uuid = u.blob_uuid SET u.state = 'created', u.blob_uuid = NULL, \
         u.state_changed_at = UTC_TIMESTAMP(6), u.row_version = u.row_version + 1 WHERE u.state = 'committing' \
         AND (b.state = 'deleted' OR (b.state = 'initial' \
         AND b.writer_lease_until < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6))))")
    .bind(GRACE)
    .run(conn)
    .await?;
    Ok(u32::try_from(idle.len()).unwrap_or(u32::MAX))
}

async fn reap_blobs(conn: &mut Conn, ctx: &TxContext) -> StoreResult<u32> {
    sql("DELETE r FROM blob_references r JOIN blobs b ON b.uuid = r.blob_uuid JOIN artifacts a ON a.uuid = r.holder_uuid \
         WHERE r.kind = 'artifact_index' AND a.artifact_type = 'other' AND b.expires_at < UTC_TIMESTAMP(6)")
    .run(conn)
    .await?;
    let abandoned: Vec<BlobId> = sql("SELECT uuid AS value FROM blobs WHERE state IN ('initial', 'error') \
         AND COALESCE(writer_lease_until, state_changed_at) < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
         ORDER BY uuid LIMIT ?")
    .bind(GRACE)
    .bind(BATCH)
    .values(conn)
    .await?;
    for blob in &abandoned {
        reserve::discard(conn, *blob, "its writer is gone").await?;
        ctx.event(EventType::Prune, "unfinished blob removed", &[ObjectRef::new(ObjectType::Blob, *blob)]);
    }
    let loose: Vec<BlobId> = sql("SELECT b.uuid AS value FROM blobs b WHERE b.state = 'created' \
         AND b.state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
         AND NOT EXISTS (SELECT 1 FROM blob_references r WHERE r.blob_uuid = b.uuid) ORDER BY b.uuid LIMIT ?")
    .bind(GRACE)
    .bind(BATCH)
    .values(conn)
    .await?;
    for blob in &loose {
        ctx.event(
            EventType::Prune,
            "blob without references removed",
            &[ObjectRef::new(ObjectType::Blob, *blob)],
        );
    }
    references::delete_unused(conn, loose.clone()).await?;
    Ok(u32::try_from(abandoned.len() + loose.len()).unwrap_or(u32::MAX))
}

/// Forgets the copies of a node that is gone, for the cascade of a node's deletion.
///
/// # Errors
/// Those of the database.
pub async fn forget_node(conn: &mut Conn, node: NodeId) -> StoreResult<()> {
    sql("DELETE FROM blob_replicas WHERE node_uuid = ?").bind(node).run(conn).await?;
    sql("DELETE FROM blob_transfers WHERE dest_node = ?").bind(node).run(conn).await?;
    Ok(())
}
