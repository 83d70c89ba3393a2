//! `RecordEventBatch`: all valid events of a batch or none, each exactly once.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::Utc;
use diesel_async::SimpleAsyncConnection;
use sf_model::event::EventType;
use sf_protos::events::{Event, EventResult, Outcome, RecordEventBatchReply};
use uuid::Uuid;

use super::insert::{stored, write};
use super::validate::{MAX_BATCH, MAX_BATCH_BYTES, Valid, validate};
use crate::conn::Pool;
use crate::error::{Fault, StoreError, StoreResult};
use crate::session::session;
use crate::transaction::{Deadline, transaction};

/// How often a batch starts over because another gateway stores the same events at the same time.
const MAX_RESTARTS: u32 = 3;
/// The reason of an event that the database itself refuses.
const REFUSED: &str = "refused";

/// Stores a batch. Invalid events are reported one by one and never make valid ones fail.
///
/// # Errors
/// [`StoreError::Invalid`] for a batch beyond its limits; any other error means that nothing was stored.
pub async fn record_batch(
    pool: &Pool,
    deadline: Deadline,
    events: Vec<Event>,
) -> StoreResult<RecordEventBatchReply> {
    let bytes: usize = events.iter().map(prost::Message::encoded_len).sum();
    if events.is_empty() || events.len() > MAX_BATCH || bytes > MAX_BATCH_BYTES {
        return Err(StoreError::Invalid(format!("a batch of {} events and {bytes} bytes", events.len())));
    }
    let events: Arc<[Event]> = events.into();
    let mut refused = Arc::new(HashSet::new());
    let mut restarts = 0;
    loop {
        let fresh = Arc::new(fresh(pool, deadline, &events, &refused).await?);
        let attempt = store(pool, deadline, &events, &fresh).await;
        match attempt {
            Ok(()) => return Ok(answer(&events, &fresh, &refused)),
            Err(error) if error.is_duplicate() && restarts < MAX_RESTARTS => restarts += 1,
            Err(error) if error.fault() == Fault::Data => {
                let found = offenders(pool, deadline, &events, &fresh).await?;
                if found.is_empty() {
                    return Err(error);
                }
                refused = Arc::new(refused.iter().copied().chain(found).collect());
            }
            Err(error) => return Err(error),
        }
    }
}

/// The events that are valid, not stored and not refused; each once.
async fn fresh(
    pool: &Pool,
    deadline: Deadline,
    events: &[Event],
    refused: &HashSet<Uuid>,
) -> StoreResult<HashSet<Uuid>> {
    let valid = events.iter().filter_map(|event| validate(event, Utc::now()).ok());
    let valid: Vec<Uuid> = valid.map(|valid| valid.uuid).collect();
    let asked = valid.clone();
    let known = session(pool, deadline, |conn| Box::pin(async move { stored(conn, &asked).await })).await?;
    Ok(valid.into_iter().filter(|id| !known.contains(id) && !refused.contains(id)).collect())
}

fn select<'a>(events: &'a [Event], wanted: &HashSet<Uuid>) -> Vec<Valid<'a>> {
    let mut seen = HashSet::new();
    let valid = events.iter().filter_map(|event| validate(event, Utc::now()).ok());
    valid.filter(|valid| wanted.contains(&valid.uuid) && seen.insert(valid.uuid)).collect()
}

async fn store(
    pool: &Pool,
    deadline: Deadline,
    events: &Arc<[Event]>,
    fresh: &Arc<HashSet<Uuid>>,
) -> StoreResult<()> {
    if fresh.is_empty() {
        return Ok(());
    }
    transaction(pool, deadline, |conn| {
        let (events, fresh) = (events.clone(), fresh.clone());
        Box::pin(async move { write(conn, &select(&events, &fresh)).await })
    })
    .await
}

/// Which events the database refuses: each is tried under its own savepoint, and everything is rolled back.
async fn offenders(
    pool: &Pool,
    deadline: Deadline,
    events: &Arc<[Event]>,
    fresh: &Arc<HashSet<Uuid>>,
) -> StoreResult<HashSet<Uuid>> {
    transaction(pool, deadline, |conn| {
        let (events, fresh) = (events.clone(), fresh.clone());
        Box::pin(async move {
            let mut found = HashSet::new();
            for valid in select(&events, &fresh) {
                conn.batch_execute("SAVEPOINT one_event").await?;
                let outcome = write(conn, &[valid]).await;
                conn.batch_execute("ROLLBACK TO SAVEPOINT one_event").await?;
                match outcome {
                    Err(error) if error.fault() == Fault::Data => {
                        tracing::warn!(event = %valid.uuid, %error, "an event cannot be stored");
                        found.insert(valid.uuid);
                    }
                    Err(error) => return Err(error),
                    Ok(()) => {}
                }
            }
            Ok(found)
        })
    })
    .await
}

fn answer(events: &[Event], fresh: &HashSet<Uuid>, refused: &HashSet<Uuid>) -> RecordEventBatchReply {
    let mut told = HashSet::new();
    let results = events.iter().map(|event| {
        let (outcome, reason) = match validate(event, Utc::now()) {
            Err(reason) => (Outcome::Rejected, reason),
            Ok(valid) if refused.contains(&valid.uuid) => (Outcome::Rejected, REFUSED),
            Ok(valid) if fresh.contains(&valid.uuid) && told.insert(valid.uuid) => (Outcome::Stored, ""),
            Ok(_) => (Outcome::Duplicate, ""),
        };
        account(event, outcome, reason);
        EventResult {
            event_uuid: event.event_uuid.clone(),
            outcome: outcome.into(),
            reason: reason.to_owned(),
        }
    });
    RecordEventBatchReply { results: results.collect() }
}

fn account(event: &Event, outcome: Outcome, reason: &'static str) {
    match outcome {
        Outcome::Stored => {
            let label: &'static str = event.event_type.parse::<EventType>().map_or("other", Into::into);
            metrics::counter!("database_events_inserted_total", "event_type" => label).increment(1);
        }
        Outcome::Duplicate => metrics::counter!("database_events_duplicate_total").increment(1),
        _ => metrics::counter!("database_events_rejected_total", "reason" => reason).increment(1),
    }
}
