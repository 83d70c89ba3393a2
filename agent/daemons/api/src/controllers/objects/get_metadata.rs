//! `GET …/metadata`: everything users noted on an object.

use serde_json::Value;
use sf_protos::common::Selector;
use sf_protos::metadata::GetMetadataRequest;

use super::{Kind, Plain};
use crate::call::Call;
use crate::reply::{ApiResult, Reply};
use crate::views::metadata;

/// Answers one object.
///
/// # Errors
/// 404.
pub async fn handle<K: Kind>(call: Call, request: Plain<K>) -> ApiResult {
    let request = GetMetadataRequest {
        caller: call.wire(),
        object_type: K::OBJECT.to_string(),
        selector: Some(Selector { reference: request.reference, namespace: None }),
    };
    let reply = call.tier(request).await?;
    Ok(Reply::json(Value::Object(metadata(&reply.entries))))
}
