//! `GET /blobs/{blob_uuid}/checksum/{algorithm}`: a hash, or null while it is being computed.

use serde_json::Value;
use sf_blobs::Algorithm;
use sf_model::BlobId;
use sf_protos::blobs::RequestHashRequest;

use crate::call::Call;
use crate::input::{Input, Request};
use crate::params::{Fault, choice, uuid};
use crate::reply::{ApiResult, Reply};

/// What is said of an unknown algorithm.
pub(super) const ALGORITHMS: &str = "must be sha1, sha256, sha512, xxh128 or blake3";

/// Which hash of which blob.
pub struct Checksum {
    blob: BlobId,
    algorithm: Algorithm,
}

impl Request for Checksum {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            blob: input.path("blob_uuid", uuid)?,
            algorithm: input.path("algorithm", choice(ALGORITHMS))?,
        })
    }
}

/// Answers a hex string or null.
///
/// # Errors
/// 404 for blobs the caller cannot reach.
pub async fn handle(call: Call, request: Checksum) -> ApiResult {
    let wanted = RequestHashRequest {
        context: None,
        caller: call.wire(),
        blob_uuid: request.blob.to_string(),
        algorithm: request.algorithm.to_string(),
    };
    let value = call.tier(wanted).await?.value;
    Ok(Reply::json(value.map_or(Value::Null, Value::String)))
}
