//! `GET /artifacts`: those the caller may read.

use sf_protos::artifacts::ListArtifactsRequest;

use crate::call::Call;
use crate::input::{Input, Request};
use crate::params::{Fault, reference};
use crate::reply::{ApiResult, Reply};
use crate::views::ArtifactView;

/// Perhaps only those whose newest blob is on one node.
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
