//! The gateway's own events go straight to the store, through the same function as everybody else's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sf_events::{BatchSink, SinkError};
use sf_protos::events::{Event, EventResult};
use sf_store::{Deadline, StoreError, events};

use crate::state::Gateway;

/// The deadline of one batch (`events.md` §4).
const LIMIT: Duration = Duration::from_secs(10);

/// Stores batches in process.
pub(crate) struct OwnEvents(pub(crate) Arc<Gateway>);

#[async_trait]
impl BatchSink for OwnEvents {
    async fn record_batch(&self, batch: Vec<Event>) -> Result<Vec<EventResult>, SinkError> {
        // On a task of its own: a server that hangs costs the drainer its deadline and no more, and the session is not
        // given back while an answer is on its way to it.
        let pool = self.0.pools.ordinary.clone();
        let storing =
            tokio::spawn(async move { events::record_batch(&pool, Deadline::after(LIMIT), batch).await });
        let stored = match tokio::time::timeout(LIMIT, storing).await {
            Err(_) => return Err(SinkError::Retry("MariaDB did not answer in time".to_owned())),
            Ok(Err(end)) => return Err(SinkError::Internal { message: end.to_string(), healthy: true }),
            Ok(Ok(stored)) => stored,
        };
        match stored {
            Ok(reply) => Ok(reply.results),
            Err(error @ StoreError::Invalid(_)) => Err(SinkError::Refused(error.to_string())),
            Err(error @ (StoreError::Db(_) | StoreError::Corrupt(_))) => {
                Err(SinkError::Internal { message: error.to_string(), healthy: true })
            }
            Err(error) => Err(SinkError::Retry(error.to_string())),
        }
    }
}
