//! `GET /nodes/{node}`.

use sf_protos::nodes::GetNodeRequest;

use crate::call::Call;
use crate::controllers::objects::{Nodes, Plain};
use crate::reply::{ApiResult, Reply};
use crate::views::NodeView;

/// Answers the node.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Plain<Nodes>) -> ApiResult {
    let reply = call.tier(GetNodeRequest { reference: request.reference }).await?;
    Ok(Reply::view(NodeView::from(reply.node.unwrap_or_default())))
}
