//! How much work waits, where and why.

use sf_model::NodeId;
use sf_protos::operations::{GetQueueDepthsReply, QueueDepth};

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::{rows, sql};

/// Rows of one reply.
const MAX: u32 = 5000;

rows! {
    struct Row {
        family: String,
        priority: u8,
        state: String,
        depth: u64,
        oldest: f64,
        node_uuid: NodeId,
    }
}

/// Depth and age per family, lane, condition and node.
///
/// # Errors
/// The database fails.
pub async fn queue_depths(conn: &mut Conn) -> StoreResult<GetQueueDepthsReply> {
    let rows: Vec<Row> = sql("SELECT 'general' AS family, priority, node_uuid, \
         (CASE WHEN claim_token IS NOT NULL THEN 'claimed' WHEN unmet_dependencies > 0 THEN 'blocked' \
         WHEN available_at > UTC_TIMESTAMP(6) THEN 'deferred' ELSE 'ready' END) AS state, \
         CAST(COUNT(*) AS UNSIGNED) AS depth, \
         MAX(TIMESTAMPDIFF(MICROSECOND, enqueued_at, UTC_TIMESTAMP(6))) / 1e6 AS oldest \
         FROM work_queue GROUP BY priority, node_uuid, state \
         UNION ALL SELECT 'network', priority, node_uuid, \
         (CASE WHEN claim_token IS NOT NULL THEN 'claimed' WHEN not_before > UTC_TIMESTAMP(6) THEN 'deferred' \
         ELSE 'ready' END) AS state, CAST(COUNT(*) AS UNSIGNED), \
         MAX(TIMESTAMPDIFF(MICROSECOND, requested_at, UTC_TIMESTAMP(6))) / 1e6 \
         FROM network_render_requests GROUP BY priority, node_uuid, state LIMIT ?")
    .bind(MAX)
    .all(conn)
    .await?;
    let view = |row: Row| QueueDepth {
        family: row.family,
        priority: row.priority.into(),
        condition: row.state,
        rows: row.depth,
        oldest_age_seconds: row.oldest.max(0.0),
        node_uuid: Some(row.node_uuid.to_string()),
    };
    Ok(GetQueueDepthsReply { depths: rows.into_iter().map(view).collect() })
}
