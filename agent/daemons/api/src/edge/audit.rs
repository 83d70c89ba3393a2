//! The trail of who did what: one audit event per object that a request changed, whatever it was answered in the end. A
//! request that changed nothing leaves none.

use http::{Method, StatusCode};
use serde_json::json;
use sf_events::event;
use sf_model::event::EventType;

use super::scope;
use crate::call::Call;
use crate::routes::Route;

pub(super) async fn record(call: &Call, route: &Route, status: StatusCode) {
    if status == StatusCode::FORBIDDEN {
        scope::refused(&call.api, &call.caller, call.source, "target");
    }
    if route.method == Method::GET {
        return;
    }
    for change in call.trail.take() {
        let entry = event(EventType::Audit, change.action)
            .object(change.object_type, change.object_id)
            .extra(json!({
                "method": route.method.as_str(),
                "route": route.path,
                "status": status.as_u16(),
                "namespace": call.caller.namespace,
                "key_name": call.caller.key_name,
                "source": call.source.to_string(),
            }));
        call.api.daemon.events.record(entry).await;
    }
}
