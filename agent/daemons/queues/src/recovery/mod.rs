//! The comparison of database, hypervisor and disk: in full at start and after every reconnect, and as a repair of
//! missed events every minute. Nothing destructive follows from an answer that did not arrive.

mod act;
mod compare;
mod restore;

use std::collections::HashMap;
use std::io;
use std::path::Path;
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
    #[error("the store could not be read: {0}")]
    Store(#[from] io::Error),
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
    // The database first: what starts or stops meanwhile is then seen as it is, beside a row that is older. The other way
    // round a guest that came up in between would be reported off under the boot it has just recorded.
    let recorded = read(worker).await?;
    let mut domains: HashMap<InstanceId, DomainSummary> =
        host.hypervisor.list().await?.into_iter().map(|domain| (domain.instance, domain)).collect();
    // Without the cluster's identity nothing can be told apart.
    let Some(cluster) = worker.cluster_id() else { return Ok(()) };
    let store_present = is_there(&worker.layout.instances())?;
    count(&recorded, &domains, worker);
    for (instance, row) in &recorded.rows {
        let found = domains.remove(instance);
        let Some(known) = Row::of(row) else {
            tracing::error!(%instance, "the instance's record is not usable and is left alone");
            continue;
        };
        let directory = match is_there(&worker.layout.instance_dir(*instance)) {
            Ok(directory) => directory,
            Err(error) => {
                tracing::error!(%instance, %error, "the instance's directory cannot be looked at: it is left alone");
                continue;
            }
        };
        let disk = Disk { store: store_present, directory };
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

/// Whether a path exists. Only the file system's own word for "absent" is a no.
fn is_there(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
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

#[cfg(test)]
mod tests {
    use sf_config::ClusterConfig;
    use sf_daemon_database::testing::LocalTier;
    use sf_hypervisor::fake::FakeHypervisor;
    use sf_model::{ClusterId, DaemonName};
    use sf_protos::nodes::RegisterNodeRequest;
    use sf_store::sql::sql;
    use sf_store::testing::TestDatabase;
    use uuid::Uuid;

    use super::*;
    use crate::host::Host;

    #[tokio::test]
    async fn a_guest_that_starts_while_the_domains_are_listed_is_not_reported_off() {
        let Some(database) = TestDatabase::start().await else { return };
        let tier = LocalTier::start(&database).await;
        let directory = tempfile::tempdir().unwrap();
        let context = tier.context(DaemonName::Queues, directory.path(), &[]);
        let cluster = ClusterId::random().to_string();
        context.cluster.replace(ClusterConfig::from_texts([("CLUSTER_ID", cluster.as_str())]).unwrap().0);
        let registration = RegisterNodeRequest {
            node_uuid: context.node.uuid.to_string(),
            name: context.node.name.clone(),
            mesh_ip: "127.0.0.1".into(),
            egress_ip: "127.0.0.1".into(),
            release: "0.1".into(),
            daemons: vec!["queues".into()],
            is_hypervisor: true,
            ..RegisterNodeRequest::default()
        };
        context.gateway.call(CallClass::Interactive, registration).await.unwrap();
        let instance = InstanceId::random();
        sql("INSERT INTO instances (uuid, namespace, name, cpus, memory_mb, video_model, video_memory_kib, vdi, uefi, \
             secure_boot, configdrive, machine_type, node_uuid, placement_seq, boot_id, power_desired, power_state, state, \
             state_changed_at, created_at, version) VALUES (?, 'system', 'one', 1, 1024, 'cirrus', 16384, 'spice', FALSE, \
             FALSE, 'none', 'pc', ?, 1, ?, 'off', 'off', 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1)")
        .bind(instance)
        .bind(context.node.uuid)
        .bind(Uuid::new_v4())
        .run(&mut database.conn().await)
        .await
        .unwrap();
        let mut worker = Worker::start(context).await.unwrap();
        std::fs::create_dir_all(worker.layout.instance_dir(instance)).unwrap();
        let hypervisor = Arc::new(FakeHypervisor::new(Duration::ZERO));
        let started = database.clone();
        hypervisor.while_listing(async move {
            sql("UPDATE instances SET power_state = 'on', power_desired = 'on', boot_id = ? WHERE uuid = ?")
                .bind(Uuid::new_v4())
                .bind(instance)
                .run(&mut started.conn().await)
                .await
                .unwrap();
        });
        worker.host = Some(Host::over(hypervisor));
        let worker = Arc::new(worker);
        pass(&worker, false).await.unwrap();
        // What was observed is written at the latest when the daemon ends.
        worker.context.shutdown.request();
        crate::power::write(worker).await;
        let power = sql("SELECT power_state AS value FROM instances WHERE uuid = ?").bind(instance);
        let power: Option<String> = power.value(&mut database.conn().await).await.unwrap();
        assert_eq!(power.as_deref(), Some("on"));
    }
}
