//! The decision: which nodes are tried, in which order, and what removed the others.

use rand::Rng;
use sf_model::NodeId;
use sf_model::affinity::Affinity;

use crate::affinity;
use crate::amounts::{Amounts, Dimension};
use crate::order::{self, Policy, Rank};
use crate::snapshot::{Capacity, Node, Snapshot};
use crate::stage::{Reason, Stage};

/// What is to be placed.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What the instance is charged (`scheduler.md` §3.1).
    pub charge: Amounts,
    /// It has interfaces.
    pub networked: bool,
    /// Wishes about neighbours.
    pub affinity: Affinity,
    /// The node the caller named.
    pub requested_node: Option<NodeId>,
    /// Where a rescheduled instance is now; it is not charged against itself there.
    pub current_node: Option<NodeId>,
    /// Nodes that refused already and are not asked again.
    pub excluded: Vec<NodeId>,
}

/// The outcome.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// Candidates, the best first.
    pub ordered: Vec<Candidate>,
    /// Every stage that a removed node failed, by node and then by stage.
    pub dropped: Vec<Dropped>,
    /// Nodes that were looked at.
    pub considered: usize,
    /// Some node could hold the request if it were empty and accepted placements, so waiting can help.
    pub could_ever_fit: bool,
    /// No node that is open and named by the request satisfies the hard wishes about neighbours.
    pub affinity_unsatisfiable: bool,
}

/// A node that may take the instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Why it stands where it stands.
    pub rank: Rank,
}

/// One stage that removed one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where.
    pub stage: Stage,
    /// Why.
    pub reason: Reason,
    /// What was asked, in the unit of the reason's dimension; 0 where numbers say nothing.
    pub requested: i64,
    /// What was used.
    pub used: i64,
    /// What the limit was.
    pub limit: i64,
}

impl Decision {
    /// The first `limit` candidates.
    pub fn candidates(&self, limit: usize) -> Vec<NodeId> {
        self.ordered.iter().take(limit).map(|candidate| candidate.node).collect()
    }
}

/// Evaluates every stage for every node and orders the survivors. The same snapshot, request and seed give the same
/// answer whatever the order of the nodes.
pub fn decide(snapshot: &Snapshot, request: &Request, policy: &Policy, rng: &mut impl Rng) -> Decision {
    let mut nodes: Vec<&Node> =
        snapshot.nodes.iter().filter(|node| !request.excluded.contains(&node.id)).collect();
    nodes.sort_unstable_by_key(|node| node.id);
    nodes.dedup_by_key(|node| node.id);

    let mut decision = Decision {
        considered: nodes.len(),
        could_ever_fit: nodes.iter().any(|node| could_ever_fit(node, request)),
        affinity_unsatisfiable: affinity_unsatisfiable(snapshot, &nodes, request),
        ..Decision::default()
    };
    for node in nodes {
        let failures = failures(snapshot, node, request);
        match (&node.capacity, failures.is_empty()) {
            (Some(capacity), true) => {
                let rank = order::rank(snapshot, node, capacity, request, policy, rng);
                decision.ordered.push(Candidate { node: node.id, name: node.name.clone(), rank });
            }
            _ => decision.dropped.extend(failures),
        }
    }
    decision.ordered.sort_by(|a, b| a.rank.compare(&b.rank).then(a.node.cmp(&b.node)));
    decision
}

/// Every stage the node fails. The numeric stages need a capacity row and are left out without one.
fn failures(snapshot: &Snapshot, node: &Node, request: &Request) -> Vec<Dropped> {
    let mut failed = Vec::new();
    let mut fail = |stage, reason, [requested, used, limit]: [i64; 3]| {
        failed.push(Dropped {
            node: node.id,
            name: node.name.clone(),
            stage,
            reason,
            requested,
            used,
            limit,
        });
    };
    if let Some(reason) = pre_schedule(snapshot, node, request) {
        fail(Stage::PreSchedule, reason, [0; 3]);
    }
    if !node.is_hypervisor {
        fail(Stage::IsHypervisor, Reason::NotHypervisor, [0; 3]);
    }
    if !is_named(node, request) {
        fail(Stage::RequestedNode, Reason::OtherNodeRequested, [0; 3]);
    }
    let most = i64::from(node.facts.cpu_max_per_instance);
    if !fits_one_domain(node, request) {
        fail(Stage::CpuMaxPerInstance, Reason::PerInstanceMaximum, [request.charge.cpus, 0, most]);
    }
    if let Some(reason) = affinity::violation(&request.affinity, &node.tags) {
        fail(Stage::Affinity, reason, [0; 3]);
    }
    if let Some(capacity) = &node.capacity {
        for (stage, reason, numbers) in shortages(node, capacity, request) {
            fail(stage, reason, numbers);
        }
    }
    failed
}

fn pre_schedule(snapshot: &Snapshot, node: &Node, request: &Request) -> Option<Reason> {
    match &node.capacity {
        None => Some(Reason::NoCapacityRow),
        Some(capacity) if !capacity.open => Some(Reason::Closed),
        Some(capacity) if capacity.network_unfit && request.networked => Some(Reason::NetworkUnfit),
        // Written so that an age that is not a number is stale too.
        Some(capacity) if capacity.metrics_age_seconds <= snapshot.metrics_max_age_seconds => None,
        Some(_) => Some(Reason::Stale),
    }
}

fn is_named(node: &Node, request: &Request) -> bool {
    request.requested_node.is_none_or(|named| named == node.id)
}

fn fits_one_domain(node: &Node, request: &Request) -> bool {
    let most = i64::from(node.facts.cpu_max_per_instance);
    most == 0 || request.charge.cpus <= most
}

/// The stages that compare amounts.
fn shortages(node: &Node, capacity: &Capacity, request: &Request) -> Vec<(Stage, Reason, [i64; 3])> {
    let facts = &node.facts;
    let charge = request.charge;
    let own = if request.current_node == Some(node.id) { charge } else { Amounts::default() };
    let used = capacity.used.minus(own).at_least_zero();
    let measured_cpus = i64::from(facts.cpu_total_instance_vcpus).saturating_sub(own.cpus);
    let mut found = Vec::new();
    let mut compare = |stage, dimension: Dimension, used: i64| {
        let (asked, limit) = (charge.get(dimension), capacity.limit.get(dimension));
        if used.saturating_add(asked) > limit {
            found.push((stage, Reason::Full(dimension), [asked, used, limit]));
        }
    };
    compare(Stage::SufficientIdleCpu, Dimension::Cpus, used.cpus.max(measured_cpus));
    compare(Stage::SufficientIdleMemory, Dimension::Memory, used.memory_mb);
    compare(Stage::SufficientFreeDisk, Dimension::Disk, used.disk_gb);
    let available = i64::try_from(facts.memory_available_mb).unwrap_or(i64::MAX);
    let reserved = i64::try_from(facts.memory_reserved_mb).unwrap_or(i64::MAX);
    // Memory the instance holds here already is not available, yet it needs no more of it.
    let needed = charge.memory_mb.saturating_sub(own.memory_mb);
    if available.saturating_sub(reserved) < needed {
        found.push((Stage::SufficientIdleMemory, Reason::HostMemory, [needed, reserved, available]));
    }
    if capacity.disk_headroom_gb <= 0 {
        found.push((
            Stage::SufficientFreeDisk,
            Reason::NoDiskHeadroom,
            [charge.disk_gb, 0, capacity.disk_headroom_gb],
        ));
    }
    found.sort_by_key(|(stage, ..)| *stage);
    found
}

/// Whether the node, empty and accepting, could hold the request.
fn could_ever_fit(node: &Node, request: &Request) -> bool {
    node.is_hypervisor
        && is_named(node, request)
        && fits_one_domain(node, request)
        && node.capacity.is_some_and(|capacity| request.charge.exceeds(&capacity.limit).is_none())
}

fn affinity_unsatisfiable(snapshot: &Snapshot, nodes: &[&Node], request: &Request) -> bool {
    let mut open = nodes
        .iter()
        .filter(|node| {
            pre_schedule(snapshot, node, request).is_none() && node.is_hypervisor && is_named(node, request)
        })
        .peekable();
    request.affinity.is_hard()
        && open.peek().is_some()
        && open.all(|node| affinity::violation(&request.affinity, &node.tags).is_some())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::testing::{amounts, node, request, snapshot};

    #[test]
    fn a_node_that_can_make_no_networks_takes_instances_without_interfaces() {
        let mut unfit = node(1, amounts(8, 8192, 100), Amounts::default());
        unfit.capacity.as_mut().unwrap().network_unfit = true;
        let snapshot = snapshot(vec![unfit]);
        let decided = |networked| {
            let request = Request { networked, ..request(1, 512, 10) };
            decide(&snapshot, &request, &Policy::default(), &mut StdRng::seed_from_u64(7))
        };
        assert_eq!(decided(false).ordered.len(), 1);
        let refused = decided(true);
        let reasons: Vec<&Reason> = refused.dropped.iter().map(|dropped| &dropped.reason).collect();
        assert_eq!((refused.ordered.len(), reasons), (0, vec![&Reason::NetworkUnfit]));
    }
}
