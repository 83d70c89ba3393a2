//! What the leader removes from storage (`storage.md` §19.2).

use sf_model::event::EventType;
use sf_model::{ArtifactId, BlobId, NodeId, ObjectRef, ObjectType, UploadId};
use uuid::Uuid;

use super::{GRACE, reserve};
use crate::artifacts;
use crate::bounded::delete_some;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::item::Item;
use crate::metadata;
use crate::references;
use crate::sql::{rows, sql};
use crate::uploads;

rows! {
    struct Expired {
        blob_uuid: BlobId,
        holder_uuid: Uuid,
        holder_key: String,
    }
}

/// Rows of one kind handled by one call.
pub const BATCH: u32 = 200;

/// What is removed, each kind in a transaction of its own. In this order: what goes first may leave more for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter)]
pub enum Garbage {
    /// Artifacts of deleted namespaces.
    Artifacts,
    /// Uploads nobody continues.
    Uploads,
    /// Commits of uploads whose storage service died half way.
    Commits,
    /// Fetches whose lease lapsed.
    Fetches,
    /// Transfers whose lease lapsed.
    Transfers,
    /// Pins and other leased references whose lease lapsed.
    References,
    /// References of artifacts that keep a blob for a while only, when that is over.
    Expired,
    /// Blobs whose writer is gone.
    Unfinished,
    /// Blobs nothing refers to.
    Loose,
}

/// Removes the next few of one kind and says how many there were: with [`BATCH`] of them there may be more.
///
/// # Errors
/// Those of the database.
pub async fn reap(conn: &mut Conn, ctx: &TxContext, kind: Garbage) -> StoreResult<u32> {
    match kind {
        Garbage::Artifacts => artifacts_of_deleted_namespaces(conn, ctx).await,
        Garbage::Uploads => idle_uploads(conn, ctx).await,
        Garbage::Commits => stuck_commits(conn).await,
        Garbage::Fetches => lapsed(conn, "artifact_fetches").await,
        Garbage::Transfers => lapsed(conn, "blob_transfers").await,
        Garbage::References => lapsed(conn, "blob_references").await,
        Garbage::Expired => expired_references(conn).await,
        Garbage::Unfinished => unfinished_blobs(conn, ctx).await,
        Garbage::Loose => loose_blobs(conn, ctx).await,
    }
}

async fn lapsed(conn: &mut Conn, table: &str) -> StoreResult<u32> {
    let condition = sql("lease_until < UTC_TIMESTAMP(6)");
    Ok(count(delete_some(conn, table, condition, BATCH.into()).await?))
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
    let past =
        sql("state = 'deleted' AND state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6))");
    let uploads = delete_some(conn, "uploads", past.bind(delay), limit.into()).await?;
    Ok(count(gone.len() as u64 + uploads))
}

async fn artifacts_of_deleted_namespaces(conn: &mut Conn, ctx: &TxContext) -> StoreResult<u32> {
    let orphans: Vec<ArtifactId> =
        sql("SELECT a.uuid AS value FROM artifacts a JOIN namespaces n ON n.name = a.namespace \
         WHERE n.state = 'deleted' AND a.state <> 'deleted' ORDER BY a.uuid LIMIT ?")
        .bind(BATCH)
        .values(conn)
        .await?;
    for artifact in &orphans {
        let item = Item::begin(conn, ctx, "artifacts of deleted namespaces", artifact).await?;
        let outcome = artifacts::delete_one(conn, ctx, *artifact).await;
        item.end(conn, ctx, outcome).await?;
    }
    Ok(count(orphans.len()))
}

async fn idle_uploads(conn: &mut Conn, ctx: &TxContext) -> StoreResult<u32> {
    let idle: Vec<UploadId> =
        sql("SELECT u.uuid AS value FROM uploads u LEFT JOIN nodes n ON n.uuid = u.node_uuid \
         WHERE u.state = 'created' AND (u.last_active < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
         OR n.uuid IS NULL OR n.state = 'deleted') ORDER BY u.uuid LIMIT ?")
        .bind(ctx.settings.upload_expiry)
        .bind(BATCH)
        .values(conn)
        .await?;
    for upload in &idle {
        let item = Item::begin(conn, ctx, "idle uploads", upload).await?;
        let outcome = uploads::discard(conn, *upload).await;
        if item.end(conn, ctx, outcome).await?.is_some() {
            let object = ObjectRef::new(ObjectType::Upload, *upload);
            ctx.event(EventType::Prune, "idle upload removed", &[object]);
        }
    }
    Ok(count(idle.len()))
}

/// The upload collects bytes again.
async fn stuck_commits(conn: &mut Conn) -> StoreResult<u32> {
    let stuck: Vec<UploadId> =
        sql("SELECT u.uuid AS value FROM uploads u JOIN blobs b ON b.uuid = u.blob_uuid \
         WHERE u.state = 'committing' AND (b.state = 'deleted' OR (b.state = 'initial' \
         AND b.writer_lease_until < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)))) \
         ORDER BY u.uuid LIMIT ? FOR UPDATE")
        .bind(GRACE)
        .bind(BATCH)
        .values(conn)
        .await?;
    sql("UPDATE uploads SET state = 'created', blob_uuid = NULL, state_changed_at = UTC_TIMESTAMP(6), \
         row_version = row_version + 1 WHERE state = 'committing' AND uuid IN ")
    .list(stuck.iter().copied())
    .run(conn)
    .await?;
    Ok(count(stuck.len()))
}

async fn expired_references(conn: &mut Conn) -> StoreResult<u32> {
    let expired: Vec<Expired> =
        sql("SELECT r.blob_uuid, r.holder_uuid, r.holder_key FROM blob_references r \
         JOIN blobs b ON b.uuid = r.blob_uuid JOIN artifacts a ON a.uuid = r.holder_uuid \
         WHERE r.kind = 'artifact_index' AND a.artifact_type = 'other' AND b.expires_at < UTC_TIMESTAMP(6) \
         ORDER BY r.blob_uuid LIMIT ?")
        .bind(BATCH)
        .all(conn)
        .await?;
    for reference in &expired {
        // The blob itself is loose from now on and keeps its grace.
        sql(
            "DELETE FROM blob_references WHERE blob_uuid = ? AND kind = 'artifact_index' AND holder_uuid = ? \
             AND holder_key = ?",
        )
        .bind(reference.blob_uuid)
        .bind(reference.holder_uuid)
        .bind(&reference.holder_key)
        .run(conn)
        .await?;
    }
    Ok(count(expired.len()))
}

async fn unfinished_blobs(conn: &mut Conn, ctx: &TxContext) -> StoreResult<u32> {
    let abandoned: Vec<BlobId> = sql("SELECT uuid AS value FROM blobs WHERE state IN ('initial', 'error') \
         AND COALESCE(writer_lease_until, state_changed_at) < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
         ORDER BY uuid LIMIT ?")
    .bind(GRACE)
    .bind(BATCH)
    .values(conn)
    .await?;
    for blob in &abandoned {
        let item = Item::begin(conn, ctx, "unfinished blobs", blob).await?;
        let outcome = reserve::discard(conn, *blob, "its writer is gone").await;
        if item.end(conn, ctx, outcome).await?.is_some() {
            let object = ObjectRef::new(ObjectType::Blob, *blob);
            ctx.event(EventType::Prune, "unfinished blob removed", &[object]);
        }
    }
    Ok(count(abandoned.len()))
}

async fn loose_blobs(conn: &mut Conn, ctx: &TxContext) -> StoreResult<u32> {
    let loose: Vec<BlobId> = sql("SELECT b.uuid AS value FROM blobs b WHERE b.state = 'created' \
         AND b.state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
         AND NOT EXISTS (SELECT 1 FROM blob_references r WHERE r.blob_uuid = b.uuid) ORDER BY b.uuid LIMIT ?")
    .bind(GRACE)
    .bind(BATCH)
    .values(conn)
    .await?;
    for blob in &loose {
        let object = ObjectRef::new(ObjectType::Blob, *blob);
        ctx.event(EventType::Prune, "blob without references removed", &[object]);
    }
    references::delete_unused(conn, loose.clone()).await?;
    Ok(count(loose.len()))
}

fn count(rows: impl TryInto<u32>) -> u32 {
    rows.try_into().unwrap_or(u32::MAX)
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
