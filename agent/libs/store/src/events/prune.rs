//! Removing what is older than its retention, in small transactions. An event lives until its last reference is gone.

use std::time::{Duration, Instant};

use sf_config::Retention;
use sf_model::ObjectType;
use sf_model::event::EventType;
use sf_model::operation::OperationType;
use sf_protos::events::{PruneEventsReply, PrunedCount, PurgeObjectEventsReply};
use strum::IntoEnumIterator;
use uuid::Uuid;

use super::sweep::sweep;
use crate::conn::{Conn, Pool};
use crate::context::{Fence, Settings};
use crate::error::{StoreError, StoreResult};
use crate::sql::{Sql, sql};
use crate::transaction::{Deadline, transaction};

/// Events touched by one transaction.
pub(super) const CHUNK: u64 = 500;
/// Pause between transactions, so that pruning never starves recording.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// How much one call may do.
#[derive(Debug, Clone, Copy)]
pub struct PruneBudget {
    /// References.
    pub rows: u64,
    /// Time.
    pub time: Duration,
}

/// One class of references with one retention.
#[derive(Debug, Clone)]
struct Class {
    label: String,
    condition: Sql,
}

/// Prunes until nothing is left to do or the budget is used up, verifying the leader's fence in each transaction.
///
/// # Errors
/// [`crate::reason::LOCK_LOST`] when the caller is not the leader any more, or the database fails. What was pruned
/// stays pruned.
pub async fn prune(
    pool: &Pool,
    settings: &Settings,
    fence: &Fence,
    budget: PruneBudget,
) -> StoreResult<PruneEventsReply> {
    let began = Instant::now();
    let mut reply = PruneEventsReply::default();
    let mut rows = 0;
    for class in classes(settings) {
        let mut chunk = CHUNK;
        let mut pruned = 0;
        loop {
            if rows >= budget.rows || began.elapsed() >= budget.time {
                reply.more = true;
                break;
            }
            let outcome = prune_chunk(pool, fence, &class, chunk).await;
            let (references, events, picked) = match outcome {
                Err(StoreError::Contended { .. }) if chunk > 1 => {
                    chunk /= 2;
                    continue;
                }
                other => other?,
            };
            rows += references;
            pruned += references;
            reply.events_deleted += events;
            if picked < chunk {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if pruned > 0 {
            metrics::counter!("database_events_pruned_total", "event_type" => class.label.clone())
                .increment(pruned);
            reply.pruned.push(PrunedCount { label: class.label, rows: pruned });
        }
    }
    if !reply.more {
        let swept = sweep(pool, fence, began, budget.time).await?;
        reply.events_deleted += swept.removed;
        reply.more = swept.more;
    }
    Ok(reply)
}

/// Removes every reference to an object, and the events that only it had.
///
/// # Errors
/// The database fails.
pub async fn purge_object(
    pool: &Pool,
    object_type: &str,
    object_id: &str,
) -> StoreResult<PurgeObjectEventsReply> {
    let condition = sql("object_type = ? AND object_id = ?").bind(object_type).bind(object_id);
    let mut reply = PurgeObjectEventsReply::default();
    loop {
        let condition = condition.clone();
        let (references, events, picked) = transaction(pool, Deadline::default(), move |conn| {
            let condition = condition.clone();
            Box::pin(async move { remove(conn, &condition, CHUNK).await })
        })
        .await?;
        reply.references_deleted += references;
        reply.events_deleted += events;
        if picked < CHUNK {
            return Ok(reply);
        }
    }
}

/// Removes an object's references of little lasting value, in the transaction of its hard delete. Of a very long
/// history a rest remains and ages out.
///
/// # Errors
/// The database fails.
pub async fn drop_low_value(conn: &mut Conn, object_type: ObjectType, object_id: &str) -> StoreResult<()> {
    if object_type == ObjectType::Operation {
        return Ok(());
    }
    let low = [EventType::Status, EventType::Usage, EventType::Resources, EventType::Prune];
    let condition = sql("object_type = ? AND object_id = ? AND event_type IN ")
        .bind(object_type)
        .bind(object_id)
        .list(low.map(|event_type| event_type.to_string()));
    for _ in 0..4 {
        let (_, _, picked) = remove(conn, &condition, CHUNK).await?;
        if picked < CHUNK {
            break;
        }
    }
    Ok(())
}

async fn prune_chunk(pool: &Pool, fence: &Fence, class: &Class, chunk: u64) -> StoreResult<(u64, u64, u64)> {
    transaction(pool, Deadline::default(), |conn| {
        let (fence, condition) = (fence.clone(), class.condition.clone());
        Box::pin(async move {
            let removed = remove(conn, &condition, chunk).await?;
            crate::locks::verify(conn, &fence).await?;
            Ok(removed)
        })
    })
    .await
}

/// Removes the references of at most `chunk` events that meet the condition, and of those events the ones that have no
/// reference left. Answers references, events, and how many events were looked at.
async fn remove(conn: &mut Conn, condition: &Sql, chunk: u64) -> StoreResult<(u64, u64, u64)> {
    let pick = sql("SELECT DISTINCT event_uuid AS value FROM event_objects WHERE ").append(condition.clone());
    let touched: Vec<Uuid> = pick.push(" LIMIT ?").bind(chunk).values(conn).await?;
    if touched.is_empty() {
        return Ok((0, 0, 0));
    }
    let references = sql("DELETE FROM event_objects WHERE event_uuid IN ")
        .list(touched.iter().copied())
        .push(" AND ")
        .append(condition.clone())
        .run(conn)
        .await?;
    let orphans = "AND NOT EXISTS (SELECT 1 FROM event_objects o WHERE o.event_uuid = events.event_uuid)";
    let events = sql("DELETE FROM events WHERE event_uuid IN ")
        .list(touched.iter().copied())
        .push(orphans)
        .run(conn)
        .await?;
    Ok((references as u64, events as u64, touched.len() as u64))
}

/// Every class of references that ages.
fn classes(settings: &Settings) -> Vec<Class> {
    let operations: Vec<String> =
        OperationType::iter().map(|t| t.to_string()).chain([ObjectType::Operation.to_string()]).collect();
    let requests = ObjectType::ApiRequest.to_string();
    let overridden: Vec<String> = operations.iter().cloned().chain([requests.clone()]).collect();
    let by_type = |event_type: EventType, age: Retention| {
        let condition = age_condition(sql("event_type = ?").bind(event_type.to_string()), age)?;
        let condition = condition.push(" AND object_type NOT IN ").list(overridden.clone());
        Some(Class { label: event_type.to_string(), condition })
    };
    let ages = [
        (EventType::Audit, settings.max_audit_event_age),
        (EventType::Mutate, settings.max_mutate_event_age),
        (EventType::Status, settings.max_status_event_age),
        (EventType::Usage, settings.max_usage_event_age),
        (EventType::Resources, settings.max_resources_event_age),
        (EventType::Prune, settings.max_prune_event_age),
        (EventType::Health, settings.max_health_event_age),
        (EventType::Historic, settings.max_historic_event_age),
    ];
    let mut classes: Vec<Class> = ages.into_iter().filter_map(|(t, age)| by_type(t, age)).collect();
    let known = sql("event_type NOT IN ").list(EventType::iter().map(|t| t.to_string()));
    if let Some(condition) = age_condition(known, settings.max_historic_event_age) {
        let condition = condition.push(" AND object_type NOT IN ").list(overridden.clone());
        classes.push(Class { label: "other".to_owned(), condition });
    }
    let of_objects = [
        ("api-request", vec![requests], settings.max_api_request_event_age),
        ("operation", operations, settings.max_operation_event_age),
    ];
    for (label, types, age) in of_objects {
        if let Some(condition) = age_condition(sql("object_type IN ").list(types), age) {
            classes.push(Class { label: label.to_owned(), condition });
        }
    }
    classes
}

/// Adds the age to a condition; `None` for what is kept for ever.
fn age_condition(condition: Sql, age: Retention) -> Option<Sql> {
    let Retention::Seconds(seconds) = age else { return None };
    Some(condition.push(" AND occurred_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND").bind(seconds))
}
