//! Claims are leases: renewed while the worker lives, given back by its next life, taken away when they lapse.

use std::collections::BTreeSet;

use sf_model::{IncarnationId, NodeId, OperationId};

use super::end::{Failure, Outcome, end};
use crate::conn::Conn;
use crate::context::{TxContext, Wake};
use crate::error::StoreResult;
use crate::sql::{rows, sql};

/// One life of a daemon that works on operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its node.
    pub node: NodeId,
    /// The daemon.
    pub daemon: String,
    /// Its life.
    pub incarnation: IncarnationId,
}

rows! {
    pub(super) struct Held {
        pub(super) operation_uuid: OperationId,
        pub(super) node_uuid: NodeId,
        pub(super) deliveries: u32,
    }
}

/// Extends a worker's claims and says which of `operations` are not its any more. A claim that has lapsed but was not
/// taken away yet is still the worker's.
///
/// # Errors
/// The database fails.
pub async fn renew_claims(
    conn: &mut Conn,
    ctx: &TxContext,
    worker: &Worker,
    operations: &[OperationId],
) -> StoreResult<Vec<OperationId>> {
    if operations.is_empty() {
        return Ok(Vec::new());
    }
    let own =
        "claimed_by_node = ? AND claimed_by_daemon = ? AND claimed_by_incarnation = ? AND operation_uuid IN ";
    let own = sql(own)
        .bind(worker.node)
        .bind(&worker.daemon)
        .bind(worker.incarnation)
        .list(operations.iter().copied());
    sql("UPDATE work_queue SET claim_expires_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND WHERE ")
        .bind(ctx.settings.cluster_op_claim_lease)
        .append(own.clone())
        .run(conn)
        .await?;
    let held: Vec<OperationId> =
        sql("SELECT operation_uuid AS value FROM work_queue WHERE ").append(own).values(conn).await?;
    let held: BTreeSet<OperationId> = held.into_iter().collect();
    Ok(operations.iter().copied().filter(|id| !held.contains(id)).collect())
}

/// Gives back what earlier lives of a daemon held; it is handed out again at once. Says how many claims that were.
///
/// # Errors
/// The database fails.
pub async fn release_claims(
    conn: &mut Conn,
    ctx: &TxContext,
    node: NodeId,
    daemon: &str,
    keep: IncarnationId,
) -> StoreResult<usize> {
    let held: Vec<Held> = sql("SELECT operation_uuid, node_uuid, deliveries FROM work_queue \
         WHERE claimed_by_node = ? AND claimed_by_daemon = ? AND claimed_by_incarnation <> ? ORDER BY operation_uuid")
    .bind(node)
    .bind(daemon)
    .bind(keep)
    .all(conn)
    .await?;
    for row in &held {
        requeue(conn, ctx, row).await?;
    }
    Ok(held.len())
}

/// Puts claimed work back into the queue, or ends it when it was delivered too often. True when it went back.
pub(super) async fn requeue(conn: &mut Conn, ctx: &TxContext, row: &Held) -> StoreResult<bool> {
    let most = ctx.settings.cluster_op_max_attempts;
    if row.deliveries >= most {
        let message = format!("delivered {} times and never finished", row.deliveries);
        end(conn, ctx, row.operation_uuid, Outcome::Error(Failure::new("too-many-attempts", message)))
            .await?;
        return Ok(false);
    }
    // The header first: the lock order. It does not take its coalescing slot back.
    sql("UPDATE cluster_operations SET state = 'queued', state_message = NULL, state_changed_at = UTC_TIMESTAMP(6), \
         row_version = row_version + 1 WHERE uuid = ? AND state = 'executing'")
    .bind(row.operation_uuid)
    .run(conn)
    .await?;
    sql("UPDATE work_queue SET claim_token = NULL, claimed_by_node = NULL, claimed_by_daemon = NULL, \
         claimed_by_incarnation = NULL, claim_expires_at = NULL, serial_slot = NULL, available_at = UTC_TIMESTAMP(6) \
         WHERE operation_uuid = ?")
    .bind(row.operation_uuid)
    .run(conn)
    .await?;
    ctx.wake(Wake::Work(row.node_uuid));
    Ok(true)
}
