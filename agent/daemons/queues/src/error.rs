//! Why the daemon, or one operation, cannot go on.

use std::time::Duration;

use sf_gateway::DbError;
use sf_hypervisor::HypervisorError;
use sf_privileged::PrivilegedError;

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum QueuesError {
    /// The configuration asks for acceleration that does not work here.
    #[error(
        "hypervisor_virt_type is kvm, but acceleration does not work on this host ({0}): fix the host, or set hypervisor_virt_type to auto or qemu"
    )]
    NoAcceleration(String),
    /// The recording hypervisor is asked for in a build that does not have it.
    #[error("hypervisor_driver `fake` exists only in test builds: set it to libvirt")]
    FakeDriver,
    /// The hypervisor library cannot be set up.
    #[error("the hypervisor library cannot be set up: {0}")]
    Hypervisor(#[source] HypervisorError),
    /// The node service cannot listen.
    #[error("cannot serve other nodes on {address}: {message}")]
    NodeService {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        message: String,
    },
}

/// Why an operation stops where it is.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Come back later: something outside is not ready.
    Defer {
        /// Why, one short sentence.
        reason: String,
        /// Absent: the queue's own ladder.
        delay: Option<Duration>,
    },
    /// Somebody else's work now: another placement, another state, a delete. Nothing is wrong.
    Superseded(String),
    /// This worker no longer holds the claim.
    ClaimLost,
    /// It can never work on this node.
    Placement(String),
    /// It can never work.
    Permanent {
        /// Stable word.
        code: &'static str,
        /// Sentence for the user.
        message: String,
    },
}

impl Stop {
    pub(crate) fn permanent(code: &'static str, message: impl Into<String>) -> Self {
        Self::Permanent { code, message: message.into() }
    }

    pub(crate) fn defer(reason: impl Into<String>) -> Self {
        Self::Defer { reason: reason.into(), delay: None }
    }
}

impl From<DbError> for Stop {
    fn from(error: DbError) -> Self {
        match &error {
            // Nobody has judged the operation: it waits, at most until its deadline.
            _ if error.is_unjudged() => Self::defer(error.to_string()),
            // A lost race changes nothing and tells the worker to stop.
            DbError::Precondition { .. } | DbError::Conflict { .. } | DbError::NotFound { .. } => {
                Self::Superseded(error.to_string())
            }
            _ => Self::permanent("database", error.to_string()),
        }
    }
}

impl From<HypervisorError> for Stop {
    fn from(error: HypervisorError) -> Self {
        if error.is_unavailable() {
            Self::Defer { reason: error.to_string(), delay: Some(Duration::from_secs(1)) }
        } else {
            Self::permanent("hypervisor", error.to_string())
        }
    }
}

impl From<PrivilegedError> for Stop {
    fn from(error: PrivilegedError) -> Self {
        if error.is_unavailable() {
            Self::Defer { reason: error.to_string(), delay: Some(Duration::from_secs(1)) }
        } else if error.is_no_space() {
            Self::Placement(format!("disk full: {error}"))
        } else {
            Self::permanent("instance-files", error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn only_a_judgement_of_the_tier_ends_an_operation() {
        let bug = |code| DbError::Bug { operation: "TransitionInstance", code, message: "inside".into() };
        for error in [
            bug(Code::Internal),
            DbError::GatewayTooOld { operation: "TransitionInstance" },
            DbError::DatabaseUnavailable { message: "away".into() },
        ] {
            assert!(matches!(Stop::from(error.clone()), Stop::Defer { .. }), "{error}");
        }
        assert!(matches!(Stop::from(bug(Code::InvalidArgument)), Stop::Permanent { .. }));
    }
}
