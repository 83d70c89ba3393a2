//! Handing out work: lane by lane, oldest first, never a row that another worker looks at.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rand::Rng;
use sf_model::{ClaimToken, NodeId, OperationId};
use sf_protos::operations::ClaimedWork;

use super::claims::Worker;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{Fault, StoreResult};
use crate::sql::{rows, sql};
use crate::wire::timestamp;

/// Rows of one call.
const MAX_LIMIT: u32 = 32;
/// Seconds after which a row that could run gets a place however low its lane.
const STARVING: u32 = 300;

/// Rows that may be claimed now. The last condition keeps rows of a serial key apart; the unique slot decides.
const ELIGIBLE: &str = "q.available_at <= UTC_TIMESTAMP(6) AND q.unmet_dependencies = 0 AND q.claim_token IS NULL \
     AND (q.serial_key IS NULL OR NOT EXISTS (SELECT 1 FROM work_queue h WHERE h.serial_slot = q.serial_key))";

/// A worker asking for work.
#[derive(Debug, Clone)]
pub struct Dequeue {
    /// Who asks.
    pub worker: Worker,
    /// The token the work is held under; a repeated call with it gets the same work.
    pub claim_token: ClaimToken,
    /// At most this many rows.
    pub limit: u32,
}

rows! {
    struct Candidate {
        id: u64,
        serial_key: Option<String>,
    }

    struct Claimed {
        operation_uuid: OperationId,
        operation_type: String,
        arguments: String,
        arguments_version: u32,
        namespace: Option<String>,
        priority: u8,
        deliveries: u32,
        defer_count: u32,
        request_id: Option<String>,
        traceparent: Option<String>,
        enqueued_at: DateTime<Utc>,
        wait_seconds: f64,
        deadline_seconds: f64,
    }
}

/// Claims work for a worker; empty when there is none.
///
/// # Errors
/// The database fails.
pub async fn dequeue(conn: &mut Conn, ctx: &TxContext, ask: &Dequeue) -> StoreResult<Vec<ClaimedWork>> {
    let before = claimed(conn, ask).await?;
    if !before.is_empty() {
        return Ok(before);
    }
    let limit = ask.limit.clamp(1, MAX_LIMIT);
    let mut keys = BTreeSet::new();
    let mut taken = 0;
    if let Some(starving) = starving(conn, ask, limit).await? {
        taken += u32::from(claim(conn, ctx, ask, &starving, &mut keys).await?);
    }
    // The order of the index, so that only the rows that are taken get locked.
    let query = format!(
        "SELECT q.id, q.serial_key FROM work_queue q WHERE q.node_uuid = ? AND {ELIGIBLE} \
         ORDER BY q.priority, q.available_at, q.id LIMIT ? FOR UPDATE SKIP LOCKED"
    );
    let found: Vec<Candidate> = sql(query).bind(ask.worker.node).bind(limit).all(conn).await?;
    for candidate in found {
        if taken < limit {
            taken += u32::from(claim(conn, ctx, ask, &candidate, &mut keys).await?);
        }
    }
    if taken == 0 {
        return Ok(Vec::new());
    }
    sql("UPDATE cluster_operations SET first_dequeued_at = COALESCE(first_dequeued_at, UTC_TIMESTAMP(6)) \
         WHERE uuid IN (SELECT operation_uuid FROM work_queue WHERE claim_token = ?)")
    .bind(ask.claim_token)
    .run(conn)
    .await?;
    claimed(conn, ask).await
}

/// Which of these nodes have work that could be claimed: one query for all waiting workers.
///
/// # Errors
/// The database fails.
pub async fn nodes_with_work(conn: &mut Conn, nodes: &[NodeId]) -> StoreResult<Vec<NodeId>> {
    let query = format!(
        "SELECT DISTINCT q.node_uuid AS value FROM work_queue q WHERE {ELIGIBLE} AND q.node_uuid IN "
    );
    sql(query).list(nodes.iter().copied()).values(conn).await
}

/// The row that has waited longest beyond patience, in any lane. With room for one row only, it gets every fourth call:
/// else a long queue of old rows would shut out whoever waits at a screen.
async fn starving(conn: &mut Conn, ask: &Dequeue, limit: u32) -> StoreResult<Option<Candidate>> {
    if limit == 1 && rand::rng().random_range(0..4) > 0 {
        return Ok(None);
    }
    let probe = format!(
        "SELECT q.id AS value FROM work_queue q WHERE q.node_uuid = ? AND {ELIGIBLE} \
         AND q.available_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND ORDER BY q.available_at, q.id LIMIT 1"
    );
    let oldest: Option<u64> = sql(probe).bind(ask.worker.node).bind(STARVING).value(conn).await?;
    let Some(oldest) = oldest else { return Ok(None) };
    sql(format!(
        "SELECT q.id, q.serial_key FROM work_queue q WHERE q.id = ? AND {ELIGIBLE} FOR UPDATE SKIP LOCKED"
    ))
    .bind(oldest)
    .first_row(conn)
    .await
}

/// Claims one row; false when its serial key is held.
async fn claim(
    conn: &mut Conn,
    ctx: &TxContext,
    ask: &Dequeue,
    candidate: &Candidate,
    keys: &mut BTreeSet<String>,
) -> StoreResult<bool> {
    if candidate.serial_key.as_ref().is_some_and(|key| !keys.insert(key.clone())) {
        return Ok(false);
    }
    let update = "UPDATE work_queue SET claim_token = ?, claimed_by_node = ?, claimed_by_daemon = ?, \
         claimed_by_incarnation = ?, claim_expires_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND, \
         serial_slot = serial_key, deliveries = deliveries + 1 WHERE id = ? AND claim_token IS NULL";
    let outcome = sql(update)
        .bind(ask.claim_token)
        .bind(ask.worker.node)
        .bind(&ask.worker.daemon)
        .bind(ask.worker.incarnation)
        .bind(ctx.settings.cluster_op_claim_lease)
        .bind(candidate.id)
        .run(conn)
        .await;
    match outcome {
        Err(error) if error.fault() == Fault::Duplicate => Ok(false),
        other => Ok(other? > 0),
    }
}

/// The rows held under a token, most urgent first.
async fn claimed(conn: &mut Conn, ask: &Dequeue) -> StoreResult<Vec<ClaimedWork>> {
    let rows: Vec<Claimed> = sql("SELECT q.operation_uuid, o.operation_type, o.arguments, \
         o.arguments_version, o.namespace, q.priority, q.deliveries, \
         q.defer_count, o.request_id, o.traceparent, q.enqueued_at, \
         TIMESTAMPDIFF(MICROSECOND, q.enqueued_at, UTC_TIMESTAMP(6)) / 1e6 AS wait_seconds, \
         TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), o.deadline_at) / 1e6 AS deadline_seconds \
         FROM work_queue q JOIN cluster_operations o ON o.uuid = q.operation_uuid \
         WHERE q.claim_token = ? ORDER BY q.priority, q.id")
    .bind(ask.claim_token)
    .all(conn)
    .await?;
    let view = |row: Claimed| ClaimedWork {
        operation_uuid: row.operation_uuid.to_string(),
        operation_type: row.operation_type,
        arguments_json: row.arguments,
        arguments_version: row.arguments_version,
        namespace: row.namespace,
        priority: row.priority.into(),
        deliveries: row.deliveries,
        defer_count: row.defer_count,
        request_id: row.request_id,
        traceparent: row.traceparent,
        enqueued_at: Some(timestamp(row.enqueued_at)),
        wait_seconds: row.wait_seconds,
        deadline_seconds: row.deadline_seconds,
        claim_token: ask.claim_token.to_string(),
    };
    Ok(rows.into_iter().map(view).collect())
}
