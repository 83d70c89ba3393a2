//! `DELETE …/keys/{key_name}`.

use http::StatusCode;
use sf_events::event;
use sf_gateway::{CallClass, DbError};
use sf_model::ObjectType;
use sf_model::event::EventType;
use sf_protos::namespaces::DeleteKeyRequest;

use super::secret::key_name;
use crate::call::Call;
use crate::controllers::objects::{Kind, Namespaces};
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::params::Fault;
use crate::reply::{ApiResult, Reply};

/// Which key.
pub struct Delete {
    namespace: String,
    key_name: String,
}

impl Request for Delete {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            namespace: input.path(Namespaces::PARAMETER, Namespaces::parse)?,
            key_name: input.path("key_name", key_name)?,
        })
    }
}

/// Answers null; the key's tokens are dead.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Delete) -> ApiResult {
    let entry = event(EventType::Audit, "credential deletion requested")
        .object(ObjectType::Namespace, &request.namespace)
        .extra(serde_json::json!({ "key_name": request.key_name }));
    call.api.daemon.events.record_durable(entry).await;
    let wanted =
        DeleteKeyRequest { context: None, namespace: request.namespace.clone(), key_name: request.key_name };
    match call.api.daemon.gateway.call(CallClass::Interactive, wanted).await {
        Ok(_) => {
            call.audit(ObjectType::Namespace, request.namespace, "key deleted");
            Ok(Reply::null())
        }
        Err(DbError::NotFound { object_type, .. }) if object_type == ObjectType::NamespaceKey.to_string() => {
            Err(ApiError::new(StatusCode::NOT_FOUND, "key name not found in namespace"))
        }
        Err(error) => Err(error.into()),
    }
}
