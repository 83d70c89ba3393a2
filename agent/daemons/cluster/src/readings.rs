//! What a leader shows of nodes, their capacity and its ledger (`scheduler.md` §14).
//!
//! Nodes come and go, and a series cannot be taken back: one that is not named again goes to zero, as all do when this
//! daemon leads no longer. So a graph never shows two truths.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use sf_model::NodeId;
use sf_protos::maintenance::{CheckInvariantsReply, InvariantCount};
use sf_protos::nodes::Node;
use sf_protos::operations::ReapExpiredClaimsReply;
use sf_protos::scheduler::{
    Amounts, DriftCorrection, GetCapacityReply, NodeCapacity, ReconcileCapacityReply, RefreshTotalsReply,
};

type Labels = Vec<(&'static str, String)>;
/// Name and labels of gauges.
type Series = BTreeSet<(&'static str, Labels)>;

/// The gauges that were set during this leadership, by what set them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    shown: Arc<Mutex<BTreeMap<&'static str, Series>>>,
    streaks: Arc<Mutex<BTreeMap<(&'static str, &'static str), u32>>>,
}

/// One gauge.
pub(crate) struct Reading {
    name: &'static str,
    labels: Labels,
    value: f64,
}

impl Board {
    /// Shows everything there is of one kind.
    pub(crate) fn show(&self, kind: &'static str, readings: Vec<Reading>) {
        let mut shown = self.shown.lock();
        let mut gone = shown.remove(kind).unwrap_or_default();
        let now = shown.entry(kind).or_default();
        for Reading { name, labels, value } in readings {
            metrics::gauge!(name, &labels).set(value);
            gone.remove(&(name, labels.clone()));
            now.insert((name, labels));
        }
        for (name, labels) in gone {
            metrics::gauge!(name, &labels).set(0.0);
        }
    }

    /// A sweep had its turn: for each kind of object that it keeps a list of, whether that list was worked off. Shows how
    /// often in a row it was not.
    pub(crate) fn swept(&self, sweep: &'static str, lists: &[(&'static str, bool)]) {
        let mut streaks = self.streaks.lock();
        let of = |(object_type, ok): &(&'static str, bool)| {
            let streak = streaks.entry((sweep, *object_type)).or_default();
            *streak = if *ok { 0 } else { streak.saturating_add(1) };
            let labels = [("sweep", sweep), ("object_type", *object_type)];
            reading("cluster_sweep_work_list_failure_streak", &labels, f64::from(*streak))
        };
        self.show(sweep, lists.iter().map(of).collect());
    }

    /// This daemon leads no longer.
    pub(crate) fn blank(&self) {
        let kinds: Vec<&'static str> = self.shown.lock().keys().copied().collect();
        for kind in kinds {
            self.show(kind, Vec::new());
        }
    }
}

/// The nodes: in which state each is, whether something on it does not work, and how many could carry networks.
pub(crate) fn nodes(nodes: &[Node]) -> Vec<Reading> {
    let of = |node: &Node| {
        [
            reading("sf_node_state", &[("node", &node.uuid), ("state", state_of(node))], 1.0),
            reading(
                "sf_node_degraded",
                &[("node", &node.uuid)],
                f64::from(u8::from(!node.degraded_daemons.is_empty())),
            ),
        ]
    };
    let carriers = nodes.iter().filter(|node| node.is_network_node && state_of(node) == "created").count();
    let carriers = u32::try_from(carriers).unwrap_or(u32::MAX);
    let mut readings: Vec<Reading> = nodes.iter().flat_map(of).collect();
    readings.push(reading("sf_cluster_network_nodes", &[], f64::from(carriers)));
    readings
}

fn state_of(node: &Node) -> &str {
    node.state.as_ref().map_or("", |state| state.state.as_str())
}

/// What each hypervisor and the cluster can promise and have promised.
pub(crate) fn capacity(reply: &GetCapacityReply) -> Vec<Reading> {
    let mut readings: Vec<Reading> = reply.nodes.iter().filter(|node| node.sized).flat_map(of_node).collect();
    let sums = [
        ("total", reply.cluster_total),
        ("claimed", reply.cluster_claimed),
        ("unclaimed_used", reply.cluster_unclaimed_used),
    ];
    for (kind, amounts) in sums {
        readings.extend(amounts.into_iter().flat_map(dimensions).map(|(dimension, amount)| {
            reading("sf_capacity_cluster", &[("dimension", dimension), ("kind", kind)], amount)
        }));
    }
    readings
}

fn of_node(node: &NodeCapacity) -> Vec<Reading> {
    let own = [("node", node.node_uuid.as_str())];
    let mut readings = vec![
        reading("sf_capacity_node_demand", &own, node.expected_demand),
        reading("sf_capacity_node_open", &own, f64::from(u8::from(node.open))),
        reading("sf_node_metrics_age_seconds", &own, node.metrics_age_seconds),
    ];
    for (kind, amounts) in [("limit", node.limit), ("used", node.used)] {
        readings.extend(amounts.into_iter().flat_map(dimensions).map(|(dimension, amount)| {
            let labels = [("node", node.node_uuid.as_str()), ("dimension", dimension), ("kind", kind)];
            reading("sf_capacity_node", &labels, amount)
        }));
    }
    readings
}

/// Placements by how far they are: promised, or in use.
pub(crate) fn reservations(reply: &RefreshTotalsReply) -> Vec<Reading> {
    let of = |state, count| reading("sf_reservations", &[("state", state)], f64::from(count));
    vec![of("reserved", reply.reserved), of("consumed", reply.consumed)]
}

/// What does not hold between tables, for each check; nothing is what is expected, for ever.
#[expect(clippy::cast_precision_loss, reason = "rows are far below 2^52")]
pub(crate) fn invariants(reply: &CheckInvariantsReply) -> Vec<Reading> {
    let of = |check: &InvariantCount| {
        let labels = [("check", check.check.as_str())];
        reading("database_invariant_violations", &labels, check.violations as f64)
    };
    reply.checks.iter().map(of).collect()
}

/// Operations that take longer than they should.
pub(crate) fn operations(reply: &ReapExpiredClaimsReply) -> Vec<Reading> {
    vec![reading("cluster_op_long_running", &[], f64::from(reply.long_running))]
}

/// A comparison of the ledger ended: how long it took and what it had to correct; nothing is what is expected, for ever.
/// `None`: it failed and is tried again.
pub(crate) fn reconciled(began: Instant, reply: Option<&ReconcileCapacityReply>) {
    metrics::histogram!("sf_scheduler_reconcile_seconds").record(began.elapsed().as_secs_f64());
    let Some(reply) = reply else {
        metrics::counter!("sf_scheduler_reconcile_failures_total").increment(1);
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    metrics::gauge!("sf_scheduler_reconcile_last_success_timestamp").set(now);
    for (kind, number) in [("released", reply.orphans_released), ("inserted", reply.orphans_inserted)] {
        metrics::counter!("sf_scheduler_ledger_orphans_total", "kind" => kind).increment(number.into());
    }
    for drift in &reply.drift {
        let dimension = drift.dimension.clone();
        metrics::counter!("sf_scheduler_ledger_drift_total", "scope" => scope(drift), "dimension" => dimension)
            .increment(1);
    }
}

/// A label must be one of few: a claim is named by its namespace.
fn scope(drift: &DriftCorrection) -> &'static str {
    match drift.scope.as_str() {
        "cluster" => "cluster",
        node if node.parse::<NodeId>().is_ok() => "node",
        _ => "claim",
    }
}

#[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^52")]
fn dimensions(amounts: Amounts) -> [(&'static str, f64); 3] {
    [("cpus", amounts.cpus as f64), ("memory", amounts.memory_mb as f64), ("disk", amounts.disk_gb as f64)]
}

fn reading(name: &'static str, labels: &[(&'static str, &str)], value: f64) -> Reading {
    Reading { name, labels: labels.iter().map(|(key, text)| (*key, (*text).to_owned())).collect(), value }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use sf_protos::common::StateInfo;

    use super::*;

    fn node(uuid: &str, state: &str) -> Node {
        let state = Some(StateInfo { state: state.into(), ..StateInfo::default() });
        let degraded_daemons = vec!["net".into()];
        Node { uuid: uuid.into(), state, degraded_daemons, is_network_node: true, ..Node::default() }
    }

    #[test]
    fn what_is_not_named_again_goes_to_zero() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let shows = |line: &str| {
            let text = handle.render();
            assert!(text.lines().any(|shown| shown == line), "{line} is missing from {text}");
        };
        metrics::with_local_recorder(&recorder, || {
            let board = Board::default();
            board.show("nodes", nodes(&[node("a", "created"), node("b", "created")]));
            board.show(
                "reservations",
                reservations(&RefreshTotalsReply { total: None, reserved: 2, consumed: 5 }),
            );
            shows("sf_node_state{node=\"a\",state=\"created\"} 1");
            shows("sf_node_degraded{node=\"b\"} 1");
            shows("sf_cluster_network_nodes 2");
            board.show("nodes", nodes(&[node("a", "missing")]));
            shows("sf_node_state{node=\"a\",state=\"created\"} 0");
            shows("sf_node_state{node=\"a\",state=\"missing\"} 1");
            shows("sf_cluster_network_nodes 0");
            shows("sf_node_degraded{node=\"b\"} 0");
            shows("sf_reservations{state=\"consumed\"} 5");
            board.blank();
            shows("sf_node_state{node=\"a\",state=\"missing\"} 0");
            shows("sf_reservations{state=\"consumed\"} 0");
        });
    }

    #[test]
    fn a_list_shows_how_often_in_a_row_it_failed() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let board = Board::default();
            let shows = |streak: u32| {
                let line = format!(
                    "cluster_sweep_work_list_failure_streak{{sweep=\"s\",object_type=\"instance\"}} {streak}"
                );
                let text = recorder.handle().render();
                assert!(text.lines().any(|shown| shown == line), "{line} is missing from {text}");
            };
            for streak in 1..3 {
                board.swept("s", &[("instance", false), ("network", true)]);
                shows(streak);
            }
            board.swept("s", &[("instance", true), ("network", true)]);
            shows(0);
            board.swept("s", &[("instance", false), ("network", true)]);
            shows(1);
            board.blank();
            shows(0);
        });
    }

    #[test]
    fn each_correction_counts_once_and_names_no_tenant() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let drift = |scope: &str| DriftCorrection {
                scope: scope.into(),
                dimension: "cpus".into(),
                ..DriftCorrection::default()
            };
            let drift = vec![drift("cluster"), drift(&NodeId::random().to_string()), drift("tenant")];
            let reply = ReconcileCapacityReply { drift, orphans_released: 3, orphans_inserted: 0 };
            reconciled(Instant::now(), Some(&reply));
            reconciled(Instant::now(), None);
            let text = recorder.handle().render();
            for scope in ["cluster", "node", "claim"] {
                let line =
                    format!("sf_scheduler_ledger_drift_total{{scope=\"{scope}\",dimension=\"cpus\"}} 1");
                assert!(text.contains(&line), "{line} is missing from {text}");
            }
            assert!(text.contains("sf_scheduler_ledger_orphans_total{kind=\"released\"} 3"), "{text}");
            assert!(
                text.contains("sf_scheduler_reconcile_failures_total 1") && !text.contains("tenant"),
                "{text}"
            );
        });
    }
}
