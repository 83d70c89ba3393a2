//! File work that takes as long as the disk does: beside the threads that answer callers and feed the watchdog.

use std::fs::File;

use sf_protos::privexec::FailureCode;

use crate::failure::{Doing, OperationError, Outcome};

/// Runs file work on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| OperationError::new(FailureCode::Io, "the operation failed inside the helper"))?
}

/// Makes a file durable. Of a converted image the kernel may still have gigabytes to write.
pub(crate) async fn make_durable(file: &File) -> Outcome<()> {
    const DOING: &str = "make the file durable";
    let file = file.try_clone().doing(DOING)?;
    blocking(move || file.sync_all().doing(DOING)).await
}
