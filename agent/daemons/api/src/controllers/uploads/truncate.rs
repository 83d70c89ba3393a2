//! `POST /upload/{upload_uuid}/truncate/{offset}`: back to a size the client knows is right.

use sf_model::{ObjectType, UploadId};

use crate::call::Call;
use crate::input::{Input, Request};
use crate::nodes::storage_error;
use crate::params::{Fault, uint, uuid};
use crate::reply::{ApiResult, Reply};

/// Where to cut.
pub struct Truncate {
    upload: UploadId,
    offset: u64,
}

impl Request for Truncate {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { upload: input.path("upload_uuid", uuid)?, offset: input.path("offset", uint)? })
    }
}

/// Answers null.
///
/// # Errors
/// 400 beyond the present size; 404.
pub async fn handle(call: Call, request: Truncate) -> ApiResult {
    let owner = call.api.upload_owners.find(&call, request.upload).await?;
    let plane = call.api.nodes.data_plane(&call.api)?;
    plane
        .truncate(owner.peer, request.upload, request.offset)
        .await
        .map_err(|error| storage_error(&error, "upload", &owner.node_name))?;
    call.audit(ObjectType::Upload, request.upload, "upload truncated");
    Ok(Reply::null())
}
