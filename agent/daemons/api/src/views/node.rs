//! Nodes (`rest-api.md` §2.6) and their process metrics.

use serde::Serialize;
use serde_json::{Map, Value};
use sf_protos::nodes::{Node, ProcessMetric};

use super::{metadata, seconds, state};

/// A host of the cloud.
#[derive(Debug, Serialize)]
pub struct NodeView {
    uuid: String,
    state: String,
    metadata: Map<String, Value>,
    version: u32,
    name: String,
    ip: String,
    lastseen: f64,
    release: String,
    is_hypervisor: bool,
    is_network_node: bool,
    is_database_node: bool,
    is_cluster_maintainer: bool,
    /// Constant, kept for older clients.
    is_etcd_master: bool,
    /// Constant, kept for older clients.
    is_eventlog_node: bool,
    schedulable: bool,
    degraded: bool,
    degraded_daemons: Vec<String>,
    spice_server_cert_subject: Option<String>,
}

impl From<Node> for NodeView {
    fn from(node: Node) -> Self {
        Self {
            uuid: node.uuid,
            state: state(node.state.as_ref()),
            metadata: metadata(&node.metadata),
            version: node.version,
            name: node.name,
            ip: node.mesh_ip,
            lastseen: seconds(node.last_seen.as_ref()).unwrap_or(0.0),
            release: node.release,
            is_hypervisor: node.is_hypervisor,
            is_network_node: node.is_network_node,
            is_database_node: node.is_database_node,
            is_cluster_maintainer: node.is_cluster_maintainer,
            is_etcd_master: false,
            is_eventlog_node: false,
            schedulable: node.schedulable,
            degraded: !node.degraded_daemons.is_empty(),
            degraded_daemons: node.degraded_daemons,
            spice_server_cert_subject: None,
        }
    }
}

/// Metric name to number, flat.
pub fn process_metrics(processes: Vec<ProcessMetric>) -> Value {
    let entries = processes.into_iter().flat_map(|metric| {
        [
            (format!("process_cpu_fraction_{}", metric.process), Value::from(metric.cpu_fraction)),
            (format!("process_resident_bytes_{}", metric.process), Value::from(metric.rss_bytes)),
        ]
    });
    Value::Object(entries.collect())
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_node_looks_like_this() {
        insta::assert_json_snapshot!("node", NodeView::from(samples::node()));
        insta::assert_json_snapshot!("node_never_seen", NodeView::from(Node::default()));
    }

    #[test]
    fn process_metrics_are_numbers() {
        let metric = ProcessMetric { process: "sf-api".into(), cpu_fraction: 0.5, rss_bytes: 3 };
        let shown = process_metrics(vec![metric]);
        assert_eq!(
            shown,
            serde_json::json!({"process_cpu_fraction_sf-api": 0.5, "process_resident_bytes_sf-api": 3})
        );
    }
}
