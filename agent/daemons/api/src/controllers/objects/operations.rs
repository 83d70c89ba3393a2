//! `GET …/clusteroperations`: the operations about an object, newest first.

use std::marker::PhantomData;

use sf_protos::operations::ListOperationsForTargetRequest;

use super::Kind;
use crate::call::Call;
use crate::input::{Input, Request};
use crate::params::{Fault, boolean};
use crate::reply::{ApiResult, Reply};
use crate::views::OperationView;

/// Operations of one answer.
pub const MOST: u32 = 1000;

/// Which operations of which object.
pub struct Operations<K> {
    reference: String,
    all: bool,
    kind: PhantomData<K>,
}

impl<K: Kind> Request for Operations<K> {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            reference: input.path(K::PARAMETER, K::parse)?,
            all: input.fields.or("all", false, boolean)?,
            kind: PhantomData,
        })
    }
}

/// Answers the operations: unless `all`, those that have not ended.
///
/// # Errors
/// 404 for an object the caller may not see.
pub async fn handle<K: Kind>(call: Call, request: Operations<K>) -> ApiResult {
    let target_uuid = K::resolve(&call, request.reference).await?;
    let request = ListOperationsForTargetRequest {
        caller: call.wire(),
        target_type: K::OBJECT.to_string(),
        target_uuid,
        all: request.all,
        limit: MOST,
    };
    let reply = call.tier(request).await?;
    Ok(Reply::list(reply.operations.into_iter().map(OperationView::from)))
}
