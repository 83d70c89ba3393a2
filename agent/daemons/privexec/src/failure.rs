//! How failures are named.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use sf_protos::privexec::{Failure, FailureCode};

/// Why the helper could not start.
#[derive(Debug, thiserror::Error)]
pub enum PrivexecError {
    /// The storage root cannot be opened.
    #[error("cannot open the storage root {path}: {source}")]
    Root {
        /// The storage root.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {path}: {source}; is another helper running?")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Why an operation did not happen.
#[derive(Debug)]
pub(crate) struct OperationError {
    pub(crate) code: FailureCode,
    pub(crate) message: String,
}

/// Result of an operation.
pub(crate) type Outcome<T> = Result<T, OperationError>;

impl OperationError {
    pub(crate) fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn invalid(what: &str) -> Self {
        Self::new(FailureCode::Invalid, format!("{what} is not acceptable"))
    }

    /// An input or output error while `doing` something.
    pub(crate) fn io(doing: &str, error: &io::Error) -> Self {
        let code = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT) => FailureCode::NoSpace,
            Some(Errno::ENOENT) => FailureCode::Missing,
            _ => FailureCode::Io,
        };
        Self::new(code, format!("{doing}: {error}"))
    }
}

impl From<OperationError> for Failure {
    fn from(error: OperationError) -> Self {
        Self { code: error.code.into(), message: error.message }
    }
}

/// Adds what was being done to an input or output error.
pub(crate) trait Doing<T> {
    fn doing(self, what: &str) -> Outcome<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &str) -> Outcome<T> {
        self.map_err(|error| OperationError::io(what, &error))
    }
}

impl<T> Doing<T> for nix::Result<T> {
    fn doing(self, what: &str) -> Outcome<T> {
        self.map_err(io::Error::from).doing(what)
    }
}
