//! Building an event. The builder cannot make one that the server would reject.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::json;
use sf_model::ObjectType;
use sf_model::event::{
    EventType, MAX_FQDN, MAX_OBJECT_ID, MAX_OBJECTS, MAX_REQUEST_ID, fit_extra, fit_message,
};
use sf_model::text::cut;
use sf_protos::events as pb;
use sf_runtime::{RequestContext, context};
use uuid::Uuid;

/// Begins an event. It becomes recordable with its first object.
pub fn event(event_type: EventType, message: impl Into<String>) -> Unaddressed {
    Unaddressed { event_type, message: message.into() }
}

/// An event about nothing yet.
#[derive(Debug, Clone)]
pub struct Unaddressed {
    event_type: EventType,
    message: String,
}

/// An event about at least one object.
#[derive(Debug, Clone)]
pub struct Event {
    pub(crate) event_type: EventType,
    pub(crate) message: String,
    pub(crate) objects: Vec<pb::EventObject>,
    pub(crate) extra: Option<String>,
    pub(crate) quiet: bool,
    pub(crate) error: bool,
    uuid: Uuid,
    duration: Option<f64>,
    context: RequestContext,
}

impl Unaddressed {
    /// Says what the event is about.
    pub fn object(self, object_type: ObjectType, id: impl ToString) -> Event {
        Event {
            event_type: self.event_type,
            message: fit_message(&self.message),
            objects: Vec::new(),
            extra: None,
            quiet: false,
            error: false,
            uuid: Uuid::now_v7(),
            duration: None,
            context: context::current(),
        }
        .object(object_type, id)
    }

    /// As [`Unaddressed::object`], about several. `None` when there are none.
    pub fn objects<I: ToString>(self, objects: impl IntoIterator<Item = (ObjectType, I)>) -> Option<Event> {
        let mut objects = objects.into_iter();
        let (object_type, id) = objects.next()?;
        Some(
            objects
                .fold(self.object(object_type, id), |event, (object_type, id)| event.object(object_type, id)),
        )
    }
}

impl Event {
    /// Adds an object; the same one again is ignored, and so are those beyond 64.
    pub fn object(mut self, object_type: ObjectType, id: impl ToString) -> Self {
        let object_id = cut(&id.to_string(), MAX_OBJECT_ID).to_owned();
        let object = pb::EventObject { object_type: object_type.to_string(), object_id };
        if !self.objects.contains(&object) && self.objects.len() < MAX_OBJECTS {
            self.objects.push(object);
        }
        self
    }

    /// How long the thing took. Absent and zero differ.
    pub fn duration(mut self, seconds: f64) -> Self {
        self.duration = Some(seconds).filter(|s| s.is_finite());
        self
    }

    /// Details as a JSON object; other values are wrapped. Secrets are replaced, what is too large is left out and
    /// said so.
    pub fn extra(mut self, extra: impl Serialize) -> Self {
        let value =
            serde_json::to_value(extra).unwrap_or_else(|e| json!({ "unserialisable": e.to_string() }));
        self.extra = Some(fit_extra(value));
        self
    }

    /// Names the request that caused the event, instead of the current context.
    pub fn caused_by(mut self, context: RequestContext) -> Self {
        self.context = context;
        self
    }

    /// Leaves out the line in the log. The event is recorded all the same.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Logs the line as an error.
    pub fn as_error(mut self) -> Self {
        self.error = true;
        self
    }

    /// The event as stored and sent, from this daemon of this node, now.
    pub(crate) fn stamp(&self, fqdn: &str, daemon: &str) -> pb::Event {
        pb::Event {
            event_uuid: self.uuid.to_string(),
            event_type: self.event_type.to_string(),
            timestamp: Some(micros(SystemTime::now())),
            fqdn: cut(fqdn, MAX_FQDN).to_owned(),
            daemon: cut(daemon, 32).to_owned(),
            duration: self.duration,
            message: self.message.clone(),
            extra_json: self.extra.clone(),
            request_id: self.request_id().map(str::to_owned),
            trace_id: self.context.trace_id.clone(),
            objects: self.objects.clone(),
        }
    }

    pub(crate) fn request_id(&self) -> Option<&str> {
        self.context.request_id.as_deref().map(|id| cut(id, MAX_REQUEST_ID))
    }

    pub(crate) fn duration_seconds(&self) -> Option<f64> {
        self.duration
    }
}

/// The database keeps microseconds; finer digits would make the stored time differ from the sent one.
fn micros(time: SystemTime) -> prost_types::Timestamp {
    let mut time = sf_protos::convert::timestamp(time);
    time.nanos -= time.nanos % 1000;
    time
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn plain() -> Event {
        event(EventType::Audit, "m").object(ObjectType::Instance, "i")
    }

    #[test]
    fn objects_are_unique_and_bounded() {
        let one = plain().object(ObjectType::Instance, "i").object(ObjectType::Network, "i");
        assert_eq!(one.objects.len(), 2);
        let many = event(EventType::Status, "m").objects((0..100).map(|n| (ObjectType::Blob, n))).unwrap();
        assert_eq!(many.objects.len(), MAX_OBJECTS);
        assert!(event(EventType::Status, "m").objects(Vec::<(ObjectType, String)>::new()).is_none());
    }

    #[test]
    fn message_and_extra_are_made_to_fit() {
        let text = |event: Event| serde_json::from_str::<Value>(&event.extra.unwrap()).unwrap();
        assert_eq!(text(plain().extra(json!({ "token": "x" }))), json!({ "token": "<redacted>" }));
        let long = event(EventType::Audit, "m".repeat(10_000)).object(ObjectType::Instance, "i");
        assert!(long.stamp("n", "d").message.ends_with('…'));
    }

    #[test]
    fn zero_seconds_is_a_duration() {
        assert_eq!(plain().duration(0.0).stamp("n", "d").duration, Some(0.0));
        assert_eq!(plain().stamp("n", "d").duration, None);
    }

    #[tokio::test]
    async fn the_request_of_the_context_is_recorded() {
        let context = RequestContext::new(Some("r-1".into()), None);
        let stamped = context::scope(context.clone(), async { plain().stamp("n", "d") }).await;
        assert_eq!((stamped.request_id, stamped.trace_id), (context.request_id, context.trace_id));
    }
}
