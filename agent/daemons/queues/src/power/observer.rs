//! What the hypervisor reports, judged and passed on.

use std::sync::Arc;
use std::time::Duration;

use sf_events::event;
use sf_hypervisor::power::{Observation, PowerContext, observe as judge};
use sf_hypervisor::{DomainEvent, DomainEventKind, HypervisorEvent};
use sf_model::event::EventType;
use sf_model::object::ObjectType;
use sf_model::state::PowerState;
use tokio::sync::broadcast::error::RecvError;

use super::writer::record;
use crate::record::{audit, health, status};
use crate::worker::Worker;

/// Lines of QEMU's log in the event of a crash.
const LOG_LINES: u32 = 20;

/// Passes events on until shutdown.
pub(crate) async fn observe(worker: Arc<Worker>) {
    let Some(host) = &worker.host else { return };
    let context = &worker.context;
    let tick = context.liveness.register("power-observer", Duration::from_secs(60));
    let mut events = host.hypervisor.events();
    loop {
        match tick.while_waiting(context.shutdown.unless(events.recv())).await {
            Some(Ok(HypervisorEvent::Domain(event))) => take(&worker, event).await,
            // Whatever happened unseen is found by comparing everything.
            Some(Ok(HypervisorEvent::Connected)) => {
                worker.recovery.demand_full();
                worker.reconcile_soon.notify_one();
            }
            Some(Err(RecvError::Lagged(_))) => worker.reconcile_soon.notify_one(),
            Some(Ok(HypervisorEvent::Disconnected)) => {}
            Some(Err(RecvError::Closed)) | None => return,
        }
    }
}

async fn take(worker: &Worker, event: DomainEvent) {
    let instance = event.instance;
    match &event.kind {
        DomainEventKind::Rebooted => {
            return worker.record(audit(instance, "reboot detected (hypervisor)")).await;
        }
        DomainEventKind::IoError { device, reason } => {
            let detail = serde_json::json!({ "device": device, "reason": reason });
            return worker.record(status(instance, "disk I/O error").extra(detail)).await;
        }
        _ => {}
    }
    let Some(fact) = worker.facts.get(instance) else {
        // Not known yet: the comparison will look at it.
        return worker.reconcile_soon.notify_one();
    };
    let ours = worker.acting.is_ours(instance, event.at);
    let context =
        PowerContext { desired: fact.desired, ours, host_stopping: worker.context.shutdown.is_requested() };
    let Some(seen) = judge(&event.kind, context) else {
        if !ours {
            worker.reconcile_soon.notify_one();
        }
        return;
    };
    metrics::counter!(
        "sf_instance_power_events_total", "kind" => seen.state.as_str(), "reason" => seen.reason.as_str()
    )
    .increment(1);
    if let Some(desired) = seen.desired {
        worker.facts.change(instance, |fact| fact.desired = desired);
    }
    let observed =
        record(instance, fact.boot_id, fact.placement_seq, seen.state, Some(seen.reason), seen.desired);
    worker.power.put(instance, observed, event.at);
    announce(worker, &event, &seen).await;
}

async fn announce(worker: &Worker, event_seen: &DomainEvent, seen: &Observation) {
    let Some(message) = seen.event else { return };
    let instance = event_seen.instance;
    let event = match seen.state {
        PowerState::Crashed => {
            let log = worker.helper().qemu_log_tail(instance, LOG_LINES).await.unwrap_or_default();
            audit(instance, message).extra(serde_json::json!({ "log": log })).as_error()
        }
        PowerState::Paused => {
            let node = worker.context.node.uuid;
            worker
                .record(
                    health(node, "an instance was paused by an I/O error")
                        .object(ObjectType::Instance, instance),
                )
                .await;
            event(EventType::Status, message).object(ObjectType::Instance, instance)
        }
        _ => audit(instance, message),
    };
    worker.record(event).await;
}
