//! The carrier session: one small renewal every few seconds for all networks of the node (`networking.md` §16.2).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sf_gateway::CallClass;
use sf_protos::networks::RenewCarrierSessionRequest;
use sf_runtime::{Loop, Pass};

use crate::error::NetError;
use crate::host;
use crate::state::State;

/// Renews the session until shutdown. A node that may not carry tells so and nothing else.
pub(crate) async fn run(state: State) {
    let epoch = Arc::new(AtomicU64::new(0));
    let interval = state.context.cluster.current().carrier_session_renew;
    let (shutdown, liveness) = (state.context.shutdown.clone(), state.context.liveness.clone());
    let pass = |_tick| {
        let (state, epoch) = (state.clone(), epoch.clone());
        async move { renew(&state, &epoch).await.map(|()| Pass::Done) }
    };
    Loop::every("carrier-session", interval).run(shutdown, liveness, pass).await;
}

async fn renew(state: &State, epoch: &AtomicU64) -> Result<(), NetError> {
    if !state.context.config.carrier_eligible {
        return Ok(());
    }
    if !state.shared.may_carry.load(Ordering::Relaxed) {
        // At start nobody else may have rendered the host yet, and users wait for a carrier.
        host::render(state).await?;
    }
    let eligible = state.shared.may_carry.load(Ordering::Relaxed);
    let request = RenewCarrierSessionRequest {
        node_uuid: state.node_uuid(),
        eligible,
        session_epoch: epoch.load(Ordering::Relaxed),
    };
    // The life of the session counts from before it was asked for.
    let asked = std::time::Instant::now();
    let reply = state.context.gateway.call(CallClass::Lease, request).await?;
    if epoch.swap(reply.session_epoch, Ordering::Relaxed) != reply.session_epoch {
        tracing::info!(session_epoch = reply.session_epoch, eligible, "a carrier session began");
    }
    let fence = state.context.cluster.current().carrier_session_fence.saturating_sub(asked.elapsed());
    metrics::gauge!("sf_net_carrier_session_seconds_left").set(f64::from(reply.ttl_ms) / 1_000.0);
    metrics::gauge!("sf_net_fenced").set(0.0);
    state.privexec.keep_alive(reply.session_epoch, fence, reply.pool_members > 1).await?;
    Ok(())
}
