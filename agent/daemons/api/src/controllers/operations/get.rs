//! `GET /clusteroperations/{op_type}/{op_uuid}`.

use serde_json::Value;
use sf_model::OperationId;
use sf_protos::operations::GetOperationRequest;

use crate::call::Call;
use crate::input::{Input, Request};
use crate::params::{Fault, string, uuid};
use crate::reply::{ApiResult, Reply};
use crate::views::OperationView;

/// Which operation.
pub struct Get {
    op_type: String,
    op_uuid: OperationId,
}

impl Request for Get {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { op_type: input.path("op_type", op_type)?, op_uuid: input.path("op_uuid", uuid)? })
    }
}

/// The type is opaque to clients; only its form is checked.
fn op_type(value: Value) -> Result<String, Fault> {
    let text = string(value)?;
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if fits { Ok(text) } else { Err(Fault::new("must be the type of an operation")) }
}

/// Answers the operation.
///
/// # Errors
/// 404, also when the type is not the operation's.
pub async fn handle(call: Call, request: Get) -> ApiResult {
    let request = GetOperationRequest {
        caller: call.wire(),
        operation_uuid: request.op_uuid.to_string(),
        operation_type: Some(request.op_type),
    };
    let operation = call.tier(request).await?.operation.unwrap_or_default();
    Ok(Reply::view(OperationView::from(operation)))
}
