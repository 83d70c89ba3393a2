//! What a node holds and what it should do with what it found (`storage.md` §4.3, §19).

use sf_model::event::EventType;
use sf_model::{BlobId, NodeId, ObjectRef, ObjectType};
use sf_protos::blobs::{
    BlobVerdict, CheckBlobsReply, CheckBlobsRequest, ListReplicasOfNodeReply, ListReplicasOfNodeRequest,
    Replica, ReportReplicaScanReply, ReportReplicaScanRequest,
};

use super::dedup;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::page::Page;
use crate::sql::{rows, sql};
use crate::wire::parse;

rows! {
    struct ReplicaRow {
        blob_uuid: String,
        state: String,
        size: u64,
        blob_state: String,
        blake3: Option<String>,
        age_us: i64,
        in_use: bool,
    }

    struct VerdictRow {
        blob_uuid: String,
        state: String,
        size: u64,
        blake3: Option<String>,
        age_us: i64,
        pinned: bool,
    }
}

const LIVE_REFERENCE: &str = "EXISTS (SELECT 1 FROM blob_references r WHERE r.blob_uuid = b.uuid \
    AND (r.lease_until IS NULL OR r.lease_until > UTC_TIMESTAMP(6)))";

/// The replica rows of a node, by blob.
///
/// # Errors
/// Those of the database.
pub async fn list_of_node(
    conn: &mut Conn,
    request: &ListReplicasOfNodeRequest,
) -> StoreResult<ListReplicasOfNodeReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let page = Page::new(request.page.clone());
    let query = sql(format!(
        "SELECT p.blob_uuid, p.state, b.size, b.state AS blob_state, h.value AS blake3, \
         TIMESTAMPDIFF(MICROSECOND, b.state_changed_at, UTC_TIMESTAMP(6)) AS age_us, {LIVE_REFERENCE} AS in_use \
         FROM blob_replicas p JOIN blobs b ON b.uuid = p.blob_uuid \
         LEFT JOIN blob_hashes h ON h.blob_uuid = b.uuid AND h.algorithm = 'blake3' WHERE p.node_uuid = ?"
    ))
    .bind(node);
    let rows: Vec<ReplicaRow> = page.by_key(query, "p.blob_uuid").all(conn).await?;
    let (rows, info) = page.cut(rows, |row| row.blob_uuid.clone());
    let replicas = rows
        .into_iter()
        .map(|row| Replica {
            blob_uuid: row.blob_uuid,
            state: row.state,
            size: row.size,
            blob_state: row.blob_state,
            blake3: row.blake3,
            blob_state_age_seconds: seconds(row.age_us),
            in_use: row.in_use,
        })
        .collect();
    Ok(ListReplicasOfNodeReply { replicas, page: Some(info) })
}

/// What the database knows of files without a replica row; an unknown blob is a verdict with an empty state.
///
/// # Errors
/// More than 500 were asked for.
pub async fn check_blobs(conn: &mut Conn, request: &CheckBlobsRequest) -> StoreResult<CheckBlobsReply> {
    let ids = ids("blob_uuids", &request.blob_uuids)?;
    let rows: Vec<VerdictRow> = sql(format!(
        "SELECT b.uuid AS blob_uuid, b.state, b.size, h.value AS blake3, \
         TIMESTAMPDIFF(MICROSECOND, b.state_changed_at, UTC_TIMESTAMP(6)) AS age_us, {LIVE_REFERENCE} AS pinned \
         FROM blobs b LEFT JOIN blob_hashes h ON h.blob_uuid = b.uuid AND h.algorithm = 'blake3' WHERE b.uuid IN "
    ))
    .list(ids.iter().copied())
    .all(conn)
    .await?;
    let verdicts = ids
        .iter()
        .map(|id| {
            let id = id.to_string();
            let known = rows.iter().find(|row| row.blob_uuid == id);
            known.map_or_else(
                || BlobVerdict { blob_uuid: id.clone(), ..BlobVerdict::default() },
                |row| BlobVerdict {
                    blob_uuid: id.clone(),
                    state: row.state.clone(),
                    size: row.size,
                    blake3: row.blake3.clone(),
                    state_age_seconds: seconds(row.age_us),
                    pinned: row.pinned,
                },
            )
        })
        .collect();
    Ok(CheckBlobsReply { verdicts })
}

/// Takes over what a node found on its disk.
///
/// # Errors
/// More than 500 of one kind.
pub async fn report_scan(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &ReportReplicaScanRequest,
) -> StoreResult<ReportReplicaScanReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let seen = ids("seen", &request.seen)?;
    if !seen.is_empty() {
        sql("UPDATE blob_replicas SET last_seen = UTC_TIMESTAMP(6) WHERE node_uuid = ? AND blob_uuid IN ")
            .bind(node)
            .list(seen)
            .run(conn)
            .await?;
    }
    for blob in ids("found", &request.found)? {
        let alive: Option<u64> =
            sql("SELECT 1 AS value FROM blobs WHERE uuid = ? AND state = 'created' FOR UPDATE")
                .bind(blob)
                .value(conn)
                .await?;
        if alive.is_some() {
            dedup::add_replica(conn, blob, node).await?;
        }
    }
    let suspect = ids("suspect", &request.suspect)?;
    if !suspect.is_empty() {
        sql("UPDATE blob_replicas SET state = 'suspect' WHERE state = 'present' AND node_uuid = ? AND blob_uuid IN ")
            .bind(node)
            .list(suspect.iter().copied())
            .run(conn)
            .await?;
    }
    let missing = ids("missing", &request.missing)?;
    drop_rows(conn, node, &missing).await?;
    drop_rows(conn, node, &ids("removed", &request.removed)?).await?;
    for (blobs, message) in [(missing, "blob missing from node"), (suspect, "blob copy is suspect on node")] {
        for blob in blobs {
            let objects = [ObjectRef::new(ObjectType::Blob, blob), ObjectRef::new(ObjectType::Node, node)];
            ctx.event(EventType::Audit, message, &objects);
        }
    }
    Ok(ReportReplicaScanReply {})
}

async fn drop_rows(conn: &mut Conn, node: NodeId, blobs: &[BlobId]) -> StoreResult<()> {
    if !blobs.is_empty() {
        sql("DELETE FROM blob_replicas WHERE node_uuid = ? AND blob_uuid IN ")
            .bind(node)
            .list(blobs.iter().copied())
            .run(conn)
            .await?;
    }
    Ok(())
}

fn ids(field: &str, texts: &[String]) -> StoreResult<Vec<BlobId>> {
    if texts.len() > 500 {
        return Err(StoreError::invalid(format!("{field}: at most 500")));
    }
    texts.iter().map(|text| parse(field, text)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "ages far below 2^52 microseconds")]
fn seconds(micros: i64) -> f64 {
    micros.max(0) as f64 / 1e6
}
