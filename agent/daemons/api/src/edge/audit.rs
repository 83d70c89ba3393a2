//! The trail of who did what: one audit event per object that a request changed. A refused request leaves none.

use http::Method;
use serde_json::json;
use sf_events::event;
use sf_model::event::EventType;

use crate::call::Call;
use crate::reply::Audited;
use crate::routes::Route;

pub(super) async fn record(call: &Call, route: &Route, audited: Vec<Audited>) {
    if route.method == Method::GET {
        return;
    }
    for audited in audited {
        let entry = event(EventType::Audit, audited.action)
            .object(audited.object_type, audited.object_id)
            .extra(json!({
                "method": route.method.as_str(),
                "route": route.path,
                "namespace": call.caller.namespace,
                "key_name": call.caller.key_name,
                "source": call.source.to_string(),
            }));
        call.api.daemon.events.record(entry).await;
    }
}
