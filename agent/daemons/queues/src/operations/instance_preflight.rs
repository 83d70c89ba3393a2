//! Accepts an instance on its node: guard, state, capability, space.

use nix::sys::statvfs::statvfs;
use sf_model::InstanceId;
use sf_model::state::InstanceState;

use crate::error::Stop;
use crate::stages::{Plan, definition, domain, guard, rollback};
use crate::worker::Worker;

/// Part of a disk's virtual size that is expected to be written on the first day.
const FIRST_DAY: u64 = 10;
const GIB: u64 = 1 << 30;

pub(super) async fn run(worker: &Worker, instance: InstanceId, placement_seq: u32) -> Result<(), Stop> {
    let mut plan = definition::load(worker, instance).await?;
    let wanted = [InstanceState::Initial, InstanceState::Preflight];
    if let Err(Stop::Superseded(why)) = guard::placed_here(worker, &plan, Some(placement_seq), &wanted) {
        // Done by an earlier delivery, or somebody else's by now: either way there is nothing left to do here.
        tracing::info!(%instance, why, "preflight has nothing to do");
        return Ok(());
    }
    match accept(worker, &mut plan).await {
        Ok(()) => Ok(()),
        Err(stop) => Err(end_create(worker, &mut plan, "preflight", stop).await),
    }
}

async fn accept(worker: &Worker, plan: &mut Plan) -> Result<(), Stop> {
    guard::transition(worker, plan, InstanceState::Preflight, None).await?;
    domain::check_capabilities(worker, plan).await?;
    check_space(worker, plan)
}

/// Stage P4: the disks may grow for a day without filling the store.
fn check_space(worker: &Worker, plan: &Plan) -> Result<(), Stop> {
    let needed: u64 =
        plan.disks.iter().filter_map(|disk| disk.size).map(|size| (size.bytes() / FIRST_DAY).max(GIB)).sum();
    let free = statvfs(worker.layout.root())
        .map(|status| status.blocks_available().saturating_mul(status.fragment_size()))
        .map_err(|error| Stop::defer(format!("the store cannot be measured: {error}")))?;
    if needed > free {
        let (needed, free) = (needed / GIB, free / GIB);
        return Err(Stop::Placement(format!("space: {needed} GiB needed at first, {free} GiB free")));
    }
    Ok(())
}

/// Ends a create that cannot go on here, and answers how its operation ends. Anything else passes through.
pub(super) async fn end_create(worker: &Worker, plan: &mut Plan, stage: &'static str, stop: Stop) -> Stop {
    let (class, code, message) = match stop {
        Stop::Placement(why) if plan.pinned => {
            ("placement", "placement", format!("requested node cannot run this instance: {why}"))
        }
        Stop::Placement(why) => ("placement", "placement", format!("no suitable node: {why}")),
        Stop::Permanent { code, message } => ("permanent", code, message),
        other => return other,
    };
    metrics::counter!("sf_instance_failures_total", "stage" => stage, "class" => class).increment(1);
    rollback::fail_create(worker, plan, &message).await;
    Stop::Permanent { code, message }
}
