//! `DELETE /auth/namespaces/{namespace}`: only of an empty one.

use sf_events::event;
use sf_model::ObjectType;
use sf_model::access::SYSTEM_NAMESPACE;
use sf_model::event::EventType;
use sf_protos::namespaces::{DeleteNamespaceRequest, GetNamespaceRequest};

use crate::call::Call;
use crate::controllers::objects::{Namespaces, Plain};
use crate::error::ApiError;
use crate::reply::{ApiResult, Reply};

/// Answers null when the namespace, its keys and its artifacts are gone.
///
/// # Errors
/// 403 for `system`; 404; 400 while it has instances or networks.
pub async fn handle(call: Call, request: Plain<Namespaces>) -> ApiResult {
    let name = request.reference;
    if name == SYSTEM_NAMESPACE {
        return Err(ApiError::forbidden("the system namespace cannot be deleted"));
    }
    call.tier(GetNamespaceRequest { caller: call.wire(), name: name.clone() }).await?;
    // The record must be safe before the act: nothing of the namespace remains to tell of it.
    let entry = event(EventType::Audit, "namespace deletion requested").object(ObjectType::Namespace, &name);
    call.api.daemon.events.record_durable(entry).await;
    // Its artifacts go first, a few with each call.
    while call.tier(DeleteNamespaceRequest { context: None, name: name.clone() }).await?.more {}
    call.audit(ObjectType::Namespace, name, "namespace deleted");
    Ok(Reply::null())
}
