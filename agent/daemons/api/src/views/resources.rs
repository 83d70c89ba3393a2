//! Capacity of the cluster (`scheduler.md` §12).

use serde::Serialize;
use serde_json::{Map, Value, json};
use sf_protos::scheduler::{Amounts, GetCapacityReply, NodeCapacity};

#[derive(Debug, Serialize)]
struct NodeResources {
    name: String,
    cpu_max_per_instance: u32,
    cpu_schedulable: u32,
    cpu_hard_max: f64,
    cpu_limit: Option<i64>,
    cpu_measured: u32,
    cpu_committed: i64,
    cpu_committed_row_present: bool,
    cpu_available: i64,
    cpu_load_1: f64,
    cpu_load_5: f64,
    cpu_load_15: f64,
    memory_reserved_mb: u64,
    ram_max: i64,
    ram_committed: i64,
    ram_available: i64,
    ram_max_per_instance: i64,
    disk_available: i64,
    disk_limit: i64,
    disk_committed: i64,
    disk_headroom: i64,
    instances_total: u32,
    instances_active: u32,
    instances_committed: u32,
    open: bool,
    busy: bool,
    metrics_age_seconds: f64,
}

/// The document of `GET /admin/resources`. `cpu_ratio` is the configured overcommit of processors.
pub fn resources(reply: GetCapacityReply, cpu_ratio: f64) -> Value {
    let max_age = reply.metrics_max_age_seconds;
    let mut per_node = Map::new();
    let mut excluded = Map::new();
    let mut free = Amounts::default();
    for node in reply.nodes {
        match exclusion(&node, max_age) {
            Some(reason) => {
                excluded.insert(node.node_uuid, Value::String(reason.to_owned()));
            }
            None => {
                let uuid = node.node_uuid.clone();
                let view = node_resources(node, cpu_ratio);
                if view.open {
                    free.cpus += view.cpu_available.max(0);
                    free.memory_mb += view.ram_available.max(0);
                    free.disk_gb += view.disk_available.max(0);
                }
                per_node.insert(uuid, super::value(view));
            }
        }
    }
    json!({
        "total": {
            "cpu_available": free.cpus,
            "ram_available": free.memory_mb,
            "disk_available": free.disk_gb,
            "capacity_degraded": false,
            "total": amounts(reply.cluster_total),
            "claimed": amounts(reply.cluster_claimed),
            "unclaimed_used": amounts(reply.cluster_unclaimed_used),
        },
        "per_node": per_node,
        "excluded": excluded,
    })
}

/// Why a hypervisor is not listed with figures: nothing is omitted silently.
fn exclusion(node: &NodeCapacity, max_age: f64) -> Option<&'static str> {
    match node.state.as_str() {
        "created" if node.metrics_age_seconds > max_age => Some("its metrics are too old"),
        "created" => None,
        "missing" => Some("the node is missing"),
        "stopping" | "stopped" => Some("the node is stopped"),
        "error" => Some("the node is in error"),
        _ => Some("the node is not active"),
    }
}

fn node_resources(node: NodeCapacity, cpu_ratio: f64) -> NodeResources {
    let limit = node.limit.unwrap_or_default();
    let used = node.used.unwrap_or_default();
    let measured = i64::from(node.cpu_total_instance_vcpus);
    let per_instance = i128::from(node.memory_available_mb) - i128::from(node.memory_reserved_mb);
    NodeResources {
        cpu_max_per_instance: node.cpu_max_per_instance,
        cpu_schedulable: node.cpu_schedulable,
        cpu_hard_max: f64::from(node.cpu_schedulable) * cpu_ratio,
        cpu_limit: node.sized.then_some(limit.cpus),
        cpu_measured: node.cpu_total_instance_vcpus,
        cpu_committed: used.cpus,
        cpu_committed_row_present: node.sized,
        cpu_available: limit.cpus - measured.max(used.cpus),
        cpu_load_1: node.cpu_load_1,
        cpu_load_5: node.cpu_load_5,
        cpu_load_15: node.cpu_load_15,
        memory_reserved_mb: node.memory_reserved_mb,
        ram_max: limit.memory_mb,
        ram_committed: used.memory_mb,
        ram_available: limit.memory_mb - used.memory_mb,
        ram_max_per_instance: i64::try_from(per_instance).unwrap_or(0),
        disk_available: (limit.disk_gb - used.disk_gb).min(node.disk_headroom_gb),
        disk_limit: limit.disk_gb,
        disk_committed: used.disk_gb,
        disk_headroom: node.disk_headroom_gb,
        instances_total: node.instances_total,
        instances_active: node.instances_active,
        instances_committed: node.used_instances,
        open: node.open,
        // The signals that demote a node in placement (`scheduler.md` §8.2).
        busy: node.node_queue_waiting > 20 || node.disk_busy_time_delta_per_second > 1200.0,
        metrics_age_seconds: node.metrics_age_seconds,
        name: node.name,
    }
}

fn amounts(amounts: Option<Amounts>) -> Value {
    let amounts = amounts.unwrap_or_default();
    json!({ "cpus": amounts.cpus, "memory_mb": amounts.memory_mb, "disk_gb": amounts.disk_gb })
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn capacity_looks_like_this() {
        let missing =
            NodeCapacity { node_uuid: "gone".into(), state: "missing".into(), ..samples::capacity() };
        let reply = GetCapacityReply {
            nodes: vec![samples::capacity(), missing],
            metrics_max_age_seconds: 90.0,
            ..GetCapacityReply::default()
        };
        insta::assert_json_snapshot!(resources(reply, 3.0));
    }
}
