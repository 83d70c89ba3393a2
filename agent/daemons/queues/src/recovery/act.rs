//! Carrying out what the comparison decided. Each instance stands for itself: a failure is logged and the others go on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sf_gateway::{CallClass, DbError};
use sf_hypervisor::DomainSummary;
use sf_model::InstanceId;
use sf_model::object::ObjectType;
use sf_model::state::{InstanceState, PowerDesired, PowerReason, PowerState};
use sf_protos::common::{Caller, Selector};
use sf_protos::instances::{
    ClearTombstoneRequest, EnsureDeleteQueuedRequest, GetInstanceRequest, Instance, PowerRecord,
    RecordBootRequest,
};

use super::compare::Action;
use super::restore;
use crate::error::Stop;
use crate::record::{audit, health};
use crate::stages::{definition, guard, rollback};
use crate::worker::Worker;

/// Acts on one recorded instance, unless an operation of this process is at it.
pub(super) async fn carry_out(
    worker: &Arc<Worker>,
    instance: InstanceId,
    row: &Instance,
    action: Action,
    found: Option<&DomainSummary>,
) {
    if worker.acting.is_busy(instance) {
        return;
    }
    if is_newer(worker, row, found) {
        return adopt_boot(worker, instance, row, found).await;
    }
    let outcome = match action {
        Action::Nothing => Ok(()),
        Action::Observe(state) => {
            observe(worker, instance, row, state, None);
            Ok(())
        }
        Action::StartedOutside => {
            observe(worker, instance, row, PowerState::On, Some(PowerDesired::On));
            worker.record(audit(instance, "started outside Shaken Fist")).await;
            Ok(())
        }
        Action::Restore => {
            restore::begin(worker, instance);
            Ok(())
        }
        Action::PauseLost => {
            observe(worker, instance, row, PowerState::Off, Some(PowerDesired::Off));
            worker
                .record(audit(instance, "paused instance lost its memory with the host and stays off"))
                .await;
            Ok(())
        }
        Action::FilesMissing => files_missing(worker, instance).await,
        Action::RollBack => roll_back(worker, instance).await,
        Action::EnsureDelete => ensure_delete(worker, instance).await,
        Action::Remove => remove(worker, instance, found).await,
        Action::StaleCopy => stale_copy(worker, instance).await,
        Action::Foreign => {
            foreign(worker, instance).await;
            Ok(())
        }
    };
    if let Err(stop) = outcome {
        tracing::info!(%instance, ?action, ?stop, "not repaired in this pass");
    }
}

/// Removes what is left of an instance that was deleted while this node could not be asked.
pub(super) async fn remove_tombstoned(worker: &Worker, instance: InstanceId, found: Option<&DomainSummary>) {
    let outcome = async {
        remove(worker, instance, found).await?;
        let request = ClearTombstoneRequest {
            context: None,
            node_uuid: worker.context.node.uuid.to_string(),
            instance_uuid: instance.to_string(),
        };
        worker.context.gateway.call(CallClass::Background, request).await?;
        Ok::<(), Stop>(())
    };
    if let Err(stop) = outcome.await {
        tracing::info!(%instance, ?stop, "a tombstoned instance is not removed in this pass");
    }
}

/// A domain the database did not name for this node. Only positive evidence removes it.
pub(super) async fn not_recorded_here(worker: &Worker, domain: &DomainSummary) {
    let instance = domain.instance;
    let ours = domain.identity.as_ref().filter(|identity| Some(identity.cluster) == worker.cluster_id());
    let Some(identity) = ours else { return foreign(worker, instance).await };
    if worker.acting.is_busy(instance) {
        return;
    }
    let request = GetInstanceRequest {
        caller: Some(Caller { namespace: "system".into() }),
        selector: Some(Selector { reference: instance.to_string(), namespace: None }),
    };
    match worker.context.gateway.call(CallClass::Background, request).await {
        Ok(reply) => {
            let row = reply.instance.unwrap_or_default();
            // What is recorded here by now was placed since the rows were read.
            let here = row.node_uuid == Some(worker.context.node.uuid.to_string());
            if row.placement_seq > identity.placement {
                if let Err(stop) = stale_copy(worker, instance).await {
                    tracing::info!(%instance, ?stop, "a stale copy is not removed in this pass");
                }
            } else if !here {
                tracing::warn!(%instance, "the domain belongs to an instance that is recorded on another node; it is left alone");
            }
        }
        Err(DbError::NotFound { .. }) => {
            tracing::warn!(%instance, "the domain is ours but the database does not know it; it is left alone");
        }
        Err(error) => tracing::info!(%instance, %error, "nothing is known about the domain"),
    }
}

fn observe(
    worker: &Worker,
    instance: InstanceId,
    row: &Instance,
    state: PowerState,
    desired: Option<PowerDesired>,
) {
    let observed = PowerRecord {
        instance_uuid: instance.to_string(),
        boot_id: row.boot_id.clone(),
        placement_seq: row.placement_seq,
        power_state: state.as_str().to_owned(),
        power_reason: Some(PowerReason::Outside.as_str().to_owned()),
        power_desired: desired.map(|desired| desired.as_str().to_owned()),
        settles_transition: true,
        settled_by: None,
    };
    worker.power.put(instance, observed, Instant::now());
}

/// Whether a running domain is of another boot than the row names: it was started after the row was read, or the record
/// of its boot was missed. Nothing else follows from such a row.
fn is_newer(worker: &Worker, row: &Instance, found: Option<&DomainSummary>) -> bool {
    let created = row.state.as_ref().is_some_and(|info| info.state == InstanceState::Created.as_str());
    let identity =
        found.filter(|domain| domain.active && created).and_then(|domain| domain.identity.as_ref());
    identity.is_some_and(|identity| {
        let current =
            identity.placement == row.placement_seq && Some(identity.cluster) == worker.cluster_id();
        current && row.boot_id.as_ref() != Some(&identity.boot.to_string())
    })
}

/// Records the boot of a running domain: without it every later observation would be ignored. The next pass, which
/// follows at once, compares it with its row.
async fn adopt_boot(worker: &Worker, instance: InstanceId, row: &Instance, found: Option<&DomainSummary>) {
    let Some(identity) = found.and_then(|domain| domain.identity.as_ref()) else { return };
    let boot_id = identity.boot.to_string();
    let request = RecordBootRequest {
        context: None,
        instance_uuid: instance.to_string(),
        placement_seq: row.placement_seq,
        boot_id: boot_id.clone(),
        machine_version: None,
    };
    match worker.context.gateway.call(CallClass::Background, request).await {
        Ok(_) => {
            worker.facts.change(instance, |fact| fact.boot_id = Some(boot_id));
            worker.reconcile_soon.notify_one();
        }
        Err(error) => tracing::info!(%instance, %error, "the boot of a running domain is not recorded yet"),
    }
}

async fn files_missing(worker: &Worker, instance: InstanceId) -> Result<(), Stop> {
    let Some(_lock) = worker.try_lock(instance) else { return Ok(()) };
    let mut plan = definition::load(worker, instance).await?;
    guard::placed_here(worker, &plan, None, &[InstanceState::Created])?;
    let unreadable = |error: std::io::Error| Stop::Defer { reason: error.to_string(), delay: None };
    let back = super::is_there(&worker.layout.instance_dir(instance)).map_err(unreadable)?;
    // The store may have been taken away since the pass began; then nothing is known of what is in it.
    if !super::is_there(&worker.layout.instances()).map_err(unreadable)? {
        return Err(Stop::Defer { reason: "the store is not there".to_owned(), delay: None });
    }
    if back || worker.host()?.hypervisor.lookup(instance).await?.is_some_and(|domain| domain.active) {
        return Ok(());
    }
    let message = Some("instance files missing");
    guard::transition(worker, &mut plan, InstanceState::CreatedError, message).await?;
    rollback::record_settled(worker, &mut plan).await
}

async fn roll_back(worker: &Worker, instance: InstanceId) -> Result<(), Stop> {
    let Some(_lock) = worker.try_lock(instance) else { return Ok(()) };
    let mut plan = definition::load(worker, instance).await?;
    if !rollback::is_failed_create(plan.state) {
        return Ok(());
    }
    rollback::settle(worker, &mut plan).await
}

async fn ensure_delete(worker: &Worker, instance: InstanceId) -> Result<(), Stop> {
    let request = EnsureDeleteQueuedRequest { context: None, instance_uuid: instance.to_string() };
    worker.context.gateway.call(CallClass::Background, request).await?;
    Ok(())
}

/// The record says `deleted`: what is left here goes.
async fn remove(worker: &Worker, instance: InstanceId, found: Option<&DomainSummary>) -> Result<(), Stop> {
    let Some(cluster) = worker.cluster_id() else { return Ok(()) };
    let Some(lock) = worker.try_lock(instance) else { return Ok(()) };
    let _acting = worker.acting.begin(instance);
    rollback::remove_from_node(worker, instance, cluster).await?;
    lock.discard();
    if found.is_some() {
        worker.record(audit(instance, "stray domain of a deleted instance removed")).await;
    }
    Ok(())
}

async fn stale_copy(worker: &Worker, instance: InstanceId) -> Result<(), Stop> {
    let Some(_lock) = worker.try_lock(instance) else { return Ok(()) };
    let _acting = worker.acting.begin(instance);
    let hypervisor = &worker.host()?.hypervisor;
    hypervisor.destroy(instance).await?;
    hypervisor.undefine(instance).await?;
    worker.record(audit(instance, "stale copy removed")).await;
    Ok(())
}

/// Counted, told once per start, never touched.
async fn foreign(worker: &Worker, instance: InstanceId) {
    if !worker.recovery.foreign_told.swap(true, Ordering::Relaxed) {
        let event = health(
            worker.context.node.uuid,
            "domains of another owner use names like ours; they are left alone",
        );
        worker.record(event.object(ObjectType::Instance, instance)).await;
    }
}
