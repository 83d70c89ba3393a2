//! Ended operations are kept for a while, so that slow pollers and people find them.

use sf_model::OperationId;
use sf_protos::operations::PruneOperationsReply;

use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::sql;

/// Operations of one call.
const MAX_LIMIT: u32 = 500;
/// Seconds that observational operations are kept.
const OBSERVATIONAL_SECONDS: u32 = 3600;

/// Deletes operations that ended long ago, with everything that belongs to them. Those that have not ended stay.
///
/// # Errors
/// The database fails.
pub async fn prune(conn: &mut Conn, ctx: &TxContext, limit: u32) -> StoreResult<PruneOperationsReply> {
    let limit = if limit == 0 { MAX_LIMIT } else { limit.min(MAX_LIMIT) };
    let retention = ctx.settings.cluster_operation_target_retention;
    if retention.is_zero() {
        return Ok(PruneOperationsReply::default());
    }
    let old: Vec<OperationId> = sql("SELECT uuid AS value FROM cluster_operations \
         WHERE state IN ('complete', 'error', 'abort', 'deleted') AND finished_at < \
         UTC_TIMESTAMP(6) - INTERVAL IF(observational, ?, ?) SECOND ORDER BY finished_at LIMIT ?")
    .bind(OBSERVATIONAL_SECONDS)
    .bind(retention.as_secs())
    .bind(limit)
    .values(conn)
    .await?;
    if old.is_empty() {
        return Ok(PruneOperationsReply::default());
    }
    // Children go with their header; edges that point at it are another operation's children.
    sql("DELETE FROM cluster_operation_dependencies WHERE depends_on_uuid IN ")
        .list(old.clone())
        .run(conn)
        .await?;
    sql("DELETE FROM cluster_operations WHERE uuid IN ").list(old.clone()).run(conn).await?;
    let deleted = u32::try_from(old.len()).unwrap_or(u32::MAX);
    Ok(PruneOperationsReply { deleted, more: deleted >= limit })
}
