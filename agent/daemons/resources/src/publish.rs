//! The same figures as gauges and as the `resources` event that clients read.

use sf_daemon::DaemonContext;
use sf_events::event as new_event;
use sf_model::ObjectType;
use sf_model::event::EventType;

use crate::sample::Sample;

/// Sets one gauge per figure, under the figure's own name.
pub(crate) fn gauges(sample: &Sample) {
    for (name, value) in sample.flat() {
        if let Some(value) = value.as_f64() {
            metrics::gauge!(name.clone()).set(value);
        }
    }
}

/// Records the whole map. `sf-client node resources` shows the newest of these.
pub(crate) async fn event(context: &DaemonContext, sample: &Sample) {
    let fact = new_event(EventType::Resources, "updated node resources")
        .object(ObjectType::Node, context.node.uuid)
        .extra(sample.flat())
        .quiet();
    // A dropped sample is counted by the spool; the next one follows in a minute.
    let _recorded = context.events.record(fact).await;
}
