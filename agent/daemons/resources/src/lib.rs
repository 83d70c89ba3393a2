//! `sf-resources`: tells the cluster that the node lives, what it has, and whether its disks work.
//!
//! It checks in every ten seconds. A check-in that falls due carries metrics, from which the database tier derives what
//! the node may be given; a node without fresh metrics is given nothing.

mod checkin;
mod health;
mod publish;
mod sample;
mod units;

use std::sync::Arc;

use sf_daemon::DaemonContext;
use sf_hypervisor::HypervisorError;
use sf_hypervisor::libvirt::{Libvirt, LibvirtConfig};
use sf_runtime::Tasks;

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum ResourcesError {
    /// libvirt's library cannot be used.
    #[error("libvirt cannot be used on this node: {0}")]
    Hypervisor(#[from] HypervisorError),
    /// The cluster deleted this node; it must not come back under its old identity.
    #[error(
        "this node was deleted from the cluster: remove its node_uuid file to register it again as a new node"
    )]
    NodeDeleted,
}

impl ResourcesError {
    /// Whether starting again without a change cannot help (exit code 78).
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::NodeDeleted)
    }
}

/// Runs the daemon until shutdown is asked for.
///
/// # Errors
/// See [`ResourcesError`].
pub async fn run(context: DaemonContext) -> Result<(), ResourcesError> {
    let hypervisor = if context.config.node_is_hypervisor {
        let config = LibvirtConfig { uri: context.config.libvirt_uri.clone(), threads: 2, emulated: false };
        Some(Arc::new(Libvirt::start(config)?))
    } else {
        None
    };
    let health = health::Board::new(&context.config);
    let mut tasks = Tasks::new(&context.shutdown);
    tasks.spawn_loop("health", health::run(context.clone(), health.clone()));
    tasks.spawn("check-in", checkin::run(context.clone(), health, hypervisor));
    let grace = std::time::Duration::from_secs(5);
    tasks.join(grace).await
}
