//! Why the helper did not do what it was asked.

use sf_protos::privexec::FailureCode;

/// Failure of a helper operation.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegedError {
    /// The helper cannot be reached.
    #[error("the root helper at {socket} does not answer: check that sf-privexec runs ({source})")]
    Unavailable {
        /// Its socket.
        socket: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// No answer in time; the operation may still take effect.
    #[error("the root helper did not finish within {seconds} s")]
    Timeout {
        /// The deadline in seconds.
        seconds: u64,
    },
    /// The helper answered with something else than what belongs to the request: versions do not match.
    #[error("the root helper speaks another protocol: restart it with this release")]
    Protocol,
    /// The helper refused or failed.
    #[error("{message}")]
    Failed {
        /// What kind of failure.
        code: FailureCode,
        /// The helper's sentence.
        message: String,
    },
}

impl PrivilegedError {
    /// The file system is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Failed { code: FailureCode::NoSpace, .. })
    }

    /// The file on disk is not what was asked for and may not be replaced.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Failed { code: FailureCode::Mismatch, .. })
    }

    /// Trying again may help: the helper is away or busy.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::Timeout { .. } | Self::Failed { code: FailureCode::Busy, .. }
        )
    }
}
