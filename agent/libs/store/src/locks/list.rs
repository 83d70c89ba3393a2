//! What operators see.

use chrono::{DateTime, Utc};
use sf_model::IncarnationId;
use sf_protos::locks::{ListLocksReply, LockHolder, LockInfo};

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::{rows, sql};
use crate::wire::timestamp;

/// Locks of one reply.
const MAX: u32 = 1000;

rows! {
    struct Row {
        lock_name: String,
        fence: u64,
        holder_node: String,
        holder_daemon: String,
        holder_pid: u32,
        incarnation: IncarnationId,
        operation: Option<String>,
        acquired_at: DateTime<Utc>,
        refreshed_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    }
}

/// Every lock that is held, by name.
///
/// # Errors
/// The database fails.
pub async fn list(conn: &mut Conn) -> StoreResult<ListLocksReply> {
    let rows: Vec<Row> =
        sql("SELECT * FROM cluster_locks WHERE expires_at > UTC_TIMESTAMP(6) ORDER BY lock_name LIMIT ?")
            .bind(MAX)
            .all(conn)
            .await?;
    let view = |row: Row| LockInfo {
        lock_name: row.lock_name,
        fence: row.fence,
        holder: Some(LockHolder {
            node: row.holder_node,
            daemon: row.holder_daemon,
            pid: row.holder_pid,
            incarnation: row.incarnation.to_string(),
            operation: row.operation,
        }),
        acquired_at: Some(timestamp(row.acquired_at)),
        refreshed_at: Some(timestamp(row.refreshed_at)),
        expires_at: Some(timestamp(row.expires_at)),
    };
    Ok(ListLocksReply { locks: rows.into_iter().map(view).collect() })
}
