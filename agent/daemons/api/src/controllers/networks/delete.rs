//! `DELETE /networks/{network_ref}`: accepted; the operation ends when the network is gone everywhere.

use sf_model::ObjectType;
use sf_protos::networks::DeleteNetworkRequest;

use crate::call::Call;
use crate::controllers::objects::{Named, Networks};
use crate::reply::{ApiResult, Reply};

/// Answers the handle of the operation.
///
/// # Errors
/// 403 for the floating network; 404; 409 while instances use it.
pub async fn handle(call: Call, request: Named<Networks>) -> ApiResult {
    let selector = call.select(ObjectType::Network, request.reference, request.namespace)?;
    let wanted = DeleteNetworkRequest { context: None, caller: call.wire(), selector };
    let reply = call.tier(wanted).await?;
    call.audit(ObjectType::Network, reply.network_uuid, "network deletion requested");
    Ok(Reply::accepted(&reply.operation.unwrap_or_default()))
}
