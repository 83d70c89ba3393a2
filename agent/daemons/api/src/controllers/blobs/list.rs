//! `GET /blobs`, for administrators.

use sf_protos::blobs::ListBlobsRequest;

use crate::call::Call;
use crate::controllers::objects::OnNode;
use crate::reply::{ApiResult, Reply};
use crate::views::BlobView;

/// Answers the list.
///
/// # Errors
/// 404 for an unknown node.
pub async fn handle(call: Call, request: OnNode) -> ApiResult {
    let blobs = call
        .all(
            |page| ListBlobsRequest {
                caller: call.wire(),
                node_reference: request.node.clone(),
                page: Some(page),
            },
            |reply| (reply.blobs, reply.page),
        )
        .await?;
    Ok(Reply::list(blobs.into_iter().map(BlobView::from)))
}
