//! Undoing a create that failed: everything of the instance on this node goes; what the database holds for it stays
//! until the user deletes it.

use sf_gateway::CallClass;
use sf_hypervisor::Hypervisor;
use sf_model::state::InstanceState;
use sf_model::{ClusterId, InstanceId};
use sf_protos::instances::SettleErrorRequest;

use super::{Plan, guard};
use crate::error::Stop;
use crate::worker::Worker;

/// Removes domain and directory. Each step may run again. The caller holds the instance's lock. A domain that is not
/// ours is never touched.
pub(crate) async fn remove_from_node(
    worker: &Worker,
    instance: InstanceId,
    cluster: ClusterId,
) -> Result<(), Stop> {
    if let Some(host) = &worker.host
        && let Some(found) = host.hypervisor.lookup(instance).await?
    {
        if found.identity.is_none_or(|identity| identity.cluster != cluster) {
            let message = "a domain that is not ours holds this instance's name on the node";
            return Err(Stop::permanent("foreign-domain", message));
        }
        stop_domain(worker, &*host.hypervisor, instance).await?;
        host.hypervisor.undefine(instance).await?;
    }
    worker.helper().remove_instance_dir(instance).await?;
    Ok(())
}

/// Destroys the domain; one that does not end is killed. An error: it is still there.
async fn stop_domain(worker: &Worker, hypervisor: &dyn Hypervisor, instance: InstanceId) -> Result<(), Stop> {
    let Err(error) = hypervisor.destroy(instance).await else { return Ok(()) };
    tracing::warn!(%instance, %error, "the domain does not end; its process is killed");
    worker.helper().kill_domain_process(instance).await?;
    match hypervisor.lookup(instance).await? {
        Some(found) if found.active => Err(Stop::defer("the domain cannot be stopped")),
        _ => Ok(()),
    }
}

/// Ends a failed create: error state with the reason first, then the roll-back, then the settled state. A step that
/// fails is repeated by the next comparison of node and database. The caller holds the instance's lock.
pub(crate) async fn fail_create(worker: &Worker, plan: &mut Plan, message: &str) {
    let Some(failed) = plan.state.failed() else { return };
    if let Err(stop) = guard::transition(worker, plan, failed, Some(message)).await {
        tracing::warn!(instance = %plan.instance, ?stop, "the failure of a create could not be recorded");
        worker.reconcile_soon.notify_one();
        return;
    }
    let event = crate::record::status(plan.instance, "instance create failed").as_error();
    worker.record(event.extra(serde_json::json!({ "error": message }))).await;
    if let Err(stop) = settle(worker, plan).await {
        tracing::warn!(instance = %plan.instance, ?stop, "the roll-back of a create is not finished and will be repeated");
        worker.reconcile_soon.notify_one();
    }
}

/// Finishes the roll-back of an instance in a create-error state.
pub(crate) async fn settle(worker: &Worker, plan: &mut Plan) -> Result<(), Stop> {
    let _acting = worker.acting.begin(plan.instance);
    remove_from_node(worker, plan.instance, plan.cluster).await?;
    record_settled(worker, plan).await
}

/// Tells the database that nothing more will be done about a failure.
pub(crate) async fn record_settled(worker: &Worker, plan: &mut Plan) -> Result<(), Stop> {
    let request = SettleErrorRequest {
        context: None,
        instance_uuid: plan.instance.to_string(),
        placement_seq: plan.placement_seq,
    };
    worker.context.gateway.call(CallClass::Background, request).await?;
    plan.state = InstanceState::Error;
    Ok(())
}

/// Whether a state is a create that failed and still has things on the node.
pub(crate) fn is_failed_create(state: InstanceState) -> bool {
    matches!(
        state,
        InstanceState::InitialError | InstanceState::PreflightError | InstanceState::CreatingError
    )
}
