//! `GET /blobs`, for administrators.

use sf_protos::blobs::ListBlobsRequest;

use crate::call::Call;
use crate::input::{Input, Request};
use crate::params::{Fault, reference};
use crate::reply::{ApiResult, Reply};
use crate::views::BlobView;

/// Perhaps only those of one node.
pub struct List {
    node: Option<String>,
}

impl Request for List {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { node: input.fields.blankable("node", reference)? })
    }
}

/// Answers the list.
///
/// # Errors
/// 404 for an unknown node.
pub async fn handle(call: Call, request: List) -> ApiResult {
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
