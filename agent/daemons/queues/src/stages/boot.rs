//! Stages C7 to C11: from made disks to a running domain.

use std::time::Duration;

use serde_json::json;
use sf_gateway::CallClass;
use sf_hypervisor::disks::DiskPlan;
use sf_hypervisor::domain::{DomainDefinition, machine_version, without_secrets};
use sf_hypervisor::{DomainSummary, HypervisorError};
use sf_protos::instances::RecordBootRequest;
use uuid::Uuid;

use super::{Plan, Timings, config_drive, domain, firmware, ports};
use crate::error::Stop;
use crate::queue::Job;
use crate::record;
use crate::worker::Worker;

/// Swapped ports before a start counts as failed.
const MAX_SWAPS: u32 = 5;
/// Further tries of a start that failed for no visible reason.
const RETRIES: u32 = 2;
const PAUSE: Duration = Duration::from_secs(1);
/// Lines of QEMU's log in the event of a failed start.
const LOG_LINES: u32 = 20;

/// Why the domain is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// For the first time: a definition left by an interrupted attempt is used.
    Create,
    /// Again: the definition is made anew from the database.
    PowerOn,
}

/// A running domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Booted {
    pub(crate) boot_id: Uuid,
    pub(crate) machine_version: Option<String>,
}

/// Starts the instance's domain, or finds it running. The caller holds the instance's lock.
pub(crate) async fn boot(
    worker: &Worker,
    job: &Job,
    plan: &mut Plan,
    disks: &[DiskPlan],
    occasion: Occasion,
    timings: &mut Timings,
) -> Result<Booted, Stop> {
    let hypervisor = &worker.host()?.hypervisor;
    let found = hypervisor.lookup(plan.instance).await?;
    if let Some(running) = running_already(plan, found.as_ref())? {
        return Ok(running);
    }
    if found.as_ref().is_some_and(|domain| domain.active) {
        // Ours, but of an older placement.
        hypervisor.destroy(plan.instance).await?;
        worker.record(record::audit(plan.instance, "stale copy removed")).await;
    }
    let firmware = timings.stage("nvram", firmware::install(worker, job, plan)).await?;
    timings.stage("config_drive", config_drive::write(worker, job, plan, disks)).await?;
    let mut left_over = found.filter(|_| occasion == Occasion::Create);
    let (mut swaps, mut retries) = (0, 0);
    loop {
        job.check()?;
        let boot = Uuid::new_v4();
        let wanted = domain::definition(worker, plan, disks, firmware.clone(), boot).await?;
        let defined = timings.stage("define", define(worker, plan, &wanted, left_over.take())).await?;
        if occasion == Occasion::PowerOn {
            record_boot(worker, plan, &defined).await?;
        }
        let started = timings.stage("start", start(worker, plan)).await;
        let error = match started {
            Ok(()) => return Ok(defined),
            Err(error) if error.is_unavailable() => return Err(error.into()),
            Err(error) => error,
        };
        if swaps < MAX_SWAPS && ports::swap_taken(worker, plan).await? {
            swaps += 1;
            continue;
        }
        if retries == RETRIES {
            return Err(start_failed(worker, plan, &error).await);
        }
        retries += 1;
        job.unless_lost(tokio::time::sleep(PAUSE)).await?;
    }
}

/// The domain if it runs and is this placement's. An error: it belongs to somebody else.
fn running_already(plan: &Plan, found: Option<&DomainSummary>) -> Result<Option<Booted>, Stop> {
    let Some(found) = found else { return Ok(None) };
    match &found.identity {
        Some(identity) if identity.cluster == plan.cluster && identity.instance == plan.instance => {
            let current = found.active && identity.placement >= plan.placement_seq;
            Ok(current.then_some(Booted { boot_id: identity.boot, machine_version: None }))
        }
        _ => Err(Stop::permanent(
            "foreign-domain",
            "a domain that is not ours holds this instance's name on the node",
        )),
    }
}

/// Stage C10. A definition of an interrupted attempt with the same hash is kept, with its boot id.
async fn define(
    worker: &Worker,
    plan: &Plan,
    wanted: &DomainDefinition,
    left_over: Option<DomainSummary>,
) -> Result<Booted, Stop> {
    let render =
        |error: sf_hypervisor::domain::XmlError| Stop::permanent("define-refused", error.to_string());
    if let Some(found) = left_over {
        let same =
            found.defined_spec.is_some() && found.defined_spec == Some(wanted.spec_hash().map_err(render)?);
        if let (true, Some(identity)) = (same, found.identity)
            && identity.placement == plan.placement_seq
        {
            return Ok(Booted { boot_id: identity.boot, machine_version: None });
        }
    }
    let document = wanted.to_xml().map_err(render)?;
    let kept = match worker.host()?.hypervisor.define(plan.instance, &document).await {
        Ok(kept) => kept,
        Err(error) if error.is_unavailable() => return Err(error.into()),
        Err(error) => {
            metrics::counter!("define_refused").increment(1);
            return Err(Stop::permanent("define-refused", format!("domain definition refused: {error}")));
        }
    };
    for (source, xml) in [("generated", without_secrets(&document)), ("libvirt", without_secrets(&kept))] {
        let event = record::mutate(plan.instance, "libvirt domain XML").quiet();
        worker.record(event.extra(json!({ "source": source, "xml": xml }))).await;
    }
    Ok(Booted { boot_id: wanted.identity.boot, machine_version: machine_version(&kept) })
}

async fn record_boot(worker: &Worker, plan: &mut Plan, booted: &Booted) -> Result<(), Stop> {
    let boot_id = booted.boot_id.to_string();
    let request = RecordBootRequest {
        context: None,
        instance_uuid: plan.instance.to_string(),
        placement_seq: plan.placement_seq,
        boot_id: boot_id.clone(),
        machine_version: booted.machine_version.clone(),
    };
    worker.context.gateway.call(CallClass::Background, request).await?;
    worker.facts.change(plan.instance, |fact| fact.boot_id = Some(boot_id.clone()));
    plan.boot_id = Some(boot_id);
    Ok(())
}

async fn start(worker: &Worker, plan: &Plan) -> Result<(), HypervisorError> {
    // Closed only when the process ends.
    let _turn = worker.starts.acquire().await;
    match worker.host() {
        Ok(host) => host.hypervisor.start(plan.instance).await,
        Err(_) => Err(HypervisorError::NoDomain),
    }
}

/// The end of a start that will not succeed. QEMU's own words go into the event only.
async fn start_failed(worker: &Worker, plan: &Plan, error: &HypervisorError) -> Stop {
    let log = worker.helper().qemu_log_tail(plan.instance, LOG_LINES).await.unwrap_or_default();
    let event = record::status(plan.instance, "instance could not be started").as_error();
    worker.record(event.extra(json!({ "error": error.to_string(), "log": log }))).await;
    if plan.boot_id.is_none() {
        Stop::Placement(format!("start: {error}"))
    } else {
        Stop::permanent("start-failed", format!("instance could not be started: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_hypervisor::DomainState;
    use sf_hypervisor::domain::DomainIdentity;
    use sf_model::{ClusterId, InstanceId};

    fn found(identity: Option<DomainIdentity>, active: bool) -> DomainSummary {
        let state = if active { DomainState::Running } else { DomainState::ShutOff };
        let instance = InstanceId::random();
        DomainSummary { instance, state, io_error: false, active, identity, defined_spec: None }
    }

    #[test]
    fn only_this_placements_domain_of_this_cluster_is_adopted() {
        let plan = super::super::definition::tests::plan();
        let identity = DomainIdentity {
            cluster: plan.cluster,
            instance: plan.instance,
            placement: plan.placement_seq,
            boot: Uuid::new_v4(),
            spec: String::new(),
            agent: String::new(),
        };
        let adopted = running_already(&plan, Some(&found(Some(identity.clone()), true))).unwrap();
        assert_eq!(adopted.map(|it| it.boot_id), Some(identity.boot));
        assert_eq!(running_already(&plan, None).unwrap(), None);
        assert_eq!(running_already(&plan, Some(&found(Some(identity.clone()), false))).unwrap(), None);
        let older = DomainIdentity { placement: 0, ..identity.clone() };
        assert_eq!(running_already(&plan, Some(&found(Some(older), true))).unwrap(), None);
        let foreign = DomainIdentity { cluster: ClusterId::random(), ..identity };
        assert!(running_already(&plan, Some(&found(Some(foreign), true))).is_err());
        assert!(running_already(&plan, Some(&found(None, true))).is_err());
    }
}
