//! The comparison of database, hypervisor and disk: in full at start and after every reconnect, and as a repair of
//! missed events every minute. Nothing destructive follows from an answer that did not arrive.

mod act;
mod compare;
mod restore;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sf_gateway::{CallClass, DbError};
use sf_hypervisor::{DomainSummary, HypervisorError};
use sf_model::InstanceId;
use sf_model::state::PowerState;
use sf_protos::instances::{Instance, ListInstancesForNodeRequest};
use strum::IntoEnumIterator;
use tokio::sync::Semaphore;

use crate::facts::Fact;
use crate::worker::Worker;
use compare::{Disk, Found, Row, decide};
use restore::History;

/// What the comparison remembers between passes.
pub(crate) struct Recovery {
    full: AtomicBool,
    foreign_told: AtomicBool,
    turns: Semaphore,
    history: History,
}

/// Why a pass ended without acting.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("the database did not answer completely: {0}")]
    Database(#[from] DbError),
    #[error("the hypervisor did not answer: {0}")]
    Hypervisor(#[from] HypervisorError),
}

/// Everything the node should have.
struct Recorded {
    rows: HashMap<InstanceId, Instance>,
    tombstones: Vec<InstanceId>,
}

impl Recovery {
    pub(crate) fn new(concurrency: u32) -> Self {
        Self {
            full: AtomicBool::new(true),
            foreign_told: AtomicBool::new(false),
            turns: Semaphore::new(usize::try_from(concurrency).unwrap_or(1)),
            history: History::default(),
        }
    }

    /// The next pass restores what should run, as at start.
    pub(crate) fn demand_full(&self) {
        self.full.store(true, Ordering::Relaxed);
    }
}

/// Compares until shutdown.
pub(crate) async fn run(worker: Arc<Worker>) {
    let context = &worker.context;
    let tick = context.liveness.register("reconcile", Duration::from_secs(180));
    while !context.shutdown.is_requested() {
        tick.tick();
        let full = worker.recovery.full.swap(false, Ordering::Relaxed);
        if let Err(error) = pass(&worker, full).await {
            tracing::info!(%error, "instances could not be compared");
            if matches!(error, PassError::Hypervisor(HypervisorError::Wedged)) {
                // Only a new process helps: this loop shows no progress any more, and the watchdog acts on that.
                tracing::error!("libvirt wedged: too many calls hang");
                context.status.set("libvirt wedged");
                return context.shutdown.requested().await;
            }
            if full {
                worker.recovery.demand_full();
            }
        }
        let pending = worker.recovery.full.load(Ordering::Relaxed);
        let interval =
            if pending { Duration::from_secs(1) } else { worker.cluster().instance_reconcile_interval };
        let rest = async {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = worker.reconcile_soon.notified() => {}
            }
        };
        let _ = tick.while_waiting(context.shutdown.unless(rest)).await;
    }
}

async fn pass(worker: &Arc<Worker>, full: bool) -> Result<(), PassError> {
    let Some(host) = &worker.host else { return Ok(()) };
    let mut domains: HashMap<InstanceId, DomainSummary> =
        host.hypervisor.list().await?.into_iter().map(|domain| (domain.instance, domain)).collect();
    let recorded = read(worker).await?;
    // Without the cluster's identity nothing can be told apart.
    let Some(cluster) = worker.cluster_id() else { return Ok(()) };
    let store_present = worker.layout.instances().is_dir();
    count(&recorded, &domains, worker);
    for (instance, row) in &recorded.rows {
        let found = domains.remove(instance);
        let Some(known) = Row::of(row) else {
            tracing::error!(%instance, "the instance's record is not usable and is left alone");
            continue;
        };
        let disk = Disk { store: store_present, directory: worker.layout.instance_dir(*instance).is_dir() };
        let seen = found.as_ref().map(|domain| Found::of(domain, Some(cluster)));
        let action = decide(&known, seen.as_ref(), disk, full);
        act::carry_out(worker, *instance, row, action, found.as_ref()).await;
    }
    for instance in recorded.tombstones {
        let found = domains.remove(&instance);
        act::remove_tombstoned(worker, instance, found.as_ref()).await;
    }
    for (_, domain) in domains {
        act::not_recorded_here(worker, &domain).await;
    }
    Ok(())
}

async fn read(worker: &Worker) -> Result<Recorded, DbError> {
    let gateway = &worker.context.gateway;
    let node = worker.context.node.uuid.to_string();
    let tombstones = parking_lot::Mutex::new(Vec::new());
    let request = |page| ListInstancesForNodeRequest { node_uuid: node.clone(), page: Some(page) };
    let rows = gateway
        .collect_all(CallClass::Background, request, |reply| {
            tombstones.lock().extend(reply.tombstones);
            (reply.instances, reply.page)
        })
        .await?;
    let by_id = rows.into_vec().into_iter().filter_map(|row| Some((row.uuid.parse().ok()?, row)));
    let rows: HashMap<InstanceId, Instance> = by_id.collect();
    worker.facts.replace(rows.iter().filter_map(|(id, row)| Some((*id, Fact::of(row)?))).collect());
    let tombstones = tombstones.into_inner().iter().filter_map(|text| text.parse().ok()).collect();
    Ok(Recorded { rows, tombstones })
}

fn count(recorded: &Recorded, domains: &HashMap<InstanceId, DomainSummary>, worker: &Worker) {
    for state in PowerState::iter() {
        let number = recorded.rows.values().filter(|row| row.power_state == state.as_str()).count();
        metrics::gauge!("sf_instances", "power_state" => state.as_str()).set(to_f64(number));
    }
    let cluster = worker.cluster_id();
    let (mut ours, mut unknown, mut foreign) = (0, 0, 0);
    for domain in domains.values() {
        match Found::of(domain, cluster).ours {
            false => foreign += 1,
            true if recorded.rows.contains_key(&domain.instance) => ours += 1,
            true => unknown += 1,
        }
    }
    for (owner, number) in [("ours", ours), ("unknown", unknown), ("foreign", foreign)] {
        metrics::gauge!("sf_hypervisor_domains", "owner" => owner).set(to_f64(number));
    }
    let paused = domains.values().filter(|domain| domain.io_error).count();
    metrics::gauge!("sf_instance_io_paused").set(to_f64(paused));
}

/// Counts of domains on one host are far below the precision of a double.
fn to_f64(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}
