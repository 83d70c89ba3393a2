//! `GET /nodes`: deleted ones included.

use sf_protos::nodes::ListNodesRequest;

use crate::call::Call;
use crate::input::Nothing;
use crate::reply::{ApiResult, Reply};
use crate::views::NodeView;

/// Answers the list.
///
/// # Errors
/// 503.
pub async fn handle(call: Call, _: Nothing) -> ApiResult {
    let nodes = call
        .all(
            |page| ListNodesRequest { page: Some(page), include_deleted: true },
            |reply| (reply.nodes, reply.page),
        )
        .await?;
    Ok(Reply::list(nodes.into_iter().map(NodeView::from)))
}
