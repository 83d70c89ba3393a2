//! Errors of the daemon itself. Errors of calls are data: see [`sf_netstate::NetError`].

use std::io;

use sf_netstate::NetError;

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PrivexecError {
    /// The helper process could not be started.
    #[error("the namespace helper cannot be started: {0}; CAP_SYS_ADMIN is needed")]
    Helper(#[source] io::Error),
    /// A file or socket could not be made.
    #[error("{path}: {source}")]
    Path {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel refused the sockets the worker needs.
    #[error("the kernel's network interfaces cannot be used: {0}; CAP_NET_ADMIN is needed")]
    Kernel(#[from] NetError),
    /// The kernel was built without something, or may not load it.
    #[error("the kernel lacks what networks need: {0}; load or enable it")]
    KernelLacks(String),
    /// Nobody can be listened to any more.
    #[error("the socket cannot be listened on any more: {0}; the daemon has to be started again")]
    Listener(#[source] io::Error),
    /// A thread could not be started or ended badly.
    #[error("a worker thread failed: {0}")]
    Thread(String),
}
