//! Properties of the decision over arbitrary snapshots, broken figures included.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use sf_model::NodeId;
use sf_model::affinity::Affinity;
use sf_scheduler::{Amounts, Capacity, Facts, Node, Policy, Refusal, Request, Snapshot, Stage, decide};

fn figure() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 0.0..200.0f64,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(-5.0),
    ]
}

fn quantity() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..200i64, 1 => Just(0), 1 => Just(i64::MAX), 1 => -10..0i64]
}

fn amounts() -> impl Strategy<Value = Amounts> {
    (quantity(), quantity(), quantity()).prop_map(|(cpus, memory_mb, disk_gb)| Amounts {
        cpus,
        memory_mb,
        disk_gb,
    })
}

fn capacity() -> impl Strategy<Value = Capacity> {
    let unfit = prop::bool::weighted(0.2);
    (prop::bool::weighted(0.9), unfit, amounts(), amounts(), -5..100i64, figure(), figure()).prop_map(
        |(open, network_unfit, limit, used, disk_headroom_gb, expected_demand, metrics_age_seconds)| {
            Capacity {
                open,
                network_unfit,
                limit,
                used,
                disk_headroom_gb,
                expected_demand,
                metrics_age_seconds,
            }
        },
    )
}

fn facts() -> impl Strategy<Value = Facts> {
    (0..64u32, 0..256u32, figure(), 0..100u32, 0..1000u64, 0..500u64, any::<u64>(), 0..40u32, figure())
        .prop_map(|(schedulable, most, load, vcpus, available, reserved, actual, waiting, busy)| Facts {
            cpu_schedulable: schedulable,
            cpu_max_per_instance: most,
            cpu_load_1: load,
            cpu_total_instance_vcpus: vcpus,
            memory_available_mb: available,
            memory_reserved_mb: reserved,
            memory_total_instance_actual_mb: actual,
            node_queue_waiting: waiting,
            disk_busy_time_delta_per_second: busy,
        })
}

fn tags() -> impl Strategy<Value = BTreeMap<String, u32>> {
    prop::collection::btree_map("[abc]", 0..4u32, 0..3)
}

fn node() -> impl Strategy<Value = Node> {
    (
        0..12u128,
        prop::bool::weighted(0.9),
        prop::option::weighted(0.9, capacity()),
        facts(),
        tags(),
        any::<u64>(),
    )
        .prop_map(|(id, is_hypervisor, capacity, facts, tags, local_blob_bytes)| Node {
            id: NodeId::from_uuid(uuid(id)),
            name: format!("node{id}"),
            is_hypervisor,
            capacity,
            facts,
            tags,
            local_blob_bytes,
        })
}

fn uuid(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (prop::collection::vec(node(), 0..12), any::<u64>()).prop_map(|(mut nodes, blob_bytes)| {
        let mut seen = BTreeSet::new();
        nodes.retain(|node| seen.insert(node.id));
        Snapshot { nodes, metrics_max_age_seconds: 90.0, blob_bytes }
    })
}

fn tag_list() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[abc]", 0..3)
}

fn request() -> impl Strategy<Value = Request> {
    let soft = (tag_list(), tag_list());
    let hard = (prop::collection::vec("[ab]", 0..2), prop::collection::vec("[bc]", 0..2));
    let node =
        || prop::option::weighted(0.2, 0..12u128).prop_map(|id| id.map(|id| NodeId::from_uuid(uuid(id))));
    (1..50i64, 1..50i64, 0..50i64, any::<bool>(), soft, hard, node(), node()).prop_map(
        |(cpus, memory_mb, disk_gb, networked, soft, hard, requested_node, current_node)| Request {
            charge: Amounts { cpus, memory_mb, disk_gb },
            networked,
            affinity: Affinity {
                prefer_with: soft.0,
                prefer_without: soft.1,
                require_with: hard.0,
                require_without: hard.1,
                weighted_form: false,
            },
            requested_node,
            current_node,
            excluded: vec![],
        },
    )
}

fn run(snapshot: &Snapshot, request: &Request, seed: u64) -> sf_scheduler::Decision {
    decide(snapshot, request, &Policy::default(), &mut SmallRng::seed_from_u64(seed))
}

fn survivors(snapshot: &Snapshot, request: &Request) -> BTreeSet<NodeId> {
    run(snapshot, request, 7).candidates(usize::MAX).into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_node_is_either_a_candidate_once_or_explained(
        snapshot in snapshot(), request in request(), seed in any::<u64>()
    ) {
        let decision = run(&snapshot, &request, seed);
        let ordered = decision.candidates(usize::MAX);
        let kept: BTreeSet<NodeId> = ordered.iter().copied().collect();
        prop_assert_eq!(kept.len(), ordered.len());
        let dropped: BTreeSet<NodeId> = decision.dropped.iter().map(|d| d.node).collect();
        prop_assert!(kept.is_disjoint(&dropped));
        prop_assert_eq!(kept.len() + dropped.len(), snapshot.nodes.len());
    }

    #[test]
    fn a_candidate_passes_every_hard_rule(snapshot in snapshot(), request in request(), seed in any::<u64>()) {
        for candidate in run(&snapshot, &request, seed).ordered {
            let node = snapshot.node(candidate.node).unwrap();
            let capacity = node.capacity.unwrap();
            prop_assert!(capacity.open && node.is_hypervisor && capacity.disk_headroom_gb > 0);
            prop_assert!(capacity.metrics_age_seconds <= 90.0);
            prop_assert!(!(capacity.network_unfit && request.networked));
            prop_assert!(request.requested_node.is_none_or(|named| named == node.id));
            let here = |tag: &String| node.tags.get(tag).is_some_and(|&n| n > 0);
            prop_assert!(request.affinity.require_with.iter().all(here));
            prop_assert!(!request.affinity.require_without.iter().any(here));
            if request.current_node != Some(node.id) {
                let after = capacity.used.at_least_zero().plus(request.charge);
                prop_assert_eq!(after.exceeds(&capacity.limit), None);
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_answer_in_any_order(
        snapshot in snapshot(), request in request(), seed in any::<u64>()
    ) {
        let mut reversed = snapshot.clone();
        reversed.nodes.reverse();
        prop_assert_eq!(
            run(&snapshot, &request, seed).candidates(99),
            run(&reversed, &request, seed).candidates(99)
        );
    }

    #[test]
    fn more_capacity_never_removes_a_candidate(snapshot in snapshot(), request in request(), more in 0..50i64) {
        let mut grown = snapshot.clone();
        for capacity in grown.nodes.iter_mut().filter_map(|node| node.capacity.as_mut()) {
            capacity.limit = capacity.limit.plus(Amounts { cpus: more, memory_mb: more, disk_gb: more });
        }
        prop_assert!(survivors(&grown, &request).is_superset(&survivors(&snapshot, &request)));
    }

    #[test]
    fn soft_wishes_never_change_who_survives(snapshot in snapshot(), request in request()) {
        let mut plain = request.clone();
        plain.affinity.prefer_with.clear();
        plain.affinity.prefer_without.clear();
        prop_assert_eq!(survivors(&snapshot, &request), survivors(&snapshot, &plain));
    }

    #[test]
    fn a_refusal_always_has_a_stage_and_a_sentence(snapshot in snapshot(), request in request()) {
        let decision = run(&snapshot, &request, 3);
        if decision.ordered.is_empty() {
            let refusal = Refusal::of_decision(&decision, &request.affinity);
            prop_assert!(!refusal.sentence.is_empty() && refusal.stage != Stage::CapacityGuard);
            prop_assert_eq!(refusal.reasons.iter().map(|r| r.count).sum::<usize>(), refusal.nodes.len());
        }
    }
}

/// 200 instances of one vCPU on 20 equal idle nodes: no node gets many more than another, when each placement is
/// applied to the snapshot the way a process does.
#[test]
fn a_burst_spreads() {
    let limit = Amounts { cpus: 100, memory_mb: 100_000, disk_gb: 1000 };
    let nodes = (0..20).map(|number| Node {
        id: NodeId::from_uuid(uuid(number)),
        name: String::new(),
        is_hypervisor: true,
        capacity: Some(Capacity { open: true, limit, disk_headroom_gb: 10, ..Capacity::default() }),
        facts: Facts { cpu_schedulable: 16, memory_available_mb: 1 << 20, ..Facts::default() },
        tags: BTreeMap::new(),
        local_blob_bytes: 0,
    });
    let mut snapshot = Snapshot { nodes: nodes.collect(), metrics_max_age_seconds: 90.0, blob_bytes: 0 };
    let charge = Amounts { cpus: 1, memory_mb: 512, disk_gb: 1 };
    let request = Request { charge, ..Request::default() };
    let mut rng = SmallRng::seed_from_u64(42);
    for _ in 0..200 {
        let chosen = decide(&snapshot, &request, &Policy::default(), &mut rng).ordered.remove(0).node;
        let mut capacity = snapshot.node(chosen).unwrap().capacity.unwrap();
        capacity.used = capacity.used.plus(charge);
        capacity.expected_demand += 0.6;
        snapshot.apply_admission(chosen, capacity, &[]);
    }
    let counts: Vec<i64> = snapshot.nodes.iter().map(|node| node.capacity.unwrap().used.cpus).collect();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= 6, "{counts:?}");
}
