//! Where the event drainer sends its batches.

use std::time::Duration;

use async_trait::async_trait;
use sf_events::{BatchSink, SinkError};
use sf_protos::events::{Event, EventResult, RecordEventBatchRequest};
use tonic::{Code, Status};

use crate::call::Gateway;
use crate::class::CallClass;

/// A gateway that served this recently is healthy.
const FRESH: Duration = Duration::from_secs(15);

#[async_trait]
impl BatchSink for Gateway {
    async fn record_batch(&self, events: Vec<Event>) -> Result<Vec<EventResult>, SinkError> {
        let sent = self.call_status(CallClass::Once, RecordEventBatchRequest { events }).await;
        sent.map(|reply| reply.results).map_err(|status| classify(&status, self.is_serving(FRESH)))
    }
}

fn classify(status: &Status, healthy: bool) -> SinkError {
    let message = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::InvalidArgument | Code::OutOfRange => SinkError::Refused(message),
        Code::ResourceExhausted if status.message().contains("too large") => SinkError::Refused(message),
        Code::Internal => SinkError::Internal { message, healthy },
        _ => SinkError::Retry(message),
    }
}
