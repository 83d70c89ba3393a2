//! Copies on their way from node to node (`storage.md` §14.3). A row is a live transfer; there is one for a blob and a
//! destination.

use sf_model::event::EventType;
use sf_model::{BlobId, NodeId, ObjectRef, ObjectType, TransferId};
use sf_protos::blobs::{
    AcquireTransferReply, AcquireTransferRequest, FinishTransferReply, FinishTransferRequest, Hash,
    TransferProgress,
};

use super::{WRITER_LEASE, open};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult, reason};
use crate::sql::{rows, sql};
use crate::wire::parse;

/// Reason of a refusal when no node has a copy to give.
const NO_SOURCE: &str = "no_source";

rows! {
    struct Head {
        state: String,
        size: u64,
    }

    struct HashRow {
        algorithm: String,
        value: String,
    }
}

/// Grants a node the copying of a blob, or joins the transfer that lives. Whoever asks has looked: a copy that the
/// database believes to be on that node is not there and is forgotten.
///
/// # Errors
/// [`StoreError::Missing`] for an unknown blob; a precondition `bad-state` for one that is not finished or gone, and
/// `no_source` when no other node has a copy.
pub async fn acquire(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &AcquireTransferRequest,
) -> StoreResult<AcquireTransferReply> {
    let blob: BlobId = parse("blob_uuid", &request.blob_uuid)?;
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let asked: TransferId = parse("transfer_uuid", &request.transfer_uuid)?;
    let head: Option<Head> =
        sql("SELECT state, size FROM blobs WHERE uuid = ? FOR UPDATE").bind(blob).first_row(conn).await?;
    let head = head.ok_or_else(|| StoreError::missing(ObjectType::Blob, blob))?;
    if head.state != "created" {
        let message = format!("blob {blob} is {} and cannot be copied", head.state);
        return Err(StoreError::precondition(reason::BAD_STATE, message).with("state", head.state));
    }
    forget_copy(conn, ctx, blob, node).await?;
    let sources = open::sources(conn, blob).await?;
    if sources.is_empty() {
        let message = format!("no node that can be reached has a copy of blob {blob}");
        return Err(StoreError::precondition(NO_SOURCE, message));
    }
    let granted = grant(conn, blob, node, asked, &request.purpose, head.size).await?;
    let hashes: Vec<HashRow> =
        sql("SELECT algorithm, value FROM blob_hashes WHERE blob_uuid = ?").bind(blob).all(conn).await?;
    Ok(AcquireTransferReply {
        transfer_uuid: granted.to_string(),
        joined: granted != asked,
        size: head.size,
        hashes: hashes.into_iter().map(|h| Hash { algorithm: h.algorithm, value: h.value }).collect(),
        sources,
    })
}

async fn forget_copy(conn: &mut Conn, ctx: &TxContext, blob: BlobId, node: NodeId) -> StoreResult<()> {
    let believed = sql("DELETE FROM blob_replicas WHERE blob_uuid = ? AND node_uuid = ?")
        .bind(blob)
        .bind(node)
        .run(conn)
        .await?;
    if believed > 0 {
        let objects = [ObjectRef::new(ObjectType::Blob, blob), ObjectRef::new(ObjectType::Node, node)];
        ctx.event(EventType::Audit, "blob missing from node", &objects);
    }
    Ok(())
}

/// Makes the row, or extends the one that is there: its node asks again because it was restarted.
async fn grant(
    conn: &mut Conn,
    blob: BlobId,
    node: NodeId,
    asked: TransferId,
    purpose: &str,
    size: u64,
) -> StoreResult<TransferId> {
    sql("INSERT INTO blob_transfers (uuid, blob_uuid, dest_node, purpose, bytes_total, lease_until, created_at) \
         VALUES (?, ?, ?, ?, ?, TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)), UTC_TIMESTAMP(6)) \
         ON DUPLICATE KEY UPDATE lease_until = VALUES(lease_until)")
    .bind(asked)
    .bind(blob)
    .bind(node)
    .bind(purpose)
    .bind(size)
    .bind(WRITER_LEASE)
    .run(conn)
    .await?;
    let granted = sql("SELECT uuid AS value FROM blob_transfers WHERE blob_uuid = ? AND dest_node = ?")
        .bind(blob)
        .bind(node)
        .value(conn)
        .await?;
    granted.ok_or_else(|| StoreError::Corrupt(format!("transfer identity {asked} belongs to another copy")))
}

/// Ends a transfer that brought nothing; one that ended before changes nothing.
///
/// # Errors
/// Those of the database.
pub async fn finish(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &FinishTransferRequest,
) -> StoreResult<FinishTransferReply> {
    let transfer: TransferId = parse("transfer_uuid", &request.transfer_uuid)?;
    let blob: BlobId = parse("blob_uuid", &request.blob_uuid)?;
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    sql("DELETE FROM blob_transfers WHERE uuid = ? AND dest_node = ?")
        .bind(transfer)
        .bind(node)
        .run(conn)
        .await?;
    for source in &request.suspect_nodes {
        let source: NodeId = parse("suspect_nodes", source)?;
        sql("UPDATE blob_replicas SET state = 'suspect', verify_error = LEFT(?, 255) \
             WHERE blob_uuid = ? AND node_uuid = ? AND state = 'present'")
        .bind(&request.error)
        .bind(blob)
        .bind(source)
        .run(conn)
        .await?;
        let objects = [ObjectRef::new(ObjectType::Blob, blob), ObjectRef::new(ObjectType::Node, source)];
        ctx.event(EventType::Audit, "blob copy is suspect on node", &objects);
    }
    Ok(FinishTransferReply {})
}

/// Ends the transfer of a copy that has arrived.
pub(super) async fn end(conn: &mut Conn, blob: BlobId, node: NodeId) -> StoreResult<()> {
    sql("DELETE FROM blob_transfers WHERE blob_uuid = ? AND dest_node = ?")
        .bind(blob)
        .bind(node)
        .run(conn)
        .await?;
    Ok(())
}

/// Extends the transfers of a node and notes how far they are.
pub(super) async fn renew(conn: &mut Conn, node: NodeId, transfers: &[TransferProgress]) -> StoreResult<()> {
    for progress in transfers {
        let transfer: TransferId = parse("transfer_uuid", &progress.transfer_uuid)?;
        let source: Option<NodeId> = progress.source_node_uuid.parse().ok();
        sql("UPDATE blob_transfers SET lease_until = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)), \
             bytes_done = ?, source_node = ? WHERE uuid = ? AND dest_node = ?")
        .bind(WRITER_LEASE)
        .bind(progress.bytes_done)
        .bind(source)
        .bind(transfer)
        .bind(node)
        .run(conn)
        .await?;
    }
    Ok(())
}
