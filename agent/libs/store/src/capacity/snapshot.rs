//! Everything a decision looks at, in a fixed number of statements (`scheduler.md` §8.1).

use sf_model::NodeId;
use sf_protos::scheduler::{Amounts, GetCapacityReply, GetCapacityRequest, NodeCapacity, TagCount};
use sf_scheduler::limits::decayed_demand;
use uuid::Uuid;

use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};

/// Hypervisors of the largest cluster that is answered for.
const MAX_NODES: u32 = 5000;
/// Tag counts of one answer.
const MAX_TAG_COUNTS: u32 = 50_000;
/// Base blobs of one request: one for each disk.
const MAX_BLOBS: usize = 24;

rows! {
    struct NodeRow {
        uuid: NodeId,
        name: String,
        state: String,
        schedulable: bool,
        is_hypervisor: bool,
        open: Option<bool>,
        network_unfit: Option<bool>,
        limit_cpus: Option<i64>,
        limit_memory_mb: Option<i64>,
        limit_disk_gb: Option<i64>,
        used_cpus: Option<i64>,
        used_memory_mb: Option<i64>,
        used_disk_gb: Option<i64>,
        used_instances: Option<i64>,
        disk_headroom_gb: Option<i64>,
        expected_demand: Option<f64>,
        demand_age_us: Option<i64>,
        metrics_age_us: Option<i64>,
        cpu_schedulable: Option<u32>,
        cpu_max_per_instance: Option<u32>,
        cpu_load_1: Option<f64>,
        cpu_load_5: Option<f64>,
        cpu_load_15: Option<f64>,
        memory_available_mb: Option<u64>,
        memory_reserved_mb: Option<u64>,
        memory_total_instance_actual_mb: Option<u64>,
        cpu_total_instance_vcpus: Option<u32>,
        node_queue_waiting: Option<u32>,
        disk_busy_time_delta_per_second: Option<f64>,
        ksm_active: Option<bool>,
        instances_total: Option<u32>,
        instances_active: Option<u32>,
    }
    struct TagRow {
        node_uuid: NodeId,
        tag: String,
        instances: i64,
    }
    struct ClusterRow {
        total_cpus: i64,
        total_memory_mb: i64,
        total_disk_gb: i64,
        claimed_cpus: i64,
        claimed_memory_mb: i64,
        claimed_disk_gb: i64,
        unclaimed_used_cpus: i64,
        unclaimed_used_memory_mb: i64,
        unclaimed_used_disk_gb: i64,
    }
    struct BlobRow {
        blob_uuid: Uuid,
        node_uuid: Option<NodeId>,
        size: u64,
    }
}

/// Answers `GetCapacity`: every hypervisor with its row and its measurements, the cluster's sums and, when asked, how
/// often tags occur and how much of the base blobs is where. At most four statements, whatever the number of nodes.
///
/// # Errors
/// [`StoreError::Invalid`] for identifiers that are none.
pub async fn snapshot(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &GetCapacityRequest,
) -> StoreResult<GetCapacityReply> {
    let mut nodes = nodes(conn, ctx, None).await?;
    let cluster = cluster(conn).await?;
    let tags = tag_counts(conn, request).await?;
    let blob_bytes = locate_blobs(conn, request, &mut nodes).await?;
    let amounts = |cpus, memory_mb, disk_gb| Some(Amounts { cpus, memory_mb, disk_gb });
    Ok(GetCapacityReply {
        nodes,
        cluster_total: amounts(cluster.total_cpus, cluster.total_memory_mb, cluster.total_disk_gb),
        cluster_claimed: amounts(cluster.claimed_cpus, cluster.claimed_memory_mb, cluster.claimed_disk_gb),
        cluster_unclaimed_used: amounts(
            cluster.unclaimed_used_cpus,
            cluster.unclaimed_used_memory_mb,
            cluster.unclaimed_used_disk_gb,
        ),
        tags,
        metrics_max_age_seconds: ctx.settings.cluster.node_metrics_max_age.as_secs_f64(),
        blob_bytes,
    })
}

/// The hypervisors, or one of them.
pub(super) async fn nodes(
    conn: &mut Conn,
    ctx: &TxContext,
    only: Option<NodeId>,
) -> StoreResult<Vec<NodeCapacity>> {
    let query = sql(
        "SELECT n.uuid, n.fqdn AS name, n.state, n.schedulable, n.is_hypervisor, c.open, c.network_unfit, \
         c.limit_cpus, c.limit_memory_mb, c.limit_disk_gb, c.used_cpus, c.used_memory_mb, c.used_disk_gb, \
         c.used_instances, c.disk_headroom_gb, c.expected_demand, \
         TIMESTAMPDIFF(MICROSECOND, c.demand_at, UTC_TIMESTAMP(6)) AS demand_age_us, \
         TIMESTAMPDIFF(MICROSECOND, c.metrics_at, UTC_TIMESTAMP(6)) AS metrics_age_us, \
         m.cpu_schedulable, m.cpu_max_per_instance, m.cpu_load_1, m.cpu_load_5, m.cpu_load_15, \
         m.memory_available_mb, m.memory_reserved_mb, m.memory_total_instance_actual_mb, \
         m.cpu_total_instance_vcpus, m.node_queue_waiting, m.disk_busy_time_delta_per_second, m.ksm_active, \
         m.instances_total, m.instances_active \
         FROM nodes n LEFT JOIN node_capacity c ON c.node_uuid = n.uuid \
         LEFT JOIN node_metrics m ON m.node_uuid = n.uuid \
         WHERE n.is_hypervisor AND n.state <> 'deleted'",
    );
    let query = match only {
        Some(node) => query.push(" AND n.uuid = ?").bind(node),
        None => query,
    };
    let rows: Vec<NodeRow> = query.push(" ORDER BY n.uuid LIMIT ?").bind(MAX_NODES).all(conn).await?;
    let half_life = ctx.settings.cluster.scheduler_demand_half_life_seconds.as_secs_f64();
    Ok(rows.into_iter().map(|row| view(row, half_life)).collect())
}

fn view(row: NodeRow, half_life: f64) -> NodeCapacity {
    const STALE: f64 = 1e9;
    let seconds = |micros: i64| micros as f64 / 1e6;
    NodeCapacity {
        node_uuid: row.uuid.to_string(),
        name: row.name,
        sized: row.open.is_some(),
        open: row.open.unwrap_or(false),
        network_unfit: row.network_unfit.unwrap_or(false),
        limit: amounts(row.limit_cpus, row.limit_memory_mb, row.limit_disk_gb),
        used: amounts(row.used_cpus, row.used_memory_mb, row.used_disk_gb),
        disk_headroom_gb: row.disk_headroom_gb.unwrap_or(0),
        used_instances: u32::try_from(row.used_instances.unwrap_or(0)).unwrap_or(0),
        expected_demand: decayed_demand(
            row.expected_demand.unwrap_or(0.0),
            seconds(row.demand_age_us.unwrap_or(0)),
            half_life,
        ),
        metrics_age_seconds: row.metrics_age_us.map_or(STALE, seconds).max(0.0),
        cpu_schedulable: row.cpu_schedulable.unwrap_or(0),
        cpu_max_per_instance: row.cpu_max_per_instance.unwrap_or(0),
        cpu_load_1: row.cpu_load_1.unwrap_or(0.0),
        cpu_load_5: row.cpu_load_5.unwrap_or(0.0),
        cpu_load_15: row.cpu_load_15.unwrap_or(0.0),
        memory_available_mb: row.memory_available_mb.unwrap_or(0),
        memory_reserved_mb: row.memory_reserved_mb.unwrap_or(0),
        memory_total_instance_actual_mb: row.memory_total_instance_actual_mb.unwrap_or(0),
        cpu_total_instance_vcpus: row.cpu_total_instance_vcpus.unwrap_or(0),
        node_queue_waiting: row.node_queue_waiting.unwrap_or(0),
        disk_busy_time_delta_per_second: row.disk_busy_time_delta_per_second.unwrap_or(0.0),
        ksm_active: row.ksm_active.unwrap_or(false),
        instances_total: row.instances_total.unwrap_or(0),
        instances_active: row.instances_active.unwrap_or(0),
        state: row.state,
        schedulable: row.schedulable,
        is_hypervisor: row.is_hypervisor,
        local_blob_bytes: 0,
    }
}

fn amounts(cpus: Option<i64>, memory_mb: Option<i64>, disk_gb: Option<i64>) -> Option<Amounts> {
    Some(Amounts { cpus: cpus?, memory_mb: memory_mb?, disk_gb: disk_gb? })
}

async fn cluster(conn: &mut Conn) -> StoreResult<ClusterRow> {
    let row = sql("SELECT total_cpus, total_memory_mb, total_disk_gb, claimed_cpus, claimed_memory_mb, \
         claimed_disk_gb, unclaimed_used_cpus, unclaimed_used_memory_mb, unclaimed_used_disk_gb \
         FROM cluster_capacity WHERE id = 1")
    .first_row(conn)
    .await?;
    row.ok_or_else(|| StoreError::Corrupt("no row in cluster_capacity".to_owned()))
}

async fn tag_counts(conn: &mut Conn, request: &GetCapacityRequest) -> StoreResult<Vec<TagCount>> {
    let Some(namespace) = request.namespace.as_deref().filter(|_| !request.tags.is_empty()) else {
        return Ok(Vec::new());
    };
    let rows: Vec<TagRow> = sql("SELECT r.node_uuid, t.tag, COUNT(*) AS instances FROM reservation_tags t \
         JOIN placement_reservations r ON r.owner_uuid = t.owner_uuid WHERE t.namespace = ? AND t.tag IN ")
    .bind(namespace)
    .list(&request.tags)
    .push(" GROUP BY r.node_uuid, t.tag LIMIT ?")
    .bind(MAX_TAG_COUNTS)
    .all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| TagCount {
            node_uuid: row.node_uuid.to_string(),
            tag: row.tag,
            count: u32::try_from(row.instances).unwrap_or(u32::MAX),
        })
        .collect())
}

/// Notes on each node how many bytes of the requested blobs it has, and answers the bytes of all of them.
async fn locate_blobs(
    conn: &mut Conn,
    request: &GetCapacityRequest,
    nodes: &mut [NodeCapacity],
) -> StoreResult<u64> {
    if request.blob_uuids.is_empty() {
        return Ok(0);
    }
    let blobs: Vec<Uuid> = request
        .blob_uuids
        .iter()
        .take(MAX_BLOBS)
        .map(|uuid| crate::wire::parse("blob_uuids", uuid))
        .collect::<StoreResult<_>>()?;
    let rows: Vec<BlobRow> = sql("SELECT b.uuid AS blob_uuid, r.node_uuid, b.size FROM blobs b \
         LEFT JOIN blob_replicas r ON r.blob_uuid = b.uuid AND r.state = 'present' WHERE b.uuid IN ")
    .list(blobs)
    .all(conn)
    .await?;
    let mut sizes = std::collections::BTreeMap::new();
    for row in &rows {
        sizes.insert(row.blob_uuid, row.size);
        let Some(holder) = row.node_uuid.map(|node| node.to_string()) else { continue };
        if let Some(node) = nodes.iter_mut().find(|node| node.node_uuid == holder) {
            node.local_blob_bytes = node.local_blob_bytes.saturating_add(row.size);
        }
    }
    Ok(sizes.values().fold(0, |sum: u64, size| sum.saturating_add(*size)))
}
