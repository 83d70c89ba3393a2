//! Single flight of downloads: one lease per artifact, and one per address for fetches by different namespaces.

use std::time::Duration;

use sf_model::{ArtifactId, NodeId, OperationId};
use sf_protos::artifacts::begin_fetch_reply::Verdict;
use sf_protos::artifacts::{BeginFetchReply, BeginFetchRequest};
use uuid::Uuid;

use super::{digest, hold};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::{rows, sql};
use crate::wire::parse;

/// Life of a lease that is not renewed.
const LEASE: Duration = Duration::from_secs(120);

rows! {
    struct Validators {
        etag: Option<String>,
        last_modified: Option<String>,
        content_length: Option<u64>,
        blob_uuid: String,
    }
}

/// Takes the leases of a fetch and says what is known of the address.
///
/// # Errors
/// Those of the database.
pub async fn begin_fetch(
    conn: &mut Conn,
    _ctx: &TxContext,
    request: &BeginFetchRequest,
) -> StoreResult<BeginFetchReply> {
    let artifact: ArtifactId = parse("artifact_uuid", &request.artifact_uuid)?;
    let operation: OperationId = parse("operation_uuid", &request.operation_uuid)?;
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let verdict =
        |verdict: Verdict| BeginFetchReply { verdict: verdict.into(), ..BeginFetchReply::default() };
    let held = hold::by_id(conn, artifact).await?.filter(|held| held.state != "deleted");
    let Some(held) = held else { return Ok(verdict(Verdict::Gone)) };
    let mut keys = [artifact_key(artifact), url_key(&request.resolved_url)];
    keys.sort_unstable();
    for key in keys {
        if !take(conn, key, operation, node).await? {
            // What was taken is given back at once, or two fetches could wait for each other.
            release(conn, operation).await?;
            return Ok(verdict(Verdict::Busy));
        }
    }
    let known: Option<Validators> =
        sql("SELECT v.etag, v.last_modified, v.content_length, v.blob_uuid FROM url_validators v \
         JOIN blobs b ON b.uuid = v.blob_uuid AND b.state = 'created' WHERE v.url_hash = ?")
        .bind(validator_key(&request.resolved_url))
        .first_row(conn)
        .await?;
    let versions: Option<u64> = sql("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM artifact_versions \
         WHERE artifact_uuid = ? AND deleted_at IS NULL")
    .bind(artifact)
    .value(conn)
    .await?;
    let mut reply = BeginFetchReply {
        has_versions: versions.unwrap_or(0) > 0,
        namespace: held.namespace,
        ..verdict(Verdict::Fetch)
    };
    if let Some(known) = known {
        reply.etag = known.etag;
        reply.last_modified = known.last_modified;
        reply.content_length = known.content_length;
        reply.known_blob_uuid = Some(known.blob_uuid);
    }
    Ok(reply)
}

/// Extends the leases of operations that are still at work.
///
/// # Errors
/// Those of the database.
pub async fn renew_flights(conn: &mut Conn, operations: &[Uuid]) -> StoreResult<()> {
    if operations.is_empty() {
        return Ok(());
    }
    sql("UPDATE artifact_fetches SET lease_until = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)) WHERE operation_uuid IN ")
        .bind(LEASE)
        .list(operations.iter().copied())
        .run(conn)
        .await?;
    Ok(())
}

/// Ends the leases of an operation.
pub(super) async fn release(conn: &mut Conn, operation: OperationId) -> StoreResult<()> {
    sql("DELETE FROM artifact_fetches WHERE operation_uuid = ?").bind(operation).run(conn).await?;
    Ok(())
}

/// Key of the validators of an address.
pub(super) fn validator_key(url: &str) -> [u8; 32] {
    digest(&[url])
}

async fn take(conn: &mut Conn, key: [u8; 32], operation: OperationId, node: NodeId) -> StoreResult<bool> {
    // The operation decides and the other columns follow it; a lease that lapsed may be taken over.
    sql("INSERT INTO artifact_fetches (flight_key, operation_uuid, node_uuid, lease_until) \
         VALUES (?, ?, ?, TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6))) ON DUPLICATE KEY UPDATE \
         operation_uuid = IF(lease_until <= UTC_TIMESTAMP(6), VALUES(operation_uuid), operation_uuid), \
         node_uuid = IF(operation_uuid = VALUES(operation_uuid), VALUES(node_uuid), node_uuid), \
         lease_until = IF(operation_uuid = VALUES(operation_uuid), VALUES(lease_until), lease_until)")
    .bind(key)
    .bind(operation)
    .bind(node)
    .bind(LEASE)
    .run(conn)
    .await?;
    let ours: Option<bool> =
        sql("SELECT operation_uuid = ? AS value FROM artifact_fetches WHERE flight_key = ?")
            .bind(operation)
            .bind(key)
            .value(conn)
            .await?;
    Ok(ours == Some(true))
}

fn artifact_key(artifact: ArtifactId) -> [u8; 32] {
    digest(&["artifact", &artifact.to_string()])
}

fn url_key(url: &str) -> [u8; 32] {
    digest(&["url", url])
}
