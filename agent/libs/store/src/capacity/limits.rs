//! What nodes can be promised: written by their own metrics, opened and closed by the facts about them
//! (`scheduler.md` §3.2, §3.4, §4.3).

use sf_config::ClusterConfig;
use sf_model::NodeId;
use sf_protos::nodes::NodeMetrics;
use sf_scheduler::{Amounts, limits};

use super::amounts::{set, values};
use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::{Bind, Sql, rows, sql};

rows! {
    struct OpenRow {
        is_open: bool,
        should_open: bool,
        created: bool,
        is_unfit: bool,
        should_be_unfit: bool,
    }
}

/// Seconds a daemon without which a create cannot proceed may be inactive before its node is closed.
const DEGRADED_SECONDS: u32 = 60;

/// Writes the limits that follow from a publication and makes the node a candidate again. A publication without the
/// figures the limits need leaves them as they are, so that they expire.
///
/// # Errors
/// Those of the database.
pub async fn publish_limits(
    conn: &mut Conn,
    node: NodeId,
    metrics: &NodeMetrics,
    cluster: &ClusterConfig,
) -> StoreResult<()> {
    if metrics.cpu_schedulable == 0 || metrics.memory_max_mb == 0 {
        return Ok(());
    }
    let limit = Amounts {
        cpus: limits::limit_cpus(metrics.cpu_schedulable, cluster.cpu_overcommit_ratio),
        memory_mb: limits::limit_memory_mb(
            metrics.memory_max_mb,
            metrics.memory_reserved_mb,
            metrics.ksm_active,
            cluster.ram_overcommit_ratio,
        ),
        disk_gb: limits::limit_disk_gb(
            metrics.disk_free_instances,
            metrics.disk_instances_allocated,
            metrics.disk_reservation_gb,
            cluster.scheduler_disk_overcommit,
        ),
    };
    let headroom = limits::disk_headroom_gb(metrics.disk_free_instances, metrics.disk_reservation_gb);
    let insert = sql("INSERT INTO node_capacity (node_uuid, disk_headroom_gb, limit_cpus, limit_memory_mb, \
         limit_disk_gb, demand_at, metrics_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)) \
         ON DUPLICATE KEY UPDATE ")
    .bind(node)
    .bind(headroom);
    let upsert = values(limit).into_iter().map(Bind::from).fold(insert, Sql::bind);
    set(upsert, "limit", limit)
        .push(
            ", disk_headroom_gb = ?, metrics_at = UTC_TIMESTAMP(6), updated_at = UTC_TIMESTAMP(6), \
             row_version = row_version + 1",
        )
        .bind(headroom)
        .run(conn)
        .await?;
    refresh_open(conn, node).await
}

/// Condition of `sf-net` with which a node keeps its networks but makes no further ones (`networking.md` §4).
const UNFIT: &str = "underlay_mtu_too_small";

/// Recomputes whether a node accepts placements, and those with interfaces, in the transaction that changed one of the
/// facts: its role, state, schedulability, daemons or storage. Answers nothing for a node without capacity row.
///
/// A node that is not healthy also loses the age of its figures, so that it is a candidate again only after a
/// publication made since.
///
/// # Errors
/// Those of the database.
pub async fn refresh_open(conn: &mut Conn, node: NodeId) -> StoreResult<()> {
    let row: Option<OpenRow> =
        sql("SELECT c.open AS is_open, n.state = 'created' AS created, c.network_unfit AS is_unfit, \
         EXISTS (SELECT 1 FROM node_daemons d WHERE d.node_uuid = n.uuid AND d.enabled AND d.daemon = 'net' \
          AND FIND_IN_SET(?, d.conditions)) AS should_be_unfit, \
         (n.is_hypervisor AND n.state = 'created' AND n.schedulable \
          AND NOT EXISTS (SELECT 1 FROM node_storage_health h WHERE h.node_uuid = n.uuid AND NOT h.healthy) \
          AND NOT EXISTS (SELECT 1 FROM node_daemons d WHERE d.node_uuid = n.uuid AND d.enabled \
             AND d.daemon IN ('queues', 'privexec', 'resources') AND (\
             (d.unit_state NOT IN ('active', 'activating', 'reloading') \
              AND d.unit_since < TIMESTAMPADD(SECOND, -?, UTC_TIMESTAMP(6))) \
             OR (d.state IN ('stopped', 'failed') \
              AND d.updated_at < TIMESTAMPADD(SECOND, -?, UTC_TIMESTAMP(6)))))) AS should_open \
         FROM node_capacity c JOIN nodes n ON n.uuid = c.node_uuid WHERE c.node_uuid = ?")
        .bind(UNFIT)
        .bind(DEGRADED_SECONDS)
        .bind(DEGRADED_SECONDS)
        .bind(node)
        .first_row(conn)
        .await?;
    let Some(row) = row else { return Ok(()) };
    if row.is_open == row.should_open && row.is_unfit == row.should_be_unfit && row.created {
        return Ok(());
    }
    sql("UPDATE node_capacity SET open = ?, network_unfit = ?, metrics_at = IF(?, metrics_at, NULL), \
         updated_at = UTC_TIMESTAMP(6), row_version = row_version + 1 WHERE node_uuid = ?")
    .bind(row.should_open)
    .bind(row.should_be_unfit)
    .bind(row.created)
    .bind(node)
    .run(conn)
    .await?;
    if row.is_open != row.should_open { refresh_totals(conn).await.map(|_| ()) } else { Ok(()) }
}

/// How many placements are promised, and how many instances use theirs.
///
/// # Errors
/// Those of the database.
pub async fn count_reservations(conn: &mut Conn) -> StoreResult<(u32, u32)> {
    let counts: Option<CountRow> =
        sql("SELECT CAST(COALESCE(SUM(state = 'reserved'), 0) AS UNSIGNED) AS reserved, \
         CAST(COALESCE(SUM(state = 'consumed'), 0) AS UNSIGNED) AS consumed FROM placement_reservations")
        .first_row(conn)
        .await?;
    let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(counts.map_or((0, 0), |row| (narrow(row.reserved), narrow(row.consumed))))
}

/// Recomputes what the cluster can promise. The sum is read without locks: the value is a bound for best-effort
/// creates and is refreshed every half minute; no node is ever overfilled by its being late.
///
/// # Errors
/// Those of the database.
pub async fn refresh_totals(conn: &mut Conn) -> StoreResult<Amounts> {
    let sum = |column: &str| {
        format!("COALESCE(CAST(SUM(IF(open, limit_{column}, used_{column})) AS SIGNED), 0) AS {column}")
    };
    let total: Option<TotalRow> =
        sql(format!("SELECT {}, {}, {} FROM node_capacity", sum("cpus"), sum("memory_mb"), sum("disk_gb")))
            .first_row(conn)
            .await?;
    let total = total.map(|row| row.amounts()).unwrap_or_default();
    set(sql("UPDATE cluster_capacity SET "), "total", total)
        .push(", updated_at = UTC_TIMESTAMP(6), row_version = row_version + 1 WHERE id = 1")
        .run(conn)
        .await?;
    Ok(total)
}

rows! {
    struct CountRow {
        reserved: u64,
        consumed: u64,
    }
    /// Three sums.
    pub(super) struct TotalRow {
        cpus: i64,
        memory_mb: i64,
        disk_gb: i64,
    }
}

impl TotalRow {
    pub(super) fn amounts(&self) -> Amounts {
        Amounts { cpus: self.cpus, memory_mb: self.memory_mb, disk_gb: self.disk_gb }
    }
}
