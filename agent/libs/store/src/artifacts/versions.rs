//! Versions of a locked artifact: adding, pruning, removing.

use sf_model::event::EventType;
use sf_model::{BlobId, ObjectRef, ObjectType};

use super::hold::Held;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::references::{self, ReferenceKind, index_key};
use crate::sql::{rows, sql};

rows! {
    /// One live version.
    pub(super) struct Version {
        pub(super) idx: u32,
        pub(super) blob_uuid: BlobId,
    }
}

/// The live versions of an artifact, oldest first.
pub(super) async fn live(conn: &mut Conn, held: &Held) -> StoreResult<Vec<Version>> {
    sql("SELECT idx, blob_uuid FROM artifact_versions WHERE artifact_uuid = ? AND deleted_at IS NULL ORDER BY idx")
        .bind(held.uuid)
        .all(conn)
        .await
}

/// Makes a blob the current version and prunes the oldest ones; a blob that is current already (the same, or one with
/// the same SHA-512) adds nothing. Answers the index that is current afterwards.
pub(crate) async fn add_version(
    conn: &mut Conn,
    ctx: &TxContext,
    held: &Held,
    blob: BlobId,
) -> StoreResult<u32> {
    let present = live(conn, held).await?;
    if let Some(current) = present.last()
        && (current.blob_uuid == blob || same_content(conn, current.blob_uuid, blob).await?)
    {
        settle(conn, held).await?;
        return Ok(current.idx);
    }
    let index = held.highest_index + 1;
    sql("INSERT INTO artifact_versions (artifact_uuid, idx, blob_uuid, created_at) VALUES (?, ?, ?, UTC_TIMESTAMP(6))")
        .bind(held.uuid)
        .bind(index)
        .bind(blob)
        .run(conn)
        .await?;
    references::add(conn, blob, ReferenceKind::ArtifactIndex, held.uuid.as_uuid(), &index_key(index)).await?;
    sql("UPDATE blobs SET last_used = UTC_TIMESTAMP(6) WHERE uuid = ?").bind(blob).run(conn).await?;
    sql("UPDATE artifacts SET highest_index = ?, row_version = row_version + 1 WHERE uuid = ?")
        .bind(index)
        .bind(held.uuid)
        .run(conn)
        .await?;
    settle(conn, held).await?;
    prune(conn, ctx, held, held.max_versions).await?;
    let artifact = ObjectRef::new(ObjectType::Artifact, held.uuid);
    ctx.event(EventType::Mutate, format!("version {index} added"), std::slice::from_ref(&artifact));
    usage(conn, ctx, held).await?;
    Ok(index)
}

/// Removes the oldest versions beyond a limit.
pub(super) async fn prune(conn: &mut Conn, ctx: &TxContext, held: &Held, keep: u32) -> StoreResult<()> {
    let present = live(conn, held).await?;
    let surplus = present.len().saturating_sub(keep as usize);
    for version in present.iter().take(surplus) {
        remove(conn, held, version).await?;
        let artifact = ObjectRef::new(ObjectType::Artifact, held.uuid);
        ctx.event(
            EventType::Prune,
            format!("version {} removed: too many versions", version.idx),
            &[artifact],
        );
    }
    Ok(())
}

/// Removes one version with its reference.
pub(super) async fn remove(conn: &mut Conn, held: &Held, version: &Version) -> StoreResult<()> {
    sql("UPDATE artifact_versions SET deleted_at = UTC_TIMESTAMP(6) WHERE artifact_uuid = ? AND idx = ?")
        .bind(held.uuid)
        .bind(version.idx)
        .run(conn)
        .await?;
    references::remove(
        conn,
        version.blob_uuid,
        ReferenceKind::ArtifactIndex,
        held.uuid.as_uuid(),
        &index_key(version.idx),
    )
    .await
}

/// Records the billed size: the sum of the live versions.
pub(super) async fn usage(conn: &mut Conn, ctx: &TxContext, held: &Held) -> StoreResult<()> {
    let bytes: Option<u64> =
        sql("SELECT CAST(COALESCE(SUM(b.size), 0) AS UNSIGNED) AS value FROM artifact_versions v \
         JOIN blobs b ON b.uuid = v.blob_uuid WHERE v.artifact_uuid = ? AND v.deleted_at IS NULL")
        .bind(held.uuid)
        .value(conn)
        .await?;
    let extra = serde_json::json!({ "bytes": bytes.unwrap_or(0) });
    let artifact = ObjectRef::new(ObjectType::Artifact, held.uuid);
    ctx.event_with(EventType::Usage, "usage", &[artifact], Some(&extra));
    Ok(())
}

/// An artifact with a version is usable, whatever its last fetch said.
async fn settle(conn: &mut Conn, held: &Held) -> StoreResult<()> {
    sql("UPDATE artifacts SET state_changed_at = IF(state = 'created', state_changed_at, UTC_TIMESTAMP(6)), \
         state = 'created', error_message = NULL, row_version = row_version + 1 WHERE uuid = ? AND state <> 'deleted'")
    .bind(held.uuid)
    .run(conn)
    .await?;
    Ok(())
}

async fn same_content(conn: &mut Conn, one: BlobId, other: BlobId) -> StoreResult<bool> {
    let same: Option<u64> =
        sql("SELECT 1 AS value FROM blob_hashes a JOIN blob_hashes b ON b.value = a.value \
         AND b.algorithm = a.algorithm WHERE a.algorithm = 'sha512' AND a.blob_uuid = ? AND b.blob_uuid = ?")
        .bind(one)
        .bind(other)
        .value(conn)
        .await?;
    Ok(same.is_some())
}

/// Why an index cannot be used.
pub(super) fn no_such_index() -> StoreError {
    StoreError::precondition(super::NO_SUCH_INDEX, "artifact index not found")
}
