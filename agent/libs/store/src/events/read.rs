//! The newest events of one object: two index ranges, however many events the object has.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use prost::Message;
use sf_protos::events::{Event, EventCursor, EventRow, GetObjectEventsReply, GetObjectEventsRequest};
use uuid::Uuid;

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};
use crate::wire;

/// Rows of one reply.
const MAX_ROWS: u32 = 250;
/// Bytes of one reply.
const MAX_BYTES: usize = 1024 * 1024;

rows! {
    struct Key {
        event_uuid: Uuid,
        occurred_at: DateTime<Utc>,
    }

    struct Row {
        event_uuid: Uuid,
        event_type: String,
        occurred_at: DateTime<Utc>,
        received_at: DateTime<Utc>,
        fqdn: String,
        daemon: Option<String>,
        duration: Option<f64>,
        message: String,
        extra: Option<String>,
        request_id: Option<String>,
        trace_id: Option<String>,
    }
}

/// Events of an object, newest first.
///
/// # Errors
/// [`StoreError::Invalid`] for a cursor that was not made by this function.
pub async fn object_events(
    conn: &mut Conn,
    request: &GetObjectEventsRequest,
) -> StoreResult<GetObjectEventsReply> {
    let limit = request.limit.clamp(1, MAX_ROWS);
    let mut query =
        sql("SELECT event_uuid, occurred_at FROM event_objects WHERE object_type = ? AND object_id = ?")
            .bind(&request.object_type)
            .bind(&request.object_id);
    if let Some(event_type) = &request.event_type {
        query = query.push(" AND event_type = ?").bind(event_type);
    }
    if let Some(before) = &request.before {
        let (time, uuid) = cursor(before)?;
        // The first condition alone bounds the range; a row comparison would not.
        query = query.push(" AND occurred_at <= ? AND (occurred_at < ? OR event_uuid < ?)");
        query = query.bind(time).bind(time).bind(uuid);
    }
    let query = query.push(" ORDER BY occurred_at DESC, event_uuid DESC LIMIT ?").bind(limit + 1);
    let mut keys: Vec<Key> = query.all(conn).await?;
    let mut more = keys.len() > limit as usize;
    keys.truncate(limit as usize);
    if keys.is_empty() {
        return Ok(GetObjectEventsReply::default());
    }
    let columns = "SELECT event_uuid, event_type, occurred_at, received_at, fqdn, daemon, duration, message, extra, \
         request_id, trace_id FROM events WHERE event_uuid IN ";
    let rows: Vec<Row> = sql(columns).list(keys.iter().map(|key| key.event_uuid)).all(conn).await?;
    let mut found: HashMap<Uuid, Row> = rows.into_iter().map(|row| (row.event_uuid, row)).collect();
    let mut events = Vec::new();
    let mut bytes = 0;
    let mut last = None;
    for key in keys {
        // Pruned between the two queries.
        let Some(row) = found.remove(&key.event_uuid) else { continue };
        let row = view(row);
        bytes += row.encoded_len();
        if bytes > MAX_BYTES && !events.is_empty() {
            more = true;
            break;
        }
        last = Some(EventCursor {
            timestamp: Some(wire::timestamp(key.occurred_at)),
            event_uuid: key.event_uuid.to_string(),
        });
        events.push(row);
    }
    Ok(GetObjectEventsReply { events, more, next: last.filter(|_| more) })
}

fn cursor(cursor: &EventCursor) -> StoreResult<(DateTime<Utc>, Uuid)> {
    let time = cursor.timestamp.as_ref().and_then(wire::datetime);
    let time = time.ok_or_else(|| StoreError::invalid("before: no valid time"))?;
    Ok((time, wire::parse("before", &cursor.event_uuid)?))
}

fn view(row: Row) -> EventRow {
    let event = Event {
        event_uuid: row.event_uuid.to_string(),
        event_type: row.event_type,
        timestamp: Some(wire::timestamp(row.occurred_at)),
        fqdn: row.fqdn,
        daemon: row.daemon.unwrap_or_default(),
        duration: row.duration,
        message: row.message,
        extra_json: row.extra,
        request_id: row.request_id,
        trace_id: row.trace_id,
        // Known to whoever asked; other references of the event are not part of the view.
        objects: Vec::new(),
    };
    EventRow { event: Some(event), received_at: Some(wire::timestamp(row.received_at)) }
}
