//! Snapshots for the tests of this crate.

use std::collections::BTreeMap;

use sf_model::NodeId;

use crate::{Amounts, Capacity, Facts, Node, Request, Snapshot};

pub(crate) fn amounts(cpus: i64, memory_mb: i64, disk_gb: i64) -> Amounts {
    Amounts { cpus, memory_mb, disk_gb }
}

pub(crate) fn request(cpus: i64, memory_mb: i64, disk_gb: i64) -> Request {
    Request { charge: amounts(cpus, memory_mb, disk_gb), ..Request::default() }
}

pub(crate) fn snapshot(nodes: Vec<Node>) -> Snapshot {
    Snapshot { nodes, metrics_max_age_seconds: 90.0, blob_bytes: 0 }
}

/// A healthy, open, idle node named `node<number>`.
pub(crate) fn node(number: u32, limit: Amounts, used: Amounts) -> Node {
    Node {
        id: NodeId::from_uuid(format!("00000000-0000-4000-8000-{number:012x}").parse().unwrap()),
        name: format!("node{number}"),
        is_hypervisor: true,
        capacity: Some(Capacity {
            open: true,
            network_unfit: false,
            limit,
            used,
            disk_headroom_gb: 100,
            expected_demand: 0.0,
            metrics_age_seconds: 1.0,
        }),
        facts: Facts {
            cpu_schedulable: 8,
            cpu_max_per_instance: 255,
            memory_available_mb: 1 << 20,
            ..Facts::default()
        },
        tags: BTreeMap::new(),
        local_blob_bytes: 0,
    }
}
