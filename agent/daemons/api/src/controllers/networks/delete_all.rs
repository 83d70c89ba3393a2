//! `DELETE /networks`: all networks of a namespace.

use serde_json::{Value, json};
use sf_model::{ObjectType, name};
use sf_protos::common::OperationHandle;
use sf_protos::networks::{DeleteAllNetworksRequest, NetworkDeletion};

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

/// Answers the handles. A network that is being deleted already answers the handle of that, so a caller whose request was
/// cut asks again.
///
/// # Errors
/// 403, with what was and was not deleted, when some are in use and the caller does not want to wait.
pub async fn handle(call: Call, request: DeleteAll) -> ApiResult {
    let namespace = call.namespace_to_empty(request.namespace)?;
    let networks = call
        .all(
            |page| DeleteAllNetworksRequest { context: None, namespace: namespace.clone(), page: Some(page) },
            |reply| (reply.networks, reply.page),
        )
        .await?;
    let (mut deleted, mut unable) = (Vec::new(), Vec::new());
    for NetworkDeletion { network_uuid, operation } in networks {
        match operation {
            Some(operation) => {
                call.audit(ObjectType::Network, &network_uuid, "network deletion requested");
                deleted.push((network_uuid, operation));
            }
            None => unable.push(network_uuid),
        }
    }
    let handles: Vec<Value> = deleted.iter().map(handle_of).collect();
    if !unable.is_empty() && !request.clean_wait {
        let outcome = json!({ "deleted": handles, "unable": unable });
        return Err(ApiError::forbidden("").with_error(outcome));
    }
    Ok(Reply::accepted_with(Value::Array(handles)))
}

fn handle_of((network, operation): &(String, OperationHandle)) -> Value {
    json!({ "network_uuid": network, "op_type": operation.op_type, "op_uuid": operation.op_uuid })
}
