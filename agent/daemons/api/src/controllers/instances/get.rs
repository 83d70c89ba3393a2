//! `GET /instances/{instance_ref}`.

use sf_model::ObjectType;
use sf_protos::instances::{GetInstanceRequest, Instance};

use crate::call::Call;
use crate::controllers::objects::{Instances, Named};
use crate::error::ApiError;
use crate::reply::{ApiResult, Reply};
use crate::views::InstanceView;

/// Answers the instance.
///
/// # Errors
/// 404; 400 for an ambiguous name.
pub async fn handle(call: Call, request: Named<Instances>) -> ApiResult {
    let instance = find(&call, request.reference, request.namespace).await?;
    Ok(Reply::view(InstanceView::from(instance)))
}

/// An instance of the caller's.
///
/// # Errors
/// 404; 400 for an ambiguous name.
pub(super) async fn find(
    call: &Call,
    reference: String,
    namespace: Option<String>,
) -> Result<Instance, ApiError> {
    let selector = call.select(ObjectType::Instance, reference, namespace)?;
    let request = GetInstanceRequest { caller: call.wire(), selector };
    Ok(call.tier(request).await?.instance.unwrap_or_default())
}
