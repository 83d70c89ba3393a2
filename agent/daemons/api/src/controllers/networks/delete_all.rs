//! `DELETE /networks`: all networks of a namespace.

use serde_json::{Value, json};
use sf_model::{ObjectType, name};
use sf_protos::networks::{DeleteAllNetworksRequest, DeletedNetwork};

use crate::call::Call;
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::params::{Fault, boolean, confirmed, text_of};
use crate::reply::{ApiResult, Reply};

/// Which namespace, and whether networks whose instances are being deleted count as done.
pub struct DeleteAll {
    namespace: Option<String>,
    clean_wait: bool,
}

impl Request for DeleteAll {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let fields = &mut input.fields;
        fields.required("confirm", confirmed)?;
        Ok(Self {
            namespace: fields.blankable("namespace", text_of(name::namespace))?,
            clean_wait: fields.or("clean_wait", false, boolean)?,
        })
    }
}

/// Answers the handles.
///
/// # Errors
/// 403, with what was and was not deleted, when some are in use and the caller does not want to wait.
pub async fn handle(call: Call, request: DeleteAll) -> ApiResult {
    let namespace = call.namespace_to_empty(request.namespace)?;
    let reply = call.tier(DeleteAllNetworksRequest { context: None, namespace }).await?;
    let handles: Vec<Value> = reply.deleted.iter().map(handle_of).collect();
    if !reply.unable.is_empty() && !request.clean_wait {
        let outcome = json!({ "deleted": handles, "unable": reply.unable });
        return Err(ApiError::forbidden("").with_error(outcome));
    }
    let answer = Reply::accepted_with(Value::Array(handles));
    Ok(reply.deleted.into_iter().fold(answer, |answer, network| {
        answer.audit(ObjectType::Network, network.network_uuid, "network deletion requested")
    }))
}

fn handle_of(network: &DeletedNetwork) -> Value {
    let operation = network.operation.clone().unwrap_or_default();
    json!({
        "network_uuid": network.network_uuid,
        "op_type": operation.op_type,
        "op_uuid": operation.op_uuid,
    })
}
