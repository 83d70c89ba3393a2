//! Nodes as the command line shows them.

use serde_json::{Value, json};
use sf_protos::convert::unix_seconds;
use sf_protos::nodes as pb;

use crate::answer::{Answer, table};

/// One node.
pub(super) fn one(node: pb::Node) -> Answer {
    Answer::new(json!({ "node": value(&node) }), text(std::slice::from_ref(&node)))
}

/// Several.
pub(super) fn many(nodes: &[pb::Node]) -> Answer {
    Answer::new(json!({ "nodes": nodes.iter().map(value).collect::<Vec<_>>() }), text(nodes))
}

/// A node after a change, and whether it was one.
pub(super) fn compare(before: &pb::Node, after: pb::Node) -> Answer {
    let changed = essence(before) != essence(&after);
    one(after).changed(changed)
}

/// A node as automation reads it.
pub(super) fn value(node: &pb::Node) -> Value {
    let daemon = |d: &pb::NodeDaemon| json!({ "daemon": d.daemon, "state": daemon_state(d), "release": d.release, "unit_state": d.unit_state });
    json!({
        "uuid": node.uuid, "name": node.name, "state": state(node), "mesh_ip": node.mesh_ip, "egress_ip": node.egress_ip,
        "release": node.release, "schedulable": node.schedulable, "draining": node.draining,
        "is_hypervisor": node.is_hypervisor, "is_network_node": node.is_network_node,
        "is_database_node": node.is_database_node, "last_seen": node.last_seen.as_ref().map(unix_seconds),
        "checkin_age": node.checkin_age_seconds, "daemons": node.daemons.iter().map(daemon).collect::<Vec<_>>(),
        "degraded_daemons": node.degraded_daemons,
    })
}

/// Its state as a word.
pub(super) fn state(node: &pb::Node) -> &str {
    node.state.as_ref().map_or("", |state| state.state.as_str())
}

/// What a daemon says of itself; of one that speaks to no cluster, what its service manager says.
fn daemon_state(daemon: &pb::NodeDaemon) -> Option<&str> {
    let unit = daemon.unit_state.as_deref().map(|state| if state == "active" { "running" } else { state });
    daemon.state.as_deref().or(unit)
}

/// What an operator would call a change: not its pulse, nor what its daemons say of themselves.
fn essence(node: &pb::Node) -> Value {
    let mut value = value(node);
    if let Some(fields) = value.as_object_mut() {
        for passing in ["last_seen", "checkin_age", "degraded_daemons"] {
            fields.remove(passing);
        }
        let names: Vec<&str> = node.daemons.iter().map(|daemon| daemon.daemon.as_str()).collect();
        fields.insert("daemons".to_owned(), json!(names));
    }
    value
}

fn text(nodes: &[pb::Node]) -> String {
    let row = |node: &pb::Node| {
        let placement = if node.schedulable { "yes" } else { "no" };
        vec![
            node.name.clone(),
            node.uuid.clone(),
            state(node).to_owned(),
            placement.to_owned(),
            node.mesh_ip.clone(),
            node.release.clone(),
        ]
    };
    table(&["name", "uuid", "state", "schedulable", "mesh address", "release"], nodes.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_is_no_change_and_another_set_of_daemons_is() {
        let daemon = |name: &str, state: Option<&str>| pb::NodeDaemon {
            daemon: name.into(),
            state: state.map(str::to_owned),
            ..pb::NodeDaemon::default()
        };
        let node = |age, daemons| pb::Node { checkin_age_seconds: Some(age), daemons, ..pb::Node::default() };
        let before = node(1.0, vec![daemon("api", None)]);
        assert!(!compare(&before, node(2.0, vec![daemon("api", Some("running"))])).changed);
        assert!(compare(&before, node(1.0, vec![daemon("net", None)])).changed);
        assert!(compare(&before, pb::Node { release: "0.2".into(), ..before.clone() }).changed);
    }
}
