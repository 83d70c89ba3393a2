//! The REST interface (`sf-api`).
//!
//! A request's way: [`router`] finds its [`routes::Route`]; [`edge`] applies what holds for all (path, request id, token,
//! rate, scope, size); [`params`] reads it into the typed request of its route; the handler in [`controllers`] asks the
//! database tier once, and [`views`] turns the answer into the JSON that clients know. [`error`] is the one place where
//! a failure becomes a status.

pub mod api;
pub mod auth;
pub mod call;
pub mod caller;
pub mod capabilities;
pub mod controllers;
pub mod edge;
pub mod error;
pub mod input;
pub mod nodes;
pub mod params;
pub mod placement;
pub mod readiness;
pub mod reply;
pub mod router;
pub mod routes;
pub mod server;
pub mod streams;
pub mod uploads;
pub mod views;

use std::io;
use std::net::SocketAddr;

use sf_daemon::DaemonContext;
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::auth::{PasswordError, refusals};

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address cannot be used.
    #[error("the API cannot listen on {address}: {source}; is another process using the port?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Secrets cannot be hashed.
    #[error("secrets cannot be hashed on this machine: {0}")]
    Hashing(#[from] PasswordError),
}

/// Serves the API until shutdown, and drains.
///
/// # Errors
/// See [`RunError`].
pub async fn run(context: DaemonContext) -> Result<(), RunError> {
    let config = context.config.clone();
    let api = Api::new(context)?;
    let mut addresses: Vec<SocketAddr> =
        config.api_listen.iter().map(|address| SocketAddr::new(*address, config.api_port)).collect();
    // The defaults name loopback twice where the mesh is loopback itself.
    addresses.sort_unstable();
    addresses.dedup();
    let listeners =
        server::listen(addresses).await.map_err(|(address, source)| RunError::Listen { address, source })?;
    let watching = [tokio::spawn(readiness::watch(api.clone())), tokio::spawn(refusals::watch(api.clone()))];
    let router = router::service(&api);
    server::serve(api.clone(), router, listeners).await;
    // They end by themselves at shutdown; nothing of them is left to wait for.
    watching.iter().for_each(JoinHandle::abort);
    refusals::tell(&api).await;
    Ok(())
}
