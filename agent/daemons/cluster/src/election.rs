//! Standing by, leading, and the way back.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sf_daemon::DaemonContext;
use sf_events::event;
use sf_model::ObjectType;
use sf_model::event::EventType;
use sf_protos::locks::ReleaseIncarnationRequest;

use crate::gauges;
use crate::lease::Lease;
use crate::maintenance;
use crate::readings::Board;

/// How often a standby tries to lead.
const STANDBY: Duration = Duration::from_secs(5);
/// The loop that maintenance runs in has to have moved within this time, or the lease is not refreshed.
const PROOF_OF_LIFE: Duration = Duration::from_secs(30);
/// A task in flight may finish its present call.
const FAREWELL: Duration = Duration::from_secs(15);

/// When maintenance last moved, for the proof of life.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    began: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Progress {
    fn new() -> Self {
        Self { began: Instant::now(), last_ms: Arc::default() }
    }

    pub(crate) fn mark(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    fn is_recent(&self) -> bool {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last) < PROOF_OF_LIFE
    }
}

/// Stands by and leads by turns until shutdown.
pub(crate) async fn run(context: DaemonContext) -> Result<(), Infallible> {
    gauges::standby();
    release_previous(&context).await;
    let tick = context.liveness.register("election", Duration::from_secs(30));
    while !context.shutdown.is_requested() {
        tick.tick();
        let sent = Instant::now();
        match tick.while_waiting(Lease::acquire(&context)).await {
            Ok(Some(lease)) => {
                gauges::lock_acquired(sent.elapsed().as_secs_f64());
                tick.while_waiting(lead(&context, lease, sent)).await;
            }
            Ok(None) => context.status.set("standing by"),
            Err(error) => {
                tracing::info!(%error, "cannot ask for the leader's lock");
                context.status.set("standing by, waiting for sf-database");
            }
        }
        let pause = context.shutdown.unless(tokio::time::sleep(STANDBY));
        tick.while_waiting(pause).await;
    }
    Ok(())
}

/// Leads until the lease is lost or shutdown is asked for.
async fn lead(context: &DaemonContext, lease: Lease, acquired: Instant) {
    tracing::info!(fence = lease.fence(), "leading the cluster");
    context.status.set("leading");
    gauges::leading();
    announce(context, "leads").await;
    let progress = Progress::new();
    progress.mark();
    let alive = progress.clone();
    let board = Board::default();
    let work = maintenance::run(context.clone(), lease.clone(), board.clone(), progress);
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => {}
        () = lease.keep(context, acquired, || alive.is_recent()) => {
            // The work sees the loss, or the shutdown, and ends after the call it is in.
            if tokio::time::timeout(FAREWELL, &mut work).await.is_err() {
                tracing::warn!("maintenance did not end in time and is dropped");
            }
        }
    }
    gauges::standby();
    board.blank();
    if lease.is_lost() {
        gauges::lock_lost();
        announce(context, "lost the lead").await;
    } else {
        lease.release(context).await;
        announce(context, "handed over the lead").await;
    }
}

/// A previous process of this daemon on this node may still hold the lock; it is gone, so its lock is too.
async fn release_previous(context: &DaemonContext) {
    let request = ReleaseIncarnationRequest {
        node: context.node.name.clone(),
        daemon: context.name.to_string(),
        keep: context.incarnation.to_string(),
    };
    match context.gateway.call(sf_gateway::CallClass::Background, request).await {
        Ok(reply) if reply.released > 0 => {
            tracing::info!(locks = reply.released, "released the locks of a previous process");
        }
        Ok(_) => {}
        Err(error) => tracing::info!(%error, "locks of a previous process, if any, will expire"),
    }
}

async fn announce(context: &DaemonContext, what: &str) {
    let fact = event(EventType::Audit, "leader-changed")
        .object(ObjectType::Node, context.node.uuid)
        .extra(serde_json::json!({ "node": context.node.name, "what": what }));
    // Counted where it is lost; leadership does not depend on its record.
    let _recorded = context.events.record(fact).await;
}
