//! Reusing an equal blob instead of storing the same bytes twice (`storage.md` §5.4).

use sf_model::{BlobId, NodeId};
use sf_protos::blobs::Hash;

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::sql;

/// The oldest `created` blob with the same size, SHA-512 and BLAKE3, locked. Both hashes must be known of both blobs.
pub(super) async fn equal_blob(
    conn: &mut Conn,
    blob: BlobId,
    size: u64,
    hashes: &[Hash],
) -> StoreResult<Option<BlobId>> {
    let value = |algorithm: &str| hashes.iter().find(|h| h.algorithm == algorithm).map(|h| h.value.as_str());
    let (Some(sha512), Some(blake3)) = (value("sha512"), value("blake3")) else { return Ok(None) };
    sql("SELECT b.uuid AS value FROM blobs b \
         JOIN blob_hashes s ON s.blob_uuid = b.uuid AND s.algorithm = 'sha512' AND s.value = ? \
         JOIN blob_hashes k ON k.blob_uuid = b.uuid AND k.algorithm = 'blake3' AND k.value = ? \
         WHERE b.state = 'created' AND b.size = ? AND b.uuid <> ? ORDER BY b.created_at, b.uuid LIMIT 1 FOR UPDATE")
    .bind(sha512)
    .bind(blake3)
    .bind(size)
    .bind(blob)
    .value(conn)
    .await
}

/// Ends `blob` in favour of `winner`: its pins move, and a repeated commit is answered from the record.
pub(super) async fn replace(conn: &mut Conn, blob: BlobId, winner: BlobId) -> StoreResult<()> {
    sql("INSERT INTO blob_references (blob_uuid, kind, holder_uuid, holder_key, created_at, lease_until) \
         SELECT ?, kind, holder_uuid, holder_key, created_at, lease_until FROM blob_references \
         WHERE blob_uuid = ? AND kind = 'pin' ON DUPLICATE KEY UPDATE lease_until = VALUES(lease_until)")
    .bind(winner)
    .bind(blob)
    .run(conn)
    .await?;
    sql("DELETE FROM blob_references WHERE blob_uuid = ? AND kind = 'pin'").bind(blob).run(conn).await?;
    sql(
        "UPDATE blobs SET state = 'deleted', state_changed_at = UTC_TIMESTAMP(6), writer_lease_until = NULL, \
         replaced_by = ?, row_version = row_version + 1 WHERE uuid = ?",
    )
    .bind(winner)
    .bind(blob)
    .run(conn)
    .await?;
    Ok(())
}

/// Records a durable copy; answers whether the node had one before.
pub(super) async fn add_replica(conn: &mut Conn, blob: BlobId, node: NodeId) -> StoreResult<bool> {
    let before: Option<String> =
        sql("SELECT state AS value FROM blob_replicas WHERE blob_uuid = ? AND node_uuid = ? FOR UPDATE")
            .bind(blob)
            .bind(node)
            .value(conn)
            .await?;
    sql("INSERT INTO blob_replicas (blob_uuid, node_uuid, state, last_seen, verified_at) \
         VALUES (?, ?, 'present', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)) \
         ON DUPLICATE KEY UPDATE state = 'present', last_seen = VALUES(last_seen)")
    .bind(blob)
    .bind(node)
    .run(conn)
    .await?;
    Ok(before.as_deref() == Some("present"))
}
