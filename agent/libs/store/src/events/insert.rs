//! Writing events and their references, inside a transaction of the caller.

use std::collections::{BTreeSet, HashSet};

use chrono::Utc;
use sf_protos::events::Event;
use uuid::Uuid;

use super::validate::{Valid, validate};
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{Bind, sql};

/// How often an insert may lose against a spool that stores the same event.
const MAX_ATTEMPTS: u32 = 3;

/// Stores events in the transaction of a mutation, as its last statements. Those that are stored already (their
/// spool was faster) are left as they are.
///
/// # Errors
/// [`StoreError::Invalid`] for an event that must not be stored: the emitter's library makes none.
pub async fn insert(conn: &mut Conn, events: &[Event]) -> StoreResult<()> {
    if events.is_empty() {
        return Ok(());
    }
    let checked: Result<Vec<Valid<'_>>, &str> =
        events.iter().map(|event| validate(event, Utc::now())).collect();
    let valid =
        checked.map_err(|reason| StoreError::Invalid(format!("an event of the context: {reason}")))?;
    let identities: Vec<Uuid> = valid.iter().map(|event| event.uuid).collect();
    let mut attempts = 0;
    loop {
        let stored = stored(conn, &identities).await?;
        let fresh: Vec<Valid<'_>> =
            valid.iter().filter(|event| !stored.contains(&event.uuid)).cloned().collect();
        match write(conn, &fresh).await {
            // A spool stored one of them since we looked; the failed statement left nothing, so look again.
            Err(error) if error.is_duplicate() && attempts < MAX_ATTEMPTS => attempts += 1,
            outcome => return outcome,
        }
    }
}

/// Which of these events exist.
pub(super) async fn stored(conn: &mut Conn, events: &[Uuid]) -> StoreResult<HashSet<Uuid>> {
    if events.is_empty() {
        return Ok(HashSet::new());
    }
    let query = sql("SELECT event_uuid AS value FROM events WHERE event_uuid IN ");
    Ok(query.list(events.iter().copied()).values(conn).await?.into_iter().collect())
}

/// Two multi-row inserts.
pub(super) async fn write(conn: &mut Conn, events: &[Valid<'_>]) -> StoreResult<()> {
    if events.is_empty() {
        return Ok(());
    }
    let received = crate::clock::read(conn).await?;
    let columns = "INSERT INTO events (event_uuid, event_type, occurred_at, received_at, fqdn, daemon, duration, message, \
         extra, request_id, trace_id) VALUES ";
    sql(columns).tuples(events.iter().map(|valid| event_row(valid, received))).run(conn).await?;
    let references = events.iter().flat_map(reference_rows);
    sql("INSERT INTO event_objects (object_type, object_id, occurred_at, event_uuid, event_type) VALUES ")
        .tuples(references)
        .run(conn)
        .await?;
    Ok(())
}

fn event_row(valid: &Valid<'_>, received: chrono::DateTime<Utc>) -> Vec<Bind> {
    let event = valid.event;
    let daemon = Some(&event.daemon).filter(|daemon| !daemon.is_empty());
    let trace_id = event.trace_id.as_ref().filter(|id| id.len() == 32 && id.is_ascii());
    vec![
        valid.uuid.into(),
        (&event.event_type).into(),
        valid.occurred_at.into(),
        received.into(),
        (&event.fqdn).into(),
        daemon.into(),
        event.duration.into(),
        (&event.message).into(),
        event.extra_json.as_ref().into(),
        event.request_id.as_ref().into(),
        trace_id.into(),
    ]
}

fn reference_rows<'a>(valid: &'a Valid<'a>) -> impl Iterator<Item = Vec<Bind>> + 'a {
    let event = valid.event;
    let objects: BTreeSet<(&str, &str)> =
        event.objects.iter().map(|o| (o.object_type.as_str(), o.object_id.as_str())).collect();
    objects.into_iter().map(|(object_type, object_id)| {
        vec![
            object_type.into(),
            object_id.into(),
            valid.occurred_at.into(),
            valid.uuid.into(),
            (&event.event_type).into(),
        ]
    })
}
