//! `DELETE /instances/{instance_ref}`: marked at once, torn down afterwards.

use sf_model::ObjectType;
use sf_protos::instances::DeleteInstanceRequest;

use crate::call::Call;
use crate::controllers::objects::{Instances, Named};
use crate::reply::{ApiResult, Reply};
use crate::views::InstanceView;

/// Answers the instance, in `delete-wait`.
///
/// # Errors
/// 404, also when it is deleted already.
pub async fn handle(call: Call, request: Named<Instances>) -> ApiResult {
    let selector = call.select(ObjectType::Instance, request.reference, request.namespace)?;
    let wanted = DeleteInstanceRequest { context: None, caller: call.wire(), selector };
    let instance = call.tier(wanted).await?.instance.unwrap_or_default();
    call.audit(ObjectType::Instance, &instance.uuid, "delete request from REST API");
    Ok(Reply::view(InstanceView::from(instance)))
}
