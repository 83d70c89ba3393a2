//! Conversions between the snapshot and the messages of the scheduler service.

use std::collections::BTreeMap;

use sf_model::NodeId;
use sf_model::affinity::Affinity;
use sf_protos::instances as ipb;
use sf_protos::scheduler as pb;

use crate::amounts::{Amounts, Dimension};
use crate::refusal::GuardRefusal;
use crate::snapshot::{Capacity, Facts, Node, Snapshot};
use crate::stage::Reason;

/// Dimension names of a refused candidate that are not one of the three quantities.
const CLOSED: &str = "closed";
const STALE: &str = "stale";
const HEADROOM: &str = "headroom";
const NETWORK: &str = "network";

impl From<Amounts> for pb::Amounts {
    fn from(amounts: Amounts) -> Self {
        Self { cpus: amounts.cpus, memory_mb: amounts.memory_mb, disk_gb: amounts.disk_gb }
    }
}

impl From<pb::Amounts> for Amounts {
    fn from(amounts: pb::Amounts) -> Self {
        Self { cpus: amounts.cpus, memory_mb: amounts.memory_mb, disk_gb: amounts.disk_gb }
    }
}

/// The wishes of a request as the message carries them.
pub fn affinity_to_wire(affinity: &Affinity) -> pb::AffinityRequest {
    pb::AffinityRequest {
        require_with: affinity.require_with.clone(),
        require_without: affinity.require_without.clone(),
        prefer_with: affinity.prefer_with.clone(),
        prefer_without: affinity.prefer_without.clone(),
    }
}

/// The wishes of a received request.
pub fn affinity_from_wire(affinity: &pb::AffinityRequest) -> Affinity {
    Affinity {
        require_with: affinity.require_with.clone(),
        require_without: affinity.require_without.clone(),
        prefer_with: affinity.prefer_with.clone(),
        prefer_without: affinity.prefer_without.clone(),
        weighted_form: false,
    }
}

/// The capacity row of a node as the message carries it.
pub fn capacity_from_wire(node: &pb::NodeCapacity) -> Option<Capacity> {
    node.sized.then(|| Capacity {
        open: node.open,
        network_unfit: node.network_unfit,
        limit: node.limit.unwrap_or_default().into(),
        used: node.used.unwrap_or_default().into(),
        disk_headroom_gb: node.disk_headroom_gb,
        expected_demand: node.expected_demand,
        metrics_age_seconds: node.metrics_age_seconds,
    })
}

/// The snapshot of a reply. A node whose identity cannot be read is left out: it could not be named as a candidate.
pub fn snapshot_from_wire(reply: &pb::GetCapacityReply) -> Snapshot {
    let mut tags: BTreeMap<&str, BTreeMap<String, u32>> = BTreeMap::new();
    for count in &reply.tags {
        tags.entry(&count.node_uuid).or_default().insert(count.tag.clone(), count.count);
    }
    let nodes = reply.nodes.iter().filter_map(|node| {
        Some(Node {
            id: node.node_uuid.parse::<NodeId>().ok()?,
            name: node.name.clone(),
            is_hypervisor: node.is_hypervisor,
            capacity: capacity_from_wire(node),
            facts: facts(node),
            tags: tags.remove(node.node_uuid.as_str()).unwrap_or_default(),
            local_blob_bytes: node.local_blob_bytes,
        })
    });
    Snapshot {
        nodes: nodes.collect(),
        metrics_max_age_seconds: reply.metrics_max_age_seconds,
        blob_bytes: reply.blob_bytes,
    }
}

/// A refused candidate as the message carries it.
pub fn refusal_to_wire(refusal: &GuardRefusal) -> ipb::CandidateRefusal {
    let (stage, dimension) = match &refusal.reason {
        Reason::TagMissing(_) | Reason::TagPresent(_) | Reason::NeighboursChanged => ("affinity", ""),
        Reason::ClusterFull(dimension) => ("cluster", dimension.as_str()),
        Reason::Full(dimension) => ("node", dimension.as_str()),
        Reason::Closed | Reason::NoCapacityRow => ("node", CLOSED),
        Reason::Stale => ("node", STALE),
        Reason::NoDiskHeadroom => ("node", HEADROOM),
        Reason::NetworkUnfit => ("node", NETWORK),
        _ => ("node", ""),
    };
    ipb::CandidateRefusal {
        node_uuid: refusal.node.to_string(),
        stage: stage.to_owned(),
        dimension: dimension.to_owned(),
        requested: refusal.requested,
        used: refusal.used,
        limit: refusal.limit,
    }
}

/// The refusals of a reply. The tag of a violated affinity is not carried: the request knows its wishes.
pub fn refusals_from_wire(refusals: &[ipb::CandidateRefusal]) -> Vec<GuardRefusal> {
    refusals
        .iter()
        .filter_map(|refusal| {
            let dimension = refusal.dimension.parse::<Dimension>();
            let reason = match (refusal.stage.as_str(), refusal.dimension.as_str(), dimension) {
                ("affinity", ..) => Reason::NeighboursChanged,
                ("cluster", _, Ok(dimension)) => Reason::ClusterFull(dimension),
                (_, _, Ok(dimension)) => Reason::Full(dimension),
                (_, STALE, _) => Reason::Stale,
                (_, HEADROOM, _) => Reason::NoDiskHeadroom,
                (_, NETWORK, _) => Reason::NetworkUnfit,
                _ => Reason::Closed,
            };
            Some(GuardRefusal {
                node: refusal.node_uuid.parse().ok()?,
                reason,
                requested: refusal.requested,
                used: refusal.used,
                limit: refusal.limit,
            })
        })
        .collect()
}

fn facts(node: &pb::NodeCapacity) -> Facts {
    Facts {
        cpu_schedulable: node.cpu_schedulable,
        cpu_max_per_instance: node.cpu_max_per_instance,
        cpu_load_1: node.cpu_load_1,
        cpu_total_instance_vcpus: node.cpu_total_instance_vcpus,
        memory_available_mb: node.memory_available_mb,
        memory_reserved_mb: node.memory_reserved_mb,
        memory_total_instance_actual_mb: node.memory_total_instance_actual_mb,
        node_queue_waiting: node.node_queue_waiting,
        disk_busy_time_delta_per_second: node.disk_busy_time_delta_per_second,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_becomes_a_snapshot() {
        let id = NodeId::random();
        let reply = pb::GetCapacityReply {
            nodes: vec![
                pb::NodeCapacity {
                    node_uuid: id.to_string(),
                    name: "n1".into(),
                    is_hypervisor: true,
                    sized: true,
                    open: true,
                    limit: Some(pb::Amounts { cpus: 4, memory_mb: 5, disk_gb: 6 }),
                    cpu_load_1: 0.5,
                    ..Default::default()
                },
                pb::NodeCapacity { node_uuid: "nonsense".into(), ..Default::default() },
            ],
            tags: vec![pb::TagCount { node_uuid: id.to_string(), tag: "web".into(), count: 2 }],
            metrics_max_age_seconds: 90.0,
            ..Default::default()
        };
        let snapshot = snapshot_from_wire(&reply);
        assert_eq!(snapshot.nodes.len(), 1);
        let node = snapshot.node(id).unwrap();
        assert_eq!(node.capacity.unwrap().limit, Amounts { cpus: 4, memory_mb: 5, disk_gb: 6 });
        assert_eq!((node.tags["web"], node.facts.cpu_load_1), (2, 0.5));
    }

    #[test]
    fn refusals_survive_the_wire() {
        for reason in [
            Reason::Full(Dimension::Memory),
            Reason::ClusterFull(Dimension::Disk),
            Reason::Closed,
            Reason::NetworkUnfit,
            Reason::Stale,
            Reason::NoDiskHeadroom,
        ] {
            let refusal = GuardRefusal { node: NodeId::random(), reason, requested: 3, used: 2, limit: 1 };
            assert_eq!(refusals_from_wire(&[refusal_to_wire(&refusal)]), [refusal]);
        }
    }
}
