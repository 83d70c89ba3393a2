//! What is known about the hypervisors at one moment.

use std::collections::BTreeMap;

use sf_model::NodeId;

use crate::amounts::Amounts;

/// Every hypervisor, with figures up to a few seconds old.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The nodes, in no particular order.
    pub nodes: Vec<Node>,
    /// Metrics older than this many seconds make a node no candidate.
    pub metrics_max_age_seconds: f64,
    /// Bytes of all base blobs of the request; zero when it has none or they were not asked for.
    pub blob_bytes: u64,
}

/// One node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Identity.
    pub id: NodeId,
    /// Name for explanations.
    pub name: String,
    /// Has the role.
    pub is_hypervisor: bool,
    /// The capacity row; a node without one has not published yet and is no candidate.
    pub capacity: Option<Capacity>,
    /// Measured values.
    pub facts: Facts,
    /// How many instances of the request's namespace carry a tag on this node.
    pub tags: BTreeMap<String, u32>,
    /// Bytes of the request's base blobs that are here.
    pub local_blob_bytes: u64,
}

/// The capacity row of a node.
#[derive(Debug, Clone, Copy, Default)]
pub struct Capacity {
    /// The node accepts placements.
    pub open: bool,
    /// It accepts none with interfaces.
    pub network_unfit: bool,
    /// What may be promised.
    pub limit: Amounts,
    /// What is promised.
    pub used: Amounts,
    /// GiB physically left above the reservation.
    pub disk_headroom_gb: i64,
    /// Load expected of recent admissions, decayed to now.
    pub expected_demand: f64,
    /// Age of the figures in seconds by the database's clock.
    pub metrics_age_seconds: f64,
}

/// The measured values a decision reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// Threads guests may use.
    pub cpu_schedulable: u32,
    /// Most vCPUs one domain can have; 0 = unknown.
    pub cpu_max_per_instance: u32,
    /// Load average of one minute.
    pub cpu_load_1: f64,
    /// vCPUs of running domains.
    pub cpu_total_instance_vcpus: u32,
    /// MiB available on the host.
    pub memory_available_mb: u64,
    /// MiB kept for the host.
    pub memory_reserved_mb: u64,
    /// MiB used by running domains.
    pub memory_total_instance_actual_mb: u64,
    /// User-facing operations that wait for the node.
    pub node_queue_waiting: u32,
    /// Milliseconds of disk activity per second, over all disks.
    pub disk_busy_time_delta_per_second: f64,
}

impl Snapshot {
    /// The node with this identity.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Applies an admission made through this process, so that a burst spreads without waiting for a refresh: the
    /// counters of the row as returned, and the tags of the new instance.
    pub fn apply_admission(&mut self, id: NodeId, capacity: Capacity, tags: &[String]) {
        if let Some(node) = self.nodes.iter_mut().find(|node| node.id == id) {
            node.capacity = Some(capacity);
            for tag in tags {
                let count = node.tags.entry(tag.clone()).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
}

/// Waiting operations above which a node counts as busy.
const BUSY_QUEUE: u32 = 20;
/// Milliseconds of disk activity per second above which a node counts as busy.
const BUSY_DISK_MS: f64 = 1200.0;

impl Facts {
    /// Whether the node should be tried after others. Never a reason to refuse.
    pub fn is_busy(&self) -> bool {
        self.node_queue_waiting > BUSY_QUEUE || self.disk_busy_time_delta_per_second > BUSY_DISK_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admission_is_seen_by_the_next_decision() {
        let id = NodeId::random();
        let mut snapshot = Snapshot {
            nodes: vec![Node {
                id,
                name: "n".into(),
                is_hypervisor: true,
                capacity: None,
                facts: Facts::default(),
                tags: BTreeMap::new(),
                local_blob_bytes: 0,
            }],
            ..Snapshot::default()
        };
        let used = Amounts { cpus: 3, ..Amounts::default() };
        let tags = ["web".to_owned()];
        snapshot.apply_admission(id, Capacity { used, ..Capacity::default() }, &tags);
        snapshot.apply_admission(NodeId::random(), Capacity::default(), &tags);
        let node = snapshot.node(id).unwrap();
        assert_eq!((node.capacity.unwrap().used, node.tags["web"]), (used, 1));
    }
}
