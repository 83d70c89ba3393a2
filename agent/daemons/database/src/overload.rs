//! How many calls run at a time, how many wait, and who is sent away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sf_store::Deadline;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::status;

/// Calls that may wait for a place.
const QUEUE: u32 = 512;
/// What a caller that was sent away is told to wait, in milliseconds.
const RETRY_AFTER_MS: u64 = 200;

/// The places of ordinary calls.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    waiting: AtomicU32,
}

impl Admission {
    pub(crate) fn new(places: u32) -> Self {
        Self { places: Arc::new(Semaphore::new(places as usize)), waiting: AtomicU32::new(0) }
    }

    /// Waits for a place, for at most half of the time the call has left: a call that cannot be served in time is sent
    /// away while its caller can still go elsewhere.
    pub(crate) async fn enter(&self, deadline: Deadline) -> Result<OwnedSemaphorePermit, Status> {
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Ok(permit);
        }
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= QUEUE {
            self.leave();
            return Err(reject());
        }
        metrics::gauge!("database_wait_queue_depth").increment(1.0);
        let patience: Duration = deadline.left() / 2;
        let permit = tokio::time::timeout(patience, self.places.clone().acquire_owned()).await;
        metrics::gauge!("database_wait_queue_depth").decrement(1.0);
        self.leave();
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(reject()),
        }
    }

    fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

fn reject() -> Status {
    metrics::counter!("database_overload_rejections_total").increment(1);
    status::overloaded(RETRY_AFTER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_without_a_place_is_sent_away_in_time() {
        let admission = Admission::new(1);
        let deadline = Deadline::after(Duration::from_millis(40));
        let held = admission.enter(deadline).await.unwrap();
        let refused = admission.enter(deadline).await.unwrap_err();
        assert_eq!(status::reason_of(&refused), "overloaded");
        drop(held);
        assert!(admission.enter(Deadline::after(Duration::from_secs(1))).await.is_ok());
    }
}
