//! Beginning a blob, and giving up on it.

use sf_model::{BlobId, NodeId, ObjectType};
use sf_protos::blobs::{AbortBlobReply, AbortBlobRequest, ReserveBlobReply, ReserveBlobRequest};
use uuid::Uuid;

use super::{VERSION, WRITER_LEASE};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::references;
use crate::sql::sql;
use crate::wire::parse;

/// Announces a blob whose bytes are being produced: state `initial`, a writer's lease and a pin of the producer.
///
/// # Errors
/// [`StoreError::Exists`] when the identity is taken.
pub async fn reserve(
    conn: &mut Conn,
    _ctx: &TxContext,
    request: &ReserveBlobRequest,
) -> StoreResult<ReserveBlobReply> {
    let blob = parse("blob_uuid", &request.blob_uuid)?;
    let node = parse("node_uuid", &request.node_uuid)?;
    let holder: Uuid = parse("holder_uuid", &request.holder_uuid)?;
    begin(conn, blob, node, holder, &request.purpose).await?;
    Ok(ReserveBlobReply {})
}

/// The rows of a new blob.
pub(crate) async fn begin(
    conn: &mut Conn,
    blob: BlobId,
    node: NodeId,
    holder: Uuid,
    purpose: &str,
) -> StoreResult<()> {
    let inserted = sql("INSERT INTO blobs (uuid, state, state_changed_at, created_at, version, writer_node, writer_lease_until) \
         VALUES (?, 'initial', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?, ?, TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)))")
    .bind(blob)
    .bind(VERSION)
    .bind(node)
    .bind(WRITER_LEASE)
    .run(conn)
    .await;
    match inserted {
        Err(error) if error.is_duplicate() => return Err(StoreError::exists(ObjectType::Blob, blob)),
        other => other?,
    };
    references::pin(conn, blob, holder, purpose).await
}

/// Gives up a blob that was not committed; one that was, or is gone, stays as it is.
///
/// # Errors
/// Those of the database.
pub async fn abort(
    conn: &mut Conn,
    _ctx: &TxContext,
    request: &AbortBlobRequest,
) -> StoreResult<AbortBlobReply> {
    discard(conn, parse("blob_uuid", &request.blob_uuid)?, &request.reason).await?;
    Ok(AbortBlobReply {})
}

/// Ends a blob in state `initial` or `error`, with its pins.
pub(crate) async fn discard(conn: &mut Conn, blob: BlobId, reason: &str) -> StoreResult<()> {
    let ended = sql("UPDATE blobs SET state = 'deleted', state_changed_at = UTC_TIMESTAMP(6), state_message = ?, \
         writer_lease_until = NULL, row_version = row_version + 1 WHERE uuid = ? AND state IN ('initial', 'error')")
    .bind(reason)
    .bind(blob)
    .run(conn)
    .await?;
    if ended > 0 {
        sql("DELETE FROM blob_references WHERE blob_uuid = ? AND kind = 'pin'").bind(blob).run(conn).await?;
    }
    Ok(())
}
