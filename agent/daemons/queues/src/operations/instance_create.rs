//! Makes disks and domain of an instance and starts it. Running it again after a kill at any point ends in the same
//! state with the same ports, addresses and disks.

use std::time::Instant;

use sf_gateway::CallClass;
use sf_hypervisor::DomainSummary;
use sf_hypervisor::power::power_of;
use sf_model::InstanceId;
use sf_model::state::InstanceState;
use sf_protos::instances::RecordCreatedRequest;

use super::instance_preflight::end_create;
use crate::error::Stop;
use crate::queue::Job;
use crate::record;
use crate::stages::boot::{Booted, Occasion, boot};
use crate::stages::{Plan, Timings, definition, disks, guard, images, networks};
use crate::worker::Worker;

pub(super) async fn run(
    worker: &Worker,
    job: &Job,
    instance: InstanceId,
    placement_seq: u32,
) -> Result<(), Stop> {
    let (began, mut timings) = (Instant::now(), Timings::default());
    let mut plan = definition::load(worker, instance).await?;
    let wanted = [InstanceState::Preflight, InstanceState::Creating];
    if let Err(stop) = guard::placed_here(worker, &plan, Some(placement_seq), &wanted) {
        return already_ended(&plan, stop);
    }
    let made = create(worker, job, &mut plan, &mut timings).await;
    let seconds = began.elapsed().as_secs_f64();
    match made {
        Ok(()) => {
            metrics::histogram!("sf_instance_create_seconds", "result" => "ok").record(seconds);
            let event = record::status(instance, "instance created").duration(seconds);
            worker.record(event.extra(serde_json::json!({ "stages": timings.as_json() }))).await;
            Ok(())
        }
        Err(stop) => {
            if matches!(stop, Stop::Placement(_) | Stop::Permanent { .. }) {
                metrics::histogram!("sf_instance_create_seconds", "result" => "error").record(seconds);
            }
            Err(fail(worker, &mut plan, timings.last(), stop).await)
        }
    }
}

/// A create that is not wanted any more is aborted; one that an earlier delivery finished, or that moved to another
/// node, has nothing left to do here.
fn already_ended(plan: &Plan, stop: Stop) -> Result<(), Stop> {
    match (plan.state, stop) {
        (InstanceState::DeleteWait | InstanceState::Deleted, stop) => Err(stop),
        (_, Stop::Superseded(why)) => {
            tracing::info!(instance = %plan.instance, why, "create has nothing to do");
            Ok(())
        }
        (_, stop) => Err(stop),
    }
}

/// The roll-back of a failed create changes the domain too, so it needs the lock as well.
async fn fail(worker: &Worker, plan: &mut Plan, stage: &'static str, stop: Stop) -> Stop {
    match worker.lock(plan.instance).await {
        Ok(_lock) => end_create(worker, plan, stage, stop).await,
        Err(_) => stop,
    }
}

async fn create(worker: &Worker, job: &Job, plan: &mut Plan, timings: &mut Timings) -> Result<(), Stop> {
    networks::rendered(worker, plan)?;
    let planned = timings.stage("images", images::plan_over_images(worker, job, plan)).await?;
    job.check()?;
    guard::transition(worker, plan, InstanceState::Creating, None).await?;
    let _lock = worker.lock(plan.instance).await?;
    let _acting = worker.acting.begin(plan.instance);
    timings.stage("directory", disks::prepare_directory(worker, job, plan)).await?;
    timings.stage("disks", disks::make_disks(worker, job, plan, &planned)).await?;
    let booted = boot(worker, job, plan, &planned, Occasion::Create, timings).await?;
    timings.stage("confirm", confirm(worker, plan, &booted)).await
}

/// Stage C12: seen running, on a fresh read.
async fn confirm(worker: &Worker, plan: &mut Plan, booted: &Booted) -> Result<(), Stop> {
    let found: Option<DomainSummary> = worker.host()?.hypervisor.lookup(plan.instance).await?;
    let Some(running) = found.filter(|domain| domain.active) else {
        return Err(Stop::permanent("start-failed", "the instance stopped right after it was started"));
    };
    let boot_id = booted.boot_id.to_string();
    let request = RecordCreatedRequest {
        context: None,
        instance_uuid: plan.instance.to_string(),
        placement_seq: plan.placement_seq,
        boot_id: boot_id.clone(),
        power_state: power_of(running.state).as_str().to_owned(),
        machine_version: booted.machine_version.clone(),
        pid: None,
    };
    worker.context.gateway.call(CallClass::Background, request).await?;
    worker.facts.change(plan.instance, |fact| fact.boot_id = Some(boot_id));
    plan.state = InstanceState::Created;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_delivery_completes_and_a_deleted_instance_aborts() {
        let superseded = || Stop::Superseded("state".into());
        let mut plan = definition::tests::plan();
        plan.state = InstanceState::Created;
        assert!(already_ended(&plan, superseded()).is_ok());
        plan.state = InstanceState::DeleteWait;
        assert!(matches!(already_ended(&plan, superseded()), Err(Stop::Superseded(_))));
    }
}
