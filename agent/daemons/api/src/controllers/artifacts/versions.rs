//! `GET /artifacts/{artifact_ref}/versions`: the blobs of the retained versions.

use std::collections::HashMap;

use sf_protos::blobs::BatchGetBlobsRequest;

use super::get::find;
use crate::call::Call;
use crate::controllers::objects::{Artifacts, Plain};
use crate::reply::{ApiResult, Reply};
use crate::views::VersionView;

/// Blobs of one call: with all the metadata they may have, they still make one message.
const BATCH: usize = 32;

/// Answers the blobs by ascending index.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Plain<Artifacts>) -> ApiResult {
    let artifact = find(&call, request.reference, None).await?;
    let mut versions = artifact.versions;
    let mut blobs = HashMap::new();
    for batch in versions.chunks(BATCH) {
        let blob_uuids = batch.iter().map(|version| version.blob_uuid.clone()).collect();
        let reply = call.tier(BatchGetBlobsRequest { caller: call.wire(), blob_uuids }).await?;
        blobs.extend(reply.blobs.into_iter().map(|blob| (blob.uuid.clone(), blob)));
    }
    versions.sort_by_key(|version| version.index);
    let views = versions.into_iter().filter_map(|version| {
        // Two versions may be the same blob.
        let blob = blobs.get(&version.blob_uuid).cloned()?;
        Some(VersionView::of(version.index, blob))
    });
    let views: Vec<VersionView> = views.collect();
    Ok(Reply::list(views))
}
