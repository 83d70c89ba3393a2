//! The figures of a node's last publication.

use chrono::{DateTime, Utc};
use sf_model::NodeId;
use sf_protos::nodes::{GetNodeMetricsReply, GetNodeMetricsRequest, NodeMetrics, ProcessMetric};

use super::view;
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};
use crate::wire::timestamp;

/// Bytes of the figures that have no column.
const MAX_EXTRA: usize = 64 * 1024;

rows! {
    struct Row {
        sampled_at: DateTime<Utc>,
        cpu_threads: u32,
        cpu_schedulable: u32,
        cpu_max_per_instance: u32,
        cpu_load_1: f64,
        cpu_load_5: f64,
        cpu_load_15: f64,
        memory_max_mb: u64,
        memory_available_mb: u64,
        memory_reserved_mb: u64,
        ksm_active: bool,
        disk_free_instances: u64,
        disk_instances_allocated: u64,
        disk_reservation_gb: f64,
        disk_busy_time_delta_per_second: f64,
        memory_total_instance_actual_mb: u64,
        cpu_total_instance_vcpus: u32,
        instances_total: u32,
        instances_active: u32,
        node_queue_waiting: u32,
        extra: String,
    }

    struct Process {
        process: String,
        cpu_fraction: f64,
        rss: u64,
    }
}

/// Stores a publication; the time is the database's.
pub(super) async fn store(
    conn: &mut Conn,
    node: NodeId,
    figures: &NodeMetrics,
    processes: &[ProcessMetric],
) -> StoreResult<()> {
    let extra = if figures.extra_json.is_empty() { "{}" } else { &figures.extra_json };
    let fits: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(extra);
    if fits.is_err() || extra.len() > MAX_EXTRA {
        return Err(StoreError::invalid("metrics.extra_json: a JSON object of at most 64 KiB"));
    }
    sql("REPLACE INTO node_metrics (node_uuid, sampled_at, cpu_threads, cpu_schedulable, cpu_max_per_instance, \
         cpu_load_1, cpu_load_5, cpu_load_15, memory_max_mb, memory_available_mb, memory_reserved_mb, ksm_active, \
         disk_free_instances, disk_instances_allocated, disk_reservation_gb, disk_busy_time_delta_per_second, \
         memory_total_instance_actual_mb, cpu_total_instance_vcpus, instances_total, instances_active, \
         node_queue_waiting, extra) \
         VALUES (?, UTC_TIMESTAMP(6), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    .bind(node)
    .bind(figures.cpu_threads)
    .bind(figures.cpu_schedulable)
    .bind(figures.cpu_max_per_instance)
    .bind(figures.cpu_load_1)
    .bind(figures.cpu_load_5)
    .bind(figures.cpu_load_15)
    .bind(figures.memory_max_mb)
    .bind(figures.memory_available_mb)
    .bind(figures.memory_reserved_mb)
    .bind(figures.ksm_active)
    .bind(figures.disk_free_instances)
    .bind(figures.disk_instances_allocated)
    .bind(figures.disk_reservation_gb)
    .bind(figures.disk_busy_time_delta_per_second)
    .bind(figures.memory_total_instance_actual_mb)
    .bind(figures.cpu_total_instance_vcpus)
    .bind(figures.instances_total)
    .bind(figures.instances_active)
    .bind(figures.node_queue_waiting)
    .bind(extra)
    .run(conn)
    .await?;
    for process in processes {
        sql("REPLACE INTO node_process_metrics (node_uuid, process, cpu_fraction, rss, sampled_at) \
             VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6))")
        .bind(node)
        .bind(&process.process)
        .bind(process.cpu_fraction)
        .bind(process.rss_bytes)
        .run(conn)
        .await?;
    }
    Ok(())
}

/// The last publication of a node; nothing before its first.
///
/// # Errors
/// [`StoreError::Missing`] for an unknown node.
pub async fn get_metrics(
    conn: &mut Conn,
    request: &GetNodeMetricsRequest,
) -> StoreResult<GetNodeMetricsReply> {
    let node = view::resolve(conn, &request.reference).await?;
    let row: Option<Row> =
        sql("SELECT * FROM node_metrics WHERE node_uuid = ?").bind(node).first_row(conn).await?;
    let Some(row) = row else { return Ok(GetNodeMetricsReply::default()) };
    let processes: Vec<Process> =
        sql("SELECT process, cpu_fraction, rss FROM node_process_metrics WHERE node_uuid = ? ORDER BY process LIMIT 64")
            .bind(node)
            .all(conn)
            .await?;
    let process =
        |p: Process| ProcessMetric { process: p.process, cpu_fraction: p.cpu_fraction, rss_bytes: p.rss };
    Ok(GetNodeMetricsReply {
        sampled_at: Some(timestamp(row.sampled_at)),
        metrics: Some(figures(row)),
        processes: processes.into_iter().map(process).collect(),
    })
}

fn figures(row: Row) -> NodeMetrics {
    NodeMetrics {
        cpu_threads: row.cpu_threads,
        cpu_schedulable: row.cpu_schedulable,
        cpu_max_per_instance: row.cpu_max_per_instance,
        cpu_load_1: row.cpu_load_1,
        cpu_load_5: row.cpu_load_5,
        cpu_load_15: row.cpu_load_15,
        memory_max_mb: row.memory_max_mb,
        memory_available_mb: row.memory_available_mb,
        memory_reserved_mb: row.memory_reserved_mb,
        ksm_active: row.ksm_active,
        disk_free_instances: row.disk_free_instances,
        disk_instances_allocated: row.disk_instances_allocated,
        disk_reservation_gb: row.disk_reservation_gb,
        disk_busy_time_delta_per_second: row.disk_busy_time_delta_per_second,
        memory_total_instance_actual_mb: row.memory_total_instance_actual_mb,
        cpu_total_instance_vcpus: row.cpu_total_instance_vcpus,
        instances_total: row.instances_total,
        instances_active: row.instances_active,
        node_queue_waiting: row.node_queue_waiting,
        extra_json: row.extra,
    }
}
