//! Carrying out what the comparison asks for. One failure never keeps the other actions from being tried.

use std::collections::BTreeSet;
use std::sync::Arc;

use sf_events::event;
use sf_gateway::{CallClass, DbError};
use sf_hypervisor::lock::Locks;
use sf_model::event::EventType;
use sf_model::state::InstanceState;
use sf_model::{InstanceId, ObjectType};
use sf_protos::Rpc;
use sf_protos::instances::{
    ClearTombstoneRequest, EnsureDeleteQueuedRequest, SettleErrorRequest, TransitionInstanceRequest,
};

use crate::Cleaner;
use crate::error::Incomplete;
use crate::ladder::Step;
use crate::plan::{Action, plan};
use crate::world::World;

/// Compares and acts.
pub(crate) async fn pass(cleaner: Arc<Cleaner>) -> Result<(), Incomplete> {
    let world = World::read(&cleaner).await?;
    let actions = plan(&world);
    let pushed: BTreeSet<InstanceId> = actions.iter().filter_map(on_ladder).collect();
    cleaner.ladder.keep_only(&pushed);
    for action in actions {
        if let Err(error) = act(&cleaner, action).await {
            tracing::warn!(?action, %error, "cleaning up failed and will be tried again");
        }
    }
    Ok(())
}

fn on_ladder(action: &Action) -> Option<InstanceId> {
    match action {
        Action::RemoveStray(instance) | Action::PushDelete(instance, _) => Some(*instance),
        _ => None,
    }
}

async fn act(cleaner: &Cleaner, action: Action) -> Result<(), Incomplete> {
    match action {
        Action::RemoveStray(instance) => enforce(cleaner, instance, "deleted", None).await,
        Action::PushDelete(instance, placement) => {
            enforce(cleaner, instance, "stuck-delete", Some(placement)).await?;
            queue_delete(cleaner, instance).await
        }
        Action::QueueDelete(instance) => queue_delete(cleaner, instance).await,
        Action::RollBack(instance, placement) => roll_back(cleaner, instance, placement).await,
        Action::StopFailed(instance, placement) => stop_failed(cleaner, instance, placement).await,
        Action::FinishRemoval(instance) => Ok(cleaner.helper.remove_instance_dir(instance).await?),
        Action::ClearTombstone(instance) => {
            let request = ClearTombstoneRequest {
                context: None,
                node_uuid: cleaner.context.node.uuid.to_string(),
                instance_uuid: instance.to_string(),
            };
            tell(cleaner, request).await
        }
        Action::ReportUnknown(instance) => {
            report_unknown(cleaner, instance).await;
            Ok(())
        }
    }
}

/// One step of the ladder. `placement`: the instance is still to be deleted, so giving up is recorded with it.
async fn enforce(
    cleaner: &Cleaner,
    instance: InstanceId,
    kind: &'static str,
    placement: Option<u32>,
) -> Result<(), Incomplete> {
    let Some(lock) = lock(cleaner, instance)? else { return Ok(()) };
    let (step, number) = cleaner.ladder.next(instance);
    match step {
        Step::Nothing => return Ok(()),
        Step::GiveUp => return give_up(cleaner, instance, placement).await,
        Step::Remove | Step::RemoveAgain | Step::Kill => {}
    }
    metrics::counter!("sf_instance_strays_total", "kind" => kind).increment(1);
    metrics::counter!("sf_instance_enforced_deletes_total", "step" => number.to_string()).increment(1);
    record(cleaner, EventType::Audit, "enforced delete step", instance, step.to_string()).await;
    if step == Step::Kill {
        cleaner.helper.kill_domain_process(instance).await?;
    }
    cleaner.hypervisor.destroy(instance).await?;
    cleaner.hypervisor.undefine(instance).await?;
    cleaner.helper.remove_instance_dir(instance).await?;
    lock.discard();
    Ok(())
}

async fn give_up(cleaner: &Cleaner, instance: InstanceId, placement: Option<u32>) -> Result<(), Incomplete> {
    metrics::counter!("sf_instance_enforced_delete_failed_total").increment(1);
    let why = "its domain can neither be stopped nor killed: look at the QEMU process on the node";
    record(cleaner, EventType::Health, "an instance cannot be removed", instance, why.to_owned()).await;
    let Some(placement_seq) = placement else { return Ok(()) };
    let request = TransitionInstanceRequest {
        context: None,
        instance_uuid: instance.to_string(),
        expected: vec![InstanceState::DeleteWait.to_string()],
        placement_seq,
        to: InstanceState::DeleteWaitError.to_string(),
        message: Some(why.to_owned()),
    };
    tell(cleaner, request).await
}

/// The roll-back of a failed create: everything on the node goes, what is recorded stays for the user's delete.
async fn roll_back(cleaner: &Cleaner, instance: InstanceId, placement_seq: u32) -> Result<(), Incomplete> {
    let Some(lock) = lock(cleaner, instance)? else { return Ok(()) };
    cleaner.hypervisor.destroy(instance).await?;
    cleaner.hypervisor.undefine(instance).await?;
    cleaner.helper.remove_instance_dir(instance).await?;
    lock.discard();
    settle(cleaner, instance, placement_seq).await
}

/// An instance that failed after it was created is stopped; its disks stay.
async fn stop_failed(cleaner: &Cleaner, instance: InstanceId, placement_seq: u32) -> Result<(), Incomplete> {
    let Some(_lock) = lock(cleaner, instance)? else { return Ok(()) };
    cleaner.hypervisor.destroy(instance).await?;
    settle(cleaner, instance, placement_seq).await
}

async fn settle(cleaner: &Cleaner, instance: InstanceId, placement_seq: u32) -> Result<(), Incomplete> {
    let request = SettleErrorRequest { context: None, instance_uuid: instance.to_string(), placement_seq };
    tell(cleaner, request).await
}

async fn queue_delete(cleaner: &Cleaner, instance: InstanceId) -> Result<(), Incomplete> {
    tell(cleaner, EnsureDeleteQueuedRequest { context: None, instance_uuid: instance.to_string() }).await
}

/// Tells the database. A lost race means that somebody else has dealt with the instance.
async fn tell<R: Rpc>(cleaner: &Cleaner, request: R) -> Result<(), Incomplete> {
    match cleaner.context.gateway.call(CallClass::Background, request).await {
        Ok(_) | Err(DbError::NotFound { .. } | DbError::Precondition { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The instance's lock, shared with the worker; none while the worker holds it.
fn lock(
    cleaner: &Cleaner,
    instance: InstanceId,
) -> Result<Option<sf_hypervisor::lock::InstanceLock>, Incomplete> {
    Ok(Locks::new(&cleaner.context.config.run_path).try_take(instance)?)
}

async fn report_unknown(cleaner: &Cleaner, instance: InstanceId) {
    metrics::counter!("sf_instance_strays_total", "kind" => "unknown").increment(1);
    if cleaner.unknown.due(instance) {
        let why = "the database does not know it: was the database restored? It is left alone";
        record(cleaner, EventType::Health, "unknown instance found", instance, why.to_owned()).await;
    }
}

async fn record(cleaner: &Cleaner, kind: EventType, message: &str, instance: InstanceId, detail: String) {
    let extra = serde_json::json!({ "detail": detail });
    let event = event(kind, message)
        .object(ObjectType::Instance, instance)
        .object(ObjectType::Node, cleaner.context.node.uuid)
        .extra(extra);
    cleaner.context.events.record(event).await;
}
