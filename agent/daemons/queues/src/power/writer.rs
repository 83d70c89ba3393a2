//! One writer for all observations. It keeps the newest value per instance, so a database outage loses intermediate
//! states only; those remain as events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sf_gateway::{CallClass, DbError};
use sf_model::InstanceId;
use sf_model::state::{PowerDesired, PowerReason, PowerState};
use sf_protos::instances::{PowerRecord, RecordPowerStatesRequest};
use tokio::sync::Notify;

use crate::error::Stop;
use crate::worker::Worker;

/// How long an observation waits for company.
const GATHER: Duration = Duration::from_millis(50);
/// Observations of one call.
const BATCH: usize = 100;
/// Pause after the database did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Observations on their way to the database. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct PowerWriter(Arc<Inner>);

#[derive(Default)]
struct Inner {
    waiting: Mutex<HashMap<InstanceId, Waiting>>,
    wake: Notify,
}

#[derive(Debug, Clone, PartialEq)]
struct Waiting {
    record: PowerRecord,
    since: Instant,
}

/// A state to write at once, replacing a `transition-to-*` state unless a power action beside `operation` waits.
pub(crate) struct Settled {
    pub(crate) operation: Option<String>,
    pub(crate) instance: InstanceId,
    pub(crate) boot_id: Option<String>,
    pub(crate) placement_seq: u32,
    pub(crate) state: PowerState,
    pub(crate) reason: Option<PowerReason>,
}

impl PowerWriter {
    /// Takes an observation made at `since`; it replaces an older one of the same instance.
    pub(crate) fn put(&self, instance: InstanceId, record: PowerRecord, since: Instant) {
        merge(&mut self.0.waiting.lock(), instance, Waiting { record, since });
        self.0.wake.notify_one();
    }

    fn take(&self) -> Vec<(InstanceId, Waiting)> {
        let mut waiting = self.0.waiting.lock();
        let instances: Vec<InstanceId> = waiting.keys().take(BATCH).copied().collect();
        instances.into_iter().filter_map(|instance| waiting.remove_entry(&instance)).collect()
    }

    /// Puts back what could not be written, unless something newer arrived meanwhile.
    fn put_back(&self, batch: Vec<(InstanceId, Waiting)>) {
        let mut waiting = self.0.waiting.lock();
        for (instance, old) in batch {
            match waiting.remove(&instance) {
                Some(newer) => {
                    waiting.insert(instance, old);
                    merge(&mut waiting, instance, newer);
                }
                None => {
                    waiting.insert(instance, old);
                }
            }
        }
    }
}

/// The newest value wins, but a change of mind that was not written yet is kept.
fn merge(waiting: &mut HashMap<InstanceId, Waiting>, instance: InstanceId, mut newer: Waiting) {
    if let Some(older) = waiting.get(&instance)
        && newer.record.power_desired.is_none()
    {
        newer.record.power_desired.clone_from(&older.record.power_desired);
    }
    waiting.insert(instance, newer);
}

/// Writes observations until shutdown, and what is left then.
pub(crate) async fn write(worker: Arc<Worker>) {
    let context = &worker.context;
    let tick = context.liveness.register("power-writer", Duration::from_secs(60));
    loop {
        let waited = tick.while_waiting(context.shutdown.unless(worker.power.0.wake.notified())).await;
        if waited.is_some() {
            tick.while_waiting(tokio::time::sleep(GATHER)).await;
        }
        loop {
            tick.tick();
            let batch = worker.power.take();
            if batch.is_empty() {
                break;
            }
            let left = flush(&worker, batch).await;
            if !left.is_empty() {
                worker.power.put_back(left);
                if context.shutdown.unless(tick.while_waiting(tokio::time::sleep(PAUSE))).await.is_none() {
                    break;
                }
            }
        }
        if waited.is_none() {
            return;
        }
    }
}

/// Writes a batch and answers what is to be written again. Only what the tier refuses is dropped, and only that: a
/// refused batch is written one by one.
async fn flush(worker: &Worker, batch: Vec<(InstanceId, Waiting)>) -> Vec<(InstanceId, Waiting)> {
    let error = match put_down(worker, &batch).await {
        Ok(()) => return Vec::new(),
        Err(error) => error,
    };
    if error.is_unjudged() {
        tracing::info!(%error, waiting = batch.len(), "observed power states wait for the database");
        return batch;
    }
    if let [(instance, _)] = batch.as_slice() {
        tracing::error!(%error, %instance, "an observed power state was refused");
        return Vec::new();
    }
    let mut left = Vec::new();
    for one in batch {
        left.extend(Box::pin(flush(worker, vec![one])).await);
    }
    left
}

async fn put_down(worker: &Worker, batch: &[(InstanceId, Waiting)]) -> Result<(), DbError> {
    let records = batch.iter().map(|(_, waiting)| waiting.record.clone()).collect();
    let request = RecordPowerStatesRequest { context: None, records };
    worker.context.gateway.call(CallClass::Background, request).await?;
    for (_, waiting) in batch {
        metrics::histogram!("sf_instance_power_lag_seconds").record(waiting.since.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Writes one state at once.
pub(crate) async fn settle(worker: &Worker, settled: &Settled) -> Result<(), Stop> {
    let record = PowerRecord {
        settles_transition: true,
        settled_by: settled.operation.clone(),
        ..record(
            settled.instance,
            settled.boot_id.clone(),
            settled.placement_seq,
            settled.state,
            settled.reason,
            None,
        )
    };
    let request = RecordPowerStatesRequest { context: None, records: vec![record] };
    worker.context.gateway.call(CallClass::Background, request).await?;
    Ok(())
}

/// An observation as the database takes it.
pub(super) fn record(
    instance: InstanceId,
    boot_id: Option<String>,
    placement_seq: u32,
    state: PowerState,
    reason: Option<PowerReason>,
    desired: Option<PowerDesired>,
) -> PowerRecord {
    PowerRecord {
        instance_uuid: instance.to_string(),
        boot_id,
        placement_seq,
        power_state: state.as_str().to_owned(),
        power_reason: reason.map(|reason| reason.as_str().to_owned()),
        power_desired: desired.map(|desired| desired.as_str().to_owned()),
        settles_transition: false,
        settled_by: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(state: PowerState, desired: Option<PowerDesired>) -> Waiting {
        let record = record(InstanceId::random(), None, 1, state, None, desired);
        Waiting { record, since: Instant::now() }
    }

    #[test]
    fn the_newest_state_wins_and_no_change_of_mind_is_lost() {
        let (mut map, instance) = (HashMap::new(), InstanceId::random());
        merge(&mut map, instance, waiting(PowerState::Off, Some(PowerDesired::Off)));
        merge(&mut map, instance, waiting(PowerState::Crashed, None));
        let kept = &map[&instance].record;
        assert_eq!((kept.power_state.as_str(), kept.power_desired.as_deref()), ("crashed", Some("off")));
    }

    #[test]
    fn what_could_not_be_written_never_replaces_something_newer() {
        let (writer, instance) = (PowerWriter::default(), InstanceId::random());
        let put = |it: Waiting| writer.put(instance, it.record, it.since);
        put(waiting(PowerState::Off, Some(PowerDesired::Off)));
        let failed = writer.take();
        put(waiting(PowerState::On, None));
        writer.put_back(failed);
        let batch = writer.take();
        assert_eq!(batch[0].1.record.power_state, "on");
        assert_eq!(batch[0].1.record.power_desired.as_deref(), Some("off"));
        assert!(writer.take().is_empty());
    }
}
