//! The stages operations are made of. Each tests the world first and acts on the difference, so that it may run again
//! at any time and after a crash.

pub(crate) mod boot;
pub(crate) mod config_drive;
pub(crate) mod definition;
pub(crate) mod disks;
pub(crate) mod domain;
pub(crate) mod firmware;
pub(crate) mod guard;
pub(crate) mod images;
pub(crate) mod networks;
pub(crate) mod ports;
pub(crate) mod rollback;
mod timing;

pub(crate) use definition::Plan;
pub(crate) use timing::Timings;

use std::time::{Duration, Instant};

use sf_privileged::PrivilegedError;

use crate::error::Stop;
use crate::queue::Job;

/// How long the root helper may be away before an operation fails clearly.
const HELPER_PATIENCE: Duration = Duration::from_secs(60);
/// Further tries of a file operation that failed for another reason.
const HELPER_RETRIES: u32 = 3;
const HELPER_PAUSE: Duration = Duration::from_secs(1);

/// Calls the root helper, again while it is away, and a few times when it fails otherwise.
pub(crate) async fn with_helper<T, F: Future<Output = Result<T, PrivilegedError>>>(
    job: &Job,
    mut call: impl FnMut() -> F,
) -> Result<T, Stop> {
    let began = Instant::now();
    let mut failures = 0;
    loop {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let again = if error.is_unavailable() {
            began.elapsed() < HELPER_PATIENCE
        } else {
            failures += 1;
            !error.is_no_space() && !error.is_mismatch() && failures <= HELPER_RETRIES
        };
        if !again {
            return Err(match Stop::from(error) {
                Stop::Defer { reason, .. } => Stop::permanent("helper", reason),
                other => other,
            });
        }
        tracing::info!(%error, "asking the root helper again");
        job.unless_lost(tokio::time::sleep(HELPER_PAUSE)).await?;
    }
}
