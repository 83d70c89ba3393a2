//! Whether work on an instance is still wanted, and wanted here.

use sf_gateway::CallClass;
use sf_model::state::InstanceState;
use sf_protos::instances::TransitionInstanceRequest;

use super::Plan;
use crate::error::Stop;
use crate::worker::Worker;

/// Stops unless the instance is placed here, by this placement, in one of the given states.
pub(crate) fn placed_here(
    worker: &Worker,
    plan: &Plan,
    placement_seq: Option<u32>,
    states: &[InstanceState],
) -> Result<(), Stop> {
    if plan.node != Some(worker.context.node.uuid) {
        return Err(Stop::Superseded("the instance is placed on another node".into()));
    }
    if placement_seq.is_some_and(|wanted| wanted != plan.placement_seq) {
        return Err(Stop::Superseded("the work belongs to an earlier placement".into()));
    }
    if !states.contains(&plan.state) {
        return Err(Stop::Superseded(format!("the instance is in state {}", plan.state)));
    }
    Ok(())
}

/// Moves the instance to a state, unless it is there already. A lost race stops the work.
pub(crate) async fn transition(
    worker: &Worker,
    plan: &mut Plan,
    to: InstanceState,
    message: Option<&str>,
) -> Result<(), Stop> {
    if plan.state == to {
        return Ok(());
    }
    let request = TransitionInstanceRequest {
        context: None,
        instance_uuid: plan.instance.to_string(),
        expected: vec![plan.state.as_str().to_owned()],
        placement_seq: plan.placement_seq,
        to: to.as_str().to_owned(),
        message: message.map(str::to_owned),
    };
    worker.context.gateway.call(CallClass::Background, request).await?;
    plan.state = to;
    Ok(())
}
