//! The table of maintenance tasks (`database-tier.md` §14.2). Each does one bounded call and says whether there is more.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sf_daemon::DaemonContext;
use sf_gateway::{CallClass, DbError};
use sf_protos::Rpc;
use sf_protos::blobs::ReapStorageRequest;
use sf_protos::common::MutationContext;
use sf_protos::events::{PruneEventsRequest, PruneFence};
use sf_protos::instances::CheckInstancesRequest;
use sf_protos::maintenance::{CheckInvariantsRequest, HardDeleteExpiredRequest, PruneMutationLogRequest};
use sf_protos::namespaces::ReapExpiredKeysRequest;
use sf_protos::networks::{AssignCarriersRequest, NetworkAuditRequest, SweepPoolsRequest};
use sf_protos::nodes::{CascadeNodesRequest, ListNodesRequest, MarkMissingNodesRequest};
use sf_protos::operations::{GetQueueDepthsRequest, PruneOperationsRequest, ReapExpiredClaimsRequest};
use sf_protos::scheduler::{
    GetCapacityRequest, ReapReservationsRequest, ReconcileCapacityRequest, RefreshTotalsRequest,
};

use crate::gauges;
use crate::lease::{LOCK, Lease};
use crate::readings::{self, Board};

/// Whether a task has more to do right away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing until its next turn.
    Done,
    /// Call it again.
    More,
}

/// What a task works with. Cheap to clone.
#[derive(Clone)]
pub struct TaskContext {
    /// The daemon.
    pub daemon: DaemonContext,
    /// The proof of leadership.
    pub lease: Lease,
    /// Where it shows what it found.
    pub(crate) board: Board,
}

/// One maintenance task.
pub struct Task {
    /// Key of its row in `maintenance_runs`, label of its metrics.
    pub name: &'static str,
    /// Pause between its turns, in seconds.
    pub period_seconds: u32,
    /// One bounded piece of its work.
    pub run: fn(TaskContext) -> BoxFuture<'static, Result<Outcome, DbError>>,
}

/// Objects that are deleted for good `CLEANER_DELAY` after their deletion, children before parents.
const HARD_DELETED: [&str; 7] =
    ["networkinterface", "instance", "network", "artifact", "upload", "namespace_key", "node"];
/// After a failure no further list is begun when the piece has taken this long.
const HARD_DELETE_PATIENCE: Duration = Duration::from_secs(10);
/// Rows of one hard-delete call.
const HARD_DELETE_LIMIT: u32 = 100;
/// Rows of one retention call.
const RETENTION_LIMIT: u32 = 500;
/// Rows one pruning call may look at.
const PRUNE_ROWS: u32 = 20_000;
/// Milliseconds one pruning call may take.
const PRUNE_MS: u32 = 15_000;

/// Every task this build knows.
pub static TASKS: &[Task] = &[
    Task { name: "assign-carriers", period_seconds: 2, run: |t| Box::pin(assign_carriers(t)) },
    Task { name: "reap-claims", period_seconds: 15, run: |t| Box::pin(reap_claims(t)) },
    Task { name: "node-liveness", period_seconds: 15, run: |t| Box::pin(node_liveness(t)) },
    Task { name: "pool-sweep", period_seconds: 15, run: |t| Box::pin(pool_sweep(t)) },
    Task { name: "reservation-reap", period_seconds: 30, run: |t| Box::pin(reservation_reap(t)) },
    Task { name: "capacity-totals", period_seconds: 30, run: |t| Box::pin(capacity_totals(t)) },
    Task { name: "node-metrics", period_seconds: 30, run: |t| Box::pin(node_metrics(t)) },
    Task { name: "queue-metrics", period_seconds: 60, run: |t| Box::pin(queue_metrics(t)) },
    Task { name: "node-cascade", period_seconds: 60, run: |t| Box::pin(node_cascade(t)) },
    Task { name: "instance-checks", period_seconds: 60, run: |t| Box::pin(instance_checks(t)) },
    Task { name: "network-audit", period_seconds: 60, run: |t| Box::pin(network_audit(t)) },
    Task { name: "storage-reap", period_seconds: 60, run: |t| Box::pin(storage_reap(t)) },
    Task { name: "capacity-reconcile", period_seconds: 300, run: |t| Box::pin(capacity_reconcile(t)) },
    Task { name: "hard-delete", period_seconds: 300, run: |t| Box::pin(hard_delete(t)) },
    Task { name: "mutation-log-prune", period_seconds: 300, run: |t| Box::pin(mutation_log_prune(t)) },
    Task { name: "key-reap", period_seconds: 900, run: |t| Box::pin(key_reap(t)) },
    Task { name: "operation-retention", period_seconds: 3600, run: |t| Box::pin(operation_retention(t)) },
    Task { name: "prune-events", period_seconds: 86_400, run: |t| Box::pin(prune_events(t)) },
    Task { name: "check-invariants", period_seconds: 86_400, run: |t| Box::pin(check_invariants(t)) },
];

/// Tasks that only look, for what their leader alone shows: a new leader has to look itself.
pub(crate) const SHOWN_BY_LEADER: [&str; 1] = ["check-invariants"];

impl TaskContext {
    fn context(&self) -> Option<MutationContext> {
        Some(self.lease.sign(self.daemon.gateway.mutation()))
    }

    async fn call<R: Rpc>(&self, request: R) -> Result<R::Reply, DbError> {
        self.daemon.gateway.call(CallClass::Bulk, request).await
    }
}

const fn more(more: bool) -> Result<Outcome, DbError> {
    Ok(if more { Outcome::More } else { Outcome::Done })
}

async fn assign_carriers(task: TaskContext) -> Result<Outcome, DbError> {
    more(task.call(AssignCarriersRequest { context: task.context() }).await?.more)
}

async fn reap_claims(task: TaskContext) -> Result<Outcome, DbError> {
    let reply = task.call(ReapExpiredClaimsRequest { context: task.context() }).await?;
    metrics::counter!("cluster_op_reaper_requeued_total").increment(reply.requeued.into());
    metrics::counter!("cluster_op_reaper_rejected_total").increment(reply.rejected.into());
    task.board.show("operations", readings::operations(&reply));
    more(reply.more)
}

async fn node_liveness(task: TaskContext) -> Result<Outcome, DbError> {
    let reply = task.call(MarkMissingNodesRequest { context: task.context() }).await?;
    for node in &reply.missing {
        tracing::warn!(%node, "a node stopped checking in and is missing");
    }
    for node in &reply.errored {
        tracing::error!(%node, "a node was missing for too long and is in error");
    }
    more(reply.more)
}

async fn pool_sweep(task: TaskContext) -> Result<Outcome, DbError> {
    more(task.call(SweepPoolsRequest { context: task.context() }).await?.more)
}

async fn reservation_reap(task: TaskContext) -> Result<Outcome, DbError> {
    let reply = task.call(ReapReservationsRequest { context: task.context() }).await?;
    metrics::counter!("sf_reservations_expired_total").increment(reply.released.into());
    more(reply.more)
}

async fn capacity_totals(task: TaskContext) -> Result<Outcome, DbError> {
    let reply = task.call(RefreshTotalsRequest { context: task.context() }).await?;
    task.board.show("reservations", readings::reservations(&reply));
    more(false)
}

async fn node_metrics(task: TaskContext) -> Result<Outcome, DbError> {
    let list = |page| ListNodesRequest { page: Some(page), include_deleted: false };
    let gateway = &task.daemon.gateway;
    let nodes = gateway.collect_all(CallClass::Bulk, list, |reply| (reply.nodes, reply.page)).await?;
    task.board.show("nodes", readings::nodes(nodes.as_slice()));
    let capacity = task.call(GetCapacityRequest::default()).await?;
    task.board.show("capacity", readings::capacity(&capacity));
    more(false)
}

async fn queue_metrics(task: TaskContext) -> Result<Outcome, DbError> {
    gauges::queues(&task.call(GetQueueDepthsRequest {}).await?.depths);
    more(false)
}

async fn node_cascade(task: TaskContext) -> Result<Outcome, DbError> {
    more(task.call(CascadeNodesRequest { context: task.context() }).await?.more)
}

async fn instance_checks(task: TaskContext) -> Result<Outcome, DbError> {
    more(task.call(CheckInstancesRequest { context: task.context() }).await?.more)
}

async fn network_audit(task: TaskContext) -> Result<Outcome, DbError> {
    more(task.call(NetworkAuditRequest { context: task.context() }).await?.more)
}

async fn storage_reap(task: TaskContext) -> Result<Outcome, DbError> {
    more(task.call(ReapStorageRequest { context: task.context() }).await?.more)
}

async fn capacity_reconcile(task: TaskContext) -> Result<Outcome, DbError> {
    let began = Instant::now();
    let outcome = task.call(ReconcileCapacityRequest { context: task.context() }).await;
    readings::reconciled(began, outcome.as_ref().ok());
    for drift in &outcome?.drift {
        tracing::error!(
            scope = drift.scope,
            dimension = drift.dimension,
            old = drift.old,
            new = drift.new,
            "the capacity ledger had drifted and was corrected"
        );
    }
    more(false)
}

async fn hard_delete(task: TaskContext) -> Result<Outcome, DbError> {
    let began = Instant::now();
    let (mut again, mut failure, mut lists) = (false, None, Vec::new());
    for object_type in HARD_DELETED {
        let request = HardDeleteExpiredRequest {
            context: task.context(),
            object_type: object_type.to_owned(),
            limit: HARD_DELETE_LIMIT,
        };
        let outcome = task.call(request).await;
        lists.push((object_type, outcome.is_ok()));
        match outcome {
            Ok(reply) => again |= reply.more,
            // One list that fails keeps nobody else's rows; but where time runs out, the others would fail too.
            Err(error) => {
                tracing::warn!(object_type, %error, "deleted objects are kept until the next turn");
                failure.get_or_insert(error);
                if began.elapsed() >= HARD_DELETE_PATIENCE {
                    break;
                }
            }
        }
    }
    task.board.swept("hard-delete", &lists);
    // The failure is told when the others are done.
    match failure {
        Some(error) if !again => Err(error),
        _ => more(again),
    }
}

async fn mutation_log_prune(task: TaskContext) -> Result<Outcome, DbError> {
    more(task.call(PruneMutationLogRequest { context: task.context() }).await?.more)
}

async fn key_reap(task: TaskContext) -> Result<Outcome, DbError> {
    more(task.call(ReapExpiredKeysRequest { context: task.context() }).await?.more)
}

async fn operation_retention(task: TaskContext) -> Result<Outcome, DbError> {
    let request = PruneOperationsRequest { context: task.context(), limit: RETENTION_LIMIT };
    more(task.call(request).await?.more)
}

async fn prune_events(task: TaskContext) -> Result<Outcome, DbError> {
    let fence = PruneFence { lock_name: LOCK.to_owned(), fence: task.lease.fence() };
    let request = PruneEventsRequest { fence: Some(fence), row_budget: PRUNE_ROWS, time_budget_ms: PRUNE_MS };
    more(task.call(request).await?.more)
}

async fn check_invariants(task: TaskContext) -> Result<Outcome, DbError> {
    let reply = task.call(CheckInvariantsRequest {}).await?;
    for check in reply.checks.iter().filter(|check| check.violations > 0) {
        tracing::error!(
            check = check.check,
            violations = check.violations,
            examples = check.examples.join(" "),
            "the database contradicts itself"
        );
    }
    task.board.show("invariants", readings::invariants(&reply));
    more(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn tasks_have_distinct_names_and_real_periods() {
        let names: BTreeSet<_> = TASKS.iter().map(|task| task.name).collect();
        assert_eq!(names.len(), TASKS.len());
        assert!(TASKS.iter().all(|task| task.period_seconds >= 2));
    }
}
