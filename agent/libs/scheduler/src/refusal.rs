//! The account of a create that found no node (`scheduler.md` §9).

use std::collections::BTreeMap;

use sf_model::NodeId;
use sf_model::affinity::Affinity;

use crate::affinity;
use crate::amounts::Dimension;
use crate::decide::{Decision, Dropped};
use crate::stage::{Reason, Stage};

/// What kind of answer a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// 507.
    NoCapacity,
    /// 409: no open node satisfies the hard wishes about neighbours.
    Affinity,
}

/// Why no node takes the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which answer it is.
    pub kind: RefusalKind,
    /// The stage that removed the last candidate.
    pub stage: Stage,
    /// Waiting can help.
    pub transient: bool,
    /// One sentence for the user.
    pub sentence: String,
    /// How many nodes each reason removed, by stage.
    pub reasons: Vec<ReasonCount>,
    /// One entry per node and failed stage, for administrators only: they reveal other tenants' usage.
    pub nodes: Vec<Dropped>,
}

/// One line of the aggregated account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonCount {
    /// Where.
    pub stage: Stage,
    /// Why, in words.
    pub reason: String,
    /// The quantity it is about.
    pub dimension: Option<Dimension>,
    /// Nodes.
    pub count: usize,
}

/// A candidate that the admission transaction refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardRefusal {
    /// The node.
    pub node: NodeId,
    /// Why, as read after the refusal.
    pub reason: Reason,
    /// What was asked.
    pub requested: i64,
    /// What was used when it was read.
    pub used: i64,
    /// The limit when it was read.
    pub limit: i64,
}

impl Refusal {
    /// The account of a decision without candidates.
    pub fn of_decision(decision: &Decision, affinity: &Affinity) -> Self {
        Self::build(decision, affinity, decision.dropped.clone())
    }

    /// The account after every candidate was refused by the admission transaction too. `decision` is the last one made.
    pub fn of_walk(decision: &Decision, affinity: &Affinity, refused: &[GuardRefusal]) -> Self {
        let mut dropped = decision.dropped.clone();
        dropped.extend(refused.iter().map(|refusal| {
            Dropped {
                node: refusal.node,
                name: decision
                    .ordered
                    .iter()
                    .find(|candidate| candidate.node == refusal.node)
                    .map_or_else(|| refusal.node.to_string(), |candidate| candidate.name.clone()),
                stage: Stage::CapacityGuard,
                reason: refusal.reason.clone(),
                requested: refusal.requested,
                used: refusal.used,
                limit: refusal.limit,
            }
        }));
        Self::build(decision, affinity, dropped)
    }

    fn build(decision: &Decision, affinity: &Affinity, nodes: Vec<Dropped>) -> Self {
        let kind =
            if decision.affinity_unsatisfiable { RefusalKind::Affinity } else { RefusalKind::NoCapacity };
        let stage = match kind {
            RefusalKind::Affinity => Stage::Affinity,
            RefusalKind::NoCapacity => last_stage(&nodes),
        };
        let reasons = aggregate(&nodes);
        // A candidate that the guard refused passed every stage, so it certainly could hold the request one day.
        let could_fit = decision.could_ever_fit || stage == Stage::CapacityGuard;
        let transient = kind == RefusalKind::NoCapacity && stage.is_transient() && could_fit;
        let sentence = match kind {
            RefusalKind::Affinity => {
                format!("no node satisfies the affinity {}", affinity::describe_hard(affinity))
            }
            RefusalKind::NoCapacity => sentence(&nodes, &reasons, stage, could_fit),
        };
        Self { kind, stage, transient, sentence, reasons, nodes }
    }
}

/// Each node falls at its first stage; the stage that removed the last candidate is the latest of those.
fn last_stage(nodes: &[Dropped]) -> Stage {
    first_failures(nodes).values().map(|dropped| dropped.stage).max().unwrap_or(Stage::PreSchedule)
}

fn first_failures(nodes: &[Dropped]) -> BTreeMap<NodeId, &Dropped> {
    let mut first: BTreeMap<NodeId, &Dropped> = BTreeMap::new();
    for dropped in nodes {
        let entry = first.entry(dropped.node).or_insert(dropped);
        if dropped.stage < entry.stage {
            *entry = dropped;
        }
    }
    first
}

fn aggregate(nodes: &[Dropped]) -> Vec<ReasonCount> {
    let mut counts: BTreeMap<(Stage, &Reason), usize> = BTreeMap::new();
    for dropped in nodes {
        *counts.entry((dropped.stage, &dropped.reason)).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|((stage, reason), count)| ReasonCount {
            stage,
            reason: reason.to_string(),
            dimension: reason.dimension(),
            count,
        })
        .collect()
}

fn sentence(nodes: &[Dropped], reasons: &[ReasonCount], stage: Stage, could_fit: bool) -> String {
    let total = first_failures(nodes).len();
    if total == 0 {
        return "no hypervisor is registered".to_owned();
    }
    let opening = if stage.is_transient() && stage != Stage::PreSchedule && !could_fit {
        "the request is larger than any node"
    } else {
        "no node can take the instance"
    };
    // Nodes that are merely not the named one are left out: the named one decides.
    let list: Vec<String> = reasons
        .iter()
        .filter(|reason| reason.stage != Stage::RequestedNode || stage == Stage::RequestedNode)
        .map(|reason| format!("{} ({} of {total})", reason.reason, reason.count))
        .collect();
    format!("{opening}: {}", list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Request, decide};
    use crate::testing::{self, amounts};
    use crate::{Policy, Snapshot};
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn refuse(snapshot: &Snapshot, request: &Request) -> Refusal {
        let decision = decide(snapshot, request, &Policy::default(), &mut SmallRng::seed_from_u64(1));
        assert_eq!(decision.ordered, []);
        Refusal::of_decision(&decision, &request.affinity)
    }

    #[test]
    fn no_nodes_is_permanent() {
        let refusal = refuse(&testing::snapshot(vec![]), &testing::request(1, 1, 1));
        assert_eq!((refusal.stage, refusal.transient), (Stage::PreSchedule, false));
        assert_eq!(refusal.sentence, "no hypervisor is registered");
    }

    #[test]
    fn all_closed_or_stale_is_transient_but_never_sized_is_not() {
        let mut closed = testing::node(1, amounts(8, 8192, 100), amounts(0, 0, 0));
        closed.capacity.as_mut().unwrap().open = false;
        let mut stale = testing::node(2, amounts(8, 8192, 100), amounts(0, 0, 0));
        stale.capacity.as_mut().unwrap().metrics_age_seconds = 91.0;
        let refusal = refuse(&testing::snapshot(vec![closed, stale]), &testing::request(1, 1, 1));
        assert_eq!((refusal.stage, refusal.transient), (Stage::PreSchedule, true));

        let mut absent = testing::node(1, amounts(8, 8192, 100), amounts(0, 0, 0));
        absent.capacity = None;
        let refusal = refuse(&testing::snapshot(vec![absent]), &testing::request(1, 1, 1));
        assert_eq!((refusal.stage, refusal.transient), (Stage::PreSchedule, false));
    }

    #[test]
    fn full_is_transient_and_too_large_is_not() {
        let snapshot = testing::snapshot(vec![
            testing::node(1, amounts(8, 8192, 100), amounts(8, 0, 0)),
            testing::node(2, amounts(8, 8192, 100), amounts(0, 8192, 0)),
        ]);
        let full = refuse(&snapshot, &testing::request(1, 1, 1));
        assert_eq!((full.stage, full.transient), (Stage::SufficientIdleMemory, true));
        assert_eq!(
            full.sentence,
            "no node can take the instance: not enough vCPUs (1 of 2), not enough memory (1 of 2)"
        );
        assert_eq!(full.reasons.len(), 2);
        assert_eq!(full.nodes.len(), 2);

        let large = refuse(&snapshot, &testing::request(9, 1, 1));
        assert!(!large.transient);
        assert!(large.sentence.starts_with("the request is larger than any node:"), "{}", large.sentence);
    }

    #[test]
    fn affinity_is_a_conflict_only_when_no_open_node_satisfies_it() {
        let mut request = testing::request(1, 1, 1);
        request.affinity.require_without = vec!["web".into()];
        let mut with_web = testing::node(1, amounts(8, 8192, 100), amounts(0, 0, 0));
        with_web.tags.insert("web".into(), 1);
        let full = testing::node(2, amounts(8, 8192, 100), amounts(8, 0, 0));

        let conflict = refuse(&testing::snapshot(vec![with_web.clone()]), &request);
        assert_eq!((conflict.kind, conflict.stage), (RefusalKind::Affinity, Stage::Affinity));
        assert_eq!(conflict.sentence, "no node satisfies the affinity require_without_tag [web]");

        let capacity = refuse(&testing::snapshot(vec![with_web, full]), &request);
        assert_eq!((capacity.kind, capacity.transient), (RefusalKind::NoCapacity, true));
    }

    #[test]
    fn the_named_node_decides() {
        let nodes = vec![
            testing::node(1, amounts(8, 8192, 100), amounts(0, 0, 0)),
            testing::node(2, amounts(8, 8192, 100), amounts(8, 0, 0)),
        ];
        let request = Request { requested_node: Some(nodes[1].id), ..testing::request(1, 1, 1) };
        let refusal = refuse(&testing::snapshot(nodes), &request);
        assert_eq!((refusal.stage, refusal.transient), (Stage::SufficientIdleCpu, true));
        assert_eq!(refusal.sentence, "no node can take the instance: not enough vCPUs (1 of 2)");
    }

    #[test]
    fn a_refused_walk_is_reported_as_the_guard() {
        let snapshot = testing::snapshot(vec![testing::node(1, amounts(8, 8192, 100), amounts(0, 0, 0))]);
        let request = testing::request(1, 1, 1);
        let decision = decide(&snapshot, &request, &Policy::default(), &mut SmallRng::seed_from_u64(1));
        let refused = GuardRefusal {
            node: decision.ordered[0].node,
            reason: Reason::Full(Dimension::Cpus),
            requested: 1,
            used: 8,
            limit: 8,
        };
        let refusal = Refusal::of_walk(&decision, &request.affinity, &[refused]);
        assert_eq!((refusal.stage, refusal.transient), (Stage::CapacityGuard, true));
        assert_eq!(refusal.nodes[0].name, "node1");
        assert_eq!(refusal.sentence, "no node can take the instance: not enough vCPUs (1 of 1)");
    }
}
