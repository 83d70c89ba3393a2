//! Which events may be stored: pure. What the database would refuse is refused here first, with a word for it.

use chrono::{DateTime, TimeDelta, Utc};
use sf_model::event::{
    MAX_EXTRA, MAX_FQDN, MAX_MESSAGE, MAX_OBJECT_ID, MAX_OBJECTS, MAX_REQUEST_ID, is_well_formed,
};
use sf_protos::events::Event;
use uuid::Uuid;

use crate::wire;

/// Events of one batch.
pub const MAX_BATCH: usize = 100;
/// Bytes of one batch.
pub const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of a message: earlier emitters cut first and appended their ellipsis then.
const LONGEST_MESSAGE: usize = MAX_MESSAGE + '…'.len_utf8();
/// The first moment an event may name: 2000-01-01.
const EARLIEST: i64 = 946_684_800;

/// An event that may be stored.
#[derive(Debug, Clone, Copy)]
pub struct Valid<'a> {
    /// Its identity.
    pub uuid: Uuid,
    /// When it happened, by the emitter's clock.
    pub occurred_at: DateTime<Utc>,
    /// The rest.
    pub event: &'a Event,
}

/// Checks one event.
///
/// # Errors
/// The reason as `EventResult` carries it.
pub fn validate(event: &Event, now: DateTime<Utc>) -> Result<Valid<'_>, &'static str> {
    let uuid = Uuid::try_parse(&event.event_uuid).map_err(|_| "bad-uuid")?;
    if !is_well_formed(&event.event_type) {
        return Err("bad-type");
    }
    let occurred_at = event.timestamp.as_ref().and_then(wire::datetime).ok_or("bad-timestamp")?;
    if occurred_at.timestamp() < EARLIEST || occurred_at > now + TimeDelta::days(1) {
        return Err("bad-timestamp");
    }
    if event.message.is_empty() {
        return Err("empty-message");
    }
    let sizes = [
        (event.message.len(), LONGEST_MESSAGE),
        (event.fqdn.len(), MAX_FQDN),
        (event.daemon.len(), 32),
        (event.request_id.as_ref().map_or(0, String::len), MAX_REQUEST_ID),
        (event.extra_json.as_ref().map_or(0, String::len), MAX_EXTRA),
    ];
    if sizes.iter().any(|(size, most)| size > most) {
        return Err("too-large");
    }
    if event.duration.is_some_and(|duration| !duration.is_finite()) {
        return Err("bad-json");
    }
    if let Some(extra) = &event.extra_json {
        let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(extra);
        object.map_err(|_| "bad-json")?;
    }
    match event.objects.len() {
        0 => return Err("no-objects"),
        n if n > MAX_OBJECTS => return Err("too-many-objects"),
        _ => {}
    }
    let fits = |text: &str, most: usize| (1..=most).contains(&text.len());
    let object_fits = |object: &sf_protos::events::EventObject| {
        fits(&object.object_type, 32)
            && object.object_type.is_ascii()
            && fits(&object.object_id, MAX_OBJECT_ID)
    };
    if !event.objects.iter().all(object_fits) {
        return Err("bad-object");
    }
    Ok(Valid { uuid, occurred_at, event })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Timestamp;
    use sf_protos::events::EventObject;

    fn good() -> Event {
        Event {
            event_uuid: Uuid::now_v7().to_string(),
            event_type: "audit".into(),
            timestamp: Some(Timestamp { seconds: Utc::now().timestamp(), nanos: 5000 }),
            fqdn: "n".into(),
            daemon: "sf-test".into(),
            message: "m".into(),
            objects: vec![EventObject { object_type: "instance".into(), object_id: "i".into() }],
            ..Event::default()
        }
    }

    #[test]
    fn each_reason() {
        type Change = fn(&mut Event);
        let cases: [(&str, Change); 13] = [
            ("bad-uuid", |e| e.event_uuid = "x".into()),
            ("bad-type", |e| e.event_type = "Audit".into()),
            ("bad-timestamp", |e| e.timestamp = None),
            ("bad-timestamp", |e| e.timestamp = Some(Timestamp { seconds: 5, nanos: 0 })),
            ("bad-timestamp", |e| {
                e.timestamp = Some(Timestamp { seconds: Utc::now().timestamp() + 90_000, nanos: 0 });
            }),
            ("empty-message", |e| e.message.clear()),
            ("too-large", |e| e.message = "x".repeat(9000)),
            ("too-large", |e| e.request_id = Some("x".repeat(65))),
            ("bad-json", |e| e.extra_json = Some("[1]".into())),
            ("bad-json", |e| e.extra_json = Some("{".into())),
            ("no-objects", |e| e.objects.clear()),
            ("too-many-objects", |e| e.objects = vec![e.objects[0].clone(); 65]),
            ("bad-object", |e| e.objects[0].object_id.clear()),
        ];
        assert!(validate(&good(), Utc::now()).is_ok());
        for (reason, change) in cases {
            let mut event = good();
            change(&mut event);
            assert_eq!(validate(&event, Utc::now()).err(), Some(reason));
        }
    }
}
