//! Errors of the daemon.

use sf_gateway::DbError;
use sf_netstate::wire::CallError;

/// Why something could not be done. Everything but [`NetError::Listen`] is tried again.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The node service cannot listen.
    #[error("the node service cannot listen on {address}: {source}; set net_rpc_port or stop what uses it")]
    Listen {
        /// Address and port.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database tier did not answer, or refused.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The privileged worker did not answer, or refused.
    #[error(transparent)]
    Privexec(#[from] CallError),
    /// A service socket could not be used.
    #[error("service sockets of network {network}: {source}")]
    Service {
        /// The network.
        network: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database answered with something that makes no sense.
    #[error("the database tier sent an unusable {what}: {detail}")]
    Unusable {
        /// What was asked for.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

impl NetError {
    /// The stable code of the network error list.
    pub fn code(&self) -> &str {
        match self {
            Self::Privexec(error) => error.code(),
            Self::Unusable { .. } => "network.invalid_intent",
            _ => "internal.unknown",
        }
    }
}
