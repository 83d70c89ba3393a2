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
    let mut deleted: Vec<String> = Vec::new();
    loop {
        // In chunks: one transaction over a whole tenant would hold its locks too long.
        let wanted = DeleteAllInstancesRequest { context: None, namespace: namespace.clone() };
        let reply = call.tier(wanted).await?;
        let progress = !reply.instance_uuids.is_empty();
        deleted.extend(reply.instance_uuids);
        if !reply.more || !progress {
            break;
        }
    }
    let answer = Reply::list(&deleted);
    Ok(deleted.iter().fold(answer, |answer, uuid| {
        answer.audit(ObjectType::Instance, uuid, "delete request from REST API")
    }))
}
