//! Why a daemon does not start, and what its process tells the service manager.

use std::path::PathBuf;

use sf_config::{ConfigError, EXIT_CONFIG};
use sf_events::SpoolError;
use sf_gateway::DbError;
use sf_runtime::MetricsError;

use crate::kek::KekError;

/// Exit code of a process whose place is taken; trying again later may help.
pub const EXIT_BUSY: u8 = 75;

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The identity of the node cannot be read or made.
    #[error("the identity of this node cannot be kept in {}: {source}", .path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The event spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Metrics cannot be served.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A secret of the cluster cannot be read without, or with, this node's key-encryption key.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// A gateway address makes no sense.
    #[error("mariadb_gateway_hosts names no usable gateway: {0}")]
    Endpoints(String),
    /// The cluster runs a release that this agent does not fit.
    #[error(
        "this agent is release {own}, the cluster is {cluster}: only the same release or the next one may join"
    )]
    Release {
        /// Release of this build.
        own: String,
        /// Release recorded by the cluster.
        cluster: String,
    },
    /// Bootstrap did not happen, or not wholly.
    #[error("{0} is missing from the cluster configuration: run `sf-ctl bootstrap-cluster`")]
    NotBootstrapped(&'static str),
    /// The database tier cannot be reached, or refuses this node or daemon.
    #[error(transparent)]
    Refused(#[from] DbError),
    /// Shutdown was asked for before the daemon had started.
    #[error("shutdown was asked for during start")]
    Interrupted,
}

impl DaemonError {
    /// The exit code of the process: 78 when a restart cannot help, 75 when another process is in the way.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Kek(_)
            | Self::Release { .. }
            | Self::NotBootstrapped(_)
            | Self::Endpoints(_) => EXIT_CONFIG,
            Self::Spool(SpoolError::Busy { .. }) => EXIT_BUSY,
            Self::Interrupted => 0,
            _ => 1,
        }
    }
}
