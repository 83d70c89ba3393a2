//! Why a call to the hypervisor failed.

/// Failure of a hypervisor call. Codes and texts are hints for the log: the domain's state, read again, decides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HypervisorError {
    /// Too many calls wait; try again later.
    #[error("hypervisor call queue is full: try again")]
    Busy,
    /// No answer in time. The call may still take effect.
    #[error("hypervisor did not answer `{call}` within {seconds} s: its outcome is unknown")]
    Timeout {
        /// The call.
        call: &'static str,
        /// Its deadline in seconds.
        seconds: u64,
    },
    /// No connection to the hypervisor.
    #[error("no connection to the hypervisor at {uri}: {cause}; check that libvirtd or virtqemud runs")]
    Disconnected {
        /// Where it was looked for.
        uri: String,
        /// Why there is none.
        cause: String,
    },
    /// The domain does not exist.
    #[error("the hypervisor has no such domain")]
    NoDomain,
    /// The hypervisor refused the call.
    #[error("hypervisor refused `{call}`: {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The hypervisor's error name, for metrics.
        code: String,
        /// The hypervisor's sentence.
        message: String,
    },
    /// Too many calls were abandoned; the process should be restarted.
    #[error("hypervisor calls hang: the library is wedged and the agent must be restarted")]
    Wedged,
}

impl HypervisorError {
    /// Whether the hypervisor could not be reached, so that waiting is better than failing.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Busy | Self::Timeout { .. } | Self::Disconnected { .. } | Self::Wedged)
    }
}
