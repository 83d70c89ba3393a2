//! `GET /clusteroperations/{op_uuid}/chain`: an operation and what it depends on.

use sf_model::OperationId;
use sf_protos::operations::GetOperationChainRequest;

use crate::call::Call;
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::params::{Fault, uuid};
use crate::reply::{ApiResult, Reply};
use crate::views::OperationView;

/// Of which operation.
pub struct Chain {
    op_uuid: OperationId,
}

impl Request for Chain {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { op_uuid: input.path("op_uuid", uuid)? })
    }
}

/// Answers the chain, newest first, without members the caller may not see.
///
/// # Errors
/// 404; 400 for a chain of more than 256.
pub async fn handle(call: Call, request: Chain) -> ApiResult {
    let request =
        GetOperationChainRequest { caller: call.wire(), operation_uuid: request.op_uuid.to_string() };
    let reply = call.tier(request).await?;
    if reply.too_long {
        return Err(ApiError::malformed("the chain has more than 256 operations"));
    }
    Ok(Reply::list(reply.operations.into_iter().map(OperationView::from)))
}
