//! `POST /nodes/{node}/cordon` and `/uncordon`: whether new instances go to a node.

use sf_model::ObjectType;
use sf_protos::nodes::SetNodeSchedulableRequest;

use crate::call::Call;
use crate::controllers::objects::{Nodes, Plain};
use crate::reply::{ApiResult, Reply};
use crate::views::NodeView;

/// Answers the node.
///
/// # Errors
/// 404.
pub async fn cordon(call: Call, request: Plain<Nodes>) -> ApiResult {
    set(call, request, false, "node cordoned").await
}

/// Answers the node.
///
/// # Errors
/// 404.
pub async fn uncordon(call: Call, request: Plain<Nodes>) -> ApiResult {
    set(call, request, true, "node uncordoned").await
}

async fn set(call: Call, request: Plain<Nodes>, schedulable: bool, action: &'static str) -> ApiResult {
    let wanted = SetNodeSchedulableRequest {
        context: None,
        reference: request.reference,
        schedulable,
        draining: schedulable.then_some(false),
    };
    let node = call.tier(wanted).await?.node.unwrap_or_default();
    call.audit(ObjectType::Node, &node.uuid, action);
    Ok(Reply::view(NodeView::from(node)))
}
