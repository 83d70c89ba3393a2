//! `GET …/metadata`: everything users noted on an object.

use std::marker::PhantomData;

use serde_json::Value;
use sf_protos::common::Selector;
use sf_protos::metadata::GetMetadataRequest;

use super::Kind;
use crate::call::Call;
use crate::input::{Input, Request};
use crate::params::Fault;
use crate::reply::{ApiResult, Reply};
use crate::views::metadata;

/// Metadata of which object.
pub struct Get<K> {
    reference: String,
    kind: PhantomData<K>,
}

impl<K: Kind> Request for Get<K> {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { reference: input.path(K::PARAMETER, K::parse)?, kind: PhantomData })
    }
}

/// Answers one object.
///
/// # Errors
/// 404.
pub async fn handle<K: Kind>(call: Call, request: Get<K>) -> ApiResult {
    let request = GetMetadataRequest {
        caller: call.wire(),
        object_type: K::OBJECT.to_string(),
        selector: Some(Selector { reference: request.reference, namespace: None }),
    };
    let reply = call.tier(request).await?;
    Ok(Reply::json(Value::Object(metadata(&reply.entries))))
}
