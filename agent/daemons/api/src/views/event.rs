//! Events (`rest-api.md` §2.8).

use serde::Serialize;
use serde_json::{Map, Value};
use sf_protos::events::Event;

use super::seconds;

/// One event of an object's history.
#[derive(Debug, Serialize)]
pub struct EventView {
    event_uuid: String,
    timestamp: f64,
    r#type: String,
    event_type: String,
    fqdn: String,
    daemon: String,
    duration: Option<f64>,
    message: String,
    extra: Map<String, Value>,
    request_id: Option<String>,
    trace_id: Option<String>,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        let extra = event.extra_json.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Self {
            event_uuid: event.event_uuid,
            timestamp: seconds(event.timestamp.as_ref()).unwrap_or(0.0),
            r#type: event.event_type.clone(),
            event_type: event.event_type,
            fqdn: event.fqdn,
            daemon: event.daemon,
            duration: event.duration,
            message: event.message,
            extra: extra.unwrap_or_default(),
            request_id: event.request_id,
            trace_id: event.trace_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn an_event_looks_like_this() {
        insta::assert_json_snapshot!("event", EventView::from(samples::event()));
        insta::assert_json_snapshot!("event_bare", EventView::from(Event::default()));
    }
}
