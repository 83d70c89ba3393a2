//! `DELETE /instances`: all instances of a namespace.

use sf_model::ObjectType;
use sf_protos::instances::DeleteAllInstancesRequest;

use crate::call::Call;
use crate::controllers::artifacts::delete_all::Confirmed;
use crate::reply::{ApiResult, Reply};

/// Answers the UUIDs of those being deleted.
///
/// # Errors
/// 400 for an administrator who does not say which namespace; 403 for a foreign one.
pub async fn handle(call: Call, request: Confirmed) -> ApiResult {
    let namespace = call.namespace_to_empty(request.namespace)?;
    let next = || DeleteAllInstancesRequest { context: None, namespace: namespace.clone() };
    let change = (ObjectType::Instance, "delete request from REST API");
    let deleted = call.until_none_left(change, next, |reply| (reply.instance_uuids, reply.more)).await?;
    Ok(Reply::list(deleted))
}
