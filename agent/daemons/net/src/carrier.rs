//! The carrier session: one small renewal every few seconds for all networks of the node (`networking.md` §16.2).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sf_gateway::CallClass;
use sf_protos::networks::RenewCarrierSessionRequest;
use sf_runtime::{Loop, Pass};
use tokio::sync::Mutex;

use crate::error::NetError;
use crate::host;
use crate::state::State;

/// The session as the last renewal left it.
#[derive(Clone, Copy, Default)]
struct Session {
    epoch: u64,
    /// When it ends unless it is renewed. `None` before the first renewal.
    ends: Option<Instant>,
}

impl Session {
    fn show(self) {
        if let Some(ends) = self.ends {
            let left = ends.saturating_duration_since(Instant::now());
            metrics::gauge!("sf_net_carrier_session_seconds_left").set(left.as_secs_f64());
        }
    }
}

/// Renews the session until shutdown. A node that may not carry tells so and nothing else.
pub(crate) async fn run(state: State) {
    let session = Arc::new(Mutex::new(Session::default()));
    let interval = state.context.cluster.current().carrier_session_renew;
    let (shutdown, liveness) = (state.context.shutdown.clone(), state.context.liveness.clone());
    let pass = |_tick| {
        let (state, session) = (state.clone(), session.clone());
        async move {
            let mut session = session.lock().await;
            let renewed = renew(&state, &mut session).await;
            // A renewal that failed shows how little is left.
            session.show();
            renewed.map(|()| Pass::Done)
        }
    };
    Loop::every("carrier-session", interval).run(shutdown, liveness, pass).await;
}

async fn renew(state: &State, session: &mut Session) -> Result<(), NetError> {
    if !state.context.config.carrier_eligible {
        return Ok(());
    }
    if !state.shared.may_carry.load(Ordering::Relaxed) {
        // At start nobody else may have rendered the host yet, and users wait for a carrier.
        host::render(state).await?;
    }
    let eligible = state.shared.may_carry.load(Ordering::Relaxed);
    let request =
        RenewCarrierSessionRequest { node_uuid: state.node_uuid(), eligible, session_epoch: session.epoch };
    // The life of the session counts from before it was asked for.
    let asked = Instant::now();
    let reply = state.context.gateway.call(CallClass::Lease, request).await?;
    if session.epoch != reply.session_epoch {
        tracing::info!(session_epoch = reply.session_epoch, eligible, "a carrier session began");
    }
    let life = Duration::from_millis(reply.ttl_ms.into());
    *session = Session { epoch: reply.session_epoch, ends: Some(asked + life) };
    let fence = state.context.cluster.current().carrier_session_fence.saturating_sub(asked.elapsed());
    metrics::gauge!("sf_net_fenced").set(0.0);
    state.privexec.keep_alive(reply.session_epoch, fence, reply.pool_members > 1).await?;
    Ok(())
}
