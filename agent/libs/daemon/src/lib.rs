//! How a daemon comes to life, the same for all of them.
//!
//! A process makes one [`Host`]: configuration, identity, shutdown, liveness, metrics, event spool. Daemons that speak to
//! the database tier then call [`DaemonContext::start`], which waits for the cluster configuration, registers the daemon
//! and hands over everything its `run` needs. `sf-database` and the two privileged daemons work with the [`Host`] alone.

mod cluster;
mod context;
mod door;
mod error;
mod host;
mod identity;
mod kek;
mod peers;
mod release;

pub use cluster::ClusterConfigHandle;
pub use context::DaemonContext;
pub use door::{Door, Guarded, PeerIdentity};
pub use error::{DaemonError, EXIT_BUSY};
pub use host::Host;
pub use identity::NodeIdentity;
pub use kek::{Kek, KekError};
pub use peers::Peers;
pub use release::Release;
