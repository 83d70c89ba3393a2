//! Who may name a blob (`rest-api.md` 1.5.1).
//!
//! A blob has no namespace. A caller reaches it through what holds a reference to it, or to a blob that depends on it or
//! was transcoded from it. The same test gates every place where a caller names a blob.

use std::collections::BTreeSet;

use sf_model::{BlobId, ObjectType};

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::sql::sql;

/// Whether the caller may read the blob.
///
/// # Errors
/// Those of the database.
pub async fn is_reachable(conn: &mut Conn, viewer: &Viewer, blob: BlobId) -> StoreResult<bool> {
    Ok(reachable(conn, viewer, &[blob]).await?.contains(&blob))
}

/// Fails as if the blob did not exist unless the caller may read it.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn require_reachable(conn: &mut Conn, viewer: &Viewer, blob: BlobId) -> StoreResult<()> {
    if is_reachable(conn, viewer, blob).await? {
        Ok(())
    } else {
        Err(StoreError::missing(ObjectType::Blob, blob))
    }
}

/// Those of the blobs that the caller may read, in one statement.
pub(super) async fn reachable(
    conn: &mut Conn,
    viewer: &Viewer,
    blobs: &[BlobId],
) -> StoreResult<BTreeSet<BlobId>> {
    let ids = || blobs.iter().copied();
    if viewer.is_system() {
        let known = sql("SELECT uuid AS value FROM blobs WHERE uuid IN ").list(ids()).values(conn).await?;
        return Ok(known.into_iter().collect());
    }
    // `family` walks from each blob to the blobs made on top of it; whoever reaches one of those reaches the first.
    let found: Vec<BlobId> = sql("WITH RECURSIVE family AS (\
         SELECT uuid AS root, uuid AS member FROM blobs WHERE uuid IN ")
    .list(ids())
    .push(
        " UNION SELECT f.root, IF(r.kind = 'transcode', r.blob_uuid, r.holder_uuid) FROM family f \
         JOIN blob_references r ON (r.kind = 'depends_on' AND r.blob_uuid = f.member) \
         OR (r.kind = 'transcode' AND r.holder_uuid = f.member)) \
         SELECT DISTINCT f.root AS value FROM family f JOIN blob_references r ON r.blob_uuid = f.member WHERE \
         (r.kind = 'artifact_index' AND EXISTS (SELECT 1 FROM artifacts a WHERE a.uuid = r.holder_uuid AND ",
    )
    .append(viewer.readable_artifact("a"))
    .push(
        ")) OR (r.kind IN ('disk', 'nvram_template', 'screenshot') AND EXISTS \
         (SELECT 1 FROM instances i WHERE i.uuid = r.holder_uuid AND ",
    )
    .append(viewer.owned("i.namespace"))
    .push(")) OR (r.kind = 'pin' AND EXISTS (SELECT 1 FROM uploads u WHERE u.uuid = r.holder_uuid AND ")
    .append(viewer.owned("u.namespace"))
    .push("))")
    .values(conn)
    .await?;
    Ok(found.into_iter().collect())
}

/// Whether the caller may change what belongs to the blob: `system`, or the owner of an artifact that refers to it.
///
/// # Errors
/// Those of the database.
pub async fn is_owned(conn: &mut Conn, viewer: &Viewer, blob: BlobId) -> StoreResult<bool> {
    let row: Option<u64> = sql("SELECT 1 AS value FROM blobs b WHERE b.uuid = ? AND (")
        .bind(blob)
        .push(if viewer.is_system() { "TRUE" } else { "FALSE" })
        .push(
            " OR EXISTS (SELECT 1 FROM blob_references r JOIN artifacts a ON a.uuid = r.holder_uuid \
             WHERE r.blob_uuid = b.uuid AND r.kind = 'artifact_index' AND ",
        )
        .append(viewer.owned("a.namespace"))
        .push("))")
        .value(conn)
        .await?;
    Ok(row.is_some())
}
