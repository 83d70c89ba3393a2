//! Traffic of carried networks as usage events, and counters of what was dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sf_events::event;
use sf_model::ObjectType;
use sf_model::event::EventType;
use sf_protos::net_privexec::{LinkCounters, NetworkCounters};
use sf_runtime::{Loop, Pass};

use crate::error::NetError;
use crate::state::State;

const INTERVAL: Duration = Duration::from_secs(60);

/// Samples until shutdown.
pub(crate) async fn run(state: State) {
    let seen = Arc::new(Mutex::new(HashMap::new()));
    let (shutdown, liveness) = (state.context.shutdown.clone(), state.context.liveness.clone());
    let pass = |_tick| {
        let (state, seen) = (state.clone(), seen.clone());
        async move { sample(&state, &seen).await.map(|()| Pass::Done) }
    };
    Loop::every("network-usage", INTERVAL)
        .max_silence(INTERVAL * 2)
        .jittered()
        .run(shutdown, liveness, pass)
        .await;
}

async fn sample(state: &State, seen: &Mutex<HashMap<String, u64>>) -> Result<(), NetError> {
    let counters = state.privexec.counters().await?;
    metrics::gauge!("sf_net_carried_networks").set(counters.networks.len() as f64);
    for network in &counters.networks {
        let told = event(EventType::Usage, "usage")
            .object(ObjectType::Network, &network.network_uuid)
            .extra(usage(network));
        state.context.events.record_detached(told);
    }
    let mut seen = seen.lock();
    for drop in counters.drops {
        // The kernel's counter starts again when the table is replaced.
        let before = seen.insert(drop.reason.clone(), drop.packets).filter(|before| *before <= drop.packets);
        let new = drop.packets - before.unwrap_or(0);
        metrics::counter!("sf_net_port_security_drops_total", "reason" => drop.reason).increment(new);
    }
    Ok(())
}

fn usage(network: &NetworkCounters) -> serde_json::Value {
    let rx = network.rx.unwrap_or_default();
    let mut received = directions(&rx);
    if let Some(fields) = received.as_object_mut() {
        fields.insert("multicast".into(), rx.multicast.into());
    }
    serde_json::json!({ "rx": received, "tx": directions(&network.tx.unwrap_or_default()) })
}

fn directions(counters: &LinkCounters) -> serde_json::Value {
    serde_json::json!({
        "bytes": counters.bytes,
        "packets": counters.packets,
        "errors": counters.errors,
        "dropped": counters.dropped,
    })
}
