//! `sf-net-privexec`: the only process that changes the network of a node (`networking.md` §10).
//!
//! It consists of a worker, which speaks netlink and nftables, and a helper process, which may do the one thing the
//! worker may not: enter namespaces. No program is ever executed. `sf-net` reaches the worker over a unix socket with
//! typed intents; names, rules and commands cannot be expressed there.

mod announcer;
mod calls;
mod error;
mod helper;
mod inventory;
mod options;
mod persist;
mod probe;
mod purge;
mod server;
mod service;
mod spaces;
mod sys;
mod worker;

use std::sync::Arc;

use sf_config::NodeConfig;
use sf_runtime::{Shutdown, notify};

pub use error::PrivexecError;
pub use options::Options;
pub use probe::kernel;
pub use purge::purge;
pub use server::Server;

/// Serves until shutdown is asked for. Kernel state stays as it is when this ends.
///
/// # Errors
/// The helper cannot be started, the socket cannot be bound, or the kernel lacks something the network needs. Later: the
/// socket cannot be listened on any more.
pub async fn run(config: Arc<NodeConfig>, shutdown: Shutdown) -> Result<(), PrivexecError> {
    let options = Options::from_config(&config);
    // Everything below blocks; the runtime's workers only wait for the end.
    let mut server = tokio::task::spawn_blocking(move || Server::start(options))
        .await
        .map_err(|error| PrivexecError::Thread(error.to_string()))??;
    notify::ready();
    // A process that nobody can reach must not look as if it served.
    let outcome = tokio::select! {
        () = shutdown.requested() => Ok(()),
        error = server.ended() => Err(error),
    };
    tokio::task::spawn_blocking(move || server.stop())
        .await
        .map_err(|error| PrivexecError::Thread(error.to_string()))?;
    outcome
}
