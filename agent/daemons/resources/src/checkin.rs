//! The check-in loop.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use sf_daemon::{DaemonContext, Release};
use sf_gateway::{CallClass, DbError};
use sf_hypervisor::libvirt::Libvirt;
use sf_model::state::NodeState;
use sf_protos::convert::timestamp;
use sf_protos::nodes::CheckInRequest;
use sf_runtime::{Loop, Pass};

use crate::ResourcesError;
use crate::health::Board;
use crate::publish;
use crate::sample::{Sample, Sampler};
use crate::units::Units;

/// Pause between check-ins (`scheduler.md` §1.4).
const CHECK_IN: Duration = Duration::from_secs(10);
/// Pause between the `resources` events that clients read.
const RESOURCES_EVENT: Duration = Duration::from_secs(60);

/// What the loop remembers between passes.
struct State {
    sampler: Sampler,
    units: Units,
    sampled_at: Option<Instant>,
    event_at: Option<Instant>,
}

/// Checks in until shutdown is asked for.
pub(crate) async fn run(
    context: DaemonContext,
    health: Board,
    hypervisor: Option<Arc<Libvirt>>,
) -> Result<(), ResourcesError> {
    let state = Arc::new(tokio::sync::Mutex::new(State {
        sampler: Sampler::new(context.config.clone(), hypervisor),
        units: Units::default(),
        sampled_at: None,
        event_at: None,
    }));
    let deleted = Arc::new(Mutex::new(false));
    let pass = |_tick| {
        let (context, health, state, deleted) =
            (context.clone(), health.clone(), state.clone(), deleted.clone());
        async move {
            let mut state = state.lock().await;
            let outcome = check_in(&context, &health, &mut state).await;
            if matches!(outcome, Err(DbError::NotFound { .. })) {
                *deleted.lock() = true;
                context.shutdown.request();
            }
            outcome.map(|()| Pass::Done)
        }
    };
    Loop::every("check-in", CHECK_IN).run(context.shutdown.clone(), context.liveness.clone(), pass).await;
    let deleted = *deleted.lock();
    if deleted { Err(ResourcesError::NodeDeleted) } else { Ok(()) }
}

async fn check_in(context: &DaemonContext, health: &Board, state: &mut State) -> Result<(), DbError> {
    let interval = context.cluster.current().node_metrics_interval;
    let due = state.sampled_at.is_none_or(|at| at.elapsed() >= interval);
    let sample = if due { Some(state.sampler.take().await) } else { None };
    let acknowledged = health.acknowledged();
    let request = CheckInRequest {
        node_uuid: context.node.uuid.to_string(),
        name: context.node.name.clone(),
        release: Release::own().to_string(),
        units: state.units.report().await,
        storage_health: health.report(),
        metrics: sample.as_ref().and_then(Sample::to_wire),
        processes: sample.as_ref().map(Sample::processes).unwrap_or_default(),
        sent_at: Some(timestamp(SystemTime::now())),
    };
    let reply = context.gateway.call(CallClass::Lease, request).await?;
    metrics::gauge!("node_clock_skew_seconds").set(reply.clock_skew_seconds);
    if reply.state != NodeState::Error.as_str() {
        health.tell_again(&acknowledged);
    }
    context.status.set(format!("checked in, node is {}", reply.state));
    if let Some(sample) = sample {
        state.sampled_at = Some(Instant::now());
        publish::gauges(&sample);
        if state.event_at.is_none_or(|at| at.elapsed() >= RESOURCES_EVENT) {
            publish::event(context, &sample).await;
            state.event_at = Some(Instant::now());
        }
    }
    Ok(())
}
