//! `GET /blobs/{blob_uuid}`.

use sf_protos::blobs::GetBlobRequest;

use crate::call::Call;
use crate::controllers::objects::{Blobs, Plain};
use crate::reply::{ApiResult, Reply};
use crate::views::BlobView;

/// Answers the blob.
///
/// # Errors
/// 404 for blobs the caller cannot reach.
pub async fn handle(call: Call, request: Plain<Blobs>) -> ApiResult {
    let request = GetBlobRequest { caller: call.wire(), blob_uuid: request.reference };
    Ok(Reply::view(BlobView::from(call.tier(request).await?.blob.unwrap_or_default())))
}
