//! What must hold between tables. The counts should be zero for ever; anything else is a defect worth a report.

use sf_protos::maintenance::{CheckInvariantsReply, InvariantCount};

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::sql;

/// Offenders named per check.
const EXAMPLES: u32 = 10;

/// Each check selects its offenders as `value`. Events without references are not among them: the log may be of any size, and
/// pruning looks for them a range at a time.
const CHECKS: &[(&str, &str)] = &[
    (
        "interface-without-network",
        "SELECT CAST(f.uuid AS CHAR) AS value FROM network_interfaces f LEFT JOIN networks n ON n.uuid = f.network_uuid \
         WHERE f.state <> 'deleted' AND (n.uuid IS NULL OR n.state = 'deleted')",
    ),
    (
        "interface-without-instance",
        "SELECT CAST(f.uuid AS CHAR) AS value FROM network_interfaces f LEFT JOIN instances i ON i.uuid = f.instance_uuid \
         WHERE f.state <> 'deleted' AND (i.uuid IS NULL OR i.state = 'deleted')",
    ),
    (
        "reservation-without-instance",
        "SELECT CAST(r.owner_uuid AS CHAR) AS value FROM placement_reservations r \
         LEFT JOIN instances i ON i.uuid = r.owner_uuid \
         WHERE r.state = 'consumed' AND (i.uuid IS NULL OR i.state = 'deleted')",
    ),
    (
        "instance-without-reservation",
        "SELECT CAST(i.uuid AS CHAR) AS value FROM instances i LEFT JOIN placement_reservations r ON r.owner_uuid = i.uuid \
         WHERE i.state <> 'deleted' AND i.node_uuid IS NOT NULL \
         AND (r.owner_uuid IS NULL OR r.node_uuid <> i.node_uuid)",
    ),
    (
        "capacity-counters-differ",
        "SELECT CAST(c.node_uuid AS CHAR) AS value FROM node_capacity c LEFT JOIN \
         (SELECT node_uuid, SUM(cpus) AS cpus, SUM(memory_mb) AS memory_mb, SUM(disk_gb) AS disk_gb, COUNT(*) AS rows_ \
         FROM placement_reservations GROUP BY node_uuid) r ON r.node_uuid = c.node_uuid \
         WHERE c.used_cpus <> COALESCE(r.cpus, 0) OR c.used_memory_mb <> COALESCE(r.memory_mb, 0) \
         OR c.used_disk_gb <> COALESCE(r.disk_gb, 0) OR c.used_instances <> COALESCE(r.rows_, 0)",
    ),
    (
        "operation-without-queue-row",
        "SELECT CAST(o.uuid AS CHAR) AS value FROM cluster_operations o LEFT JOIN work_queue q ON q.operation_uuid = o.uuid \
         WHERE o.state IN ('queued', 'executing') AND o.operation_type <> 'net_op' AND q.id IS NULL",
    ),
    (
        "queue-row-without-operation",
        "SELECT CAST(q.operation_uuid AS CHAR) AS value FROM work_queue q \
         LEFT JOIN cluster_operations o ON o.uuid = q.operation_uuid \
         WHERE o.uuid IS NULL OR o.state NOT IN ('queued', 'executing')",
    ),
    (
        "dependencies-counted-wrong",
        "SELECT CAST(q.operation_uuid AS CHAR) AS value FROM work_queue q WHERE q.unmet_dependencies <> \
         (SELECT COUNT(*) FROM cluster_operation_dependencies d \
         WHERE d.operation_uuid = q.operation_uuid AND d.satisfied_at IS NULL)",
    ),
    (
        "replica-of-missing-blob",
        "SELECT CAST(p.blob_uuid AS CHAR) AS value FROM blob_replicas p LEFT JOIN blobs b ON b.uuid = p.blob_uuid \
         WHERE b.uuid IS NULL",
    ),
    (
        "version-of-missing-blob",
        "SELECT CAST(v.artifact_uuid AS CHAR) AS value FROM artifact_versions v LEFT JOIN blobs b ON b.uuid = v.blob_uuid \
         WHERE b.uuid IS NULL",
    ),
];

/// Counts the offenders of every check and names a few.
///
/// # Errors
/// The database fails.
pub async fn check_invariants(conn: &mut Conn) -> StoreResult<CheckInvariantsReply> {
    let mut checks = Vec::with_capacity(CHECKS.len());
    for (check, query) in CHECKS {
        let count = sql(format!("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM ({query}) offenders"));
        let violations: u64 = count.value(conn).await?.unwrap_or(0);
        let examples = match violations {
            0 => Vec::new(),
            _ => sql(format!("{query} LIMIT ?")).bind(EXAMPLES).values(conn).await?,
        };
        checks.push(InvariantCount { check: (*check).to_owned(), violations, examples });
    }
    Ok(CheckInvariantsReply { checks })
}
