//! What time does to operations: lapsed claims, deadlines, edges that waited long enough, ends that did not reach all
//! dependents. Each pass does a bounded piece and says whether more is left.

use sf_model::event::EventType;
use sf_model::{ObjectRef, ObjectType, OperationId};
use sf_protos::operations::ReapExpiredClaimsReply;

use super::claims::{Held, requeue};
use super::end::{Failure, Outcome, end, release};
use super::work::deadline;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::item::Item;
use crate::sql::{rows, sql};

/// Rows of each kind that one pass handles.
const CHUNK: u32 = 100;

rows! {
    struct Edge {
        operation_uuid: OperationId,
        depends_on_uuid: OperationId,
        proceed: bool,
    }
    struct Slow {
        uuid: OperationId,
        told: bool,
    }
    struct Target {
        target_type: String,
        target_id: String,
    }
}

/// One pass.
///
/// # Errors
/// The database fails.
pub async fn reap(conn: &mut Conn, ctx: &TxContext) -> StoreResult<ReapExpiredClaimsReply> {
    let mut reply = ReapExpiredClaimsReply::default();
    reap_claims(conn, ctx, &mut reply).await?;
    reap_deadlines(conn, ctx, &mut reply).await?;
    reap_edges(conn, ctx, &mut reply).await?;
    reply.long_running = tell_long_running(conn, ctx).await?;
    Ok(reply)
}

async fn reap_claims(
    conn: &mut Conn,
    ctx: &TxContext,
    reply: &mut ReapExpiredClaimsReply,
) -> StoreResult<()> {
    let lapsed: Vec<Held> = sql("SELECT operation_uuid, node_uuid, deliveries FROM work_queue \
         WHERE claim_expires_at <= UTC_TIMESTAMP(6) ORDER BY claim_expires_at LIMIT ?")
    .bind(CHUNK)
    .all(conn)
    .await?;
    reply.more |= is_full(lapsed.len());
    for row in lapsed {
        let item = Item::begin(conn, ctx, "lapsed claims", row.operation_uuid).await?;
        let outcome = reap_claim(conn, ctx, row.operation_uuid).await;
        match item.end(conn, ctx, outcome).await?.flatten() {
            Some(true) => reply.requeued += 1,
            Some(false) => reply.rejected += 1,
            None => {}
        }
    }
    Ok(())
}

/// True when the work went back into the queue, false when it was delivered too often; nothing when the claim was renewed
/// or has ended since.
async fn reap_claim(conn: &mut Conn, ctx: &TxContext, id: OperationId) -> StoreResult<Option<bool>> {
    // The header before the queue row, as everywhere.
    sql("SELECT uuid AS value FROM cluster_operations WHERE uuid = ? FOR UPDATE")
        .bind(id)
        .value::<OperationId>(conn)
        .await?;
    let still: Option<Held> = sql("SELECT operation_uuid, node_uuid, deliveries FROM work_queue \
         WHERE operation_uuid = ? AND claim_expires_at <= UTC_TIMESTAMP(6) FOR UPDATE")
    .bind(id)
    .first_row(conn)
    .await?;
    match still {
        Some(row) => requeue(conn, ctx, &row).await.map(Some),
        None => Ok(None),
    }
}

async fn reap_deadlines(
    conn: &mut Conn,
    ctx: &TxContext,
    reply: &mut ReapExpiredClaimsReply,
) -> StoreResult<()> {
    let late: Vec<OperationId> = sql("SELECT o.uuid AS value FROM cluster_operations o \
         LEFT JOIN work_queue q ON q.operation_uuid = o.uuid \
         WHERE o.state = 'queued' AND o.deadline_at <= UTC_TIMESTAMP(6) AND q.claim_token IS NULL \
         ORDER BY o.deadline_at LIMIT ?")
    .bind(CHUNK)
    .values(conn)
    .await?;
    reply.more |= is_full(late.len());
    for id in late {
        let item = Item::begin(conn, ctx, "operation deadlines", id).await?;
        let outcome = end(conn, ctx, id, Outcome::Error(deadline())).await;
        reply.expired += u32::from(item.end(conn, ctx, outcome).await?.unwrap_or(false));
    }
    Ok(())
}

/// Edges whose time is up, and edges to operations that have ended (a cascade stops after a thousand).
async fn reap_edges(conn: &mut Conn, ctx: &TxContext, reply: &mut ReapExpiredClaimsReply) -> StoreResult<()> {
    let edges: Vec<Edge> = sql("SELECT d.operation_uuid, d.depends_on_uuid, \
         (CASE WHEN o.state = 'complete' THEN TRUE WHEN d.kind = 'requires' THEN FALSE \
         WHEN o.state IN ('error', 'abort', 'deleted') THEN TRUE ELSE d.on_timeout = 'proceed' END) AS proceed \
         FROM cluster_operation_dependencies d JOIN cluster_operations o ON o.uuid = d.depends_on_uuid \
         JOIN cluster_operations w ON w.uuid = d.operation_uuid \
         WHERE d.satisfied_at IS NULL AND w.state = 'queued' AND (d.wait_until <= UTC_TIMESTAMP(6) \
         OR o.state IN ('complete', 'error', 'abort', 'deleted')) ORDER BY d.operation_uuid LIMIT ?")
    .bind(CHUNK)
    .all(conn)
    .await?;
    reply.more |= is_full(edges.len());
    for edge in edges {
        let item = Item::begin(conn, ctx, "dependencies", edge.operation_uuid).await?;
        let outcome = reap_edge(conn, ctx, &edge).await;
        reply.released_waits += u32::from(item.end(conn, ctx, outcome).await?.is_some());
    }
    Ok(())
}

async fn reap_edge(conn: &mut Conn, ctx: &TxContext, edge: &Edge) -> StoreResult<()> {
    if edge.proceed {
        return release(conn, ctx, edge.depends_on_uuid, &[edge.operation_uuid]).await;
    }
    let failure = Failure::dependency(edge.depends_on_uuid);
    end(conn, ctx, edge.operation_uuid, Outcome::Abort(failure)).await?;
    Ok(())
}

/// Tells, once for each, of operations that have been executing for longer than they should. Their claims are renewed, so
/// somebody works on them: nothing is taken away. Answers how many there are.
async fn tell_long_running(conn: &mut Conn, ctx: &TxContext) -> StoreResult<u32> {
    let threshold = ctx.settings.cluster_op_stuck_threshold;
    let slow: Vec<Slow> = sql("SELECT uuid, state_message IS NOT NULL AS told FROM cluster_operations \
         WHERE state = 'executing' AND state_changed_at <= UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND ORDER BY uuid")
    .bind(threshold)
    .all(conn)
    .await?;
    let message = format!("still executing after {} s", threshold.as_secs());
    for operation in slow.iter().filter(|slow| !slow.told).take(CHUNK as usize) {
        let still = sql("UPDATE cluster_operations SET state_message = ?, row_version = row_version + 1 \
             WHERE uuid = ? AND state = 'executing' AND state_message IS NULL")
        .bind(&message)
        .bind(operation.uuid)
        .run(conn)
        .await?;
        if still > 0 {
            ctx.event(EventType::Health, &message, &targets(conn, operation.uuid).await?);
        }
    }
    Ok(u32::try_from(slow.len()).unwrap_or(u32::MAX))
}

/// The operation, and what it is about.
async fn targets(conn: &mut Conn, operation: OperationId) -> StoreResult<Vec<ObjectRef>> {
    let targets: Vec<Target> = sql("SELECT target_type, target_id FROM cluster_operation_targets \
         WHERE operation_uuid = ? ORDER BY sequence")
    .bind(operation)
    .all(conn)
    .await?;
    let about = targets
        .into_iter()
        .map(|target| ObjectRef { object_type: target.target_type, object_id: target.target_id });
    Ok(std::iter::once(ObjectRef::new(ObjectType::Operation, operation)).chain(about).collect())
}

fn is_full(rows: usize) -> bool {
    u32::try_from(rows).is_ok_and(|rows| rows >= CHUNK)
}
