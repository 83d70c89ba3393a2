//! Changes the power of an instance. A failed action writes the observed state back and never changes the instance's
//! own state.

use std::time::{Duration, Instant};

use sf_hypervisor::power::power_of;
use sf_hypervisor::{DomainState, DomainSummary, Hypervisor};
use sf_model::InstanceId;
use sf_model::state::{InstanceState, PowerAction, PowerReason, PowerState};

use crate::error::Stop;
use crate::power::{Settled, settle};
use crate::queue::Job;
use crate::record;
use crate::stages::boot::{Occasion, boot};
use crate::stages::{Plan, Timings, definition, guard, images, networks};
use crate::worker::Worker;

/// How long a pause or its end may take to be seen.
const OBSERVE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

pub(super) async fn run(
    worker: &Worker,
    job: &Job,
    instance: InstanceId,
    action: PowerAction,
) -> Result<(), Stop> {
    let began = Instant::now();
    let mut plan = definition::load(worker, instance).await?;
    guard::placed_here(worker, &plan, None, &[InstanceState::Created])?;
    if action == PowerAction::Poweron {
        // Before the lock: what is not ready yet is waited for in the queue.
        networks::rendered(worker, &plan)?;
    }
    let _lock = worker.lock(instance).await?;
    let _acting = worker.acting.begin(instance);
    let acted = act(worker, job, &mut plan, action).await;
    match acted {
        Ok(()) => {
            count(action, "ok");
            settle_observed(worker, job, &plan, Some(PowerReason::User)).await?;
            let seconds = began.elapsed().as_secs_f64();
            worker.record(record::audit(instance, event_name(action)).duration(seconds)).await;
            Ok(())
        }
        Err(stop @ (Stop::Defer { .. } | Stop::ClaimLost)) => Err(stop),
        Err(stop) => {
            count(action, "error");
            settle_observed(worker, job, &plan, None).await?;
            let event = record::audit(instance, &format!("{} failed", event_name(action))).as_error();
            worker.record(event.extra(serde_json::json!({ "error": format!("{stop:?}") }))).await;
            Err(match stop {
                Stop::Placement(message) => Stop::permanent("placement", message),
                other => other,
            })
        }
    }
}

/// Ends are counted: what is tried again counts when it ends.
fn count(action: PowerAction, result: &'static str) {
    metrics::counter!("sf_instance_power_actions_total", "action" => action.as_str(), "result" => result)
        .increment(1);
}

async fn act(worker: &Worker, job: &Job, plan: &mut Plan, action: PowerAction) -> Result<(), Stop> {
    let hypervisor = &*worker.host()?.hypervisor;
    let instance = plan.instance;
    let found = hypervisor.lookup(instance).await?;
    let active = found.as_ref().is_some_and(|domain| domain.active);
    if !active && !matches!(action, PowerAction::Poweron | PowerAction::Poweroff) {
        let message = format!("you cannot {} a powered off instance", verb(action));
        return Err(Stop::permanent("powered-off", message));
    }
    match action {
        PowerAction::Poweron if active => Ok(()),
        PowerAction::Poweron => {
            let disks = images::plan_over_images(worker, job, plan).await?;
            boot(worker, job, plan, &disks, Occasion::PowerOn, &mut Timings::default()).await.map(drop)
        }
        PowerAction::Poweroff => Ok(hypervisor.destroy(instance).await?),
        PowerAction::Rebootsoft => Ok(hypervisor.request_reboot(instance).await?),
        PowerAction::Reboothard => Ok(hypervisor.reset(instance).await?),
        PowerAction::Pause => {
            hypervisor.suspend(instance).await?;
            seen(hypervisor, instance, DomainState::Paused).await
        }
        PowerAction::Unpause => {
            hypervisor.resume(instance).await?;
            seen(hypervisor, instance, DomainState::Running).await
        }
    }
}

/// Waits until the domain is seen in a state.
async fn seen(hypervisor: &dyn Hypervisor, instance: InstanceId, wanted: DomainState) -> Result<(), Stop> {
    let wait = async {
        loop {
            match hypervisor.lookup(instance).await? {
                Some(DomainSummary { state, .. }) if state == wanted => return Ok(()),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    };
    let late = || {
        Stop::permanent(
            "power",
            format!("the instance did not become {wanted} within {} s", OBSERVE.as_secs()),
        )
    };
    tokio::time::timeout(OBSERVE, wait).await.map_err(|_| late())?
}

/// Replaces the `transition-to-*` state by what the hypervisor shows now.
async fn settle_observed(
    worker: &Worker,
    job: &Job,
    plan: &Plan,
    reason: Option<PowerReason>,
) -> Result<(), Stop> {
    let found = worker.host()?.hypervisor.lookup(plan.instance).await?;
    let state = found.map_or(PowerState::Off, |domain| power_of(domain.state));
    settle(
        worker,
        &Settled {
            operation: Some(job.operation.clone()),
            instance: plan.instance,
            boot_id: plan.boot_id.clone(),
            placement_seq: plan.placement_seq,
            state,
            reason,
        },
    )
    .await
}

/// Text of the event.
fn event_name(action: PowerAction) -> &'static str {
    match action {
        PowerAction::Poweron => "poweron",
        PowerAction::Poweroff => "poweroff",
        PowerAction::Rebootsoft => "soft reboot",
        PowerAction::Reboothard => "hard reboot",
        PowerAction::Pause => "pause",
        PowerAction::Unpause => "unpause",
    }
}

fn verb(action: PowerAction) -> &'static str {
    match action {
        PowerAction::Rebootsoft | PowerAction::Reboothard => "reboot",
        other => event_name(other),
    }
}
