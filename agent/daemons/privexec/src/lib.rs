//! The root helper: the few file and process operations of instances and images that need root.
//!
//! A request names uuids, device names, sizes and enums, never a path or an option. Every path is built below the
//! storage root and opened without following links; every program is built in. Who may ask for what is decided by
//! the uid the kernel reports for the other end of the socket.

mod blocking;
mod console;
mod copy;
mod directory;
mod disks;
mod dispatch;
mod failure;
mod images;
mod peers;
mod process;
mod qcow2;
mod root;
mod sandbox;
mod server;
mod settings;

pub use failure::PrivexecError;
pub use settings::Settings;

use std::sync::Arc;

use sf_config::NodeConfig;
use sf_runtime::Shutdown;

/// Serves the helper socket until `shutdown` is requested, then finishes what is in flight.
///
/// # Errors
/// When the storage root or the socket cannot be opened.
pub async fn run(config: Arc<NodeConfig>, shutdown: Shutdown) -> Result<(), PrivexecError> {
    serve(Settings::from_config(&config), shutdown).await
}

/// As [`run`], from settings.
///
/// # Errors
/// When the storage root or the socket cannot be opened.
pub async fn serve(settings: Settings, shutdown: Shutdown) -> Result<(), PrivexecError> {
    server::serve(settings, shutdown).await
}
