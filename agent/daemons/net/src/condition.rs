//! Conditions of the node: a gauge each, an event when one appears or goes, and a report to the cluster.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use sf_daemon::DaemonContext;
use sf_events::event;
use sf_model::ObjectType;
use sf_model::event::EventType;
use sf_netstate::render::host::{FOREIGN_FILTER_UNKNOWN, FOREIGN_FORWARD_DROP};

/// The conditions that stand.
#[derive(Default)]
pub(crate) struct Conditions {
    standing: Mutex<BTreeSet<String>>,
    /// Those that the cluster knows of; nothing until it took the first report.
    reported: Mutex<Option<BTreeSet<String>>>,
}

impl Conditions {
    /// Takes the conditions found now and tells what changed. The cluster is told until it has heard: it places nothing
    /// here that the node would refuse.
    pub(crate) async fn update(&self, context: &DaemonContext, found: &[String]) {
        let mut found: BTreeSet<String> = found.iter().cloned().collect();
        let before = {
            let mut standing = self.standing.lock();
            if found.contains(FOREIGN_FILTER_UNKNOWN) && standing.contains(FOREIGN_FORWARD_DROP) {
                // Nothing says that it ended.
                found.insert(FOREIGN_FORWARD_DROP.to_owned());
            }
            std::mem::replace(&mut *standing, found.clone())
        };
        for name in found.difference(&before) {
            tracing::warn!(condition = name, "a condition of this node's network appeared");
            tell(context, name, 1.0, "network condition appeared");
        }
        for name in before.difference(&found) {
            tell(context, name, 0.0, "network condition ended");
        }
        if self.reported.lock().as_ref() == Some(&found) {
            return;
        }
        match context.report_conditions(found.iter().cloned().collect()).await {
            Ok(()) => *self.reported.lock() = Some(found),
            Err(error) => tracing::warn!(%error, "conditions of the network are reported with the next pass"),
        }
    }

    /// Whether a condition stands.
    pub(crate) fn stands(&self, name: &str) -> bool {
        self.standing.lock().contains(name)
    }
}

fn tell(context: &DaemonContext, name: &str, value: f64, message: &str) {
    metrics::gauge!("sf_net_condition", "name" => name.to_owned()).set(value);
    let told = event(EventType::Audit, message)
        .object(ObjectType::Node, &context.node.name)
        .extra(serde_json::json!({ "condition": name }));
    context.events.record_detached(told);
}
