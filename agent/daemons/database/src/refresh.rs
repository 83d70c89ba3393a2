//! Keeps what transactions need of the cluster configuration fresh, and looks for work that other gateways committed.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sf_model::OperationId;
use sf_model::state::OperationState;
use sf_runtime::{Liveness, Loop, Pass, Shutdown};
use sf_store::{Conn, Deadline, StoreError, StoreResult, Wake, config, networks, operations, session};

use crate::state::Gateway;

const SETTINGS: Duration = Duration::from_secs(20);
/// One query per gateway serves all who wait here (`database-tier.md` §13.4).
const LOOK_FOR_WORK: Duration = Duration::from_millis(250);
/// Time for the queries of one pass: short enough that a loop that meets a silent server still ticks in time.
const LIMIT: Duration = Duration::from_secs(5);

/// Reads the cluster configuration until shutdown.
pub(crate) async fn settings(gateway: Arc<Gateway>, fqdn: String, shutdown: Shutdown, liveness: Liveness) {
    let pass = |_tick| {
        let (gateway, fqdn) = (gateway.clone(), fqdn.clone());
        async move {
            let fresh = session(&gateway.pools.lease, Deadline::after(LIMIT), |conn| {
                async move { config::settings(conn, &fqdn).await }.boxed()
            });
            let fresh = fresh.await?;
            gateway.settings.store(Arc::new(fresh));
            Ok::<_, StoreError>(Pass::Done)
        }
    };
    Loop::every("settings", SETTINGS).jittered().run(shutdown, liveness, pass).await;
}

/// Wakes waiters for what was committed elsewhere, until shutdown. Nobody waits: no query.
pub(crate) async fn look_for_work(gateway: Arc<Gateway>, shutdown: Shutdown, liveness: Liveness) {
    let pass = |_tick| {
        let gateway = gateway.clone();
        async move {
            let ready = ready(&gateway).await?;
            gateway.waiters.wake(ready);
            Ok::<_, StoreError>(Pass::Done)
        }
    };
    Loop::every("look-for-work", LOOK_FOR_WORK).run(shutdown, liveness, pass).await;
}

async fn ready(gateway: &Gateway) -> StoreResult<Vec<Wake>> {
    let interests = gateway.waiters.interests();
    if interests.is_empty() {
        return Ok(Vec::new());
    }
    session(&gateway.pools.lease, Deadline::after(LIMIT), |conn| ready_of(conn, interests).boxed()).await
}

/// Those of the interests for which there is something.
async fn ready_of(conn: &mut Conn, interests: Vec<Wake>) -> StoreResult<Vec<Wake>> {
    let (mut workers, mut renderers, mut watched) = (Vec::new(), Vec::new(), Vec::new());
    for wake in interests {
        match wake {
            Wake::Work(node) => workers.push(node),
            Wake::Renders(node) => renderers.push(node),
            Wake::Operation(operation) => watched.push(operation),
        }
    }
    let mut ready = Vec::new();
    if !workers.is_empty() {
        ready.extend(operations::nodes_with_work(conn, &workers).await?.into_iter().map(Wake::Work));
    }
    if !renderers.is_empty() {
        ready.extend(networks::nodes_with_renders(conn, &renderers).await?.into_iter().map(Wake::Renders));
    }
    if !watched.is_empty() {
        ready.extend(ended(conn, &watched).await?.into_iter().map(Wake::Operation));
    }
    Ok(ready)
}

/// Which of these operations will not change any more.
async fn ended(conn: &mut Conn, watched: &[OperationId]) -> StoreResult<Vec<OperationId>> {
    let outcomes = operations::outcomes(conn, watched).await?;
    let is_over = |state: &str| state.parse::<OperationState>().is_ok_and(OperationState::is_terminal);
    Ok(outcomes.into_iter().filter(|(_, outcome)| is_over(&outcome.state)).map(|(id, _)| id).collect())
}
