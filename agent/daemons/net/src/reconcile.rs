//! The node pass: whatever the kernel lost or gained is put right, and what nothing claims is taken away (`networking.md`
//! §12.1, §12.2). An error of the database ends a pass before anything is touched.

mod cooldown;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::Rng;
use sf_events::event;
use sf_gateway::CallClass;
use sf_model::event::EventType;
use sf_model::{NetworkId, ObjectType};
use sf_protos::net_privexec::{InventoryNetwork, NetworkIntent, Presence};
use sf_protos::networks::{ListNodeIntentsRequest, NodeIntent};
use sf_runtime::{Loop, LoopTick, Pass};

use crate::error::NetError;
use crate::host;
use crate::record::{self, Reason};
use crate::render::{self, Failed};
use crate::state::State;
use crate::stray::{Strays, Verdict};
use cooldown::Cooldowns;

/// Deviation of the interval, so that nodes do not march in step.
const JITTER: Duration = Duration::from_secs(5);
/// Pause until the first pass succeeded: the worker or the database may come up a little later.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// Passes may take long on a node with many networks; every network ticks.
const SILENCE: Duration = Duration::from_secs(120);

/// What passes remember of each other: only when to leave something alone.
#[derive(Default)]
struct Memory {
    /// One pass came to its end since the start.
    passed: AtomicBool,
    cooldowns: Mutex<Cooldowns>,
    strays: Mutex<Strays>,
}

/// Runs passes until shutdown; the first one at once.
pub(crate) async fn run(state: State) {
    let memory = Arc::new(Memory::default());
    let cluster = state.context.cluster.clone();
    let remembered = memory.clone();
    let interval = move || {
        if !remembered.passed.load(Ordering::Relaxed) {
            return FIRST_RETRY;
        }
        let base = cluster.current().network_reconcile_interval;
        base.saturating_sub(JITTER) + (JITTER * 2).mul_f64(rand::rng().random_range(0.0..1.0))
    };
    let (shutdown, liveness) = (state.context.shutdown.clone(), state.context.liveness.clone());
    let pass = |tick: Arc<LoopTick>| {
        let (state, memory) = (state.clone(), memory.clone());
        async move { pass(&state, &memory, &tick).await.map(|()| Pass::Done) }
    };
    Loop::every_with("reconcile", interval).max_silence(SILENCE).run(shutdown, liveness, pass).await;
}

async fn pass(state: &State, memory: &Memory, tick: &LoopTick) -> Result<(), NetError> {
    host::render(state).await?;
    let cluster = state.context.cluster.current();
    let busy = state.shared.queued.load(Ordering::Relaxed);
    if busy > usize::try_from(cluster.maintain_queue_depth_threshold).unwrap_or(usize::MAX) {
        tracing::info!(busy, "the pass is left out: users are waiting");
        return Ok(());
    }
    let intents = list(state).await?;
    let inventory = state.privexec.inventory().await?;
    let mut counts = Counts::default();
    for intent in &intents {
        tick.tick();
        if state.context.shutdown.is_requested() {
            return Ok(());
        }
        one(state, memory, intent, &mut counts).await;
    }
    counts.publish();
    let claimed = intents.iter().filter_map(|intent| intent.network_uuid.parse().ok()).collect();
    strays(state, memory, &inventory.networks, &claimed).await;
    memory.passed.store(true, Ordering::Relaxed);
    Ok(())
}

/// Networks by how they are doing.
#[derive(Default)]
struct Counts {
    rendered: u32,
    behind: u32,
    error: u32,
    quiesced: u32,
}

impl Counts {
    fn publish(&self) {
        let states = [
            ("rendered", self.rendered),
            ("behind", self.behind),
            ("error", self.error),
            ("quiesced", self.quiesced),
        ];
        for (name, count) in states {
            metrics::gauge!("sf_net_networks", "state" => name).set(f64::from(count));
        }
    }
}

async fn list(state: &State) -> Result<Vec<NodeIntent>, NetError> {
    let node_uuid = state.node_uuid();
    let request = |page| ListNodeIntentsRequest { node_uuid: node_uuid.clone(), page: Some(page) };
    let all = state
        .context
        .gateway
        .collect_all(CallClass::Bulk, request, |reply| (reply.intents, reply.page))
        .await?;
    Ok(all.into_vec())
}

async fn one(state: &State, memory: &Memory, intent: &NodeIntent, counts: &mut Counts) {
    let Ok(network) = intent.network_uuid.parse::<NetworkId>() else { return };
    if intent.settling {
        counts.rendered += 1;
        return;
    }
    if !memory.cooldowns.lock().may_try(network, Instant::now()) {
        counts.quiesced += 1;
        return;
    }
    let behind = intent.rendered_generation < intent.generation || intent.rendered_state != intent.wanted;
    if intent.wanted == "absent" && !behind {
        return;
    }
    match repair(state, network, intent, behind).await {
        Ok(()) => {
            memory.cooldowns.lock().succeeded(network);
            if behind { counts.behind += 1 } else { counts.rendered += 1 }
        }
        Err(error) => {
            counts.error += 1;
            let cluster = state.context.cluster.current();
            let (base, circuit) =
                (cluster.maintain_reconcile_cooldown_seconds, cluster.maintain_reconcile_circuit_k);
            let failures = memory.cooldowns.lock().failed(network, base, circuit, Instant::now());
            record::failed(state, network, &error);
            if failures == circuit {
                record::quiesced(state, network, failures);
            }
            let outcome = if failures >= circuit { Failed::Quiesced } else { Failed::Error };
            // Only a database that answers can be told; the next pass finds the same otherwise.
            let _ = render::report(state, network, "", Err((&error, intent.generation, outcome))).await;
        }
    }
}

async fn repair(
    state: &State,
    network: NetworkId,
    intent: &NodeIntent,
    behind: bool,
) -> Result<(), NetError> {
    let (known, reason) =
        if behind { (None, Reason::Asked) } else { (Some(intent.generation), Reason::Drift) };
    let rendered = render::newest(state, network, known, reason).await?;
    if behind {
        render::report(state, network, "", Ok(&rendered)).await?;
    }
    Ok(())
}

async fn strays(
    state: &State,
    memory: &Memory,
    inventory: &[InventoryNetwork],
    claimed: &HashSet<NetworkId>,
) {
    let grace = state.context.cluster.current().maintain_stray_vxlan_grace_seconds;
    let verdicts = memory.strays.lock().judge(inventory, claimed, grace, Instant::now());
    metrics::gauge!("sf_net_strays").set(memory.strays.lock().count() as f64);
    for verdict in verdicts {
        match verdict {
            Verdict::Protect(network, guests) => {
                tracing::warn!(%network, ?guests, "a network nothing claims has guests attached; it is left alone");
            }
            Verdict::Reap(network) => {
                let Some(found) = inventory.iter().find(|found| found.network_uuid == network.to_string())
                else {
                    continue;
                };
                let outcome = reap(state, network, found).await;
                tell_reaped(state, found, &outcome);
                if outcome.is_err() {
                    memory.strays.lock().postpone(network, Instant::now());
                }
            }
        }
    }
}

async fn reap(state: &State, network: NetworkId, found: &InventoryNetwork) -> Result<(), NetError> {
    let intent = NetworkIntent {
        network_uuid: found.network_uuid.clone(),
        vxid: found.vxid,
        generation: found.generation,
        presence: Presence::Absent.into(),
        ..NetworkIntent::default()
    };
    render::given(state, network, intent, Reason::Asked).await.map(drop)
}

fn tell_reaped(state: &State, found: &InventoryNetwork, outcome: &Result<(), NetError>) {
    let names: Vec<&str> = found.links.iter().map(|link| link.name.as_str()).collect();
    let message = if outcome.is_ok() { "reaped stray network" } else { "partially reaped stray network" };
    let error = outcome.as_ref().err().map(ToString::to_string);
    metrics::counter!("sf_net_strays_reaped_total", "kind" => "network")
        .increment(u64::from(outcome.is_ok()));
    let told = event(EventType::Audit, message).object(ObjectType::Node, &state.context.node.name).extra(
        serde_json::json!({
            "network": found.network_uuid, "links": names, "namespace": found.has_namespace, "error": error
        }),
    );
    state.context.events.record_detached(told);
}
