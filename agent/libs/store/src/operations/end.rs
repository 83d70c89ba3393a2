//! The one way an operation ends, and what its end sets in motion, in the same transaction.

use std::collections::VecDeque;

use sf_model::{NodeId, ObjectRef, OperationId};

use super::enqueue::Kind;
use crate::conn::Conn;
use crate::context::{TxContext, Wake};
use crate::error::StoreResult;
use crate::instances;
use crate::sql::{rows, sql};
use crate::wire::state_message;

/// Operations that one end may take with it; the reaper does the rest.
const MAX_CASCADE: usize = 1000;

/// Why an operation ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// A JSON document of details.
    pub details: Option<String>,
    /// Who found out: a daemon or node.
    pub origin: String,
}

impl Failure {
    /// Found by the database tier itself.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        let origin = "sf-database".to_owned();
        Self { code: code.to_owned(), message: message.into(), details: None, origin }
    }

    /// Something it requires ended badly.
    pub(super) fn dependency(operation: OperationId) -> Self {
        Self::new("dependency-failed", format!("operation {operation}, which this one requires, ended badly"))
    }
}

/// How an operation ends.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// Well.
    Complete,
    /// It failed.
    Error(Failure),
    /// It never ran, or was told to stop.
    Abort(Failure),
}

impl Outcome {
    fn state(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Error(_) => "error",
            Self::Abort(_) => "abort",
        }
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Complete => None,
            Self::Error(failure) | Self::Abort(failure) => Some(failure),
        }
    }
}

rows! {
    struct Edge {
        operation_uuid: OperationId,
        kind: String,
    }
}

/// Completes an operation that render reports stand for. Says whether it had not ended before.
///
/// # Errors
/// The database fails.
pub async fn complete_network_operation(
    conn: &mut Conn,
    ctx: &TxContext,
    id: OperationId,
) -> StoreResult<bool> {
    end(conn, ctx, id, Outcome::Complete).await
}

/// Ends an operation as failed, whoever works on it. Says whether it had not ended before.
///
/// # Errors
/// The database fails.
pub async fn fail_operation(
    conn: &mut Conn,
    ctx: &TxContext,
    id: OperationId,
    code: &str,
    message: &str,
) -> StoreResult<bool> {
    instances::lock_before_failure(conn, id).await?;
    end(conn, ctx, id, Outcome::Error(Failure::new(code, message))).await
}

/// Aborts queued operations that are about this object and nothing else. Running ones see for themselves that it is
/// going away; work that also serves another object goes on.
///
/// # Errors
/// The database fails.
pub async fn abort_for_target(
    conn: &mut Conn,
    ctx: &TxContext,
    target: ObjectRef,
) -> StoreResult<Vec<OperationId>> {
    let queued: Vec<OperationId> = sql("SELECT o.uuid AS value FROM cluster_operation_targets t \
         JOIN cluster_operations o ON o.uuid = t.operation_uuid \
         WHERE t.target_type = ? AND t.target_id = ? AND o.state = 'queued' AND NOT EXISTS \
         (SELECT 1 FROM cluster_operation_targets x WHERE x.operation_uuid = o.uuid AND x.sequence <> t.sequence) \
         ORDER BY o.uuid")
    .bind(&target.object_type)
    .bind(&target.object_id)
    .values(conn)
    .await?;
    let failure = Failure::new(
        "target-deleted",
        format!("{} {} is being deleted", target.object_type, target.object_id),
    );
    abort_all(conn, ctx, queued, &failure).await
}

/// Aborts operations of a node that is gone, at most `limit`. Says how many there were.
///
/// # Errors
/// The database fails.
pub async fn abort_node_queue(
    conn: &mut Conn,
    ctx: &TxContext,
    node: NodeId,
    limit: u32,
) -> StoreResult<usize> {
    let all = sql("SELECT uuid AS value FROM cluster_operations \
         WHERE node_uuid = ? AND state IN ('queued', 'executing') ORDER BY uuid LIMIT ?");
    let all: Vec<OperationId> = all.bind(node).bind(limit).values(conn).await?;
    let failure = Failure::new("node-deleted", format!("node {node} was deleted"));
    Ok(abort_all(conn, ctx, all, &failure).await?.len())
}

async fn abort_all(
    conn: &mut Conn,
    ctx: &TxContext,
    operations: Vec<OperationId>,
    failure: &Failure,
) -> StoreResult<Vec<OperationId>> {
    let mut aborted = Vec::new();
    for id in operations {
        if end(conn, ctx, id, Outcome::Abort(failure.clone())).await? {
            aborted.push(id);
        }
    }
    Ok(aborted)
}

/// Ends an operation, removes it from the queue, releases what waited for it and aborts what required it. Says
/// whether it had not ended before.
pub(super) async fn end(
    conn: &mut Conn,
    ctx: &TxContext,
    id: OperationId,
    outcome: Outcome,
) -> StoreResult<bool> {
    if !settle(conn, ctx, id, &outcome).await? {
        return Ok(false);
    }
    // Whoever waited for what is taken along is told the first cause and not a chain of operations.
    let cause = outcome.failure().map(|failure| failure.message.as_str());
    if let Some(cause) = cause {
        instances::on_operation_failed(conn, ctx, id, cause).await?;
    }
    let mut ended = VecDeque::from([(id, matches!(outcome, Outcome::Complete))]);
    let mut taken = 0;
    while let Some((id, well)) = ended.pop_front() {
        let edges: Vec<Edge> = sql("SELECT operation_uuid, kind FROM cluster_operation_dependencies \
             WHERE depends_on_uuid = ? AND satisfied_at IS NULL ORDER BY operation_uuid FOR UPDATE")
        .bind(id)
        .all(conn)
        .await?;
        let mut released = Vec::new();
        for edge in edges {
            // A kind that this build does not know counts as one that needs the dependency.
            if well || edge.kind.parse() == Ok(Kind::After) {
                released.push(edge.operation_uuid);
            } else if taken < MAX_CASCADE {
                taken += 1;
                let abort = Outcome::Abort(Failure::dependency(id));
                if settle(conn, ctx, edge.operation_uuid, &abort).await? {
                    if let Some(cause) = cause {
                        instances::on_operation_failed(conn, ctx, edge.operation_uuid, cause).await?;
                    }
                    ended.push_back((edge.operation_uuid, false));
                }
            }
        }
        release(conn, ctx, id, &released).await?;
    }
    Ok(true)
}

/// Marks the edges of `dependency` as met and makes those that waited for nothing else available. An edge that was met
/// since the caller looked counts once.
pub(super) async fn release(
    conn: &mut Conn,
    ctx: &TxContext,
    dependency: OperationId,
    dependents: &[OperationId],
) -> StoreResult<()> {
    if dependents.is_empty() {
        return Ok(());
    }
    let unmet: Vec<OperationId> = sql("SELECT operation_uuid AS value FROM cluster_operation_dependencies \
         WHERE depends_on_uuid = ? AND satisfied_at IS NULL AND operation_uuid IN ")
    .bind(dependency)
    .list(dependents.iter().copied())
    .push(" ORDER BY operation_uuid FOR UPDATE")
    .values(conn)
    .await?;
    if unmet.is_empty() {
        return Ok(());
    }
    sql("UPDATE cluster_operation_dependencies SET satisfied_at = UTC_TIMESTAMP(6) \
         WHERE depends_on_uuid = ? AND operation_uuid IN ")
    .bind(dependency)
    .list(unmet.iter().copied())
    .run(conn)
    .await?;
    sql("UPDATE work_queue SET available_at = IF(unmet_dependencies = 1, UTC_TIMESTAMP(6), available_at), \
         unmet_dependencies = unmet_dependencies - 1 WHERE unmet_dependencies > 0 AND operation_uuid IN ")
    .list(unmet.iter().copied())
    .run(conn)
    .await?;
    let nodes: Vec<NodeId> = sql("SELECT DISTINCT node_uuid AS value FROM work_queue \
         WHERE unmet_dependencies = 0 AND operation_uuid IN ")
    .list(unmet)
    .values(conn)
    .await?;
    for node in nodes {
        ctx.wake(Wake::Work(node));
    }
    Ok(())
}

/// The end of one operation by itself. Says whether it had not ended before.
async fn settle(conn: &mut Conn, ctx: &TxContext, id: OperationId, outcome: &Outcome) -> StoreResult<bool> {
    let changed = sql(
        "UPDATE cluster_operations SET state = ?, state_changed_at = UTC_TIMESTAMP(6), state_message = ?, \
         finished_at = UTC_TIMESTAMP(6), coalesce_slot = NULL, row_version = row_version + 1 \
         WHERE uuid = ? AND state IN ('queued', 'executing')",
    )
    .bind(outcome.state())
    .bind(outcome.failure().map(|failure| state_message(&failure.message)))
    .bind(id)
    .run(conn)
    .await?;
    if changed == 0 {
        return Ok(false);
    }
    sql("DELETE FROM work_queue WHERE operation_uuid = ?").bind(id).run(conn).await?;
    if let Some(failure) = outcome.failure() {
        sql("INSERT INTO cluster_operation_errors (operation_uuid, code, message, details, origin) VALUES (?, ?, ?, ?, ?)")
            .bind(id)
            .bind(&failure.code)
            .bind(state_message(&failure.message))
            .bind(failure.details.as_ref())
            .bind(&failure.origin)
            .run(conn)
            .await?;
    }
    ctx.wake(Wake::Operation(id));
    Ok(true)
}
