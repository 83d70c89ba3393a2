//! `GET /artifacts`: those the caller may read.

use sf_protos::artifacts::ListArtifactsRequest;

use crate::call::Call;
use crate::controllers::objects::OnNode;
use crate::reply::{ApiResult, Reply};
use crate::views::ArtifactView;

/// Answers the list.
///
/// # Errors
/// 404 for an unknown node.
pub async fn handle(call: Call, request: OnNode) -> ApiResult {
    let artifacts = call
        .all(
            |page| ListArtifactsRequest {
                caller: call.wire(),
                node_reference: request.node.clone(),
                page: Some(page),
            },
            |reply| (reply.artifacts, reply.page),
        )
        .await?;
    Ok(Reply::list(artifacts.into_iter().map(ArtifactView::from)))
}
