//! Why the daemon ends, and why a pass does nothing.

use sf_gateway::DbError;
use sf_hypervisor::HypervisorError;
use sf_privileged::PrivilegedError;

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum CleanerError {
    /// libvirt's library cannot be used.
    #[error("libvirt cannot be used on this node: {0}")]
    Hypervisor(#[from] HypervisorError),
}

/// Why a pass stopped. Nothing was removed on the strength of what could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Incomplete {
    /// The database did not answer.
    #[error("the database cannot say what belongs here: {0}")]
    Database(#[from] DbError),
    /// libvirt did not answer.
    #[error("libvirt cannot say what runs here: {0}")]
    Hypervisor(#[from] HypervisorError),
    /// The root helper failed.
    #[error("{0}")]
    Helper(#[from] PrivilegedError),
    /// The disk cannot be read.
    #[error("{0}")]
    Disk(#[from] std::io::Error),
    /// The storage daemon of this node failed.
    #[error("sf-transfers: {0}")]
    Storage(String),
    /// An answer that makes no sense to this build.
    #[error("not understood: {0}")]
    Nonsense(String),
    /// The cluster has no identity yet, so nothing can be recognised as ours.
    #[error("the cluster has no identity yet")]
    NoCluster,
}
