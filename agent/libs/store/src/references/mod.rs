//! Recorded reasons to keep a blob (`storage.md` §3.3).
//!
//! Counts are computed from the rows. Taking the last counted reference away deletes the blob in the same transaction,
//! and with it what the blob itself held, transitively. A live pin postpones that: it stands for work between looking
//! a blob up and recording the lasting reason.

use std::time::Duration;

use sf_model::{BlobId, ObjectType};
use strum::{Display, IntoStaticStr};
use uuid::Uuid;

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{Bind, sql};

use ReferenceKind as Kind;

/// Life of a pin that is not renewed.
pub const PIN_LEASE: Duration = Duration::from_secs(120);
/// Reason of a refusal to refer to a blob that is gone.
pub const BLOB_DELETED: &str = "blob_deleted";

/// Kinds of references.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ReferenceKind {
    /// A version of an artifact; the key is its index.
    ArtifactIndex,
    /// A disk of an instance; the key is its position.
    Disk,
    /// The NVRAM template of an instance.
    NvramTemplate,
    /// A child blob.
    DependsOn,
    /// The source a transcode was made from; the key is the style.
    Transcode,
    /// A result or input of an agent operation.
    AgentIo,
    /// A picture of an instance's screen, leased.
    Screenshot,
    /// Work in progress of an operation or upload; leased and not counted.
    Pin,
}

impl From<ReferenceKind> for Bind {
    fn from(kind: ReferenceKind) -> Self {
        Self::Text(kind.to_string())
    }
}

/// Key of a version reference: the index in twelve digits, so that keys sort as indexes do.
pub fn index_key(index: u32) -> String {
    format!("{index:012}")
}

/// Records a reason to keep `blob`. Recording it twice is the same as once.
///
/// # Errors
/// [`StoreError::Missing`] for an unknown blob; a precondition `blob_deleted` for one that is gone.
pub async fn add(conn: &mut Conn, blob: BlobId, kind: Kind, holder: Uuid, key: &str) -> StoreResult<()> {
    lock_live(conn, blob).await?;
    write(conn, blob, kind, holder, key, None).await
}

/// Keeps `blob` for work of `holder` for a while; renewed with [`renew_pins`].
///
/// # Errors
/// As [`add`].
pub async fn pin(conn: &mut Conn, blob: BlobId, holder: Uuid, purpose: &str) -> StoreResult<()> {
    lock_live(conn, blob).await?;
    write(conn, blob, ReferenceKind::Pin, holder, purpose, Some(PIN_LEASE)).await
}

/// Takes one reason away. A reason that is not there is counted and nothing else.
///
/// # Errors
/// Those of the database.
pub async fn remove(conn: &mut Conn, blob: BlobId, kind: Kind, holder: Uuid, key: &str) -> StoreResult<()> {
    let removed = sql(
        "DELETE FROM blob_references WHERE blob_uuid = ? AND kind = ? AND holder_uuid = ? AND holder_key = ?",
    )
    .bind(blob)
    .bind(kind)
    .bind(holder)
    .bind(key)
    .run(conn)
    .await?;
    if removed == 0 {
        metrics::counter!("blob_reference_underflow_total").increment(1);
        return Ok(());
    }
    delete_unused(conn, vec![blob]).await
}

/// Takes every reason of one kind away from a holder, for example all disks of an instance.
///
/// # Errors
/// Those of the database.
pub async fn remove_holder(conn: &mut Conn, holder: Uuid, kind: ReferenceKind) -> StoreResult<()> {
    let blobs: Vec<BlobId> =
        sql("SELECT DISTINCT blob_uuid AS value FROM blob_references WHERE holder_uuid = ? AND kind = ? ORDER BY 1")
            .bind(holder)
            .bind(kind)
            .values(conn)
            .await?;
    if blobs.is_empty() {
        return Ok(());
    }
    sql("DELETE FROM blob_references WHERE holder_uuid = ? AND kind = ?")
        .bind(holder)
        .bind(kind)
        .run(conn)
        .await?;
    delete_unused(conn, blobs).await
}

/// Ends the pins of a holder. Blobs that nothing else keeps are left to [`crate::blobs::reap`], which gives a producer
/// that is between two calls its grace.
///
/// # Errors
/// Those of the database.
pub async fn unpin(conn: &mut Conn, holder: Uuid) -> StoreResult<()> {
    sql("DELETE FROM blob_references WHERE holder_uuid = ? AND kind = 'pin'").bind(holder).run(conn).await?;
    Ok(())
}

/// Extends the pins of holders that are still at work.
///
/// # Errors
/// Those of the database.
pub async fn renew_pins(conn: &mut Conn, holders: &[Uuid]) -> StoreResult<()> {
    if holders.is_empty() {
        return Ok(());
    }
    sql("UPDATE blob_references SET lease_until = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)) \
         WHERE kind = 'pin' AND holder_uuid IN ")
    .bind(PIN_LEASE)
    .list(holders.iter().copied())
    .run(conn)
    .await?;
    Ok(())
}

/// Deletes those of the blobs that no counted reference and no live pin keeps, and releases what they held.
///
/// # Errors
/// Those of the database.
pub async fn delete_unused(conn: &mut Conn, blobs: Vec<BlobId>) -> StoreResult<()> {
    let mut work = blobs;
    while !work.is_empty() {
        work.sort_unstable();
        work.dedup();
        // Locked in order of identity before they are judged, so that no reference can be added meanwhile.
        sql("SELECT uuid AS value FROM blobs WHERE uuid IN ")
            .list(work.iter().copied())
            .push(" ORDER BY uuid FOR UPDATE")
            .values::<BlobId>(conn)
            .await?;
        let unused: Vec<BlobId> =
            sql("SELECT b.uuid AS value FROM blobs b WHERE b.state <> 'deleted' AND b.uuid IN ")
                .list(work.iter().copied())
                .push(
                    " AND NOT EXISTS (SELECT 1 FROM blob_references r WHERE r.blob_uuid = b.uuid \
                 AND (r.lease_until IS NULL OR r.lease_until > UTC_TIMESTAMP(6)))",
                )
                .values(conn)
                .await?;
        work = delete(conn, &unused).await?;
    }
    Ok(())
}

/// Marks blobs deleted and drops what they held; answers the blobs that lost a reference by it.
pub(crate) async fn delete(conn: &mut Conn, blobs: &[BlobId]) -> StoreResult<Vec<BlobId>> {
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    sql(
        "UPDATE blobs SET state = 'deleted', state_changed_at = UTC_TIMESTAMP(6), writer_lease_until = NULL, \
         row_version = row_version + 1 WHERE state <> 'deleted' AND uuid IN ",
    )
    .list(blobs.iter().copied())
    .run(conn)
    .await?;
    let held: Vec<BlobId> = sql(
        "SELECT DISTINCT blob_uuid AS value FROM blob_references WHERE kind IN ('depends_on', 'transcode') \
             AND holder_uuid IN ",
    )
    .list(blobs.iter().copied())
    .values(conn)
    .await?;
    sql("DELETE FROM blob_references WHERE kind IN ('depends_on', 'transcode') AND holder_uuid IN ")
        .list(blobs.iter().copied())
        .run(conn)
        .await?;
    Ok(held)
}

async fn lock_live(conn: &mut Conn, blob: BlobId) -> StoreResult<()> {
    let state: Option<String> =
        sql("SELECT state AS value FROM blobs WHERE uuid = ? FOR UPDATE").bind(blob).value(conn).await?;
    match state.as_deref() {
        None => Err(StoreError::missing(ObjectType::Blob, blob)),
        Some("deleted") => {
            Err(StoreError::precondition(BLOB_DELETED, format!("blob {blob} has been deleted"))
                .with("blob", blob))
        }
        Some(_) => Ok(()),
    }
}

async fn write(
    conn: &mut Conn,
    blob: BlobId,
    kind: ReferenceKind,
    holder: Uuid,
    key: &str,
    lease: Option<Duration>,
) -> StoreResult<()> {
    sql("INSERT INTO blob_references (blob_uuid, kind, holder_uuid, holder_key, created_at, lease_until) \
         VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6), TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6))) \
         ON DUPLICATE KEY UPDATE lease_until = VALUES(lease_until)")
    .bind(blob)
    .bind(kind)
    .bind(holder)
    .bind(key)
    .bind(lease)
    .run(conn)
    .await?;
    Ok(())
}
