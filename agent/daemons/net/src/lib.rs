//! `sf-net`: decides what the network of its node should be, has it rendered, and serves DHCP and DNS.
//!
//! It holds no privilege. Rows of the database become intents, the privileged worker turns intents into kernel state,
//! and the outcome is reported. Nothing is ever removed because of an error: only an explicit "absent" removes.

mod carrier;
mod claims;
mod condition;
mod error;
mod host;
mod privexec;
mod reconcile;
mod record;
mod render;
mod rpc;
mod service;
mod state;
mod stray;
mod usage;

use std::time::Duration;

use sf_daemon::DaemonContext;
use sf_runtime::Tasks;

pub use error::NetError;
use state::State;

/// How long running renders may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the daemon until shutdown is asked for. Networks stay as they are when it ends.
///
/// # Errors
/// The node service cannot listen on its port.
pub async fn run(context: DaemonContext) -> Result<(), NetError> {
    let state = State::new(context);
    let mut tasks = Tasks::new(&state.context.shutdown);
    let (shutdown, liveness) = (state.context.shutdown.clone(), state.context.liveness.clone());
    tasks.spawn_loop("peers", state.peers.clone().refresh(shutdown, liveness));
    tasks.spawn("node-service", rpc::serve(state.clone()));
    tasks.spawn_loop("carrier-session", carrier::run(state.clone()));
    tasks.spawn_loop("render-claims", claims::run(state.clone()));
    tasks.spawn_loop("reconcile", reconcile::run(state.clone()));
    tasks.spawn_loop("network-usage", usage::run(state.clone()));
    let outcome = tasks.join(GRACE).await;
    state.plane.stop_all().await;
    outcome
}
