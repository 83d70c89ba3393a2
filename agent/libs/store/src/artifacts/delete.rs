//! Deleting artifacts with their references.

use sf_model::event::EventType;
use sf_model::{ArtifactId, ObjectRef, ObjectType};
use sf_protos::artifacts::{
    DeleteArtifactReply, DeleteArtifactRequest, DeleteNamespaceArtifactsReply,
    DeleteNamespaceArtifactsRequest,
};

use super::{hold, resolve, view};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::lookup::Viewer;
use crate::metadata;
use crate::references::{self, ReferenceKind};
use crate::sql::sql;

/// Artifacts of one call of [`delete_all`].
const CHUNK: usize = 50;

/// Deletes an artifact; by UUID, deleting it again answers the same.
///
/// # Errors
/// [`crate::StoreError::Missing`].
pub async fn delete(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &DeleteArtifactRequest,
) -> StoreResult<DeleteArtifactReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let id = resolve(conn, &viewer, request.selector.as_ref(), true).await?;
    delete_one(conn, ctx, id).await?;
    Ok(DeleteArtifactReply { artifact: Some(view::one(conn, &viewer, id).await?) })
}

/// Deletes the next artifacts of a namespace.
///
/// # Errors
/// Those of the database.
pub async fn delete_all(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &DeleteNamespaceArtifactsRequest,
) -> StoreResult<DeleteNamespaceArtifactsReply> {
    let (deleted, more) = delete_next_of(conn, ctx, &request.namespace).await?;
    Ok(DeleteNamespaceArtifactsReply {
        artifact_uuids: deleted.into_iter().map(String::from).collect(),
        more,
    })
}

/// As [`delete_all`], inside another transaction; whether there are more.
///
/// # Errors
/// Those of the database.
pub async fn delete_next_of(
    conn: &mut Conn,
    ctx: &TxContext,
    namespace: &str,
) -> StoreResult<(Vec<ArtifactId>, bool)> {
    // Locked together: one after the other they would be locked behind the blobs of those before.
    let mut next: Vec<ArtifactId> = sql("SELECT uuid AS value FROM artifacts \
         WHERE namespace = ? AND state <> 'deleted' ORDER BY uuid LIMIT ? FOR UPDATE")
    .bind(namespace)
    .bind(u64::try_from(CHUNK + 1).unwrap_or(u64::MAX))
    .values(conn)
    .await?;
    let more = next.len() > CHUNK;
    next.truncate(CHUNK);
    for artifact in &next {
        delete_one(conn, ctx, *artifact).await?;
    }
    Ok((next, more))
}

/// Deletes one artifact whose ownership has been decided. Its versions stay on record until the row goes.
///
/// # Errors
/// Those of the database.
pub async fn delete_one(conn: &mut Conn, ctx: &TxContext, artifact: ArtifactId) -> StoreResult<()> {
    let live = hold::by_id(conn, artifact).await?.filter(|held| held.state != "deleted");
    if live.is_none() {
        return Ok(());
    }
    sql("UPDATE artifacts SET state = 'deleted', state_changed_at = UTC_TIMESTAMP(6), live_key = NULL, \
         row_version = row_version + 1 WHERE uuid = ?")
    .bind(artifact)
    .run(conn)
    .await?;
    references::remove_holder(conn, artifact.as_uuid(), ReferenceKind::ArtifactIndex).await?;
    ctx.event(EventType::Audit, "artifact deleted", &[ObjectRef::new(ObjectType::Artifact, artifact)]);
    Ok(())
}

/// Removes the rows of artifacts that were deleted longer ago than the configured delay.
///
/// # Errors
/// Those of the database.
pub async fn hard_delete(conn: &mut Conn, ctx: &TxContext, limit: u32) -> StoreResult<u32> {
    let gone: Vec<ArtifactId> = sql("SELECT uuid AS value FROM artifacts WHERE state = 'deleted' \
         AND state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) LIMIT ? FOR UPDATE SKIP LOCKED")
    .bind(ctx.settings.cleaner_delay)
    .bind(limit)
    .values(conn)
    .await?;
    for artifact in &gone {
        metadata::clear(conn, ObjectType::Artifact, &artifact.to_string()).await?;
        crate::events::drop_low_value(conn, ObjectType::Artifact, &artifact.to_string()).await?;
        sql("DELETE FROM artifacts WHERE uuid = ?").bind(*artifact).run(conn).await?;
    }
    Ok(u32::try_from(gone.len()).unwrap_or(u32::MAX))
}
