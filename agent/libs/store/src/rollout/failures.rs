//! Marks of rolls that failed.

use chrono::{DateTime, Utc};
use sf_model::NodeId;
use sf_protos::rollout::{ListRollFailuresReply, RollFailure};

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::{rows, sql};
use crate::wire::timestamp;

/// Characters of a reason that are kept.
const REASON: usize = 4000;

rows! {
    struct Mark {
        daemon: String,
        target: String,
        node_uuid: NodeId,
        node: String,
        reason: String,
        failed_at: DateTime<Utc>,
    }
}

/// A node that was deleted holds nobody up any more.
const MARKS: &str = "SELECT m.daemon, m.target, m.node_uuid, COALESCE(n.fqdn, CAST(m.node_uuid AS CHAR)) AS node, \
     m.reason, m.failed_at FROM roll_markers m LEFT JOIN nodes n ON n.uuid = m.node_uuid \
     WHERE COALESCE(n.state, '') <> 'deleted'";

/// Every mark of a failed roll, newest first.
///
/// # Errors
/// The database fails.
pub async fn list(conn: &mut Conn) -> StoreResult<ListRollFailuresReply> {
    let marks: Vec<Mark> = sql(MARKS).push(" ORDER BY m.failed_at DESC LIMIT 1000").all(conn).await?;
    Ok(ListRollFailuresReply { failures: marks.into_iter().map(failure).collect() })
}

/// The mark that another node left for the same roll.
pub(super) async fn elsewhere(
    conn: &mut Conn,
    daemon: &str,
    target: &str,
    node: NodeId,
) -> StoreResult<Option<RollFailure>> {
    let mark: Option<Mark> = sql(MARKS)
        .push(" AND m.daemon = ? AND m.target = ? AND m.node_uuid <> ?")
        .bind(daemon)
        .bind(target)
        .bind(node)
        .first_row(conn)
        .await?;
    Ok(mark.map(failure))
}

/// A node that did not say how its roll ended did not get through it.
pub(super) async fn mark_lapsed(conn: &mut Conn, daemon: &str) -> StoreResult<()> {
    sql("INSERT INTO roll_markers (daemon, target, node_uuid, reason, failed_at) \
         SELECT daemon, target, node_uuid, 'it took a slot and never said how its restart ended', UTC_TIMESTAMP(6) \
         FROM roll_slots WHERE daemon = ? AND lease_until <= UTC_TIMESTAMP(6) \
         ON DUPLICATE KEY UPDATE node_uuid = VALUES(node_uuid), reason = VALUES(reason), failed_at = VALUES(failed_at)")
    .bind(daemon)
    .run(conn)
    .await?;
    sql("DELETE FROM roll_slots WHERE daemon = ? AND lease_until <= UTC_TIMESTAMP(6)")
        .bind(daemon)
        .run(conn)
        .await?;
    Ok(())
}

/// Marks the roll of a daemon to a target as failed.
pub(super) async fn mark(
    conn: &mut Conn,
    daemon: &str,
    target: &str,
    node: NodeId,
    reason: &str,
) -> StoreResult<()> {
    let reason: String = reason.chars().take(REASON).collect();
    sql("INSERT INTO roll_markers (daemon, target, node_uuid, reason, failed_at) VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6)) \
         ON DUPLICATE KEY UPDATE node_uuid = VALUES(node_uuid), reason = VALUES(reason), failed_at = VALUES(failed_at)")
    .bind(daemon)
    .bind(target)
    .bind(node)
    .bind(reason)
    .run(conn)
    .await?;
    Ok(())
}

/// Forgets what a node left behind, whatever it was rolling to: its daemon is well now.
pub(super) async fn forget(conn: &mut Conn, daemon: &str, node: NodeId) -> StoreResult<()> {
    let delete = "DELETE FROM roll_markers WHERE daemon = ? AND node_uuid = ?";
    sql(delete).bind(daemon).bind(node).run(conn).await?;
    Ok(())
}

fn failure(mark: Mark) -> RollFailure {
    RollFailure {
        daemon: mark.daemon,
        target: mark.target,
        node_uuid: mark.node_uuid.to_string(),
        node: mark.node,
        reason: mark.reason,
        failed_at: Some(timestamp(mark.failed_at)),
    }
}
