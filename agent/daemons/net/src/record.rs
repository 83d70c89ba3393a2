//! Events and counters of renders.

use std::collections::BTreeMap;

use sf_events::{Event, event};
use sf_model::event::EventType;
use sf_model::{NetworkId, ObjectType};
use sf_protos::net_privexec::{Change, RenderReply};

use crate::error::NetError;
use crate::state::State;

/// Why a network was rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Rows changed.
    Asked,
    /// The kernel differed from the rows without a change of the rows.
    Drift,
}

/// Tells what a render changed; a render that changed nothing is only counted.
pub(crate) fn rendered(
    state: &State,
    network: NetworkId,
    reason: Reason,
    present: bool,
    reply: &RenderReply,
) {
    let kind = match (reply.changes.is_empty(), present) {
        (true, _) => "noop",
        (false, false) => "remove",
        (false, true) if reply.changes.iter().any(is_creation) => "create",
        (false, true) => "change",
    };
    metrics::counter!("sf_net_renders_total", "kind" => kind, "outcome" => "ok").increment(1);
    if reply.changes.is_empty() {
        return;
    }
    peers_changed(state, network, reply);
    let told = match reason {
        Reason::Asked => {
            let counts = count_by_item(&reply.changes);
            event(EventType::Mutate, "rendered on node")
                .object(ObjectType::Network, network)
                .extra(serde_json::json!({ "node": state.context.node.name, "changes": counts }))
        }
        Reason::Drift => {
            let items: Vec<String> =
                reply.changes.iter().map(|change| format!("{} {}", change.item, change.detail)).collect();
            for change in &reply.changes {
                metrics::counter!("sf_net_drift_repairs_total", "item" => change.item.clone()).increment(1);
            }
            event(EventType::Status, "drift repaired")
                .object(ObjectType::Network, network)
                .extra(serde_json::json!({ "node": state.context.node.name, "items": items }))
        }
    };
    state.context.events.record_detached(told);
}

/// Tells why a render failed.
pub(crate) fn failed(state: &State, network: NetworkId, error: &NetError) {
    metrics::counter!("sf_net_renders_total", "kind" => "change", "outcome" => "error").increment(1);
    tracing::warn!(%network, code = error.code(), %error, "a network could not be rendered");
    about(
        state,
        network,
        "render failed",
        serde_json::json!({ "code": error.code(), "error": error.to_string() }),
    );
}

/// Tells that repairs of a network rest.
pub(crate) fn quiesced(state: &State, network: NetworkId, failures: u32) {
    about(state, network, "render quiesced", serde_json::json!({ "failures": failures }));
}

fn about(state: &State, network: NetworkId, message: &str, extra: serde_json::Value) {
    let told: Event = event(EventType::Audit, message)
        .object(ObjectType::Network, network)
        .object(ObjectType::Node, &state.context.node.name)
        .extra(extra)
        .as_error();
    state.context.events.record_detached(told);
}

fn peers_changed(state: &State, network: NetworkId, reply: &RenderReply) {
    let list = |verb: &str| -> Vec<String> {
        let floods = reply.changes.iter().filter(|change| change.item == "fdb" && change.verb == verb);
        floods.filter_map(|change| change.detail.strip_prefix("flood ").map(str::to_owned)).collect()
    };
    for (verb, message) in [("add", "added mesh peers"), ("remove", "removed mesh peers")] {
        let peers = list(verb);
        if !peers.is_empty() {
            let told = event(EventType::Mutate, message)
                .object(ObjectType::Network, network)
                .extra(serde_json::json!({ "node": state.context.node.name, "peers": peers }));
            state.context.events.record_detached(told);
        }
    }
}

fn is_creation(change: &Change) -> bool {
    change.verb == "add" && (change.item == "namespace" || change.item == "link")
}

fn count_by_item(changes: &[Change]) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for change in changes {
        *counts.entry(change.item.clone()).or_default() += 1;
    }
    counts
}
