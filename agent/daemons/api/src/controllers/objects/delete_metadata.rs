//! `DELETE …/metadata/{key}`: removing what is not there is no error.

use std::marker::PhantomData;

use sf_model::name;
use sf_protos::common::Selector;
use sf_protos::metadata::DeleteMetadataKeyRequest;

use super::Kind;
use crate::call::Call;
use crate::input::{Input, Request};
use crate::params::{Fault, text_of};
use crate::reply::{ApiResult, Reply};

/// Which key of which object.
pub struct Delete<K> {
    reference: String,
    key: String,
    kind: PhantomData<K>,
}

impl<K: Kind> Request for Delete<K> {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            reference: input.path(K::PARAMETER, K::parse)?,
            key: input.path("key", text_of(name::metadata_key))?,
            kind: PhantomData,
        })
    }
}

/// Answers null.
///
/// # Errors
/// 404 for the object.
pub async fn handle<K: Kind>(call: Call, request: Delete<K>) -> ApiResult {
    let request = DeleteMetadataKeyRequest {
        context: None,
        caller: call.wire(),
        object_type: K::OBJECT.to_string(),
        selector: Some(Selector { reference: request.reference, namespace: None }),
        key: request.key,
    };
    let reply = call.tier(request).await?;
    if reply.existed {
        call.audit(K::OBJECT, reply.object_id, "metadata deleted");
    }
    Ok(Reply::null())
}
