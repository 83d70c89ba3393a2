//! `GET /artifacts/{artifact_ref}/versions`: the blobs of the retained versions.

use std::collections::HashMap;

use sf_protos::blobs::BatchGetBlobsRequest;

use super::get::find;
use crate::call::Call;
use crate::controllers::objects::{Artifacts, Plain};
use crate::reply::{ApiResult, Reply};
use crate::views::VersionView;

/// Answers the blobs by ascending index.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Plain<Artifacts>) -> ApiResult {
    let artifact = find(&call, request.reference, None).await?;
    let blob_uuids: Vec<String> = artifact.versions.iter().map(|version| version.blob_uuid.clone()).collect();
    if blob_uuids.is_empty() {
        return Ok(Reply::list(Vec::<VersionView>::new()));
    }
    let reply = call.tier(BatchGetBlobsRequest { caller: call.wire(), blob_uuids }).await?;
    let blobs: HashMap<String, _> = reply.blobs.into_iter().map(|blob| (blob.uuid.clone(), blob)).collect();
    let mut versions = artifact.versions;
    versions.sort_by_key(|version| version.index);
    let views = versions.into_iter().filter_map(|version| {
        // Two versions may be the same blob.
        let blob = blobs.get(&version.blob_uuid).cloned()?;
        Some(VersionView::of(version.index, blob))
    });
    let views: Vec<VersionView> = views.collect();
    Ok(Reply::list(views))
}
