//! Formats of spooled rows. Every format up to the current one can be read for ever.

use prost::Message;
use serde_json::{Map, Value};
use sf_protos::events as pb;
use uuid::Uuid;

/// The format that is written: the protobuf message that the call carries.
pub const CURRENT_FORMAT: i64 = 2;

/// Why a row cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer build. To be left in place.
    #[error("format {0} is newer than this build; upgrade the agent to drain it")]
    Newer(i64),
    /// Not what its format says. To be quarantined.
    #[error("undecodable: {0}")]
    Damaged(String),
}

/// The payload of an event in the current format.
pub fn encode(event: &pb::Event) -> Vec<u8> {
    event.encode_to_vec()
}

/// Reads a row. Rows of format 0 have no identity of their own: it is derived from the spool and the sequence, so that
/// sending twice stores once.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(spool_id: Uuid, sequence: i64, format: i64, payload: &[u8]) -> Result<pb::Event, DecodeError> {
    match format {
        0 => from_json(payload, |event, fields| {
            let derived = Uuid::new_v5(&spool_id, sequence.to_string().as_bytes()).to_string();
            event.event_uuid = text(fields, "event_uuid").unwrap_or(derived);
            let mut extra = object(event.extra_json.as_deref())?;
            event.request_id = extra.remove("request-id").and_then(|id| id.as_str().map(str::to_owned));
            event.extra_json = (!extra.is_empty()).then(|| Value::Object(extra).to_string());
            Ok(())
        }),
        1 => from_json(payload, |event, fields| {
            event.event_uuid = text(fields, "event_uuid").ok_or_else(|| damaged("no event_uuid"))?;
            event.request_id = text(fields, "request_id");
            Ok(())
        }),
        CURRENT_FORMAT => pb::Event::decode(payload).map_err(|e| DecodeError::Damaged(e.to_string())),
        newer => Err(DecodeError::Newer(newer)),
    }
}

/// What formats 0 and 1 share; `finish` adds what differs.
fn from_json(
    payload: &[u8],
    finish: impl FnOnce(&mut pb::Event, &Map<String, Value>) -> Result<(), DecodeError>,
) -> Result<pb::Event, DecodeError> {
    let fields: Map<String, Value> =
        serde_json::from_slice(payload).map_err(|e| DecodeError::Damaged(e.to_string()))?;
    let seconds = fields.get("timestamp").and_then(Value::as_f64).ok_or_else(|| damaged("no timestamp"))?;
    let mut event = pb::Event {
        event_type: text(&fields, "event_type").ok_or_else(|| damaged("no event_type"))?,
        timestamp: Some(from_unix(seconds)),
        fqdn: text(&fields, "fqdn").unwrap_or_default(),
        daemon: text(&fields, "daemon").unwrap_or_default(),
        duration: fields.get("duration").and_then(Value::as_f64),
        message: text(&fields, "message").unwrap_or_default(),
        extra_json: match fields.get("extra") {
            None | Some(Value::Null) => None,
            Some(Value::String(encoded)) => Some(encoded.clone()),
            Some(other) => Some(other.to_string()),
        },
        objects: objects(fields.get("objects"))?,
        ..pb::Event::default()
    };
    finish(&mut event, &fields)?;
    Ok(event)
}

/// Pairs `["instance", "<uuid>"]`, or maps `{object_type, object_uuid}`.
fn objects(value: Option<&Value>) -> Result<Vec<pb::EventObject>, DecodeError> {
    let items = value.and_then(Value::as_array).ok_or_else(|| damaged("no objects"))?;
    items.iter().map(|item| one_object(item).ok_or_else(|| damaged("an object is not a pair"))).collect()
}

fn one_object(item: &Value) -> Option<pb::EventObject> {
    let (object_type, object_id) = match item {
        Value::Array(pair) => (pair.first()?, pair.get(1)?),
        Value::Object(map) => {
            (map.get("object_type")?, map.get("object_uuid").or_else(|| map.get("object_id"))?)
        }
        _ => return None,
    };
    Some(pb::EventObject {
        object_type: object_type.as_str()?.to_owned(),
        object_id: object_id.as_str()?.to_owned(),
    })
}

fn object(extra: Option<&str>) -> Result<Map<String, Value>, DecodeError> {
    match extra {
        None | Some("") => Ok(Map::new()),
        Some(text) => serde_json::from_str(text).map_err(|e| DecodeError::Damaged(format!("extra: {e}"))),
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn damaged(why: &str) -> DecodeError {
    DecodeError::Damaged(why.to_owned())
}

fn from_unix(seconds: f64) -> prost_types::Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "event times lie within the range of i64 microseconds"
    )]
    let micros = (seconds * 1e6).round() as i64;
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap_or(0);
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOOL: Uuid = Uuid::from_u128(7);

    #[test]
    fn format_0_gets_a_stable_identity_and_its_request() {
        let row = br#"{"event_type":"audit","timestamp":1700000000.5,"fqdn":"n","duration":0,"message":"m",
            "extra":"{\"request-id\":\"r-1\",\"a\":1}","objects":[["instance","i-1"]]}"#;
        let first = decode(SPOOL, 5, 0, row).unwrap();
        assert_eq!(first, decode(SPOOL, 5, 0, row).unwrap());
        assert_ne!(first.event_uuid, decode(SPOOL, 6, 0, row).unwrap().event_uuid);
        assert_eq!(first.request_id.as_deref(), Some("r-1"));
        assert_eq!(first.extra_json.as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(first.duration, Some(0.0));
        assert_eq!(first.timestamp.unwrap().nanos, 500_000_000);
    }

    #[test]
    fn format_1_takes_both_spellings_of_objects() {
        let row = br#"{"event_uuid":"u","request_id":"r","event_type":"status","timestamp":1,"message":"m",
            "extra":{"a":1},"objects":[["network","n"],{"object_type":"instance","object_uuid":"i"}]}"#;
        let event = decode(SPOOL, 1, 1, row).unwrap();
        assert_eq!((event.event_uuid.as_str(), event.request_id.as_deref()), ("u", Some("r")));
        assert_eq!(event.objects.len(), 2);
        assert_eq!(event.extra_json.as_deref(), Some(r#"{"a":1}"#));
    }

    #[test]
    fn newer_formats_are_told_from_damage() {
        assert_eq!(decode(SPOOL, 1, 3, b""), Err(DecodeError::Newer(3)));
        for (format, bytes) in [(0, &b"{"[..]), (1, b"{}"), (2, b"\xff\xff\xff")] {
            assert!(matches!(decode(SPOOL, 1, format, bytes), Err(DecodeError::Damaged(_))), "{format}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_current_format_round_trips(message in ".*", id in ".*", duration in proptest::option::of(-1e9_f64..1e9)) {
            let event = pb::Event {
                event_uuid: Uuid::now_v7().to_string(), message, duration,
                objects: vec![pb::EventObject { object_type: "instance".into(), object_id: id }],
                ..Default::default()
            };
            assert_eq!(decode(SPOOL, 1, CURRENT_FORMAT, &encode(&event)), Ok(event));
        }

        #[test]
        fn damage_never_panics(format in 0_i64..4, bytes: Vec<u8>) {
            let _ = decode(SPOOL, 1, format, &bytes);
        }
    }
}
