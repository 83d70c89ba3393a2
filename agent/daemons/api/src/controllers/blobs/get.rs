//! `GET /blobs/{blob_uuid}`.

use sf_protos::blobs::GetBlobRequest;

use crate::call::Call;
use crate::controllers::objects::{Blobs, Kind};
use crate::input::{Input, Request};
use crate::params::Fault;
use crate::reply::{ApiResult, Reply};
use crate::views::BlobView;

/// Which blob.
pub struct Get {
    blob_uuid: String,
}

impl Request for Get {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { blob_uuid: input.path(Blobs::PARAMETER, Blobs::parse)? })
    }
}

/// Answers the blob.
///
/// # Errors
/// 404 for blobs the caller cannot reach.
pub async fn handle(call: Call, request: Get) -> ApiResult {
    let request = GetBlobRequest { caller: call.wire(), blob_uuid: request.blob_uuid };
    Ok(Reply::view(BlobView::from(call.tier(request).await?.blob.unwrap_or_default())))
}
