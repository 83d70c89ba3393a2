//! Taking, keeping and giving back.

use std::time::Duration;

use sf_model::IncarnationId;
use sf_protos::locks::{AcquireLockReply, LockHolder};

use crate::conn::Conn;
use crate::error::{Fault, StoreError, StoreResult, reason};
use crate::sql::{rows, sql};

/// How long a lock is held without a refresh.
pub const LEASE: Duration = Duration::from_secs(60);

/// Who takes a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Name of the node.
    pub node: String,
    /// Daemon.
    pub daemon: String,
    /// Process id.
    pub pid: u32,
    /// One per process start.
    pub incarnation: IncarnationId,
    /// What for, as shown to operators.
    pub operation: Option<String>,
}

rows! {
    pub(super) struct Held {
        pub(super) fence: u64,
        pub(super) holder_node: String,
        pub(super) holder_daemon: String,
        pub(super) holder_pid: u32,
        pub(super) incarnation: IncarnationId,
        pub(super) operation: Option<String>,
    }
}

impl Held {
    pub(super) fn holder(self) -> LockHolder {
        LockHolder {
            node: self.holder_node,
            daemon: self.holder_daemon,
            pid: self.holder_pid,
            incarnation: self.incarnation.to_string(),
            operation: self.operation,
        }
    }
}

/// Takes a lock unless somebody holds it. A holder that asks again (its reply was lost) is given the same fence.
///
/// # Errors
/// The database fails.
pub async fn acquire(conn: &mut Conn, name: &str, holder: &Holder) -> StoreResult<AcquireLockReply> {
    sql("DELETE FROM cluster_locks WHERE lock_name = ? AND expires_at <= UTC_TIMESTAMP(6)")
        .bind(name)
        .run(conn)
        .await?;
    let insert = "INSERT INTO cluster_locks (lock_name, holder_node, holder_daemon, holder_pid, incarnation, operation, \
         acquired_at, refreshed_at, expires_at) \
         VALUES (?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND)";
    let taken = sql(insert)
        .bind(name)
        .bind(&holder.node)
        .bind(&holder.daemon)
        .bind(holder.pid)
        .bind(holder.incarnation)
        .bind(holder.operation.as_ref())
        .bind(LEASE)
        .run(conn)
        .await;
    match taken {
        Err(error) if error.fault() != Fault::Duplicate => return Err(error),
        _ => {}
    }
    let read = "SELECT fence, holder_node, holder_daemon, holder_pid, incarnation, operation FROM cluster_locks \
         WHERE lock_name = ?";
    let held: Option<Held> = sql(read).bind(name).first_row(conn).await?;
    // Released between the insert and the read: the next attempt gets it.
    let Some(held) = held else { return Ok(AcquireLockReply::default()) };
    let fence = (held.incarnation == holder.incarnation).then_some(held.fence);
    Ok(AcquireLockReply { fence, holder: Some(held.holder()) })
}

/// Extends the leases of a process and says which it still has. An expired one is never revived.
///
/// # Errors
/// The database fails.
pub async fn refresh(conn: &mut Conn, incarnation: IncarnationId, fences: &[u64]) -> StoreResult<Vec<u64>> {
    if fences.is_empty() {
        return Ok(Vec::new());
    }
    sql("UPDATE cluster_locks SET refreshed_at = UTC_TIMESTAMP(6), expires_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND \
         WHERE incarnation = ? AND expires_at > UTC_TIMESTAMP(6) AND fence IN ")
    .bind(LEASE)
    .bind(incarnation)
    .list(fences.iter().copied())
    .run(conn)
    .await?;
    sql("SELECT fence AS value FROM cluster_locks WHERE incarnation = ? AND expires_at > UTC_TIMESTAMP(6) AND fence IN ")
        .bind(incarnation)
        .list(fences.iter().copied())
        .push(" ORDER BY fence")
        .values(conn)
        .await
}

/// Gives a lock back.
///
/// # Errors
/// [`reason::LOCK_LOST`] when it is not held under this fence any more.
pub async fn release(conn: &mut Conn, incarnation: IncarnationId, fence: u64) -> StoreResult<()> {
    let delete = "DELETE FROM cluster_locks WHERE fence = ? AND incarnation = ?";
    if sql(delete).bind(fence).bind(incarnation).run(conn).await? == 0 {
        return Err(StoreError::precondition(
            reason::LOCK_LOST,
            format!("no lock is held under fence {fence}"),
        ));
    }
    Ok(())
}

/// Gives back what earlier lives of a daemon left behind. Says how many locks that were.
///
/// # Errors
/// The database fails.
pub async fn release_incarnation(
    conn: &mut Conn,
    node: &str,
    daemon: &str,
    keep: IncarnationId,
) -> StoreResult<usize> {
    sql("DELETE FROM cluster_locks WHERE holder_node = ? AND holder_daemon = ? AND incarnation <> ?")
        .bind(node)
        .bind(daemon)
        .bind(keep)
        .run(conn)
        .await
}
