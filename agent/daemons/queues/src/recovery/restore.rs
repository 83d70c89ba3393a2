//! Starting again what should run: after the host came back, or after guests died with the hypervisor.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sf_model::InstanceId;
use sf_model::state::{InstanceState, PowerDesired, PowerReason, PowerState};

use crate::error::Stop;
use crate::power::{Settled, settle};
use crate::queue::Job;
use crate::record::audit;
use crate::stages::boot::{Occasion, boot};
use crate::stages::{Timings, definition, guard, images, networks};
use crate::worker::Worker;

/// More restores than this within [`LOOP_WINDOW`] are a loop.
const LOOP_LIMIT: usize = 3;
const LOOP_WINDOW: Duration = Duration::from_secs(600);
/// Pause before what is not ready yet is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Restores of this process.
#[derive(Debug, Default)]
pub(super) struct History {
    running: Mutex<HashSet<InstanceId>>,
    past: Mutex<HashMap<InstanceId, Vec<Instant>>>,
}

impl History {
    /// Notes a restore. False: there were too many lately.
    fn note(&self, instance: InstanceId, now: Instant) -> bool {
        let mut past = self.past.lock();
        let restores = past.entry(instance).or_default();
        restores.retain(|at| now.duration_since(*at) < LOOP_WINDOW);
        restores.push(now);
        restores.len() <= LOOP_LIMIT
    }
}

/// Begins a restore in the background, unless one runs.
pub(super) fn begin(worker: &Arc<Worker>, instance: InstanceId) {
    if !worker.recovery.history.running.lock().insert(instance) {
        return;
    }
    let worker = worker.clone();
    tokio::spawn(async move {
        let work = restore(&worker, instance);
        let _ = worker.context.shutdown.unless(work).await;
        worker.recovery.history.running.lock().remove(&instance);
    });
}

async fn restore(worker: &Worker, instance: InstanceId) {
    let began = Instant::now();
    let outcome = loop {
        // What is not ready yet is waited for outside of the turn, so that it keeps nobody else from starting.
        let turn = worker.recovery.turns.acquire().await;
        let attempt = attempt(worker, instance).await;
        drop(turn);
        match attempt {
            Err(Stop::Defer { reason, delay }) => {
                tracing::debug!(%instance, %reason, "the restore waits");
                tokio::time::sleep(delay.unwrap_or(PAUSE)).await;
            }
            other => break other,
        }
    };
    let result = match &outcome {
        Ok(true) => "ok",
        Ok(false) | Err(Stop::Superseded(_) | Stop::ClaimLost) => return,
        Err(_) => "error",
    };
    metrics::counter!("sf_instance_restores_total", "result" => result).increment(1);
    let event = match &outcome {
        Err(stop) => audit(instance, "instance could not be restored")
            .as_error()
            .extra(serde_json::json!({ "error": format!("{stop:?}") })),
        Ok(_) => audit(instance, "instance restored").duration(began.elapsed().as_secs_f64()),
    };
    worker.record(event).await;
}

/// One attempt. False: it runs already, or restoring it would be a loop.
async fn attempt(worker: &Worker, instance: InstanceId) -> Result<bool, Stop> {
    let mut plan = definition::load(worker, instance).await?;
    guard::placed_here(worker, &plan, None, &[InstanceState::Created])?;
    if plan.desired != PowerDesired::On {
        return Ok(false);
    }
    networks::rendered(worker, &plan)?;
    let _lock = worker.lock(instance).await?;
    let found = worker.host()?.hypervisor.lookup(instance).await?;
    if found.is_some_and(|domain| domain.active) {
        return Ok(false);
    }
    if !worker.recovery.history.note(instance, Instant::now()) {
        worker.record(audit(instance, "restore loop").as_error()).await;
        observed(worker, &plan, PowerState::Crashed, PowerReason::Crash).await?;
        return Ok(false);
    }
    let _acting = worker.acting.begin(instance);
    let job = Job::detached("restore", worker.context.shutdown.token());
    let disks = images::plan_over_images(worker, &job, &plan).await?;
    let booted = boot(worker, &job, &mut plan, &disks, Occasion::PowerOn, &mut Timings::default()).await;
    let state = if booted.is_ok() { PowerState::On } else { PowerState::Off };
    if !matches!(booted, Err(Stop::Defer { .. } | Stop::ClaimLost | Stop::Superseded(_))) {
        observed(worker, &plan, state, PowerReason::Restore).await?;
    }
    booted.map(|_| true)
}

async fn observed(
    worker: &Worker,
    plan: &crate::stages::Plan,
    state: PowerState,
    reason: PowerReason,
) -> Result<(), Stop> {
    let settled = Settled {
        operation: None,
        instance: plan.instance,
        boot_id: plan.boot_id.clone(),
        placement_seq: plan.placement_seq,
        state,
        reason: Some(reason),
    };
    settle(worker, &settled).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_keeps_dying_is_left_alone_after_three_restores() {
        let (history, instance, start) = (History::default(), InstanceId::random(), Instant::now());
        for minute in 0..3 {
            assert!(history.note(instance, start + Duration::from_secs(minute * 60)));
        }
        assert!(!history.note(instance, start + Duration::from_secs(200)));
        assert!(history.note(InstanceId::random(), start));
        assert!(history.note(instance, start + LOOP_WINDOW * 2));
    }
}
