//! `POST /upload/{upload_uuid}`: more bytes, streamed to the node that stores the upload.

use serde_json::Value;
use sf_blobs::uploads::AppendOptions;
use sf_model::UploadId;

use crate::call::Call;
use crate::error::ApiError;
use crate::input::{Input, RawBody, Request};
use crate::nodes::storage_error;
use crate::params::{Fault, uuid};
use crate::reply::{ApiResult, Reply};
use crate::streams;

/// Bytes for an upload.
pub struct Append {
    upload: UploadId,
    raw: Option<RawBody>,
}

impl Request for Append {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { upload: input.path("upload_uuid", uuid)?, raw: input.raw() })
    }
}

/// Answers the new size, when the bytes are in the file.
///
/// # Errors
/// 404; 409 when busy, converted or lost; 413; 507.
pub async fn handle(call: Call, request: Append) -> ApiResult {
    let raw = request.raw.ok_or_else(ApiError::internal)?;
    let _place = streams::admit(&call.api)?;
    let owner = call.api.upload_owners.find(&call, request.upload).await?;
    let plane = call.api.nodes.data_plane(&call.api)?;
    let options = AppendOptions { length: raw.length, offset: raw.offset, previous_undelivered: false };
    let appended = plane.append(owner.peer, request.upload, options, raw.body.into_data_stream()).await;
    match appended {
        Ok(size) => Ok(Reply::json(Value::from(size))),
        Err(error) => {
            call.api.upload_owners.forget(request.upload);
            Err(storage_error(&error, "upload", &owner.node_name))
        }
    }
}
