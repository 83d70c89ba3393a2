//! Why the storage service cannot run, and why one piece of its work failed.

use sf_blobs::StoreError;
use sf_blobs::uploads::UploadError;
use sf_gateway::DbError;
use sf_images::fetch::FetchError;
use sf_privileged::PrivilegedError;

/// Why `sf-transfers` ended.
#[derive(Debug, thiserror::Error)]
pub enum TransfersError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A socket cannot be served.
    #[error("cannot serve {what}: {source}")]
    Serve {
        /// The socket.
        what: String,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl TransfersError {
    /// True when starting again gives the same: the operator must act.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::Store(
                StoreError::LayoutTooNew { .. }
                    | StoreError::LayoutUnreadable { .. }
                    | StoreError::SplitFileSystem { .. }
            )
        )
    }
}

/// Why one piece of work failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum WorkError {
    /// The image may not be opened by any tool.
    #[error("unsafe image: {0}")]
    Unsafe(String),
    /// The image cannot be a disk base.
    #[error("{0}")]
    NotABase(String),
    /// The bytes are not on this node.
    #[error("{0}")]
    NotHere(String),
    /// There is no room.
    #[error("insufficient space: {0}")]
    NoSpace(String),
    /// The database knows no such object.
    #[error("{0}")]
    Missing(String),
    /// The caller may not.
    #[error("{0}")]
    Forbidden(String),
    /// The database refused.
    #[error("{message}")]
    Refused {
        /// The gateway's reason word, or empty.
        reason: String,
        /// Its sentence.
        message: String,
    },
    /// Trying again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// The database tier failed inside or is too old: nothing is known, and the work goes on when it is well again.
    #[error("{0}")]
    TierFailed(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<DbError> for WorkError {
    fn from(error: DbError) -> Self {
        let (message, unjudged) = (error.to_string(), error.is_unjudged());
        match error {
            DbError::NotFound { .. } => Self::Missing(message),
            DbError::Refused { .. } => Self::Forbidden(message),
            DbError::NoCapacity { .. } => Self::NoSpace(message),
            DbError::Conflict { reason, .. } | DbError::Precondition { reason, .. } => {
                Self::Refused { reason, message }
            }
            DbError::DatabaseUnavailable { .. } => Self::Unavailable(message),
            _ if unjudged => Self::TierFailed(message),
            DbError::GatewayTooOld { .. } | DbError::Bug { .. } => Self::Failed(message),
        }
    }
}

impl WorkError {
    /// Whether nothing has been decided: what was done so far is kept and the work comes back to it.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TierFailed(_))
    }
}

impl From<StoreError> for WorkError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::NotHere(_) => Self::NotHere(error.to_string()),
            _ if error.is_disk_full() => Self::NoSpace(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<PrivilegedError> for WorkError {
    fn from(error: PrivilegedError) -> Self {
        if error.is_no_space() {
            Self::NoSpace(error.to_string())
        } else if error.is_unavailable() {
            Self::Unavailable(error.to_string())
        } else {
            Self::Failed(error.to_string())
        }
    }
}

impl From<UploadError> for WorkError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Store(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<FetchError> for WorkError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Store(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Runs file work off the asynchronous runtime.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, WorkError>
where
    T: Send + 'static,
    E: Into<WorkError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err(WorkError::Failed("a storage task ended unexpectedly".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn a_tier_that_fails_inside_decides_nothing() {
        let bug = |code| DbError::Bug { operation: "CommitBlob", code, message: "inside".into() };
        assert!(WorkError::from(bug(Code::Internal)).is_undecided());
        assert!(WorkError::from(DbError::GatewayTooOld { operation: "CommitBlob" }).is_undecided());
        assert!(!WorkError::from(bug(Code::InvalidArgument)).is_undecided());
    }
}
