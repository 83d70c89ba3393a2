//! Nodes as they register and publish.

use sf_model::NodeId;
use sf_protos::nodes::{NodeMetrics, RegisterNodeRequest};

/// A hypervisor that can carry networks and runs these daemons, as it registers.
pub fn registration(node: NodeId, name: &str, daemons: &[&str]) -> RegisterNodeRequest {
    RegisterNodeRequest {
        context: None,
        node_uuid: node.to_string(),
        name: name.to_owned(),
        mesh_ip: "127.0.0.1".to_owned(),
        egress_ip: "127.0.0.1".to_owned(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        daemons: daemons.iter().map(|daemon| (*daemon).to_owned()).collect(),
        is_hypervisor: true,
        carrier_eligible: true,
    }
}

/// What a hypervisor of moderate size publishes.
pub fn metrics() -> NodeMetrics {
    NodeMetrics {
        cpu_threads: 8,
        cpu_schedulable: 6,
        cpu_max_per_instance: 8,
        memory_max_mb: 16_000,
        memory_available_mb: 12_000,
        memory_reserved_mb: 2_000,
        disk_free_instances: 200 << 30,
        disk_reservation_gb: 20.0,
        ..NodeMetrics::default()
    }
}
